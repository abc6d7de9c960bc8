"""Known crystals as targets of a reconstruction: what is given of them, and what should be found.

What is given decides how hard the task is, so figures of two kinds never share a column:

    letters   group and Wyckoff letters, as DiffCSP++ and its like
    free      group and number of sites, sites free: the paper's
    drawn     group and number of sites, letters drawn as like elements have them
    ranked    the same, letters dealt in proportion to these chances, the likeliest first
    nearest   the same, letters of the structure in the training data whose elements are most alike
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxcrystal.crystal import BUCKETS
from jaxcrystal.data.dataset import Dataset
from jaxcrystal.data.prepare import prepare
from jaxcrystal.errors import DataError
from jaxcrystal.io.convert import formula, to_pymatgen
from jaxcrystal.remote import local_copy
from jaxcrystal.requests.like import order_like, rows_to_order
from jaxcrystal.requests.orders import Order, SiteMode
from jaxcrystal.symmetry.groups import FAMILIES, group_tables
from jaxcrystal.symmetry.orbits import expand_crystal
from jaxcrystal.symmetry.subspaces import internal_coords_of
from jaxcrystal.symmetry.wyckoff import wyckoff_positions

if TYPE_CHECKING:
    from pymatgen.core import Structure

Given = Literal["letters", "free", "drawn", "ranked", "nearest"]
GIVEN: tuple[Given, ...] = get_args(Given)
#: How sites are ordered where that is given.
MODES: dict[Given, SiteMode] = {
    "letters": "given",
    "free": "free",
    "drawn": "auto",
    "ranked": "ranked",
    "nearest": "nearest",
}


def load_targets(source: str | Path, folder: Path, processes: int | None = None) -> Dataset:
    """Reads a prepared file, or prepares structures of any known kind on the spot.

    Args:
      source: path or URL of a `.npz` of `jaxcrystal prepare`, or of what that command accepts.
      folder: gets targets.npz and rejected.csv, what was refused and why, of the second kind.
      processes: worker processes.

    Raises:
      DataError: a source that cannot be read, or without a usable structure.
    """
    if Path(source).suffix == ".npz":
        return Dataset.load(source)
    with local_copy(source) as path:
        report = prepare(path, folder / "targets.npz", max_sites=BUCKETS[-1], processes=processes)
    return Dataset.load(report.out)


def choose(
    dataset: Dataset,
    count: int | None = None,
    max_sites: int | None = None,
    seed: int = 0,
    min_space_group: int = 1,
) -> Dataset:
    """Returns structures of at most so many sites, drawn by seed.

    One whose letters make no order (two sites on one point) is left out, and named in a warning.

    Args:
      dataset: prepared.
      count: at most so many; None for all.
      max_sites: inequivalent sites; at most what the sampler has room for.
      seed: of the draw. The order of the file is kept.
      min_space_group: structures of lower groups are left out.

    Raises:
      DataError: no structure is left.
    """
    fits = np.flatnonzero((dataset.space_group >= min_space_group) & ~too_large(dataset, max_sites))
    fits = rows_to_order(dataset, fits, "given")
    if not len(fits):
        raise DataError(
            f"no target of a group from {min_space_group} to 230 with at most {_limit(max_sites)} sites "
            f"among {len(dataset)}"
        )
    chosen = np.random.default_rng(seed).permutation(fits)[:count]
    return dataset.select(np.sort(chosen))


def too_large(dataset: Dataset, max_sites: int | None = None) -> Bool[np.ndarray, " structures"]:
    """Returns [structures] those with more inequivalent sites than `choose` takes."""
    return dataset.num_sites > _limit(max_sites)


def _limit(max_sites: int | None) -> int:
    return BUCKETS[-1] if max_sites is None else min(max_sites, BUCKETS[-1])


@dataclass(frozen=True, eq=False)
class Targets:
    """Known crystals: what is asked for, and what should come out.

    Attributes:
      ids: [targets] names in their source.
      orders: for each kind of input [targets].
      structures: [targets] primitive cells.
      formulas: [targets] reduced.
      letters: [targets] such as `Ba:a Ti:b O:c`.
      space_groups: [targets] 1-230.
      families: [targets] crystal families; trigonal groups are of the hexagonal one.
      num_sites: [targets] inequivalent sites.
      free_coords: [targets] free coordinates of all sites, with the true letters, less the directions in
        which the group leaves the origin free.
      lengths: [targets, 3] a, b, c of the conventional cell, Å.
      volumes: [targets] Å³ an atom.
      dataset: what they were made of.
    """

    ids: list[str]
    orders: dict[Given, list[Order]]
    structures: "list[Structure]"
    formulas: list[str]
    letters: list[str]
    space_groups: Int[np.ndarray, " targets"]
    families: list[str]
    num_sites: Int[np.ndarray, " targets"]
    free_coords: Int[np.ndarray, " targets"]
    lengths: Float[np.ndarray, "targets 3"]
    volumes: Float[np.ndarray, " targets"]
    dataset: Dataset

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def from_dataset(cls, dataset: Dataset) -> "Targets":
        """Writes the orders of every structure and its full cell."""
        orders: dict[Given, list[Order]] = {given: [] for given in GIVEN}
        structures, formulas, letters = [], [], []
        free_coords, lengths, volumes = [], [], []
        for row in range(len(dataset)):
            group, sites = int(dataset.space_group[row]), dataset.sites(row)
            names = [wyckoff_positions(group)[letter].letter for letter in dataset.letters[sites]]
            for given, mode in MODES.items():
                orders[given].append(order_like(dataset, row, mode))
            letters.append(orders["letters"][-1].wyckoff)
            free_coords.append(internal_coords_of(group, names))
            cell = expand_crystal(dataset.crystal(row))
            structures.append(to_pymatgen(*cell.primitive(group)))
            formulas.append(formula(cell.species))
            lengths.append(np.linalg.norm(cell.lattice, axis=1))
            volumes.append(abs(np.linalg.det(cell.lattice)) / len(cell.species))
        return cls(
            ids=[str(name) for name in dataset.ids],
            orders=orders,
            structures=structures,
            formulas=formulas,
            letters=letters,
            space_groups=dataset.space_group.astype(int),
            families=[FAMILIES[group_tables().family[group]] for group in dataset.space_group],
            num_sites=dataset.num_sites.astype(int),
            free_coords=np.array(free_coords, int),
            lengths=np.array(lengths, float).reshape(-1, 3),
            volumes=np.array(volumes, float),
            dataset=dataset,
        )
