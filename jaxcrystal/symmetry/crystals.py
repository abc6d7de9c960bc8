"""Builds every `Crystal`: a group, sites and letters in, the arrays of one crystal out."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxcrystal.crystal import MAX_OPS, Crystal
from jaxcrystal.symmetry.groups import group_tables
from jaxcrystal.symmetry.wyckoff import wyckoff_positions


def build_crystal(
    space_group: int,
    species: Sequence[int] | Int[np.ndarray, " sites"],
    letters: Sequence[int] | Int[np.ndarray, " sites"] | None,
    frac_coords: Float[np.ndarray, "sites 3"] | None = None,
    lattice_params: Float[np.ndarray, "6"] | None = None,
) -> Crystal:
    """Returns one crystal of numpy arrays, without padding, in float64.

    Args:
      space_group: 1-230.
      species: [sites] atomic numbers.
      letters: [sites] index of each site's Wyckoff position in `wyckoff_positions`, on which it
        is held; None: all sites are free.
      frac_coords: [sites, 3]; default: a point of each site's subspace (0 for free sites).
      lattice_params: [6]; default 0, for a lattice that is still to be drawn.
    """
    count = len(species)
    site_ops, site_projection = site_constraints(space_group, letters, count)
    if frac_coords is None:
        frac_coords = np.zeros((count, 3)) if letters is None else site_origins(space_group, letters)
    arrays: dict[str, Any] = {
        "species": np.asarray(species, np.int32),
        "frac_coords": np.asarray(frac_coords, np.float64).reshape(count, 3),
        "node_mask": np.ones(count, bool),
        "lattice_params": np.zeros(6) if lattice_params is None else np.asarray(lattice_params, np.float64),
        "space_group": np.int32(space_group),
        "site_ops": site_ops,
        "site_projection": site_projection,
    }
    return Crystal(**arrays)


def site_constraints(
    space_group: int, letters: Sequence[int] | Int[np.ndarray, " sites"] | None, count: int
) -> tuple[Bool[np.ndarray, "sites 48"], Float[np.ndarray, "sites 3 3"]]:
    """Returns `site_ops` and `site_projection` of sites on given letters, or of `count` free ones."""
    if letters is None:
        ops = np.arange(MAX_OPS) < group_tables().num_ops[space_group]
        return np.tile(ops, (count, 1)), np.tile(np.eye(3), (count, 1, 1))
    site_ops, projection = _letter_tables(space_group)
    index = np.asarray(letters, np.int64)
    return site_ops[index], projection[index]


def site_origins(
    space_group: int, letters: Sequence[int] | Int[np.ndarray, " sites"]
) -> Float[np.ndarray, "sites 3"]:
    """Returns a point of the subspace of each site, fractional."""
    positions = wyckoff_positions(space_group)
    return np.array([positions[index].origin for index in letters]).reshape(-1, 3)


def letter_indices(space_group: int, letters: Sequence[str]) -> list[int]:
    """Returns the index of each letter in `wyckoff_positions(space_group)`."""
    names = [position.letter for position in wyckoff_positions(space_group)]
    return [names.index(letter) for letter in letters]


@cache
def _letter_tables(space_group: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns site_ops [letters, 48] and site_projection [letters, 3, 3] of a group."""
    positions = wyckoff_positions(space_group)
    return np.stack([p.site_ops for p in positions]), np.stack([p.projection for p in positions])
