"""What the precision of the layers' products does to predicted noise, losses and samples.

    python -m benchmarks.precision --data val.npz [--structures 512] [--targets 200]

On a CPU, which computes TF32 products in float32, their operands are rounded as a GPU does; bfloat16 is
what it is on every device. Coordinates and distances are float32 in all of it.
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from benchmarks.harness import save
from benchmarks.rounding import round_operand
from jaxcrystal.crystal import pad_and_stack
from jaxcrystal.data.dataset import Dataset
from jaxcrystal.diffusion.langevin import LangevinConfig
from jaxcrystal.diffusion.noise import coord_noise
from jaxcrystal.environment import use_all_cores
from jaxcrystal.evaluation.reconstruction import reconstruct
from jaxcrystal.evaluation.targets import Targets, choose
from jaxcrystal.graph.neighbors import ImageCapacity
from jaxcrystal.model import Model, load_model
from jaxcrystal.models import dense
from jaxcrystal.sampling.programs import compiled
from jaxcrystal.symmetry.subspaces import move_sites
from jaxcrystal.training.config import DataConfig
from jaxcrystal.training.loop import usable
from jaxcrystal.training.validation import validate


@contextmanager
def layers_in(precision: str) -> Iterator[None]:
    """Makes products of `tf32` layers round their operands where the device would not."""
    plain = dense._sum_of_products

    def rounded(a: Array, b: Array, how: str) -> Array:
        return plain(round_operand(a, how), round_operand(b, how), how) if how == "tf32" else plain(a, b, how)

    emulate = precision == "tf32" and jax.default_backend() == "cpu"
    with mock.patch.object(dense, "_sum_of_products", rounded if emulate else plain):
        compiled.cache_clear()
        jax.clear_caches()
        yield
    compiled.cache_clear()
    jax.clear_caches()


def predictions(model: Model, dataset: Dataset, structures: int) -> np.ndarray:
    """Returns predicted noise [levels, numbers] of the first structures of four sites, with their letters."""
    rows = np.flatnonzero(dataset.num_sites == 4)[:structures]
    crystals = pad_and_stack([dataset.crystal(row) for row in rows], 4)
    score = model.score(ImageCapacity.fitting(crystals, constrained=True))
    keys = jax.random.split(jax.random.key(0), len(rows))

    def one(sigma: Array, key: Array, crystal: Any) -> Array:
        found = score(move_sites(crystal, sigma[0] * coord_noise(key, crystal)), sigma)
        return jnp.concatenate([found.coords.reshape(-1), found.lattice])

    run = jax.jit(jax.vmap(one, (None, 0, 0)))
    return np.stack(
        [np.asarray(run(s, keys, crystals)).reshape(-1) for s in model.schedule.sigmas(jnp.float32)]
    )


def main() -> None:
    """Prints a line for each precision and writes `results/precision.json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="prepared file of held-out structures")
    parser.add_argument("--structures", type=int, default=512, help="of the losses")
    parser.add_argument("--targets", type=int, default=200, help="to reconstruct with their letters; 0: none")
    parser.add_argument("--model")
    arguments = parser.parse_args()
    use_all_cores()
    dataset = Dataset.load(arguments.data)
    dataset = dataset.select(usable(dataset, DataConfig()))
    targets = Targets.from_dataset(choose(dataset, arguments.targets, None, 1)) if arguments.targets else None
    results: dict[str, Any] = vars(arguments) | {"data": Path(arguments.data).name}
    exact = None
    for precision in dense.PRECISIONS:
        model = load_model(arguments.model).with_precision(precision)
        with layers_in(precision):
            found = predictions(model, dataset, 64)
            exact = found if exact is None else exact
            change = np.sqrt(((found - exact) ** 2).mean(1) / (exact**2).mean(1))
            losses = validate(model, model.schedule, dataset, arguments.structures, 0)
            row: dict[str, Any] = {
                "change_of_predicted_noise": change.tolist(),
                "losses": {part.sites: part.means() for part in losses},
            }
            if targets is not None:
                run = partial(
                    reconstruct, targets, "letters", 1, model, 1, LangevinConfig(model.sampling_schedule)
                )
                row["match"] = run(processes=2, progress=True).figures()["match"][0]
        results[precision] = row
        print(precision, row, flush=True)
        save("precision", results)


if __name__ == "__main__":
    main()
