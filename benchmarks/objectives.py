"""Trains variants of a configuration for equal times and compares their held-out losses.

python -m benchmarks.objectives --train train.npz --validation val.npz [--more both.npz]
    [--set KEY=VALUE ...] [--minutes 3] [--only base lr_2e-3 ...] [--work DIR] [--name objectives]

Every variant starts from random weights, sees structures of 3 and 4 inequivalent sites (one
half of the data, few shapes to compile) and trains on one core for so long; the number of
its updates follows from the time of one, measured first, so that a larger network makes
fewer. Losses are those of `jaxcrystal train`'s validation, the paper's terms, at the levels
of the default schedule whatever the variant was trained with. What a variant gives is kept in
`--work`, and is not computed again.
"""

import argparse
import json
import os
import queue
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.harness import save
from jaxcrystal.config import load
from jaxcrystal.data.dataset import Dataset
from jaxcrystal.training.config import TrainConfig

#: What differs from the configuration.
VARIANTS: dict[str, list[str]] = {
    "base": [],
    "another seed": ["seed=1"],
    "learning rate 2e-3": ["optimizer.learning_rate=2e-3"],
    "learning rate 5e-4": ["optimizer.learning_rate=5e-4"],
    "batch 32": ["optimizer.batch_size=32"],
    "batch 128": ["optimizer.batch_size=128"],
    "EMA 0.99": ["optimizer.ema_decay=0.99"],
    "width 96": ["network.dimenet.hidden=96", "network.dimenet.output=96"],
    "width 48": ["network.dimenet.hidden=48", "network.dimenet.output=48"],
    "2 blocks": ["network.dimenet.blocks=2"],
    "4 blocks": ["network.dimenet.blocks=4"],
    "2 blocks, 2e-3": ["network.dimenet.blocks=2", "optimizer.learning_rate=2e-3"],
    "width 96, 2 blocks, 2e-3": [
        "network.dimenet.hidden=96",
        "network.dimenet.output=96",
        "network.dimenet.blocks=2",
        "optimizer.learning_rate=2e-3",
    ],
    "width 96, 2e-3": [
        "network.dimenet.hidden=96",
        "network.dimenet.output=96",
        "optimizer.learning_rate=2e-3",
    ],
    "width 128, 2 blocks, 2e-3": [
        "network.dimenet.hidden=128",
        "network.dimenet.output=128",
        "network.dimenet.blocks=2",
        "optimizer.learning_rate=2e-3",
    ],
    "last output only": ["network.dimenet.last_output_only=true"],
    "l < 5": ["network.dimenet.num_spherical=5"],
    "K = 16": ["network.graph.max_neighbors=16"],
    "K = 32": ["network.graph.max_neighbors=32"],
    "cutoff 7": ["network.graph.cutoff=7"],
    "merge 0.6": ["network.graph.merge_distance=0.6"],
    "paper's levels": [
        "schedule.coords_max=6.0",
        "schedule.coords_min=0.0316228",
    ],
    "sigma_X from 1.0": ["schedule.coords_max=1.0"],
    "sigma_L from 3": ["schedule.lattice_max=3.0"],
    "paper's coordinate term": ["joint=false"],
    "untied 0.2": ["optimizer.untied_share=0.2"],
    "3 blocks": ["network.dimenet.blocks=3"],
    "constrained 0.8": ["optimizer.constrained_share=0.8"],
    "more data": ["data.train={more}"],
    "bfloat16": ["network.dimenet.precision=bfloat16"],
}
_SITES = (3, 4)
_FEW = 6


def main() -> None:
    """Prints a row for each variant; writes `results/NAME.json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", required=True, help="prepared training structures")
    parser.add_argument("--validation", required=True, help="prepared held-out structures")
    parser.add_argument("--more", help="prepared training structures of the variant `more data`")
    parser.add_argument("--config", default="configs/mp_first.toml", help="what the variants differ from")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="of all variants")
    parser.add_argument("--minutes", type=float, default=3.0, help="of training, each")
    parser.add_argument("--only", nargs="+", choices=tuple(VARIANTS), help="variants (default: all)")
    parser.add_argument("--structures", type=int, default=256, help="of the validation file")
    parser.add_argument("--work", default="runs/objectives", help="folder of the runs")
    parser.add_argument("--processes", type=int, default=2, help="variants trained side by side")
    parser.add_argument("--name", default="objectives", help="of the file in results/")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # this variant, in this process, on this core
    parser.add_argument("--core", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    work = Path(arguments.work)
    if arguments.one:
        if hasattr(os, "sched_setaffinity"):  # before the devices, whose threads keep to it
            os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[arguments.core]})
        (work / f"{arguments.one}.json").write_text(json.dumps(train_one(arguments, work)), encoding="utf-8")
        return

    work.mkdir(parents=True, exist_ok=True)
    for name in ("train", "validation", "more"):
        source, target = getattr(arguments, name), work / f"{name}.npz"
        if source and not target.exists():
            dataset = Dataset.load(source)
            dataset.select(np.flatnonzero(np.isin(dataset.num_sites, _SITES))).save(target)
    names = [n for n in arguments.only or VARIANTS if n != "more data" or arguments.more]
    cores: queue.Queue[int] = queue.Queue()
    for core in range(arguments.processes):
        cores.put(core)

    def run(name: str) -> dict[str, Any]:
        path = work / f"{name}.json"
        if not path.exists():
            core = cores.get()
            try:
                _in_process(name, core, work)
            finally:
                cores.put(core)
        return {"variant": name} | json.loads(path.read_text(encoding="utf-8"))

    rows = []
    with ThreadPoolExecutor(arguments.processes) as pool:
        for row in tqdm(pool.map(run, names), total=len(names), desc="train", file=sys.stderr):
            rows.append(row)
            tqdm.write(describe(row))
            paths = ("train", "validation", "more", "work")
            files = {n: Path(getattr(arguments, n) or "").name for n in paths}
            save(arguments.name, {"arguments": vars(arguments) | files, "sites": _SITES, "variants": rows})


def describe(row: dict[str, Any]) -> str:
    """Returns a row of the table."""
    means = "  ".join(
        f"{sites[:4]} {row[sites]['mean_coords']:.3f} {row[sites]['mean_lattice']:.3f}"
        for sites in ("free", "constrained")
    )
    return (
        f"{row['variant']:24s} {row['parameters'] / 1e3:4.0f}k  {row['updates']:6d} updates, "
        f"{1e3 / row['structures_per_second']:.2f} ms a structure  {means}"
    )


def _in_process(name: str, core: int, work: Path) -> None:
    environment = os.environ | {
        "JAX_NUM_CPU_DEVICES": "1",
        "JAX_COMPILATION_CACHE_DIR": str(work / "programs"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    command = [
        sys.executable,
        "-m",
        "benchmarks.objectives",
        *sys.argv[1:],
        "--one",
        name,
        "--core",
        str(core),
    ]

    with (work / f"{name}.log").open("w") as log:
        subprocess.run(command, env=environment, stdout=log, stderr=log, check=True)


def train_one(arguments: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Trains one variant and returns its losses by level."""
    from benchmarks.training import measure
    from jaxcrystal.diffusion.schedules import NoiseSchedule
    from jaxcrystal.model import load_model
    from jaxcrystal.score import count_params
    from jaxcrystal.training.loop import train, usable
    from jaxcrystal.training.validation import validate

    name = arguments.one
    overrides = [text.format(more=work / "more.npz") for text in VARIANTS[name]]
    shared = [f"data.train={work / 'train.npz'}", *arguments.set]
    config = load(TrainConfig, arguments.config, [*shared, *overrides])
    config = replace(config, out=str(work / name), data=replace(config.data, validation=""), start_from="")
    rate = measure(config, None, _FEW)["mixture_structures_per_second"]
    steps = max(1, round(60 * arguments.minutes * rate / config.optimizer.batch_size))
    optimizer = replace(config.optimizer, steps=steps, warmup_steps=min(200, steps // 10))
    shutil.rmtree(work / name, ignore_errors=True)  # of a run that was cut off
    train(replace(config, optimizer=optimizer))
    model, held_out = load_model(work / name), Dataset.load(work / "validation.npz")
    chosen = held_out.select(usable(held_out, replace(config.data, max_sites=max(_SITES))))
    result: dict[str, Any] = {
        "settings": VARIANTS[name],
        "updates": steps,
        "structures_per_second": rate,
        "parameters": count_params(model.params),
    }
    for losses in validate(model, NoiseSchedule(), chosen, arguments.structures):
        result[losses.sites] = {
            "coords": losses.coords.tolist(),
            "lattice": losses.lattice.tolist(),
            **{f"mean_{key}": value for key, value in losses.means().items()},
        }
    return result


if __name__ == "__main__":
    main()
