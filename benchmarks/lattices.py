"""Spread of lattice parameters in groups 1-15, and which of their cells noise closes.

python -m benchmarks.lattices DATA.npz
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np

from jaxcrystal.crystal import Crystal
from jaxcrystal.data.batches import to_crystals
from jaxcrystal.data.dataset import Dataset
from jaxcrystal.diffusion.noise import collapsed, lattice_noise
from jaxcrystal.symmetry.families import FREE
from jaxcrystal.symmetry.groups import FAMILIES, group_tables
from jaxcrystal.symmetry.lattice import lengths_angles, unit_volume_squared

SIGMAS = (6.0, 4.0, 2.0, 1.0, 0.3)


def main() -> None:
    """Prints a block for each of both families."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="prepared file")
    dataset = Dataset.load(parser.parse_args().data)
    families = group_tables().family[dataset.space_group]
    for family, name in enumerate(FAMILIES[:2]):
        rows = np.flatnonzero(families == family)
        crystals = to_crystals(dataset, rows, int(dataset.num_sites[rows].max()), True)
        free = FREE[family]
        params = dataset.lattice_params[rows][:, free]
        units = np.asarray(unit_volume_squared(jnp.asarray(dataset.lattice_params[rows])))
        angles = np.asarray(jax.vmap(lengths_angles)(crystals.lattice_params, crystals.space_group)[1])
        angles = angles[:, free[3:]]
        print(f"{name}: {len(rows)} structures")
        print(f"  standard deviation of free parameters: {params.std(0).round(2).tolist()}")
        print(f"  free angles from {angles.min():.1f} to {angles.max():.1f}°")
        print(f"  squared volume of the unit cell: at least {units.min():.3f}")
        for sigma in SIGMAS:
            lost = np.mean(closed_by_noise(crystals, sigma))
            print(f"  cells left out with σ_L = {sigma}: {100 * lost:.1f} %")


@jax.jit
def closed_by_noise(crystals: Crystal, sigma: float) -> jax.Array:
    """Returns which of the cells collapse under one draw of noise."""

    def one(key: jax.Array, crystal: Crystal) -> jax.Array:
        noise = sigma * lattice_noise(key, crystal)
        return collapsed(crystal._replace(lattice_params=crystal.lattice_params + noise))

    return jax.vmap(one)(jax.random.split(jax.random.key(0), len(crystals.space_group)), crystals)


if __name__ == "__main__":
    main()
