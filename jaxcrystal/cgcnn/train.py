r"""Trains the CGCNN of FD CGCNN on formation energies: the command, and the file it writes.

python -m jaxcrystal.cgcnn.train --train train.csv.gz --validation val.csv.gz \
    --test test.csv.gz --out cgcnn.npz
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxcrystal.cgcnn.energies import ENERGY, read_energies
from jaxcrystal.cgcnn.fit import CgcnnTraining, fit, make_predict, mean_absolute_error
from jaxcrystal.cgcnn.graph import CgcnnConfig
from jaxcrystal.cgcnn.network import WEIGHTS_FORMAT
from jaxcrystal.errors import JaxcrystalError
from jaxcrystal.files import require_absent, write_atomically
from jaxcrystal.parameters import from_arrays, to_arrays

#: Seconds between two saves on the way.
SAVE_EVERY = 60.0


def save_weights(
    path: str | Path, params: Any, config: CgcnnConfig, info: dict[str, Any], overwrite: bool = True
) -> None:
    """Writes weights, in half precision, with the network's settings and `info`."""
    arrays = {name: array.astype(np.float16) for name, array in to_arrays(params).items()}
    label = np.array([WEIGHTS_FORMAT, json.dumps(asdict(config)), json.dumps(info)])
    write_atomically(path, lambda file: np.savez(file, format=label, **arrays), overwrite)  # type: ignore[arg-type]


def rounded(params: Any) -> Any:
    """Returns the weights as a file of weights holds them: in half precision."""
    return from_arrays({name: array.astype(np.float16) for name, array in to_arrays(params).items()})


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m jaxcrystal.cgcnn.train", description=__doc__)
    for name, what in (("train", "to train on"), ("validation", "to choose by"), ("test", "to report on")):
        parser.add_argument(f"--{name}", required=True, metavar="FILE", help=f"crystals with energies {what}")
    parser.add_argument("--out", required=True, metavar="FILE", help="the .npz of weights; must not exist")
    parser.add_argument("--epochs", type=int, default=CgcnnTraining.epochs, metavar="N")
    parser.add_argument("--seed", type=int, default=CgcnnTraining.seed, metavar="N")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, metavar="N")
    arguments = parser.parse_args(argv)
    try:
        info = run(arguments)
    except JaxcrystalError as error:
        print(f"jaxcrystal: error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(info, indent=1))
    return 0


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Trains as the command line says, and returns what the file of weights says of itself."""
    config = CgcnnConfig()
    training = replace(CgcnnTraining(), epochs=arguments.epochs, seed=arguments.seed)
    out = Path(arguments.out)
    require_absent(out)
    sources = {name: getattr(arguments, name) for name in ("train", "validation", "test")}
    data = {name: read_energies(source, config, arguments.processes) for name, source in sources.items()}
    started, saved = time.perf_counter(), [-np.inf]
    predict, size = make_predict(config), training.batch_size()
    info: dict[str, Any] = {
        "trained_on": ENERGY,
        "training": asdict(training),
        "data": {
            name: {"file": Path(sources[name]).name, "crystals": len(part.graphs), "left_out": part.left_out}
            for name, part in data.items()
        },
    }

    def save(epoch: int, params: Any, error: float) -> None:
        stored = rounded(params)
        info["epoch"], info["seconds"] = epoch, round(time.perf_counter() - started)
        info["parameters"] = sum(int(leaf.size) for leaf in jax.tree.leaves(params))
        for name in ("train", "validation", "test"):
            info[f"{name}_mae"] = round(mean_absolute_error(predict, stored, data[name], size), 5)
        info["validation_mae_float32"] = round(error, 5)
        save_weights(out, params, config, info)
        saved[0] = time.perf_counter()

    latest: list[tuple[int, Any, float]] = []

    def on_best(epoch: int, params: Any, error: float) -> None:
        latest[:] = [(epoch, params, error)]
        if time.perf_counter() - saved[0] > SAVE_EVERY:
            save(epoch, params, error)

    fit(data["train"], data["validation"], config, training, on_best)
    save(*latest[0])
    return info


if __name__ == "__main__":
    sys.exit(main())
