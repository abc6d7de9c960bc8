"""DimeNet++ (Gasteiger et al., arXiv:2011.14115) on the symmetric multigraph.

Two things differ from the published code. Output blocks can act on edges, with a layer
norm and no pooling, as the paper needs. And there is no list of triplets: by the
addition theorem P_l(cos θ) = Σ_m S_lm(u) S_lm(v), the interaction block's sum over
triplets k -> j -> i factors into a projection of every node's incoming messages on the
harmonics and an evaluation at each edge's direction. The numbers are the same.

The angle is DimeNet++'s: between the directions k -> j and j -> i, both in the frame of
site j. All arrays are flat over the edges, `max_neighbors` slots for each node.
"""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import jraph
import numpy as np
from jax import Array
from jaxtyping import Float

from jaxcrystal.config import Checked
from jaxcrystal.graph.multigraph import reverse_edges
from jaxcrystal.limits import Within
from jaxcrystal.models.bases import envelope, radial_basis, real_harmonics, spherical_bessel_basis
from jaxcrystal.models.dense import PRECISIONS, Dense, matmul, weight_dtype

# Its slope is computed again on the way back: that takes less time than to keep it, which would
# fill a processor's cache.
_silu = jax.checkpoint(jax.nn.silu)

#: Features of a layer, functions of a basis, layers.
_WIDTH, _ORDERS, _LAYERS = Within(1, 16_384), Within(1, 64), Within(0, 64)
#: Å; bases are evaluated no nearer than this: DimeNet's diverge as 1/d.
MIN_DISTANCE = 0.3


@dataclass(frozen=True)
class DimeNetConfig(Checked):
    """Sizes of the network.

    Attributes:
      hidden: width of the edge embeddings.
      interaction: width inside the interaction block (int_emb_size).
      basis: width of the bases' bottleneck (basis_emb_size).
      output: width of the output blocks (out_emb_channels).
      blocks: interaction blocks.
      num_spherical: angular orders, l = 0 .. num_spherical - 1.
      num_radial: radial functions for each l.
      before_skip, after_skip: residual layers around the skip connection.
      output_layers: dense layers of an output block.
      last_output_only: one output block, after the last interaction, instead of one after each
        and after the embedding.
      envelope_exponent: p of the envelope.
      backtracking: keep the triplets whose k is the atom i itself, as the paper's code
        does; DimeNet++ leaves them out.
      noise_features: Gaussians for each log σ; 0: the network sees neither the noise nor
        which edges join images of one site, nor whether sites are free, as in DimeNet++.
      edge_outputs: one output for each edge (with layer norm) rather than one for the
        graph (pooled over edges, then nodes, as in DimeNet++).
      num_outputs: numbers for each edge (or graph).
      precision: of the layers' products: `float32`, `tf32` (on accelerators; a CPU computes them in
        float32) or `bfloat16`, in which layers pass on what they compute, too. Sums, weights,
        geometry and outputs are float32 in all of them.
    """

    hidden: Annotated[int, _WIDTH] = 64
    interaction: Annotated[int, _WIDTH] = 32
    basis: Annotated[int, _WIDTH] = 8
    output: Annotated[int, _WIDTH] = 64
    blocks: Annotated[int, _LAYERS] = 3
    num_spherical: Annotated[int, _ORDERS] = 7
    num_radial: Annotated[int, _ORDERS] = 10
    before_skip: Annotated[int, _LAYERS] = 1
    after_skip: Annotated[int, _LAYERS] = 2
    output_layers: Annotated[int, _LAYERS] = 1
    last_output_only: bool = False
    envelope_exponent: Annotated[int, Within(1, 64)] = 5
    backtracking: bool = True
    noise_features: Annotated[int, Within(0, 4096)] = 16
    edge_outputs: bool = True
    num_outputs: Annotated[int, _WIDTH] = 2
    precision: str = "tf32"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision is {self.precision!r}; expected one of {', '.join(PRECISIONS)}")

    def activation_dtype(self, geometry: jnp.dtype) -> jnp.dtype:
        """Returns the type of the activations, given that of the geometry (float64 stays)."""
        return jnp.dtype(jnp.bfloat16) if self.precision == "bfloat16" else geometry

    def dense(self, features: int, **settings: Any) -> Dense:
        """Returns a dense layer of this precision."""
        return Dense(features, precision=self.precision, **settings)


class _Geometry(NamedTuple):
    """What every block reads of the geometry, computed once."""

    radial: Array  # [edges, num_radial]
    spherical: Array  # [edges, num_spherical, num_radial] radial part of the spherical basis
    incoming: Array  # [nodes, harmonics * num_radial, K] harmonics times radial part
    outgoing: Array  # [edges, nodes * harmonics] harmonics of the edge, in its sender's columns
    nodes: int
    reverse: tuple[Array, Array] | None  # index and mask of each edge's way back


class _Filters(NamedTuple):
    """The bases as one interaction block weighs them."""

    radial: Array  # [edges, hidden]
    spherical: Array  # [harmonics, num_radial, interaction] weights, the same for all harmonics of one l


class DimeNet(nn.Module):
    """DimeNet++ with edge outputs; `config` holds the sizes, `cutoff` is in Å."""

    config: DimeNetConfig
    cutoff: float

    @property
    def envelope_exponent(self) -> int:
        """Of the weights of sums over edges: see `score.make_score`."""
        return self.config.envelope_exponent

    @property
    def values_per_edge(self) -> int:
        """See `score.values_per_edge`."""
        return self.config.hidden * self.config.blocks

    def describe(self) -> str:
        """Returns the sizes in a few words."""
        return f"{self.config.blocks} blocks, {self.config.hidden} wide"

    @nn.compact
    def __call__(
        self, graph: jraph.GraphsTuple, log_sigma: Float[Array, "2"] | None = None, cond: Any = None
    ) -> Float[Array, "edges num_outputs"] | Float[Array, " num_outputs"]:
        """Returns [edges, num_outputs], or [num_outputs] where `edge_outputs` is off.

        Args:
          graph: of `graph.multigraph.build_multigraph`.
          log_sigma: [2] natural logarithms of σ of coordinates (Å) and lattice.
          cond: ignored: this network takes no conditions.
        """
        del cond
        config = self.config
        geometry = self._geometry(graph)
        embedding = EmbeddingBlock(config)
        blocks = [InteractionBlock(config) for _ in range(config.blocks)]
        outputs = [OutputBlock(config) for _ in range(1 if config.last_output_only else config.blocks + 1)]
        first, filters, last = self._weighed_bases(embedding, blocks, outputs, geometry)
        stages = [embedding(graph, first, log_sigma)]
        for block, of_block in zip(blocks, filters, strict=True):
            stages.append(block(stages[-1], of_block, geometry))
        return self._outputs(outputs, stages[-len(outputs) :], last, geometry, graph).sum(0)

    def _weighed_bases(
        self,
        embedding: "EmbeddingBlock",
        blocks: list["InteractionBlock"],
        outputs: list["OutputBlock"],
        geometry: _Geometry,
    ) -> tuple[Array, list[_Filters], list[Array]]:
        """Returns the bases as each block weighs them: those of the radial basis from one product for all."""
        config = self.config
        dtype = weight_dtype(geometry.radial)
        layers = [block.radial_weights(config.num_radial, dtype) for block in (embedding, *outputs)]
        kernels = [kernel for kernel, _ in layers]
        spherical: Any = []
        if blocks:
            weights = [block.filter_weights(dtype) for block in blocks]
            stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *weights)
            radial, spherical = (jnp.matmul(*pair, precision=jax.lax.Precision.HIGHEST) for pair in stacked)
            kernels.append(jnp.moveaxis(radial, 0, 1).reshape(config.num_radial, -1))
            spherical = spherical.reshape(len(blocks), config.num_spherical, config.num_radial, -1)
            spherical = spherical.astype(geometry.radial.dtype)[:, _order_of_harmonic(config.num_spherical)]
        on_edges = matmul(geometry.radial, jnp.concatenate(kernels, axis=1), config.precision)
        first, *others = jnp.split(on_edges, 1 + len(outputs) + len(blocks), axis=1)
        first = first + jnp.asarray(layers[0][1], first.dtype)
        of_outputs, of_blocks = others[: len(outputs)], others[len(outputs) :]
        return first, [_Filters(*pair) for pair in zip(of_blocks, spherical, strict=True)], of_outputs

    def _outputs(
        self,
        blocks: list["OutputBlock"],
        stages: list[Array],
        radial: list[Array],
        geometry: _Geometry,
        graph: jraph.GraphsTuple,
    ) -> Array:
        """[stages, ...] what the output block of each stage gives, all of them at once."""
        if self.is_initializing():
            each = zip(blocks, stages, radial, strict=True)
            return jnp.stack([block(stage, basis, geometry, graph) for block, stage, basis in each])
        params = [self.variables["params"][str(block.name)] for block in blocks]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *params)
        block = OutputBlock(self.config, parent=None)

        def one(params: Any, stage: Array, radial: Array) -> Any:
            return block.apply({"params": params}, stage, radial, geometry, graph)

        return jnp.asarray(jax.vmap(one)(stacked, jnp.stack(stages), jnp.stack(radial)))

    def _geometry(self, graph: jraph.GraphsTuple) -> _Geometry:
        config, edges = self.config, graph.edges
        nodes = graph.nodes.species.shape[0]
        x = jnp.maximum(edges.distance, MIN_DISTANCE) / self.cutoff
        fade = envelope(edges.distance / edges.reach, config.envelope_exponent) * edges.mask
        frequencies = self.param(
            "frequencies", lambda _: jnp.asarray(np.pi * np.arange(1, config.num_radial + 1), x.dtype)
        )
        degrees = np.arange(config.num_spherical)
        # Y_l0 = sqrt((2l+1)/4π) P_l: the factor goes with the radial part, so that the
        # harmonics carry the addition theorem alone.
        angular_norm = jnp.asarray(np.sqrt((2 * degrees + 1) / (4 * np.pi)), x.dtype)
        spherical = spherical_bessel_basis(x, config.num_spherical, config.num_radial)
        spherical = spherical * angular_norm[:, None] * (fade * (1.0 / x))[:, None, None]
        order = _order_of_harmonic(config.num_spherical)
        directions = jnp.stack([edges.direction, edges.sender_direction])
        harmonics, outgoing = real_harmonics(directions, config.num_spherical - 1)
        incoming = _of_nodes(harmonics, nodes)[:, :, None] * _of_nodes(spherical, nodes)[:, order]
        sender = jax.nn.one_hot(graph.senders, nodes, dtype=x.dtype)
        incoming = incoming.reshape(nodes, order.size * config.num_radial, -1)
        outgoing = (sender[:, :, None] * outgoing[:, None, :]).reshape(sender.shape[0], -1)
        dtype = config.activation_dtype(x.dtype)
        return _Geometry(
            radial=(radial_basis(x, frequencies) * fade[:, None]).astype(dtype),
            spherical=spherical.astype(dtype),
            incoming=incoming.astype(dtype),
            outgoing=outgoing.astype(dtype),
            nodes=nodes,
            reverse=None if config.backtracking else reverse_edges(graph),
        )


def _of_nodes(values: Float[Array, "edges *features"], nodes: int) -> Float[Array, "nodes *features K"]:
    """Returns the values of each node's incoming edges, edges last.

    The order in memory that the products of the interaction blocks read: turned around there, a
    sixth of a forward pass goes into it.
    """
    return jnp.moveaxis(values.reshape(nodes, -1, *values.shape[1:]), 1, -1)


def _order_of_harmonic(num_spherical: int) -> np.ndarray:
    """[num_spherical²] the l of each harmonic, 0 1 1 1 2 ..."""
    degrees = np.arange(num_spherical)
    return np.repeat(degrees, 2 * degrees + 1)


class EmbeddingBlock(nn.Module):
    """First messages: species of both ends, radial basis, noise level, same-site and free-site flags."""

    config: DimeNetConfig

    def setup(self) -> None:
        """Names the layer whose product other blocks share."""
        self.radial = self.config.dense(self.config.hidden)

    def radial_weights(self, width: int, dtype: jnp.dtype) -> tuple[Array, Array | None]:
        """Returns kernel and bias of the layer on the radial basis."""
        return self.radial.weights(width, dtype)

    @nn.compact
    def __call__(
        self, graph: jraph.GraphsTuple, radial: Float[Array, "edges hidden"], log_sigma: Array | None
    ) -> Float[Array, "edges hidden"]:
        """Returns the first messages; `radial` is what the layer of that name makes of the basis."""
        config = self.config
        uniform = nn.initializers.variance_scaling(1.0, "fan_out", "normal")
        species = nn.Embed(
            119,
            config.hidden,
            embedding_init=uniform,
            dtype=radial.dtype,
            param_dtype=weight_dtype(radial),
            name="species",
        )(graph.nodes.species)
        # One product on the nodes and one on the edges instead of one on [x_i, x_j, rbf].
        nodes = graph.nodes.species.shape[0]
        to_receiver = config.dense(config.hidden, use_bias=False, name="receiver")(species)
        to_sender = config.dense(config.hidden, use_bias=False, name="sender")(species)
        sender = jax.nn.one_hot(graph.senders, nodes, dtype=radial.dtype)
        rbf = _silu(radial)
        x = config.dense(config.hidden, name="edge")(rbf) + matmul(sender, to_sender, config.precision)
        x = x + jnp.repeat(to_receiver, radial.shape[0] // nodes, axis=0)
        if config.noise_features:
            dtype = weight_dtype(radial)
            flag = self.param("same_site", nn.initializers.normal(0.5), (config.hidden,), dtype)
            same_site = graph.edges.same_site[:, None]
            flags = jnp.where(same_site, flag, 0.0)
            # Images of a free site may merge, those of a constrained one must not: without
            # this flag, the network lets constrained sites fall on special positions.
            free = self.param("free_sites", nn.initializers.zeros, (2, config.hidden), dtype)
            flags = flags + jnp.where(
                graph.globals.free_sites, free[0] + jnp.where(same_site, free[1], 0.0), 0.0
            )
            x = x + flags.astype(x.dtype)
            features = _gaussians(log_sigma, config).astype(x.dtype)
            noise = _silu(config.dense(config.hidden, name="noise_in")(features))
            x = x + config.dense(config.hidden, name="noise_out")(noise)
        return _silu(x)


class InteractionBlock(nn.Module):
    """DimeNet++'s interaction block, its triplet sum in factored form."""

    config: DimeNetConfig

    def setup(self) -> None:
        """Names the layers."""
        config = self.config
        self.ji, self.kj = config.dense(config.hidden), config.dense(config.hidden)
        self.radial_in = config.dense(config.basis, use_bias=False)
        self.radial_out = config.dense(config.hidden, use_bias=False)
        self.down = config.dense(config.interaction, use_bias=False)
        self.up = config.dense(config.hidden, use_bias=False)
        self.before = [_Residual(config) for _ in range(config.before_skip)]
        self.skip = config.dense(config.hidden)
        self.after = [_Residual(config) for _ in range(config.after_skip)]

    @nn.compact
    def filter_weights(self, dtype: jnp.dtype) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """Returns both kernels on the radial basis, then both on the spherical basis."""
        config, init = self.config, nn.initializers.glorot_uniform()
        shape = (config.num_spherical * config.num_radial, config.basis)
        into = self.param("spherical_in", init, shape, dtype)
        out = self.param("spherical_out", init, (config.basis, config.interaction), dtype)
        radial_in, _ = self.radial_in.weights(config.num_radial, dtype)
        radial_out, _ = self.radial_out.weights(config.basis, dtype)
        return (radial_in, radial_out), (into, out)

    def __call__(
        self, messages: Float[Array, "edges hidden"], filters: _Filters, geometry: _Geometry
    ) -> Float[Array, "edges hidden"]:
        """Returns the messages after one round."""
        act = _silu
        x_ji = act(self.ji(messages))
        x_kj = act(self.kj(messages)) * filters.radial
        x_kj = act(self.down(x_kj))
        h = x_ji + act(self.up(self._triplet_sum(x_kj, filters.spherical, geometry)))
        for layer in self.before:
            h = layer(h)
        h = act(self.skip(h)) + messages
        for layer in self.after:
            h = layer(h)
        return h

    def _triplet_sum(self, x_kj: Array, weights: Array, geometry: _Geometry) -> Array:
        """[edges, interaction] Σ_k x_kj ∘ W(j_l(d_kj) P_l(cos θ)) for every edge j -> i."""
        config = self.config
        # Project each node's messages on harmonics and radial functions, then contract the
        # radial functions with their weights: the [edge, l, channel] array of filtered
        # messages never exists.
        messages = x_kj.reshape(geometry.nodes, -1, config.interaction)
        projected = matmul(geometry.incoming, messages, config.precision)
        projected = projected.reshape(geometry.nodes, -1, config.num_radial, config.interaction)
        at_nodes = (projected * weights).sum(2)
        total = matmul(geometry.outgoing, at_nodes.reshape(-1, config.interaction), config.precision)
        if geometry.reverse is not None:
            # On the way back cos θ = -1, so that P_l = (-1)^l.
            index, exists = geometry.reverse
            degrees = np.arange(config.num_spherical)
            sign, of_degrees = jnp.asarray((-1.0) ** degrees, x_kj.dtype), weights[degrees**2]
            back = jnp.einsum(
                "l,eln,lnc->ec", sign, geometry.spherical, of_degrees, precision=jax.lax.Precision.HIGHEST
            )
            total = total - jnp.where(exists[:, None], (x_kj * back)[index], 0.0)
        return total


class OutputBlock(nn.Module):
    """Numbers for each edge (paper) or, pooled, for the graph (DimeNet++)."""

    config: DimeNetConfig

    def setup(self) -> None:
        """Names the layer whose product other blocks share."""
        self.radial = self.config.dense(self.config.hidden, use_bias=False)

    def radial_weights(self, width: int, dtype: jnp.dtype) -> tuple[Array, Array | None]:
        """Returns kernel and bias of the layer on the radial basis."""
        return self.radial.weights(width, dtype)

    @nn.compact
    def __call__(
        self,
        messages: Float[Array, "edges hidden"],
        radial: Float[Array, "edges hidden"],
        geometry: _Geometry,
        graph: jraph.GraphsTuple,
    ) -> Array:
        """Returns [edges, num_outputs], or [num_outputs] pooled; `radial` is that layer's of the basis."""
        config = self.config
        x = radial * messages
        if not config.edge_outputs:
            x = x.reshape(geometry.nodes, -1, config.hidden).sum(1)
        x = config.dense(config.output, use_bias=False, name="up")(x)
        if config.edge_outputs:
            x = nn.LayerNorm(dtype=x.dtype, param_dtype=weight_dtype(x), name="norm")(x)
        for layer in range(config.output_layers):
            x = _silu(config.dense(config.output, name=f"dense_{layer}")(x))
        x = config.dense(config.num_outputs, use_bias=False, zero_init=True, name="out")(x)
        x = x.astype(weight_dtype(x))
        if not config.edge_outputs:
            x = jnp.where(graph.nodes.mask[:, None], x, 0.0).sum(0)
        return x


class _Residual(nn.Module):
    """x + two dense layers of x."""

    config: DimeNetConfig

    @nn.compact
    def __call__(self, x: Array) -> Array:
        config = self.config
        h = _silu(config.dense(config.hidden, name="first")(x))
        return x + _silu(config.dense(config.hidden, name="second")(h))


def _gaussians(log_sigma: Array | None, config: DimeNetConfig) -> Array:
    """[2 * noise_features] smooth features of the two log σ, from 0.005 to 10."""
    if log_sigma is None:
        raise ValueError("this network sees the noise level: give log_sigma [2]")
    low, high = np.log(0.005), np.log(10.0)
    centres = jnp.asarray(np.linspace(low, high, config.noise_features), log_sigma.dtype)
    width = (high - low) / max(config.noise_features - 1, 1)
    return jnp.exp(-0.5 * ((log_sigma[:, None] - centres) / width) ** 2).reshape(-1)
