"""Crystals are finished on the device as they are on the host: positions, letters, distances, flags."""

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcrystal.crystal import pad_and_stack
from jaxcrystal.errors import Status
from jaxcrystal.graph.images import reduced_cell
from jaxcrystal.graph.neighbors import ImageCapacity
from jaxcrystal.requests.candidates import Candidate
from jaxcrystal.requests.orders import Order
from jaxcrystal.structures.finish import finish_batch
from jaxcrystal.structures.finish_tables import finish_tables
from jaxcrystal.structures.finished import Drawn, finish
from jaxcrystal.structures.positions import on_special_position
from jaxcrystal.symmetry.crystals import letter_indices
from jaxcrystal.symmetry.families import FREE
from jaxcrystal.symmetry.groups import group_tables
from jaxcrystal.symmetry.lattice import LENGTH_SCALE, host_lattice
from jaxcrystal.symmetry.orbits import expand_orbit, project_on_special_position
from jaxcrystal.symmetry.wyckoff import wyckoff_positions
from jaxcrystal.vectors import inverse

#: That of the bundled model.
MERGE = 0.6
GROUPS = range(1, 231)


def near_a_position(rng, group, lattice):
    """A point displaced by a little, or by much, from a random position, or from its image."""
    tables, positions = group_tables(), wyckoff_positions(group)
    position = positions[rng.integers(len(positions))]
    op = rng.integers(tables.num_ops[group])
    point = position.origin + rng.uniform(size=position.num_free) @ position.basis
    point = tables.rotations[group, op] @ point + tables.translations[group, op]
    return point + rng.normal(size=3) * rng.choice([0.0, 0.02, 0.1, 0.3]) @ np.linalg.inv(lattice)


def drawn_crystals(rng, count, free, sites=2):
    """Candidates of all groups in turn, their templates, and made-up results of the sampler."""
    candidates, templates, coords, params = [], [], [], []
    for number in range(count):
        group = GROUPS[number % len(GROUPS)]
        letters = None
        if not free:
            known = [position.letter for position in wyckoff_positions(group)]
            letters = tuple(known[rng.integers(len(known))] for _ in range(sites))
        order = Order(group, (11, 17), (1, sites - 1), "free")  # `make_order` refuses groups below 16
        candidates.append(Candidate(number, order, 0, letters))
        templates.append(candidates[-1].template())
        params.append(np.where(FREE[group_tables().family[group]], 2.0 * rng.normal(size=6), 0.0))
        lattice = host_lattice(params[-1], group)
        template = templates[-1]
        moves = np.einsum("nab,nb->na", template.site_projection, rng.uniform(0, 6, (sites, 3)))
        points = [near_a_position(rng, group, lattice) for _ in range(sites)]
        coords.append(points if free else template.frac_coords + moves)
    return candidates, templates, np.array(coords, np.float32), np.array(params, np.float32)


def on_device(candidates, templates, coords, params, free, max_nodes=2, status=0):
    batch = pad_and_stack(templates, max_nodes)
    padded = np.zeros((len(templates), max_nodes, 3), np.float32)
    padded[:, : coords.shape[1]] = coords
    batch = jax.tree.map(jnp.asarray, batch._replace(frac_coords=padded, lattice_params=params))
    letters = np.zeros((len(templates), max_nodes), np.int32)
    for row, candidate in enumerate(candidates):
        if candidate.letters is not None:
            indices = letter_indices(candidate.order.space_group, candidate.letters)
            letters[row, : len(indices)] = indices
    flags = jnp.full(len(templates), status, jnp.int32)
    scores = jnp.tile(jnp.array([0.5, 2.0]), (len(templates), 1))
    capacity = ImageCapacity.fitting(batch, constrained=not free)
    return jax.jit(finish_batch(capacity, MERGE))(finish_tables(), batch, letters, flags, scores)


def on_host(candidates, templates, coords, params):
    return [
        finish(*pair, Drawn(x, p, 0, np.array([0.5, 2.0]), None), MERGE)
        for *pair, x, p in zip(candidates, templates, coords, params, strict=True)
    ]


def same_atoms(one, other, site_ops, group, lattice):
    """Whether two sites make the same atoms, to 1e-4 Å."""
    atoms = expand_orbit(np.asarray(one, float), site_ops, group)
    offset = expand_orbit(np.asarray(other, float), site_ops, group)[:1] - atoms
    return np.linalg.norm((offset - np.round(offset)) @ lattice, axis=1).min() < 1e-4


@pytest.mark.parity
@pytest.mark.parametrize("free", [True, False])
def test_device_and_host_agree_in_all_groups(free):
    """A thousand crystals each; what is drawn is near positions, on them, and coincides in places."""
    candidates, templates, coords, params = drawn_crystals(np.random.default_rng(7), 1000, free)
    found = on_device(candidates, templates, coords, params, free).to_host()
    merged = invalid = 0
    for row, wanted in enumerate(on_host(candidates, templates, coords, params)):
        group = wanted.space_group
        names = tuple(wyckoff_positions(group)[letter].letter for letter in found.letters[row])
        assert names == wanted.letters, (row, group)
        assert (found.site_ops[row] == wanted.crystal.site_ops).all()
        assert found.num_atoms[row] == len(wanted.species)
        assert found.volume_per_atom[row] == pytest.approx(wanted.audit.volume_per_atom, rel=1e-5)
        assert found.shortest_distance[row] == pytest.approx(wanted.audit.shortest_distance, abs=1e-4)
        assert found.valid[row] == wanted.valid
        for site in range(2):
            sites = found.frac_coords[row, site], wanted.crystal.frac_coords[site]
            assert same_atoms(*sites, wanted.crystal.site_ops[site], group, wanted.lattice), (row, group)
        merged += bool((found.site_ops[row].sum(1) < templates[row].site_ops.sum(1)).any())
        invalid += not wanted.valid
    assert invalid > 10
    if free:
        assert merged > 300


@pytest.mark.parametrize(
    ("group", "length_param", "distance", "site"),
    [
        (225, -4.4388242, 0.6, [-0.3669248, 0.0397490, -0.6191522]),
        (225, -2.7379491, 1.0, [0.0081513, 0.0160425, 0.4877149]),
        (209, -2.8829937, 1.0, [0.8917575, -0.8917575, -0.8917575]),
    ],
)
def test_images_that_are_nearer_by_another_lattice_vector(group, length_param, distance, site):
    """Of a group that holds a point, some images of the site are half a lattice vector from it."""
    params = np.array([length_param, 0, 0, 0, 0, 0])
    lattice = host_lattice(params, group)
    wanted, ops = project_on_special_position(np.array(site), lattice, group, distance)
    cell = reduced_cell(jnp.asarray(lattice, jnp.float32), finish_tables().primitive[group])
    to_frac = jnp.asarray(np.linalg.inv(lattice), jnp.float32)
    found, subgroup = on_special_position(
        finish_tables(), jnp.array(site), jnp.int32(group), cell, to_frac, distance
    )
    order = finish_tables().order[finish_tables().kind[group], subgroup]
    assert int(order) * ops.sum() == group_tables().num_ops[group]
    assert int(order) == 48 or group == 209
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parity
def test_sites_of_small_cells_go_where_the_host_puts_them():
    """Cells of 1.8 to 4 Å: images of most operations are near, and not all can be taken together."""
    rng, distance = np.random.default_rng(21), 1.0
    groups = np.resize(GROUPS, 3000).tolist()
    free = np.asarray(FREE)[group_tables().family[groups]]
    lengths = rng.uniform(1.8, 4.0, (len(groups), 3))
    params = np.where(free, 2.0 * rng.normal(size=free.shape), 0.0)
    params[:, :3] = np.where(free[:, :3], LENGTH_SCALE * np.log(np.expm1(lengths / LENGTH_SCALE)), 0.0)
    lattices = np.stack([host_lattice(row, group) for row, group in zip(params, groups, strict=True)])
    sites = [near_a_position(rng, group, lattice) for group, lattice in zip(groups, lattices, strict=True)]
    sites = np.array(sites, np.float32)
    tables = finish_tables()

    @jax.jit
    @jax.vmap
    def moved(site, group, lattice):
        cell = reduced_cell(lattice, tables.primitive[group])
        site, subgroup = on_special_position(tables, site, group, cell, inverse(lattice), distance)
        return site, tables.order[tables.kind[group], subgroup]

    found, orders = map(np.asarray, moved(sites, np.array(groups), lattices.astype(np.float32)))
    for site, group, lattice, x, order in zip(sites, groups, lattices, found, orders, strict=True):
        wanted, ops = project_on_special_position(site, lattice, group, distance)
        assert order * ops.sum() == group_tables().num_ops[group], (group, site)
        assert np.linalg.norm((x - wanted) @ lattice) < 1e-4, (group, site)


def test_exact_crystals_of_the_arrays_are_those_of_the_host():
    candidates, templates, coords, params = drawn_crystals(np.random.default_rng(3), 60, free=False)
    found = on_device(candidates, templates, coords, params, free=False)
    for row, wanted in enumerate(on_host(candidates, templates, coords, params)):
        crystal = found.crystal(row)
        np.testing.assert_allclose(crystal.frac_coords, wanted.crystal.frac_coords, atol=2e-6)
        positions = wyckoff_positions(wanted.space_group)
        for site, letter in enumerate(np.asarray(found.letters[row])):
            p = positions[letter]
            away = (np.eye(3) - p.projection) @ (crystal.frac_coords[site] - p.origin)
            assert np.abs(away).max() < 1e-12
        one, other = found.to_pymatgen(row), wanted.to_pymatgen()
        assert one.composition == other.composition
        np.testing.assert_allclose(one.lattice.matrix, other.lattice.matrix, atol=1e-4)
        assert found.to_ase(row, primitive=True).get_chemical_formula() == (
            wanted.to_ase(primitive=True).get_chemical_formula()
        )


def test_padding_and_flags():
    rng = np.random.default_rng(1)
    candidates, templates, coords, params = drawn_crystals(rng, 20, free=True)
    bare = on_device(candidates, templates, coords, params, True).to_host()
    padded = on_device(
        candidates, templates, coords, params, True, max_nodes=4, status=int(Status.NON_FINITE)
    ).to_host()
    assert (padded.letters[:, 2:] == -1).all()
    assert not padded.site_ops[:, 2:].any()
    assert not padded.species[:, 2:].any()
    assert (padded.letters[:, :2] == bare.letters).all()
    np.testing.assert_allclose(padded.shortest_distance, bare.shortest_distance, atol=1e-5)
    assert bare.valid.any()
    assert not padded.valid.any()


def test_numbers_that_are_not_finite_end():
    candidates, templates, coords, params = drawn_crystals(np.random.default_rng(2), 20, free=True)
    coords[0], params[1] = np.nan, np.inf
    found = on_device(candidates, templates, coords, params, True, status=int(Status.NON_FINITE)).to_host()
    assert not found.valid.any()


@pytest.mark.parametrize("free", [True, False])
def test_it_lowers_for_accelerators(free):
    templates = drawn_crystals(np.random.default_rng(0), 3, free)[1]
    batch = jax.tree.map(jnp.asarray, pad_and_stack(templates, 2))
    run = jax.jit(finish_batch(ImageCapacity.fitting(batch, constrained=not free), MERGE))
    inputs = batch, jnp.zeros((3, 2), jnp.int32), jnp.zeros(3, jnp.int32), jnp.zeros((3, 2))
    text = jax.export.export(run, platforms=("cuda", "tpu"))(finish_tables(), *inputs).mlir_module()
    assert "f64>" not in text
