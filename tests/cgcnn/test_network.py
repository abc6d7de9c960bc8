"""CGCNN: its graph against pymatgen and on paper, what leaves it unchanged, and its batches."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.analysis.prototypes import AFLOW_PROTOTYPE_LIBRARY
from pymatgen.core import Element, Lattice, Structure

from jaxcrystal.cgcnn.graph import BatchSize, CgcnnConfig, ShellGraph, batches, build_graph
from jaxcrystal.cgcnn.network import _periodic_table, apply, init_params
from jaxcrystal.parameters import from_arrays, to_arrays

CONFIG = CgcnnConfig(width=8, convolutions=2, hidden=12)
ROOM = BatchSize(4, 160, 2400)
PEROVSKITE = Structure.from_spacegroup(
    "Pm-3m", Lattice.cubic(4.0), ["Ba", "Ti", "O"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]
)


def graph_of(structure: Structure, merge: bool = True, config: CgcnnConfig = CONFIG) -> ShellGraph:
    species = np.array(structure.atomic_numbers)
    return build_graph(structure.lattice.matrix, species, structure.frac_coords, config, merge)


def prototype(number: int) -> Structure:
    return AFLOW_PROTOTYPE_LIBRARY[number]["snl"].structure


@pytest.fixture(scope="module")
def params():
    fresh = init_params(jax.random.key(0), CONFIG, next(batches([graph_of(PEROVSKITE)], ROOM))[1])
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: leaf + 0.1 * rng.normal(size=leaf.shape).astype(np.float32), fresh)


run = jax.jit(apply, static_argnums=(1, 3))


def outputs(params, graphs, size=ROOM) -> np.ndarray:
    """[n, 1 + hidden] energies and activations."""
    rows = []
    for chosen, batch in batches(graphs, size):
        output = run(params, CONFIG, batch, size.crystals)
        both = np.column_stack([output.energy, output.activations])
        rows.append(both[: chosen.stop - chosen.start])
    return np.concatenate(rows)


def edges_of(graph: ShellGraph, element: str) -> set[tuple[str, float, float]]:
    """(neighbour, distance, weight) of the edges of an element's only node."""
    (node,) = np.flatnonzero(graph.species == Element(element).Z)
    chosen = graph.receivers == node
    symbols = [Element.from_Z(int(z)).symbol for z in graph.species[graph.senders[chosen]]]
    numbers = np.stack([graph.distance[chosen], graph.weight[chosen]], axis=1).astype(float).round(4)
    return {(symbol, *row) for symbol, row in zip(symbols, numbers.tolist(), strict=True)}


def test_graph_of_a_perovskite_as_counted_on_paper() -> None:
    """Whole shells: the last one has part of the weight, whichever atoms come first."""
    graph = graph_of(PEROVSKITE)
    assert sorted(graph.species) == [8, 22, 56]
    assert dict(zip(graph.species.tolist(), graph.share.tolist(), strict=True)) == pytest.approx(
        {8: 0.6, 22: 0.2, 56: 0.2}
    )
    half_face, half_space = round(4 / 2**0.5, 4), round(2 * 3**0.5, 4)
    assert edges_of(graph, "Ba") == {("O", half_face, 12.0)}
    assert edges_of(graph, "Ti") == {("O", 2.0, 6.0), ("Ba", half_space, 6.0)}
    # 2 Ti, then 8 O and 4 Ba in one shell, for the 10 that are missing.
    assert edges_of(graph, "O") == {
        ("Ti", 2.0, 2.0), ("O", half_face, round(80 / 12, 4)), ("Ba", half_face, round(40 / 12, 4))
    }  # fmt: skip


@pytest.mark.parity
@pytest.mark.parametrize("seed", range(12))
def test_neighbors_equal_those_of_pymatgen(seed) -> None:
    """On skewed cells, small and large, some of them so empty that the cutoff acts."""
    rng = np.random.default_rng(seed)
    matrix = np.diag(rng.uniform(2.5, 7.0, 3)) + rng.normal(scale=[0.5, 2.0, 4.0][seed % 3], size=(3, 3))
    if abs(np.linalg.det(matrix)) < 15.0:
        matrix[2] += 2 * np.cross(matrix[0], matrix[1]) / np.linalg.norm(np.cross(matrix[0], matrix[1]))
    atoms = int(rng.integers(1, 7))
    config = CgcnnConfig(cutoff=[8.0, 3.5][seed % 2])
    species = rng.integers(1, 4, atoms)
    structure = Structure(matrix, species, rng.uniform(-2, 2, (atoms, 3)))
    graph = graph_of(structure, merge=False, config=config)
    everything = structure.get_all_neighbors(config.cutoff, numerical_tol=1e-8)
    for atom, found in enumerate(everything):
        expected = sorted((site.nn_distance, site.index) for site in found)[: config.neighbors]
        chosen = np.flatnonzero(graph.receivers == atom)
        chosen = chosen[np.argsort(graph.distance[chosen], kind="stable")]
        assert graph.weight[chosen].sum() == pytest.approx(len(expected), abs=1e-5)
        # Two images of one atom at one distance are one edge of weight two.
        count = np.round(np.cumsum(graph.weight[chosen]), 5)
        for rank, (distance, _) in enumerate(expected):
            edge = chosen[np.searchsorted(count, rank + 0.5)]
            assert graph.distance[edge] == pytest.approx(distance, abs=1.1e-3)
        inner = {pair for pair in expected if pair[0] < expected[-1][0] - 5e-3} if expected else set()
        assert {index for _, index in inner} <= set(graph.senders[chosen].tolist())


@pytest.mark.parity
def test_merged_atoms_change_nothing(params) -> None:
    structures = [prototype(number) for number in range(0, 60, 2)]
    merged, full = ([graph_of(s, merge) for s in structures] for merge in (True, False))
    np.testing.assert_allclose(outputs(params, merged), outputs(params, full), atol=2e-5)
    assert [len(graph.species) for graph in full] == [len(s) for s in structures]
    # Worth it: with one node an atom the prototypes are more than twice as large.
    assert 2 * sum(len(g.species) for g in merged) < sum(len(g.species) for g in full)
    for graph in full:
        np.testing.assert_allclose(np.bincount(graph.receivers, graph.weight), 12.0, atol=1e-5)


def test_unlike_atoms_are_not_merged() -> None:
    """Atoms of one element with other distances, or with other neighbours at the same ones."""
    rutile = Structure.from_spacegroup(
        "P4_2/mnm", Lattice.tetragonal(4.6, 2.96), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
    )
    assert len(graph_of(rutile).species) == 2
    rutile.translate_sites([0], [0.0, 0.0, 0.02])
    assert len(graph_of(rutile).species) > 2
    fcc = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.0), ["Cu"], [[0, 0, 0]])
    assert len(graph_of(fcc).species) == 1
    fcc.make_supercell(2)
    fcc.replace(0, "Au")
    # One gold atom among 31 of copper: its shells of copper are told apart.
    assert len(graph_of(fcc).species) > 3


@pytest.mark.property
@given(seed=st.integers(0, 10**6), number=st.integers(0, 287))
def test_description_of_the_crystal_does_not_matter(params, seed, number) -> None:
    """Order of the atoms, orientation, origin, branch, and a skewed supercell."""
    rng = np.random.default_rng(seed)
    structure = prototype(number)
    if len(structure) > 40:
        structure = prototype(18)
    order = rng.permutation(len(structure))
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    moved = build_graph(
        structure.lattice.matrix @ turn,
        np.array(structure.atomic_numbers)[order],
        structure.frac_coords[order] + rng.normal(size=3) + rng.integers(-3, 4, (len(order), 3)),
        CONFIG,
    )
    larger = structure.copy()
    larger.make_supercell([[1, 0, 0], [int(rng.integers(-2, 3)), 1, 0], [0, 0, 2]])
    found = outputs(params, [graph_of(structure), moved, graph_of(larger)])
    np.testing.assert_allclose(found[1], found[0], atol=2e-5)
    np.testing.assert_allclose(found[2], found[0], atol=2e-5)


def test_structure_and_species_do_matter(params) -> None:
    other, strained = PEROVSKITE.copy(), PEROVSKITE.copy()
    other.replace_species({"Ba": "Sr"})
    strained.apply_strain(0.03)
    found = outputs(params, [graph_of(s) for s in (PEROVSKITE, other, strained)])
    assert np.abs(found[1] - found[0]).max() > 1e-2
    assert np.abs(found[2] - found[0]).max() > 1e-3


def test_batches_have_one_size_and_keep_the_order(params) -> None:
    graphs = [graph_of(prototype(number)) for number in range(30)]
    size = BatchSize(4, 30, 300)
    assert max(len(graph.species) for graph in graphs) <= 30
    packed = list(batches(graphs, size))
    assert [i for chosen, _ in packed for i in range(chosen.start, chosen.stop)] == list(range(30))
    assert max(chosen.stop - chosen.start for chosen, _ in packed) == 4
    for _, batch in packed:
        assert {array.shape for array in batch[:3]} == {(30,)}
        assert {array.shape for array in batch[3:]} == {(300,)}
        assert batch.share.sum() == pytest.approx(len(np.unique(batch.crystal[batch.share > 0])), abs=1e-5)
    alone = np.concatenate([outputs(params, [graph], ROOM) for graph in graphs])
    np.testing.assert_allclose(outputs(params, graphs, size), alone, atol=1e-5)


def test_a_large_crystal_comes_alone_in_a_larger_batch() -> None:
    small = graph_of(PEROVSKITE)
    large = graph_of(PEROVSKITE, merge=False)
    shapes = [
        (chosen.start, chosen.stop, len(batch.species), len(batch.senders))
        for chosen, batch in batches([small, large, small], BatchSize(4, 4, 10))
    ]
    assert shapes == [(0, 1, 4, 10), (1, 2, *shapes[1][2:]), (2, 3, 4, 10)]
    assert shapes[1][2] >= 5
    assert shapes[1][3] >= len(large.senders)
    assert list(batches([], ROOM)) == []


@pytest.mark.compile
def test_all_batches_of_one_size_are_one_compilation(params) -> None:
    traces = []

    def traced(params, batch):
        traces.append(1)
        return apply(params, CONFIG, batch, 4)

    compiled = jax.jit(traced)
    graphs = [graph_of(prototype(number)) for number in range(24)]
    packed = [batch for _, batch in batches(graphs, ROOM)]
    assert len(packed) > 3
    for batch in packed:
        compiled(params, batch)
    assert len(traces) == 1
    eager = apply(params, CONFIG, packed[0], 4)
    np.testing.assert_allclose(compiled(params, packed[0]).energy, eager.energy, atol=1e-5)


@pytest.mark.grad
def test_gradients_are_finite(params) -> None:
    """With padding, an atom that has no neighbour, and two atoms on one place."""
    alone = Structure(Lattice.cubic(20.0), ["He"], [[0, 0, 0]])
    coinciding = Structure(Lattice.cubic(4.0), ["Na", "Cl"], [[0, 0, 0], [0, 0, 0]])
    graphs = [graph_of(s) for s in (PEROVSKITE, alone, coinciding)]
    assert len(graphs[1].senders) == 0
    assert graphs[2].distance.min() == 0.0
    (_, batch), *_ = batches(graphs, ROOM)
    assert batch.species[-1] == 0

    def loss(params):
        return (apply(params, CONFIG, batch, 4).energy[:3] ** 2).sum()

    gradient = jax.jit(jax.grad(loss))(params)
    for path, leaf in to_arrays(gradient).items():
        assert np.isfinite(leaf).all(), path
        assert np.abs(leaf).max() > 0, path
    # Padding has no say, not even through the embedding of its species.
    assert np.abs(gradient["element"]["embedding"][0]).max() == 0


@pytest.mark.grad
def test_gradient_against_finite_differences(params, x64) -> None:
    (_, batch), *_ = batches([graph_of(PEROVSKITE), graph_of(prototype(12))], ROOM)
    double = jax.tree.map(lambda a: np.asarray(a, np.float64), params)
    batch = jax.tree.map(lambda a: a.astype(np.float64) if a.dtype == np.float32 else a, batch)
    rng = np.random.default_rng(1)
    direction = jax.tree.map(lambda a: rng.normal(size=a.shape), double)

    @jax.jit
    def loss(step):
        moved = jax.tree.map(lambda a, b: a + step * b, double, direction)
        return apply(moved, CONFIG, batch, 4).energy[:2].sum()

    slope = (loss(1e-5) - loss(-1e-5)) / 2e-5
    assert float(jax.jit(jax.grad(loss))(0.0)) == pytest.approx(float(slope), rel=1e-6)


@pytest.mark.parametrize(
    ("lattice", "species", "frac_coords", "message"),
    [
        (np.eye(3) * 4, [], np.zeros((0, 3)), "needs atoms"),
        (np.eye(3) * 4, [0], [[0, 0, 0]], "1 to 118"),
        (np.eye(3) * 4, [119], [[0, 0, 0]], "1 to 118"),
        (np.eye(3) * 4, [11], [[0, np.nan, 0]], "not finite"),
        (np.diag([4, 4, np.inf]), [11], [[0, 0, 0]], "not finite"),
        (np.ones((3, 3)), [11], [[0, 0, 0]], "no volume"),
        (np.diag([900.0, 900.0, 1e-6]), [11, 17], [[0, 0, 0], [0.5, 0.5, 0]], "too flat"),
    ],
)
def test_what_has_no_graph(lattice, species, frac_coords, message) -> None:
    with pytest.raises(ValueError, match=message):
        build_graph(
            np.asarray(lattice, float), np.asarray(species, int), np.asarray(frac_coords, float), CONFIG
        )


@pytest.mark.parity
def test_periodic_table() -> None:
    row, column = _periodic_table()
    assert (row[0], column[0]) == (0, 0)
    places = set()
    for number in range(1, 119):
        element = Element.from_Z(number)
        assert row[number] == element.row
        if not (element.is_lanthanoid or element.is_actinoid):
            assert column[number] == element.group
        places.add((int(row[number]), int(column[number])))
    assert len(places) == 118
    assert column.max() == 32


def test_params_as_arrays_and_back(params) -> None:
    back = from_arrays(to_arrays(params))
    assert jax.tree.structure(back) == jax.tree.structure(params)
    jax.tree.map(np.testing.assert_array_equal, back, params)
