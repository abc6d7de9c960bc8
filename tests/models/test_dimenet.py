"""DimeNet++: the sum without triplets against the explicit one, and PyTorch Geometric's numbers."""

import dataclasses
import json
from functools import cache, partial
from pathlib import Path

import jax
import jax.numpy as jnp
import jraph
import numpy as np
import pytest
from scipy import special

from jaxcrystal.graph.multigraph import Edges, Globals, Nodes, build_multigraph
from jaxcrystal.graph.neighbors import GraphConfig, ImageCapacity
from jaxcrystal.models.bases import bessel_zeros, edge_weight, envelope, radial_basis, spherical_bessel_basis
from jaxcrystal.models.dimenet import MIN_DISTANCE, DimeNet, DimeNetConfig
from jaxcrystal.models.network import NetworkConfig
from tests.crystals import pad, random_crystal, random_params, to_device
from tests.precision import double_precision

GOLDENS = Path(__file__).with_name("dimenet_goldens.npz")
SMALL = DimeNetConfig(
    hidden=8, interaction=6, basis=4, output=8, blocks=2, num_spherical=5, num_radial=3, noise_features=4
)
GRAPH = GraphConfig(cutoff=4.5, max_neighbors=12)
LOG_SIGMA = (-1.0, 0.5)
both_settings = pytest.mark.parametrize("backtracking", [True, False])


def explicit_network(params, graph, config, cutoff, log_sigma):
    """The same network with its triplets one by one, [edges, num_outputs]."""
    fade = edge_weight(graph, config.envelope_exponent)
    graph = jax.tree.map(np.asarray, graph)
    edges, degree = graph.edges, graph.edges.mask.size // graph.nodes.species.size
    silu = jax.nn.silu

    def dense(layer, x):
        return x @ layer["kernel"] + layer.get("bias", 0.0)

    x = np.maximum(np.asarray(edges.distance), MIN_DISTANCE) / cutoff
    radial = jnp.sin(params["frequencies"] * x[:, None]) / x[:, None] * fade[:, None]

    # Triplets k -> j -> i: edge `out` runs j -> i, edge `into` runs k -> j.
    out, into = (
        np.array(
            [
                (e, k)
                for e in np.flatnonzero(edges.mask)
                for k in range(graph.senders[e] * degree, (graph.senders[e] + 1) * degree)
                if edges.mask[k] and (config.backtracking or not runs_back(graph, e, k))
            ]
        ).T
        if edges.mask.any()
        else np.zeros((2, 0), int)
    )
    cosine = np.einsum("ta,ta->t", edges.direction[into], edges.sender_direction[out])
    columns = [
        np.sqrt(2)
        / abs(special.spherical_jn(order + 1, z))
        * special.spherical_jn(order, z * x[into])
        * np.sqrt((2 * order + 1) / (4 * np.pi))
        * special.eval_legendre(order, cosine)
        for order, row in enumerate(bessel_zeros(config.num_spherical, config.num_radial))
        for z in row
    ]
    spherical = np.stack(columns, axis=1) * (fade / x)[into][:, None]

    block = params["EmbeddingBlock_0"]
    species = block["species"]["embedding"][graph.nodes.species]
    features = jnp.concatenate(
        [species[graph.receivers], species[graph.senders], silu(dense(block["radial"], radial))], axis=1
    )
    kernel = jnp.concatenate([block[name]["kernel"] for name in ("receiver", "sender", "edge")])
    low, high = np.log(0.005), np.log(10.0)
    centres = np.linspace(low, high, config.noise_features)
    width = centres[1] - centres[0]
    noise = np.exp(-0.5 * ((np.asarray(log_sigma)[:, None] - centres) / width) ** 2).ravel()
    messages = silu(
        features @ kernel
        + block["edge"]["bias"]
        + np.asarray(edges.same_site)[:, None] * block["same_site"]
        + (block["free_sites"][0] + np.asarray(edges.same_site)[:, None] * block["free_sites"][1])
        * graph.globals.free_sites
        + dense(block["noise_out"], silu(dense(block["noise_in"], noise)))
    )

    def output(block, messages):
        y = dense(block["up"], dense(block["radial"], radial) * messages)
        y = (y - y.mean(1, keepdims=True)) / jnp.sqrt(y.var(1, keepdims=True) + 1e-6)
        y = y * block["norm"]["scale"] + block["norm"]["bias"]
        for layer in range(config.output_layers):
            y = silu(dense(block[f"dense_{layer}"], y))
        return dense(block["out"], y)

    def residual(block, y):
        return y + silu(dense(block["second"], silu(dense(block["first"], y))))

    total = output(params["OutputBlock_0"], messages)
    for number in range(config.blocks):
        block = params[f"InteractionBlock_{number}"]
        x_kj = silu(dense(block["kj"], messages)) * dense(
            block["radial_out"], dense(block["radial_in"], radial)
        )
        x_kj = silu(dense(block["down"], x_kj))
        terms = x_kj[into] * (spherical @ block["spherical_in"] @ block["spherical_out"])
        summed = jax.ops.segment_sum(terms, jnp.asarray(out), edges.mask.size)
        h = silu(dense(block["ji"], messages)) + silu(dense(block["up"], summed))
        for layer in range(config.before_skip):
            h = residual(block[f"before_{layer}"], h)
        h = silu(dense(block["skip"], h)) + messages
        for layer in range(config.after_skip):
            h = residual(block[f"after_{layer}"], h)
        messages = h
        total = total + output(params[f"OutputBlock_{number + 1}"], messages)
    return total


def runs_back(graph, e, k):
    """Whether the atom k of k -> j -> i is the atom i."""
    back = graph.edges.displacement[k] + graph.edges.sender_direction[e] * graph.edges.distance[e]
    return np.linalg.norm(back) < 1e-3 and graph.senders[k] == graph.receivers[e]


@cache
def parameters():
    """Random float64 weights; the backtracking setting has no part in them."""
    with double_precision():
        crystal = to_device(random_crystal(np.random.default_rng(0), 62, 2))
        return random_params(3, NetworkConfig(GRAPH, SMALL), crystal)


@cache
def example(space_group):
    """The graph, as jax arrays, of a crystal with a special position and a padded node."""
    with double_precision():
        crystal = random_crystal(np.random.default_rng(space_group), space_group, 2, special=True)
        return build(to_device(pad(crystal, 3)), GRAPH, ImageCapacity.free(3))


build = jax.jit(build_multigraph, static_argnums=(1, 2))


@partial(jax.jit, static_argnums=0)
def outputs_of(model, params, graph, log_sigma):
    return model.apply({"params": params}, graph, log_sigma)


@partial(jax.jit, static_argnums=0)
def gradient_of(model, params, graph, log_sigma, target):
    """By every parameter, and the outputs."""

    def product(params):
        outputs = model.apply({"params": params}, graph, log_sigma)
        return (outputs * target).sum(), outputs

    return jax.grad(product, has_aux=True)(params)


def network(backtracking):
    return DimeNet(dataclasses.replace(SMALL, backtracking=backtracking), GRAPH.cutoff)


@both_settings
@pytest.mark.parametrize("space_group", [166, 225])
def test_sum_without_triplets_is_the_explicit_one(space_group, backtracking, x64):
    """Values, and gradients by every parameter; a merged special position and padding too."""
    graph = example(space_group)
    # Where an edge ends at the cut its weight is 0 but for rounding, which the layer norm magnifies. Its
    # output counts with that weight.
    within = np.asarray(graph.edges.distance) < np.asarray(graph.edges.reach) * (1 - 1e-12)
    real = np.asarray(graph.edges.mask) & within
    target = np.random.default_rng(1).normal(size=(real.size, 2)) * real[:, None]
    model = network(backtracking)

    def explicit(params):
        outputs = explicit_network(params, graph, model.config, GRAPH.cutoff, LOG_SIGMA)
        return (outputs * target).sum(), outputs

    gradient, outputs = gradient_of(model, parameters(), graph, jnp.array(LOG_SIGMA), target)
    expected_gradient, expected = jax.jit(jax.grad(explicit, has_aux=True))(parameters())
    deviation = np.abs(outputs - expected)[real].max() / np.abs(expected)[real].max()
    leaves = jax.tree.leaves(expected_gradient)
    by_param = [
        float(np.abs(leaf - found).max() / np.abs(leaf).max())
        for leaf, found in zip(leaves, jax.tree.leaves(gradient), strict=True)
    ]
    print(f"values {deviation:.1e}, gradients {max(by_param):.1e}")
    assert deviation < 1e-9
    assert max(by_param) < 1e-9
    assert all(np.abs(leaf).max() > 0 for leaf in leaves), "a parameter does nothing"


def test_triplets_on_the_way_back_matter(x64):
    """The two settings differ, so that a test that passes for both says something."""
    graph = example(62)
    with_back, without = (
        outputs_of(network(setting), parameters(), graph, jnp.zeros(2)) for setting in (True, False)
    )
    assert np.abs(with_back - without)[np.asarray(graph.edges.mask)].max() > 1e-3


def test_no_jump_where_the_neighbours_change(x64):
    """Sums over the edges are continuous in the sites, across the cut at K and the cutoff.

    Without merging, which takes an atom away at once.
    """
    crystal = to_device(pad(random_crystal(np.random.default_rng(5), 16, 2), 3))
    model, params = network(backtracking=True), parameters()

    def node_sums(shift):
        moved = crystal._replace(frac_coords=crystal.frac_coords.at[0, 0].add(shift))
        graph = build_multigraph(moved, GRAPH, ImageCapacity(144, merge=False))
        outputs = model.apply({"params": params}, graph, jnp.zeros(2))
        weighted = outputs[:, :1] * edge_weight(graph, 5)[:, None] * graph.edges.direction
        return weighted.reshape(3, -1, 3).sum(1), jnp.sort(graph.senders * 100 + graph.edges.op_index)

    sums, neighbours = jax.jit(jax.vmap(node_sums))(jnp.linspace(0.0, 0.2, 1001))
    changed = np.flatnonzero(np.asarray(neighbours[1:] != neighbours[:-1]).any(1))
    changed = changed[(changed > 1) & (changed < 998)]
    assert changed.size >= 3
    steps = np.abs(np.diff(np.asarray(sums), axis=0)).max((1, 2))
    around = np.maximum(steps[changed - 2], steps[changed + 2])
    assert (steps[changed] < 1.5 * around + 1e-3 * np.abs(sums).max()).all()


def test_the_last_output_alone_leaves_the_others_out(x64):
    """With the weights of the last block, it gives what all blocks give when the others are silent."""
    params, graph = parameters(), example(225)
    every = DimeNet(SMALL, GRAPH.cutoff)
    last = DimeNet(dataclasses.replace(SMALL, last_output_only=True), GRAPH.cutoff)
    final = f"OutputBlock_{SMALL.blocks}"
    kept = {name: leaf for name, leaf in params.items() if not name.startswith("OutputBlock")}
    found = outputs_of(last, kept | {"OutputBlock_0": params[final]}, graph, jnp.array(LOG_SIGMA))
    silent = {
        name: jax.tree.map(jnp.zeros_like, leaf) if "OutputBlock" in name and name != final else leaf
        for name, leaf in params.items()
    }
    expected = outputs_of(every, silent, graph, jnp.array(LOG_SIGMA))
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_network_that_sees_noise_asks_for_it(x64):
    with pytest.raises(ValueError, match="log_sigma"):
        network(backtracking=True).apply({"params": parameters()}, example(62))


# PyTorch Geometric


def molecule_graph(positions, goldens, cutoff, degree):
    """The golden molecule as a graph with `degree` slots for each node, in any jax precision."""
    nodes = len(positions)
    senders, receivers = np.full((nodes, degree), 0), np.repeat(np.arange(nodes), degree)
    mask = np.zeros((nodes, degree), bool)
    rows = np.zeros(goldens["edge_index"].shape[1], int)
    filled = np.zeros(nodes, int)
    for edge, (sender, receiver) in enumerate(goldens["edge_index"].T):
        slot = filled[receiver]
        senders[receiver, slot], mask[receiver, slot] = sender, True
        rows[edge] = receiver * degree + slot
        filled[receiver] += 1
    senders, mask = senders.ravel(), mask.ravel()
    displacement = jnp.where(mask[:, None], positions[senders] - positions[receivers], 0.0)
    squared = jnp.where(mask, (displacement**2).sum(1), cutoff**2)
    distance = jnp.sqrt(squared)
    direction = displacement / distance[:, None]
    zeros = jnp.zeros_like(senders)
    graph = jraph.GraphsTuple(
        nodes=Nodes(
            species=jnp.asarray(goldens["atomic_numbers"]),
            mask=jnp.ones(nodes, bool),
            reach=jnp.full(nodes, cutoff),
            own_images=jnp.zeros((nodes, 1, 3)),
        ),
        edges=Edges(
            displacement=displacement,
            frac_displacement=displacement,
            distance=distance,
            direction=direction,
            sender_direction=direction,
            reach=jnp.full(mask.shape, cutoff),
            op_index=zeros,
            same_site=zeros.astype(bool),
            mask=jnp.asarray(mask),
        ),
        senders=jnp.asarray(senders),
        receivers=jnp.asarray(receivers),
        globals=Globals(zeros[0], zeros[0], zeros[0], jnp.eye(3), jnp.asarray(False)),
        n_node=jnp.array([nodes]),
        n_edge=jnp.array([mask.size]),
    )
    return graph, rows


def params_of_goldens(goldens, settings):
    """PyTorch Geometric's weights under our names."""

    def dense(name):
        layer = {"kernel": goldens[f"weights/{name}.weight"].T}
        bias = f"weights/{name}.bias"
        return layer | ({"bias": goldens[bias]} if bias in goldens else {})

    hidden = settings["hidden_channels"]
    mixed = dense("emb.lin")  # acts on [x_i, x_j, rbf]
    species = np.zeros((119, hidden))
    species[:95] = goldens["weights/emb.emb.weight"]
    params = {
        "frequencies": goldens["weights/rbf.freq"],
        "EmbeddingBlock_0": {
            "species": {"embedding": species},
            "radial": dense("emb.lin_rbf"),
            "receiver": {"kernel": mixed["kernel"][:hidden]},
            "sender": {"kernel": mixed["kernel"][hidden : 2 * hidden]},
            "edge": {"kernel": mixed["kernel"][2 * hidden :], "bias": mixed["bias"]},
        },
    }
    for number in range(settings["num_blocks"] + 1):
        block = f"output_blocks.{number}"
        params[f"OutputBlock_{number}"] = {
            "radial": dense(f"{block}.lin_rbf"),
            "up": dense(f"{block}.lin_up"),
            "out": dense(f"{block}.lin"),
        } | {f"dense_{n}": dense(f"{block}.lins.{n}") for n in range(settings["num_output_layers"])}
    names = {
        "ji": "lin_ji",
        "kj": "lin_kj",
        "radial_in": "lin_rbf1",
        "radial_out": "lin_rbf2",
        "down": "lin_down",
        "up": "lin_up",
        "skip": "lin",
    }
    for number in range(settings["num_blocks"]):
        block = f"interaction_blocks.{number}"
        ours = {name: dense(f"{block}.{theirs}") for name, theirs in names.items()}
        ours["spherical_in"] = dense(f"{block}.lin_sbf1")["kernel"]
        ours["spherical_out"] = dense(f"{block}.lin_sbf2")["kernel"]
        for where in ("before", "after"):
            for layer in range(settings[f"num_{where}_skip"]):
                ours[f"{where}_{layer}"] = {
                    name: dense(f"{block}.layers_{where}_skip.{layer}.lin{n}")
                    for n, name in ((1, "first"), (2, "second"))
                }
        params[f"InteractionBlock_{number}"] = ours
    return jax.tree.map(jnp.asarray, params)


def goldens_and_config(backtracking):
    goldens = dict(np.load(GOLDENS))
    settings = json.loads(str(goldens["settings"]))["model"]
    config = DimeNetConfig(
        hidden=settings["hidden_channels"],
        interaction=settings["int_emb_size"],
        basis=settings["basis_emb_size"],
        output=settings["out_emb_channels"],
        blocks=settings["num_blocks"],
        num_spherical=settings["num_spherical"],
        num_radial=settings["num_radial"],
        before_skip=settings["num_before_skip"],
        after_skip=settings["num_after_skip"],
        output_layers=settings["num_output_layers"],
        envelope_exponent=settings["envelope_exponent"],
        backtracking=backtracking,
        noise_features=0,
        edge_outputs=False,
        num_outputs=1,
    )
    return goldens, settings, config


@both_settings
@pytest.mark.parity
def test_network_is_that_of_pytorch_geometric(backtracking, x64):
    """Every block, the energy and its gradient by the positions.

    The goldens' Bessel zeros are rounded to float32, hence 1e-6 and not 1e-12.
    """
    goldens, settings, config = goldens_and_config(backtracking)
    params = params_of_goldens(goldens, settings)
    model = DimeNet(config, settings["cutoff"])
    variant = "with_backtracking" if backtracking else "without_backtracking"
    positions = jnp.asarray(goldens["positions"])
    degree = len(positions) + 1  # some slots stay empty

    def run(positions):
        graph, rows = molecule_graph(positions, goldens, settings["cutoff"], degree)
        energy, seen = model.apply(
            {"params": params},
            graph,
            capture_intermediates=lambda _, method: method in ("__call__", "_outputs"),
        )
        return energy[0], (seen["intermediates"], rows)

    (energy, (seen, rows)), gradient = jax.jit(jax.value_and_grad(run, has_aux=True))(positions)
    pairs = {"energy": (energy, goldens[f"{variant}/energy"][0])}
    pairs["gradient"] = (gradient, goldens[f"{variant}/energy_gradient"])
    pairs["embedding"] = (seen["EmbeddingBlock_0"]["__call__"][0][rows], goldens[f"{variant}/embedding"])
    for number in range(config.blocks + 1):
        block = seen["_outputs"][0][number]
        pairs[f"output {number}"] = (block, goldens[f"{variant}/output_{number}"].sum(0))
    for number in range(config.blocks):
        block = seen[f"InteractionBlock_{number}"]["__call__"][0]
        pairs[f"interaction {number}"] = (block[rows], goldens[f"{variant}/interaction_{number}"])
    for name, (ours, theirs) in pairs.items():
        deviation = np.abs(ours - theirs).max() / np.abs(theirs).max()
        print(f"{name} {deviation:.1e}")
        assert deviation < 2e-6, name


@pytest.mark.parity
def test_bases_are_those_of_pytorch_geometric(x64):
    goldens, settings, _ = goldens_and_config(backtracking=True)
    x = jnp.asarray(goldens["distances"]) / settings["cutoff"]
    fade = np.asarray(envelope(x, settings["envelope_exponent"]))
    rbf = radial_basis(x, jnp.asarray(goldens["weights/rbf.freq"])) * fade[:, None]
    assert np.allclose(rbf, goldens["rbf"], rtol=1e-12, atol=1e-12)
    num_spherical = settings["num_spherical"]
    radial = spherical_bessel_basis(x, num_spherical, settings["num_radial"]) * (fade / x)[:, None, None]
    angular = np.stack(
        [
            np.sqrt((2 * order + 1) / (4 * np.pi))
            * special.eval_legendre(order, np.cos(goldens["triplet_angle"]))
            for order in range(num_spherical)
        ],
        axis=1,
    )
    sbf = (np.asarray(radial)[goldens["triplet_kj"]] * angular[:, :, None]).reshape(len(angular), -1)
    deviation = np.abs(sbf - goldens["sbf"]).max() / np.abs(goldens["sbf"]).max()
    print(f"{deviation:.1e}")
    assert deviation < 1e-6
