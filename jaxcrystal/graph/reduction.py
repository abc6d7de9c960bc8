"""Reduces a three-dimensional lattice (Minkowski), inside jit."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

_ITERATIONS = 8
_NEIGHBORS = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1], indexing="ij"), -1).reshape(9, 2)


def minkowski_coefficients(vectors: Float[Array, "3 3"]) -> Float[Array, "3 3"]:
    """Returns the integer matrix whose product with `vectors` is a reduced basis.

    Greedy reduction (Nguyen and Stehlé, ACM Trans. Algorithms 5, 46, 2009): sort by
    length, then take from the longest vector the lattice vector of the other two that
    is closest to it. The number of rounds is fixed so that it compiles; eight are
    more than cells with an aspect ratio of 1:100 need. In a reduced basis the vector
    of a lattice closest to a point of the cell [-½, ½]³ has coefficients in {-1, 0, 1}.

    Args:
      vectors: [3, 3] rows are lattice vectors, Å.
    Returns:
      [3, 3] integers as floats, determinant ±1; shortest reduced vector first.
    """

    def one_round(_: Array, coefficients: Array) -> Array:
        basis = coefficients @ vectors
        order = jnp.argsort((basis**2).sum(1))
        coefficients, basis = coefficients[order], basis[order]
        first, second, third = basis
        shift = jnp.round(first @ second / (first @ first))
        second = second - shift * first
        coefficients = coefficients.at[1].add(-shift * coefficients[0])

        # Closest vector of the plane: solve the 2 x 2 normal equations, then try the
        # neighbours of the rounded solution.
        aa, ab, bb = first @ first, first @ second, second @ second
        ta, tb = third @ first, third @ second
        determinant = jnp.maximum(aa * bb - ab * ab, 1e-12)
        rounded = jnp.round(jnp.stack([ta * bb - tb * ab, tb * aa - ta * ab]) / determinant)
        candidates = rounded + jnp.asarray(_NEIGHBORS, vectors.dtype)
        remainders = third - candidates @ jnp.stack([first, second])
        # A tie keeps the first candidate; prefer the unshifted one, so that a reduced
        # basis is left as it is.
        cost = (remainders**2).sum(1) * jnp.where((candidates == 0).all(1), 1.0 - 1e-5, 1.0)
        best = candidates[jnp.argmin(cost)]
        return coefficients.at[2].add(-(best @ coefficients[:2]))

    coefficients = jax.lax.fori_loop(0, _ITERATIONS, one_round, jnp.eye(3, dtype=vectors.dtype))
    order = jnp.argsort(((coefficients @ vectors) ** 2).sum(1))
    return coefficients[order]
