"""Products and inverses with vectors of length three, in full precision on every device.

Accelerators round the operands of matrix products (to TF32 or bfloat16) where they are not told
otherwise, which moves atoms by hundredths of an Å. These are written out as sums, which no device
rounds; a matrix product of three rows is none that would gain from its matrix unit, and sums are
joined with what stands around them to one loop.
"""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float


def times(rows: Float[Array, "*#batch 3"], matrix: Float[Array, "*#batch 3 n"]) -> Float[Array, "*batch n"]:
    """Returns `rows @ matrix`, each row a vector; the leading axes of both are broadcast."""
    first, second, third = (rows[..., n, None] * matrix[..., n, :] for n in range(3))
    return first + second + third


def turn(matrix: Float[Array, "*#batch n 3"], columns: Float[Array, "*#batch 3"]) -> Float[Array, "*batch n"]:
    """Returns `matrix @ column` of each vector; the leading axes of both are broadcast."""
    return times(columns, jnp.swapaxes(matrix, -1, -2))


def dot(a: Float[Array, "*#batch 3"], b: Float[Array, "*#batch 3"]) -> Float[Array, "*batch"]:
    """Returns the scalar products along the last axis."""
    return a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1] + a[..., 2] * b[..., 2]


def determinant(matrix: Float[Array, "3 3"]) -> Float[Array, ""]:
    """Returns the determinant of one matrix."""
    return dot(matrix[0], jnp.cross(matrix[1], matrix[2]))


def inverse(matrix: Float[Array, "3 3"]) -> Float[Array, "3 3"]:
    """Returns the inverse of one matrix, by cross products; not finite where it is singular."""
    rows = cofactors(matrix)
    return rows.T / dot(matrix[0], rows[0])


def cofactors(matrix: Float[Array, "3 3"]) -> Float[Array, "3 3"]:
    """Returns the cofactors of one matrix: row n is the cross product of the two rows after row n."""
    # The matrix repeated, so that rows and columns after the last are the first again.
    tiled = jnp.tile(matrix, (2, 2))
    return tiled[1:4, 1:4] * tiled[2:5, 2:5] - tiled[1:4, 2:5] * tiled[2:5, 1:4]
