"""The multigraph's edges are the atom images that they say they are."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcrystal.graph.multigraph import build_multigraph, empty_multigraph, reverse_edges
from jaxcrystal.graph.neighbors import GraphConfig, ImageCapacity
from jaxcrystal.symmetry.wyckoff import group_operations, wyckoff_positions
from tests.crystals import (
    distinct_images,
    lattice_of,
    make_crystal,
    pad,
    random_crystal,
    random_point,
    random_shape,
    stack,
    to_device,
)
from tests.groups import GROUPS

#: No cut at K: the way back is always in the graph.
CONFIG = GraphConfig(cutoff=3.6, max_neighbors=40)
NODES = 3


@partial(jax.jit, static_argnums=1)
def graphs_of(crystals, capacity):
    def one(crystal):
        graph = build_multigraph(crystal, CONFIG, capacity)
        return graph, reverse_edges(graph)

    return jax.lax.map(one, crystals)


def build(crystals, merge=True):
    """Graphs and reverse edges of crystals with at most NODES sites, as numpy arrays."""
    batch = to_device(stack([pad(crystal, NODES) for crystal in crystals]))
    graphs, back = graphs_of(batch, ImageCapacity(48 * NODES, merge=merge))
    assert not graphs.globals.status.any()
    return [jax.tree.map(lambda leaf, n=n: np.asarray(leaf)[n], (graphs, back)) for n in range(len(crystals))]


@cache
def crystals_of(special, constrained=False):
    rng = np.random.default_rng([int(special), int(constrained)])
    return [random_crystal(rng, group, 2, special=special, constrained=constrained) for group in GROUPS]


@pytest.mark.parametrize("special", [False, True])
def test_edges_are_atom_images(special, x64):
    """y = R x_j + t + (primitive lattice vector), seen from x_i and from the image's own frame."""
    crystals = crystals_of(special)
    for crystal, (graph, _) in zip(crystals, build(crystals), strict=True):
        edges, real = graph.edges, graph.edges.mask
        rotations, translations, primitive = group_operations(int(crystal.space_group))
        lattice = lattice_of(crystal)
        assert real.any()
        assert graph.globals.num_images == len(distinct_images(crystal)[0])
        sites = pad(crystal, NODES).frac_coords
        turn = rotations[edges.op_index]
        image = np.einsum("eab,eb->ea", turn, sites[graph.senders]) + translations[edges.op_index]
        shift = (edges.frac_displacement - image + sites[graph.receivers]) @ np.linalg.inv(primitive)
        assert np.allclose(shift[real], np.round(shift[real]), atol=1e-9)
        assert np.allclose(edges.displacement, edges.frac_displacement @ lattice, atol=1e-9)
        assert np.allclose(edges.distance[real], np.linalg.norm(edges.displacement, axis=1)[real])
        assert np.allclose(edges.direction * edges.distance[:, None], edges.displacement, atol=1e-9)
        own_frame = np.linalg.solve(turn[real], edges.frac_displacement[real][..., None])[..., 0] @ lattice
        assert np.allclose(edges.sender_direction[real] * edges.distance[real, None], own_frame, atol=1e-9)
        assert np.array_equal(edges.same_site, (graph.senders == graph.receivers) & real)


def test_slots_are_sorted_by_receiver_and_padding_is_empty(x64):
    for graph, _ in build(crystals_of(special=False)):
        edges, degree = graph.edges, CONFIG.max_neighbors
        assert np.array_equal(graph.receivers, np.repeat(np.arange(NODES), degree))
        assert graph.n_node == [NODES]
        assert graph.n_edge == [NODES * degree]
        empty = ~edges.mask
        for name in ("displacement", "frac_displacement", "direction", "sender_direction", "same_site"):
            assert not getattr(edges, name)[empty].any(), name
        assert (edges.distance[empty] == CONFIG.cutoff).all()
        assert not edges.mask.reshape(NODES, degree)[2].any()
        assert (np.diff(edges.mask.reshape(NODES, degree).astype(int), axis=1) <= 0).all()


@pytest.mark.parametrize(("special", "constrained"), [(False, False), (True, False), (True, True)])
def test_every_edge_has_its_way_back(special, constrained, x64):
    """Without a cut at K, also where merged images stand in for one another."""
    for graph, (index, exists) in build(crystals_of(special, constrained), merge=not constrained):
        edges, real = graph.edges, graph.edges.mask
        assert graph.globals.num_cut == 0
        assert np.array_equal(exists, real)
        assert np.array_equal(graph.receivers[index][real], graph.senders[real])
        assert np.array_equal(graph.senders[index][real], graph.receivers[real])
        assert np.allclose(edges.distance[index][real], edges.distance[real], atol=1e-9)
        back = -edges.sender_direction * edges.distance[:, None]
        assert np.allclose(edges.displacement[index][real], back[real], atol=1e-8)
        if not special:  # the stabiliser is trivial: back and forth is the edge itself
            assert np.array_equal(index[index][real], np.flatnonzero(real))


def test_a_site_near_a_special_position_is_one_atom_there(x64):
    """Images closer than merge_distance count once; a site's own are no edges."""
    rng = np.random.default_rng(0)
    crystals, multiplicities = [], []
    for space_group in (2, 14, 15, 62, 139, 166, 221, 225):
        for position in wyckoff_positions(space_group)[:-1]:
            if position.num_free == 0:
                lengths, angles = random_shape(rng, space_group, ratio=1.2)
                crystal = make_crystal(
                    space_group, 12.0 * lengths, angles, [29], [random_point(rng, position)]
                )
                nudge = rng.normal(size=3)
                # Images lie on a sphere around the position: at most 0.2 Å apart.
                nudge *= 0.1 / np.linalg.norm(nudge)
                nudged = crystal.frac_coords + nudge @ np.linalg.inv(lattice_of(crystal))
                crystals.append(crystal._replace(frac_coords=nudged))
                multiplicities.append(position.site_ops.sum())
    merged, apart = build(crystals), build(crystals, merge=False)
    for (graph, _), (unmerged, _), crystal, atoms in zip(
        merged, apart, crystals, multiplicities, strict=True
    ):
        assert graph.globals.num_images == atoms
        assert unmerged.globals.num_images == crystal.site_ops.sum()
        assert graph.edges.distance[graph.edges.mask].min(initial=9) > 0.3
        assert unmerged.edges.distance[unmerged.edges.mask].min() < 0.2 + 1e-6


def test_precision_of_the_crystal_is_kept(x64):
    crystal = stack([pad(random_crystal(np.random.default_rng(0), 62, 2), NODES)])
    for dtype in (jnp.float32, jnp.float64):
        graph, _ = graphs_of(to_device(crystal, dtype), ImageCapacity.free(NODES))
        for name in ("displacement", "frac_displacement", "distance", "direction", "sender_direction"):
            assert getattr(graph.edges, name).dtype == dtype


def test_an_empty_graph_has_the_shapes_of_a_full_one() -> None:
    """Parameters are made for it, so that a network reads there what it reads of a crystal."""
    crystal = to_device(pad(random_crystal(np.random.default_rng(0), 62, 2), NODES))
    full = jax.eval_shape(lambda c: build_multigraph(c, CONFIG, ImageCapacity.free(NODES)), crystal)
    empty = jax.eval_shape(lambda c: empty_multigraph(c, CONFIG), crystal)
    assert jax.tree.structure(empty) == jax.tree.structure(full)
    assert jax.tree.leaves(empty) == jax.tree.leaves(full)
