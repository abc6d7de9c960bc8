"""What the images of a free site say about its noise, without a network.

The graph counts images of a site within `merge_distance` as one atom, so that the network
cannot see how far apart they are. But where noise has moved an atom off a special position,
the mean of its images is that position, exactly: in the directions that the operations which
make them do not leave alone, the noise is known.
"""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxcrystal.crystal import Crystal
from jaxcrystal.symmetry.groups import group_tables

#: Å; images nearer than this may be of one atom on a special position: apart, atoms would be nearer
#: to each other than in nearly all crystals.
IMAGE_DISTANCE = 1.0
#: Å; with more noise, images of an atom on a special position are often farther apart than that.
MAX_SIGMA = 0.2
#: Noise so many times σ long is not noise: the images are atoms.
MAX_DEVIATIONS = 4.5


def with_known_noise(
    coords: Float[Array, "max_nodes 3"],
    crystal: Crystal,
    own_images: Float[Array, "max_nodes max_ops 3"],
    sigma: Float[Array, ""],
) -> Float[Array, "max_nodes 3"]:
    """Replaces the noise estimate of free sites by what is known of it near special positions.

    Args:
      coords: [max_nodes, 3] estimated noise, Cartesian, over σ_X.
      crystal: noisy.
      own_images: [max_nodes, MAX_OPS, 3] of `graph.neighbors.Neighbors`.
      sigma: [] σ_X, Å.
    Returns:
      [max_nodes, 3] estimated noise; that of sites without near images is as it was.
    """
    dtype = coords.dtype
    near = ((own_images**2).sum(-1) < IMAGE_DISTANCE**2) & crystal.site_ops
    share = near.astype(dtype) / jnp.maximum(near.sum(1, keepdims=True), 1)
    rotations = jnp.asarray(group_tables().cart_rotations, dtype)[crystal.space_group]
    # Means over the stabiliser: of the images, and of the rotations, which projects on what it leaves alone.
    to_position = jnp.einsum("ng,nga->na", share, own_images)
    along = jnp.einsum("ng,gab->nab", share, rotations)
    is_noise = (to_position**2).sum(1) < (MAX_DEVIATIONS * sigma) ** 2
    known = jnp.einsum("nab,nb->na", along, coords) - to_position / sigma
    use = is_noise & (near.sum(1) > 1) & (sigma < MAX_SIGMA)
    return jnp.where(use[:, None], known, coords)
