"""One crystal, padded to fixed sizes; batches come from `vmap`."""

from typing import NamedTuple

from jax import Array
from jaxtyping import Bool, Float, Int

#: Operations kept for a space group: one for each coset of the centring translations.
MAX_OPS = 48


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
