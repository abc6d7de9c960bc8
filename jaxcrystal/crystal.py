"""The type `Crystal`, one structure as arrays padded to fixed sizes, and the sizes to choose from.

`symmetry.crystals` builds one, of numpy arrays; here it is padded and stacked to batches. The
sizes that are padded to stand here too: every size is a compilation.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

from jaxcrystal.errors import DataError

#: Operations kept for a space group: one for each coset of the centring translations.
MAX_OPS = 48
#: Sizes that structures are padded to, in inequivalent sites.
BUCKETS = (1, 2, 3, 4, 6, 8, 12, 20)
#: Sizes of the list of atom images in the neighbour search, that is, atoms of the primitive cell.
IMAGE_BUCKETS = (24, 96, 192, 480, 960)


class Crystal(NamedTuple):
    """A crystal as its symmetry-inequivalent sites, its lattice and its space group.

    Attributes:
      species: [max_nodes] atomic numbers, 0 on padding.
      frac_coords: [max_nodes, 3] fractional in the conventional cell of the setting
        of `symmetry.groups`, any branch.
      node_mask: [max_nodes] True for real sites.
      lattice_params: [6] unconstrained numbers for (a, b, c, alpha, beta, gamma); see
        `symmetry.lattice`. Slots that the crystal family ties or fixes hold 0.
      space_group: [] space-group number, 1-230; 0 on an all-padding structure.
      site_ops: [max_nodes, MAX_OPS] the operations whose images of the site are
        distinct atoms: all operations of the group for a free site, one for each
        coset of its stabiliser for a constrained one. False on padding.
      site_projection: [max_nodes, 3, 3] acts on a column of fractional displacement
        and projects it on the site's subspace: identity for a free site, the mean of
        the stabiliser's rotations for a constrained one, 0 on padding.
    """

    species: Int[Array, "*batch max_nodes"]
    frac_coords: Float[Array, "*batch max_nodes 3"]
    node_mask: Bool[Array, "*batch max_nodes"]
    lattice_params: Float[Array, "*batch 6"]
    space_group: Int[Array, "*batch"]
    site_ops: Bool[Array, "*batch max_nodes max_ops"]
    site_projection: Float[Array, "*batch max_nodes 3 3"]


def bucket_of(num_sites: int | np.integer) -> int:
    """Returns the smallest bucket that holds `num_sites` inequivalent sites.

    Raises:
      DataError: more sites than the largest bucket, or none.
    """
    for bucket in BUCKETS:
        if 1 <= num_sites <= bucket:
            return bucket
    raise DataError(f"{num_sites} inequivalent sites: structures need 1 to {BUCKETS[-1]}")


def image_bucket_of(num_images: int | np.integer) -> int:
    """Returns the smallest size of the list of images that holds `num_images` (at most 20 · 48)."""
    return next(size for size in IMAGE_BUCKETS if size >= num_images)


def empty(max_nodes: int) -> Crystal:
    """Returns a crystal without sites, of numpy arrays in float64."""
    arrays: dict[str, Any] = {
        "species": np.zeros(max_nodes, np.int32),
        "frac_coords": np.zeros((max_nodes, 3)),
        "node_mask": np.zeros(max_nodes, bool),
        "lattice_params": np.zeros(6),
        "space_group": np.int32(0),
        "site_ops": np.zeros((max_nodes, MAX_OPS), bool),
        "site_projection": np.zeros((max_nodes, 3, 3)),
    }
    return Crystal(**arrays)


def pad_and_stack(crystals: Sequence[Crystal], max_nodes: int, dtype: type = np.float32) -> Crystal:
    """Returns crystals padded to one size and stacked along a leading batch axis, on the host.

    Args:
      crystals: of numpy arrays, each without a batch axis.
      max_nodes: sites that each is padded to.
      dtype: of the floating-point arrays.

    Raises:
      DataError: a crystal has more than `max_nodes` sites.
    """
    most = max((len(crystal.species) for crystal in crystals), default=0)
    if most > max_nodes:
        raise DataError(f"a structure has {most} sites, max_nodes is {max_nodes}")
    like = empty(max_nodes)
    columns = []
    for name, template in zip(Crystal._fields, like, strict=True):
        kind = dtype if np.asarray(template).dtype.kind == "f" else np.asarray(template).dtype
        column = np.zeros((len(crystals), *np.shape(template)), kind)
        for row, crystal in enumerate(crystals):
            values = np.asarray(getattr(crystal, name))
            if name in _PER_SITE:
                column[row, : len(values)] = values
            else:
                column[row] = values
        columns.append(column)
    batch: Any = columns
    return Crystal(*batch)


#: Fields with a row for each site.
_PER_SITE = ("species", "frac_coords", "node_mask", "site_ops", "site_projection")
