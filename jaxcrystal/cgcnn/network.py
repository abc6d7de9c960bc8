"""CGCNN (Xie and Grossman, Phys. Rev. Lett. 120, 145301, 2018): from a crystal to one number.

Its graph, and what differs in it from the published one, is in `cgcnn.graph`. Here
layer norm stands for batch norm: it needs no statistics of the training set, and no
weighting by multiplicity.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from jaxcrystal.cgcnn.graph import CgcnnConfig, ShellGraph

#: The label of a file of weights.
WEIGHTS_FORMAT = "jaxcrystal-cgcnn-1"
_NOBLE_GASES = np.array([0, 2, 10, 18, 36, 54, 86, 118])


class CgcnnOutput(NamedTuple):
    """For each crystal of a batch.

    Attributes:
      energy: [crystals] formation energy, eV per atom.
      activations: [crystals, hidden] of the second-to-last layer.
    """

    energy: Float[Array, " crystals"]
    activations: Float[Array, "crystals hidden"]


class Cgcnn(nn.Module):
    """The network; one output for each of `crystals` crystals."""

    config: CgcnnConfig

    @nn.compact
    def __call__(self, graph: ShellGraph, crystals: int) -> CgcnnOutput:
        """Returns energies and activations.

        Args:
          graph: a batch.
          crystals: how many the batch has room for.
        """
        config = self.config
        # Row and column of the periodic table stand in for elements that are rare in the data.
        row, column = (jnp.asarray(table)[graph.species] for table in _periodic_table())
        x = nn.Embed(119, config.width, name="element")(graph.species)
        x = x + nn.Embed(8, config.width, name="row")(row) + nn.Embed(33, config.width, name="column")(column)
        centres = jnp.linspace(0.0, config.cutoff, config.gaussians)
        spacing = config.cutoff / (config.gaussians - 1)
        basis = jnp.exp(-(((graph.distance[:, None] - centres) / spacing) ** 2))
        for layer in range(config.convolutions):
            x = Convolution(config.width, name=f"convolution_{layer}")(x, basis, graph)
        pooled = jax.ops.segment_sum(
            x * graph.share[:, None], graph.crystal, crystals, indices_are_sorted=True
        )
        activations = nn.softplus(nn.Dense(config.hidden, name="hidden")(nn.softplus(pooled)))
        return CgcnnOutput(nn.Dense(1, name="energy")(activations)[:, 0], activations)


class Convolution(nn.Module):
    """x_i + Σ_j w_ij σ(z_ij W_f) softplus(z_ij W_s), z = (x_i, x_j, basis of d_ij)."""

    width: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "nodes width"], basis: Float[Array, "edges gaussians"], graph: ShellGraph
    ) -> Float[Array, "nodes width"]:
        """Returns the new node features."""
        # One product for each part of z, those of the nodes before they are spread on the edges.
        z = nn.Dense(2 * self.width, use_bias=False, name="receiver")(x)[graph.receivers]
        z = z + nn.Dense(2 * self.width, use_bias=False, name="sender")(x)[graph.senders]
        z = z + nn.Dense(2 * self.width, name="distance")(basis)
        gate, core = jnp.split(nn.LayerNorm(name="edge_norm")(z), 2, axis=-1)
        messages = nn.sigmoid(gate) * nn.softplus(core) * graph.weight[:, None]
        # Padding hangs on the last node: receivers are in order.
        total = jax.ops.segment_sum(messages, graph.receivers, x.shape[0], indices_are_sorted=True)
        return jnp.asarray(nn.softplus(x + nn.LayerNorm(name="node_norm")(total)))


def init_params(key: Array, config: CgcnnConfig, graph: ShellGraph) -> Any:
    """Returns fresh parameters; `graph` only gives shapes."""
    return jax.jit(lambda key, graph: Cgcnn(config).init(key, graph, 1)["params"])(key, graph)


def apply(params: Any, config: CgcnnConfig, graph: ShellGraph, crystals: int) -> CgcnnOutput:
    """Returns the network's outputs for a batch with room for `crystals`."""
    output: Any = Cgcnn(config).apply({"params": params}, graph, crystals)
    return CgcnnOutput(*output)


def _periodic_table() -> tuple[np.ndarray, np.ndarray]:
    """Returns row and column [119] of each atomic number; 0 for padding.

    Columns 1 to 18 are the groups, 19 to 32 the lanthanoids and actinoids but the first.
    """
    number = np.arange(119)
    row = np.searchsorted(_NOBLE_GASES, number)
    place = number - _NOBLE_GASES[np.maximum(row - 1, 0)]
    length = np.array([1, 2, 8, 8, 18, 18, 32, 32])[row]
    from_right = 18 - (length - place)  # right in the p and d blocks
    column = np.where(place <= 2, place, from_right)
    column = np.where((number == 2) | (place == length), 18, column)
    inner = (length == 32) & (place >= 3) & (place <= 17)
    column = np.where(inner, np.where(place == 3, 3, 15 + place), column)
    return row.astype(np.int32), np.where(number == 0, 0, column).astype(np.int32)
