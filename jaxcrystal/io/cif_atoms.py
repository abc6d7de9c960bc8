"""From the sites of a CIF to every atom of its cell, each place once."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxcrystal.io.checks import FULL, near_pairs
from jaxcrystal.io.cif_sites import OVERFULL, Site
from jaxcrystal.io.operations import Operations
from jaxcrystal.io.rejection import Reason, Rejected
from jaxcrystal.io.special_positions import orbit

#: Å; rows whose images are this near are on one place.
_ONE_PLACE = 0.05


class Places(NamedTuple):
    """The places of atoms in a cell.

    Attributes:
      occupants: of each place: atomic number -> occupancy.
      frac_coords: [places, 3] in [0, 1).
    """

    occupants: list[dict[int, float]]
    frac_coords: Float[np.ndarray, "places 3"]

    @property
    def is_ordered(self) -> bool:
        """Whether every place holds one full atom."""
        return all(len(of_place) == 1 and min(of_place.values()) >= FULL for of_place in self.occupants)

    @property
    def species(self) -> Int[np.ndarray, " places"]:
        """[places] atomic numbers, the first of a disordered place."""
        return np.array([next(iter(of_place)) for of_place in self.occupants], int)


def expanded(sites: Sequence[Site], operations: Operations, lattice: Float[np.ndarray, "3 3"]) -> Places:
    """Returns all places of atoms in the cell.

    Two rows of the list may be parts of what is on one place, and a file may list its whole
    cell beside its operations. Otherwise, atoms that fall on one place are refused.

    Args:
      sites: rows of the list.
      operations: all of the group.
      lattice: [3, 3] rows are vectors, Å.

    Raises:
      Rejected: atoms fall on one place, or it is not clear whether they do.
    """
    orbits = [
        orbit(
            site.frac_coords, site.last_digits, operations, lattice, site.label, site.occupancy >= FULL
        ).images
        for site in sites
    ]
    for site, images in zip(sites, orbits, strict=True):
        if site.multiplicity not in (0, len(images)):
            raise Rejected(
                Reason.CONTRADICTORY,
                f"{site.label} makes {len(images)} atoms, where the file counts {site.multiplicity}",
            )
    rows = np.repeat(np.arange(len(sites)), [len(images) for images in orbits])
    frac_coords = np.concatenate(orbits)
    partner = _first_on_place(rows, frac_coords, lattice)
    kept = np.flatnonzero(partner == np.arange(len(rows)))
    own = partner[np.searchsorted(rows, np.arange(len(sites)))]  # the first image of a site is the site
    is_whole_cell = len(kept) == len(sites) == len(set(own.tolist()))
    shared = sorted({(int(rows[p]), int(rows[atom])) for atom, p in enumerate(partner) if p != atom})
    occupants = _occupants(sites, shared, is_whole_cell)
    return Places([occupants[rows[atom]] for atom in kept], frac_coords[kept])


def _first_on_place(
    rows: Int[np.ndarray, " atoms"],
    frac_coords: Float[np.ndarray, "atoms 3"],
    lattice: Float[np.ndarray, "3 3"],
) -> Int[np.ndarray, " atoms"]:
    """Returns for each atom the first one of another row that is on its place, or itself."""
    first = np.arange(len(rows))
    for one, other, _ in near_pairs(lattice, frac_coords, _ONE_PLACE):
        if rows[one] != rows[other] and first[other] == other:
            first[other] = first[one]
    return first


def _occupants(
    sites: Sequence[Site], shared: Sequence[tuple[int, int]], is_whole_cell: bool
) -> list[dict[int, float]]:
    """Returns what is on the places of each row, with that of the rows that share them.

    Args:
      sites: rows of the list.
      shared: pairs of rows on one place, the first row first.
      is_whole_cell: every atom of the cell has its row, so that full rows share places.
    """
    occupants = [{site.element: site.occupancy} for site in sites]
    for one, other in shared:
        a, b, here = sites[one], sites[other], occupants[one]
        if is_whole_cell and a.element == b.element and min(a.occupancy, b.occupancy) >= FULL:
            continue
        here[b.element] = here.get(b.element, 0.0) + b.occupancy
        if sum(here.values()) > OVERFULL:
            raise Rejected(
                Reason.OVERLAPPING,
                f"{a.label} and {b.label} are on one place, occupied {sum(here.values()):g} times",
            )
    return occupants
