"""Reduces a three-dimensional lattice (Minkowski), inside jit."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from jaxcrystal.vectors import dot, times

#: More rounds than cells with an aspect ratio of 1:100 need.
_MOST_ROUNDS = 8
_NEIGHBORS = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1], indexing="ij"), -1).reshape(9, 2)


def minkowski_coefficients(
    vectors: Float[Array, "3 3"], start: Float[Array, "3 3"] | None = None
) -> Float[Array, "3 3"]:
    """Returns the integer matrix whose product with `vectors` is a reduced basis.

    Greedy reduction (Nguyen and Stehlé, ACM Trans. Algorithms 5, 46, 2009): sort by
    length, then take from the longest vector the lattice vector of the other two that
    is closest to it, until a round changes nothing. In a reduced basis the vector
    of a lattice closest to a point of the cell [-½, ½]³ has coefficients in {-1, 0, 1}.

    Args:
      vectors: [3, 3] rows are lattice vectors, Å.
      start: [3, 3] what was returned for nearly the same vectors: then one round, which finds that
        nothing changes, is nearly always all. Default: the vectors as they are.
    Returns:
      [3, 3] integers as floats, determinant ±1; shortest reduced vector first.
    """
    # Integers have no slope, and a loop of so many rounds as it takes no way back.
    vectors = jax.lax.stop_gradient(vectors)
    start = jnp.eye(3, dtype=vectors.dtype) if start is None else start

    def unfinished(state: tuple[Array, Array, Array]) -> Array:
        rounds, before, now = state
        return (rounds < _MOST_ROUNDS) & jnp.any(before != now)

    def go_on(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        rounds, _, now = state
        return rounds + 1, now, _one_round(now, vectors)

    # No coefficients are NaN: the first round is never left out.
    first = jnp.int32(0), jnp.full_like(start, jnp.nan), start
    return _by_length(jax.lax.while_loop(unfinished, go_on, first)[2], vectors)


def _one_round(coefficients: Array, vectors: Array) -> Array:
    coefficients = _by_length(coefficients, vectors)
    first, second, third = times(coefficients, vectors)
    shift = jnp.round(dot(first, second) / dot(first, first))
    second = second - shift * first
    shorter = coefficients[1] - shift * coefficients[0]

    # Closest vector of the plane: solve the 2 x 2 normal equations, then try the
    # neighbours of the rounded solution.
    aa, ab, bb = dot(first, first), dot(first, second), dot(second, second)
    ta, tb = dot(third, first), dot(third, second)
    normal = jnp.maximum(aa * bb - ab * ab, 1e-12)
    rounded = jnp.round(jnp.stack([ta * bb - tb * ab, tb * aa - ta * ab]) / normal)
    candidates = rounded + jnp.asarray(_NEIGHBORS, vectors.dtype)
    remainders = third - candidates[:, :1] * first - candidates[:, 1:] * second
    # A tie keeps the first candidate; prefer the unshifted one, so that a reduced
    # basis is left as it is.
    cost = dot(remainders, remainders) * jnp.where((candidates == 0).all(1), 1.0 - 1e-5, 1.0)
    best = candidates[jnp.argmin(cost)]
    return jnp.stack(
        [coefficients[0], shorter, coefficients[2] - best[0] * coefficients[0] - best[1] * shorter]
    )


def _by_length(coefficients: Array, vectors: Array) -> Array:
    """Sorts the rows by the lengths of the vectors that they make; equal ones stay in order."""
    basis = times(coefficients, vectors)
    rows, lengths = list(coefficients), list(dot(basis, basis))
    for one, other in ((0, 1), (1, 2), (0, 1)):
        swap = lengths[one] > lengths[other]
        rows[one], rows[other] = (
            jnp.where(swap, rows[other], rows[one]),
            jnp.where(swap, rows[one], rows[other]),
        )
        lengths[one], lengths[other] = (
            jnp.minimum(lengths[one], lengths[other]),
            jnp.maximum(lengths[one], lengths[other]),
        )
    return jnp.stack(rows)
