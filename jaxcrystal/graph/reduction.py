"""Reduces a three-dimensional lattice (Minkowski), inside jit."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from jaxcrystal.vectors import dot, times

#: More rounds than cells with an aspect ratio of 1:100 need.
_MOST_ROUNDS = 9
_NEIGHBORS = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1], indexing="ij"), -1).reshape(9, 2)


def minkowski_coefficients(
    vectors: Float[Array, "3 3"], start: Float[Array, "3 3"] | None = None
) -> Float[Array, "3 3"]:
    """Returns the integer matrix whose product with `vectors` is a reduced basis.

    Greedy reduction (Nguyen and Stehlé, ACM Trans. Algorithms 5, 46, 2009): take from the
    longest vector the lattice vector of the other two that is closest to it, then sort by
    length, until a round changes nothing. In a reduced basis the vector
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

    def unfinished(state: tuple[Array, Array]) -> Array:
        return state[0] > 0

    def go_on(state: tuple[Array, Array]) -> tuple[Array, Array]:
        rounds_left, before = state
        now = _one_round(before, vectors)
        return jnp.where(jnp.any(now != before), rounds_left - 1, 0), now

    return jax.lax.while_loop(unfinished, go_on, (jnp.int32(_MOST_ROUNDS), start))[1]


def _one_round(coefficients: Array, vectors: Array) -> Array:
    first, second, third = times(coefficients, vectors)
    shift = jnp.round(dot(first, second) / dot(first, first))
    second = second - shift * first
    shorter = coefficients[1] - shift * coefficients[0]

    # Closest vector of the plane: solve the 2 x 2 normal equations, then try the
    # neighbours of the rounded solution.
    aa, ab, bb = dot(first, first), dot(first, second), dot(second, second)
    ta, tb = dot(third, first), dot(third, second)
    normal = jnp.maximum(aa * bb - ab * ab, 1e-12)
    rounded = jnp.round(jnp.stack([(ta * bb - tb * ab) / normal, (tb * aa - ta * ab) / normal]))
    candidates = rounded + jnp.asarray(_NEIGHBORS, vectors.dtype)
    remainders = third - candidates[:, :1] * first - candidates[:, 1:] * second
    # A tie keeps the first candidate; prefer the unshifted one, so that a reduced
    # basis is left as it is.
    cost = dot(remainders, remainders) * jnp.where((candidates == 0).all(1), 1.0 - 1e-5, 1.0)
    best = candidates[jnp.argmin(cost)]
    third = third - best[0] * first - best[1] * second
    nearest = coefficients[2] - best[0] * coefficients[0] - best[1] * shorter
    rows = jnp.stack([coefficients[0], shorter, nearest])
    return _by_length(rows, aa, bb, dot(third, third))


def _by_length(rows: Array, first: Array, second: Array, third: Array) -> Array:
    """Sorts three rows by the numbers that belong to them; equal ones stay in order."""
    rank = jnp.stack(
        [
            (second < first).astype(int) + (third < first),
            (first <= second).astype(int) + (third < second),
            (first <= third).astype(int) + (second <= third),
        ]
    )
    return times((rank == np.arange(3)[:, None]).astype(rows.dtype), rows)
