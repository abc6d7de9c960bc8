"""Finds the nearest image of a displacement by the vectors of a lattice, in its reduced cell."""

from functools import lru_cache
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from jaxcrystal.graph.reduction import minkowski_coefficients
from jaxcrystal.vectors import inverse, times

#: Å², squared distance of what is no neighbour.
FAR = 1e6


class ReducedCell(NamedTuple):
    """The reduced primitive cell of a lattice.

    Attributes:
      coefficients: [3, 3] integers: basis = coefficients @ (primitive cell).
      basis: [3, 3] rows are vectors, shortest first, Cartesian, Å.
      frac_basis: [3, 3] the same, fractional in the conventional cell.
      to_reduced: [3, 3] rows of fractional coordinates @ this = reduced coordinates.
    """

    coefficients: Float[Array, "3 3"]
    basis: Float[Array, "3 3"]
    frac_basis: Float[Array, "3 3"]
    to_reduced: Float[Array, "3 3"]


def reduced_cell(
    lattice: Float[Array, "3 3"], primitive: Float[Array, "3 3"], start: Float[Array, "3 3"] | None = None
) -> ReducedCell:
    """Reduces the primitive cell.

    Args:
      lattice: [3, 3] conventional cell, rows are vectors, Å.
      primitive: [3, 3] primitive vectors, fractional in it.
      start: `coefficients` of nearly the same cell; changes the time it takes only.
    """
    vectors = times(primitive, lattice)
    coefficients = minkowski_coefficients(vectors, start)
    frac_basis = times(coefficients, primitive)
    return ReducedCell(
        coefficients=coefficients,
        basis=times(coefficients, vectors),
        frac_basis=frac_basis,
        # The conventional vectors are lattice vectors: their coefficients are integers.
        # Without rounding, float32 loses three digits in a very skewed cell.
        to_reduced=jnp.round(inverse(frac_basis)),
    )


def nearest_images(
    displacement: Float[Array, "*rows 3"], cell: ReducedCell, at_least: Float[Array, "*rows"] | float = -1.0
) -> tuple[Float[Array, "*rows 3"], Float[Array, "*rows"]]:
    """Finds the shortest of a displacement and its images by lattice vectors.

    Args:
      displacement: [..., 3] fractional in the conventional cell, any branch.
      cell: of the lattice.
      at_least: [...] Å²; what is shorter is no neighbour.
    Returns:
      [..., 3] the shortest images, in coordinates of the reduced cell, and [...] Å² the squared
      length of the shortest that is a neighbour: of a site's own translations, the image is 0.
    """
    reduced = times(displacement, cell.to_reduced)
    reduced = reduced - jnp.round(reduced)
    grid = jnp.asarray(grid_points(1), reduced.dtype)
    squared = squared_distances(times(reduced, cell.basis), times(grid, cell.basis))
    best = jnp.argmin(squared, axis=-1)
    neighbors = jnp.where(squared < jnp.asarray(at_least, squared.dtype)[..., None], FAR, squared)
    return reduced + grid[best], neighbors.min(-1)


def squared_distances(displacement: Float[Array, "*rows 3"], offsets: Float[Array, "m 3"]) -> Array:
    """Returns |displacement + offset|² for every offset, [..., m]."""
    x, y, z = (displacement[..., axis, None] + offsets[:, axis] for axis in range(3))
    return x * x + y * y + z * z


@lru_cache(maxsize=4)
def grid_points(extent: int) -> np.ndarray:
    """Returns the integer points [(2 extent + 1)³, 3] from -extent to extent."""
    steps = np.arange(-extent, extent + 1)
    return np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3).astype(float)
