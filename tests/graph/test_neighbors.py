"""The neighbour search against pymatgen's, on prototypes and on cells no crystal has."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pymatgen.core import Lattice

from jaxcrystal.data.batches import to_crystals
from jaxcrystal.data.dataset import Dataset
from jaxcrystal.errors import Status
from jaxcrystal.graph.neighbors import SELF_DISTANCE, GraphConfig, ImageCapacity, find_neighbors
from jaxcrystal.graph.reduction import minkowski_coefficients
from jaxcrystal.symmetry.groups import group_tables
from jaxcrystal.symmetry.lattice import lattice_matrix
from jaxcrystal.symmetry.orbits import expand_crystal
from tests.crystals import lattice_of, make_crystal, pad, random_crystal, random_shape, stack, to_device
from tests.precision import double_precision

#: Room for every neighbour, so that the lists are complete. No distance falls on the cutoff.
PROTOTYPES = GraphConfig(cutoff=5.0123, max_neighbors=200, lattice_vectors=500, grid=4)
SKEWED = GraphConfig(cutoff=4.0123, max_neighbors=80, lattice_vectors=500, grid=5)
SMALL = GraphConfig(cutoff=4.0123, max_neighbors=48)


@partial(jax.jit, static_argnums=(1, 2))
def search(crystals, config, capacity):
    """Neighbors of a batch, one structure after another, as numpy arrays."""
    return jax.lax.map(lambda crystal: find_neighbors(crystal, config, capacity), crystals)


@partial(jax.jit, static_argnums=(1, 2))
def search_with_lattices(crystals, config, capacity):
    """Neighbors of a batch, and the lattices they were searched in, of one program.

    Two programs may round differently, which a very skewed cell magnifies.
    """

    def one(crystal):
        lattice = lattice_matrix(crystal.lattice_params, crystal.space_group)
        return find_neighbors(crystal, config, capacity), lattice

    return jax.lax.map(one, crystals)


def search_all(crystals, config, capacity):
    return jax.tree.map(np.asarray, search(to_device(crystals), config, capacity))


class Expected(NamedTuple):
    """All neighbours of one site by pymatgen: their sites, displacements and distances."""

    senders: np.ndarray
    displacement: np.ndarray
    distance: np.ndarray


def pymatgen_neighbors(crystal, cutoff, lattice=None) -> list[Expected]:
    """For each site; `lattice` where it differs from the crystal's in double precision."""
    exact, _, frac_coords, site_index = expand_crystal(crystal)
    lattice = exact if lattice is None else lattice
    expected = []
    for site in np.flatnonzero(crystal.node_mask):
        center = np.asarray(crystal.frac_coords[site], np.float64) @ lattice
        frac, distance, atoms, _ = Lattice(lattice).get_points_in_sphere(
            frac_coords, center, cutoff, zip_results=False
        )
        # An image of the site itself, by an operation, that is nearer than that is the same atom.
        own = site_index[atoms] == site
        other = distance > np.where(own, SELF_DISTANCE, 1e-3)
        displacement = frac[other] @ lattice - center
        expected.append(Expected(site_index[atoms[other]], displacement, distance[other]))
    return expected


def check(found, expected, tolerance):
    """Every site has the same neighbours: site, place and distance."""
    assert not found.mask[len(expected) :].any()
    for site, theirs in enumerate(expected):
        mine = found.mask[site]
        assert mine.sum() == len(theirs.senders)
        if not mine.any():
            continue
        apart = np.linalg.norm(found.displacement[site][mine][:, None] - theirs.displacement, axis=-1)
        match = apart.argmin(axis=1)
        assert apart.min(axis=1).max() < tolerance
        assert len(set(match)) == len(match)
        assert np.array_equal(found.senders[site][mine], theirs.senders[match])
        assert np.allclose(found.distance[site][mine], theirs.distance[match], atol=tolerance)
        assert (np.diff(found.distance[site][mine]) > -tolerance).all()


def row(batch, index):
    return jax.tree.map(lambda leaf: np.asarray(leaf)[index], batch)


@pytest.fixture(scope="module")
def prototypes(aflow) -> tuple[Dataset, list[list[Expected]]]:
    """pymatgen's AFLOW prototypes, of all crystal families, and their neighbours."""
    # Written out from the letters: each atom once.
    max_nodes = int(aflow.num_sites.max())
    crystals = to_crystals(aflow, range(len(aflow)), max_nodes, True, np.float64)
    return aflow, [pymatgen_neighbors(row(crystals, index), PROTOTYPES.cutoff) for index in range(len(aflow))]


@pytest.mark.parity
@pytest.mark.parametrize(
    ("constrained", "precision", "tolerance"),
    [(True, "float64", 1e-9), (False, "float64", 1e-6), (True, "float32", 1e-4)],
)
def test_prototypes(prototypes, constrained, precision, tolerance):
    """Free sites give the same atoms as constrained ones, once their images are merged."""
    dataset, expected = prototypes
    assert len(dataset) > 270
    assert (dataset.space_group < 16).sum() > 20
    for least, most in ((1, 4), (5, int(dataset.num_sites.max()))):
        rows = np.flatnonzero((dataset.num_sites >= least) & (dataset.num_sites <= most))
        with double_precision(precision == "float64"):
            crystals = to_crystals(dataset, rows, most, constrained, np.float64)
            atoms = to_crystals(dataset, rows, most, True).site_ops.sum((1, 2))
            capacity = ImageCapacity(int(atoms.max()), merge=not constrained)
            found = search_all(crystals, PROTOTYPES, capacity)
        assert not found.status.any()
        assert not found.cut.any()
        assert np.array_equal(found.num_images, atoms)
        for place, index in enumerate(rows):
            check(row(found, place), expected[index], tolerance)


def test_default_settings_reach_every_prototype(prototypes):
    """Simple metals too: their one atom repeats at lattice vectors only, which are few."""
    dataset, _ = prototypes
    rows = np.flatnonzero(dataset.num_sites <= 4)
    crystals = to_crystals(dataset, rows, 4, True)
    found = search_all(crystals, GraphConfig(), ImageCapacity(96, merge=False))
    assert not found.status.any()


def skewed_crystal(rng, number):
    """Two free sites in a cell with vectors sheared along one another, or flat, or long.

    The numbers from 1 to 230 are those of the group, others make triclinic cells.
    """
    space_group = number if 1 <= number <= 230 else int(rng.choice([1, 2]))
    family = int(group_tables().family[space_group])
    lengths, angles = random_shape(rng, space_group, ratio=4.0 if number % 4 else 1.5)
    if family < 2:
        vectors = np.array(Lattice.from_parameters(*lengths, *angles).matrix)
        for _ in range(4):
            first, second = rng.permutation(3 if family == 0 else [0, 2])[:2]
            vectors[first] += rng.integers(-3, 4) * vectors[second]
        cell = Lattice(vectors)
        lengths, angles = np.array(cell.abc), np.array(cell.angles)
    unit = Lattice.from_parameters(*lengths, *angles).volume
    tables = group_tables()
    atoms = 2 * tables.num_ops[space_group] * tables.num_centring[space_group]
    lengths = lengths * (rng.uniform(10, 25) * atoms / unit) ** (1 / 3)
    return make_crystal(space_group, lengths, angles, [1, 2], rng.uniform(-3, 3, (2, 3)))


@pytest.mark.parity
@pytest.mark.parametrize(("precision", "tolerance"), [("float64", 1e-8), ("float32", 1e-3)])
def test_skewed_and_flat_cells(precision, tolerance):
    """Right, or flagged: never wrong in silence."""
    rng = np.random.default_rng(0)
    crystals = [skewed_crystal(rng, number) for number in range(1, 311)]
    assert min(np.degrees(np.arccos(_cosines(lattice_of(c)))).min() for c in crystals) < 10
    with double_precision(precision == "float64"):
        batch = to_device(stack(crystals))
        # Rounded as it is searched: such cells magnify the rounding of an angle.
        results = search_with_lattices(to_device(batch), SKEWED, ImageCapacity(96, merge=False))
        found, lattices = jax.tree.map(np.asarray, results)
    flagged = found.status != 0
    print(f"{flagged.sum()} of {len(crystals)} flagged")
    assert (found.status[flagged] == Status.LATTICE_VECTORS).all()
    assert flagged.sum() < 20
    assert not found.cut.any(1)[~flagged].any()
    for index in np.flatnonzero(~flagged):
        expected = pymatgen_neighbors(row(batch, index), SKEWED.cutoff, lattices[index].astype(np.float64))
        check(row(found, index), expected, tolerance)


def _cosines(lattice):
    unit = lattice / np.linalg.norm(lattice, axis=1, keepdims=True)
    return np.clip(np.array([unit[1] @ unit[2], unit[0] @ unit[2], unit[0] @ unit[1]]), -1, 1)


def test_flat_and_small_cells_are_flagged(x64):
    """Too few lattice vectors: the flag comes before a neighbour is lost."""
    config = GraphConfig(cutoff=4.0, max_neighbors=200, lattice_vectors=30, grid=2)
    crystals, complete = [], []
    rng = np.random.default_rng(1)
    for number in range(100):
        space_group = int(rng.choice([1, 5, 14, 16, 75, 143]))
        lengths, angles = random_shape(rng, space_group, ratio=3.0)
        lengths = np.maximum(lengths * rng.uniform(2.0, 9.0), 1.8)
        if space_group in (75, 143):
            lengths[1] = lengths[0]
        crystals.append(make_crystal(space_group, lengths, angles, [number % 90 + 1], [[0.1, 0.23, 0.31]]))
    batch = to_device(stack(crystals))
    found = search_all(batch, config, ImageCapacity(8, merge=False))
    for index, crystal in enumerate(crystals):
        try:
            check(row(found, index), pymatgen_neighbors(crystal, config.cutoff), 1e-6)
            complete.append(True)
        except AssertionError:
            complete.append(False)
    flagged = (found.status & Status.LATTICE_VECTORS) != 0
    cut = found.cut.any(1)
    print(f"{flagged.sum()} flagged, {(~np.array(complete)).sum()} incomplete, {cut.sum()} cut")
    assert (flagged | cut | np.array(complete)).all()
    assert (flagged & ~np.array(complete)).any()
    assert (~flagged).any()


def test_too_few_image_slots_are_flagged():
    crystals = stack([random_crystal(np.random.default_rng(0), group, 2) for group in (221, 16)])
    enough = search_all(crystals, SMALL, ImageCapacity(96, merge=True))
    assert enough.status.tolist() == [0, 0]
    assert enough.num_images.tolist() == [96, 8]
    short = search_all(crystals, SMALL, ImageCapacity(95, merge=True))
    assert short.status.tolist() == [Status.IMAGES, 0]
    assert short.num_images.tolist() == [96, 8]


@pytest.mark.parity
def test_reduction_finds_the_shortest_vectors(x64):
    """Sheared lattices come back to a Minkowski-reduced basis, in float32 too."""
    rng = np.random.default_rng(2)
    reduce = jax.jit(minkowski_coefficients)
    for number in range(100):
        basis = rng.normal(size=(3, 3)) * np.exp(rng.uniform(-1, 1, (3, 1))) * 5
        if abs(np.linalg.det(basis)) < 5:
            continue
        for _ in range(5):
            first, second = rng.permutation(3)[:2]
            basis[first] += rng.integers(-4, 5) * basis[second]
        coefficients = np.asarray(reduce(jnp.asarray(basis, jnp.float32 if number % 2 else jnp.float64)))
        assert np.array_equal(coefficients, np.round(coefficients))
        assert round(abs(np.linalg.det(coefficients))) == 1
        ours = np.linalg.norm(coefficients @ basis, axis=1)
        theirs = np.sort(Lattice(basis).get_niggli_reduced_lattice(1e-8).abc)
        assert np.allclose(ours, theirs, rtol=1e-5)


def assert_same_neighbors(one, other):
    """In any order, where distances tie."""
    for name in ("mask", "reach", "status", "num_images"):
        assert np.allclose(getattr(one, name), getattr(other, name), atol=1e-9), name
    for first, second in zip(*(f.displacement.reshape(-1, 48, 3) for f in (one, other)), strict=True):
        apart = np.linalg.norm(first[:, None] - second, axis=-1)
        assert max(apart.min(0).max(), apart.min(1).max()) < 1e-9


@pytest.mark.property
def test_any_branch_of_the_coordinates_will_do(x64):
    rng = np.random.default_rng(3)
    crystals = [random_crystal(rng, group, 2) for group in range(1, 231)]
    moved = [c._replace(frac_coords=c.frac_coords + rng.integers(-5, 6, (2, 3))) for c in crystals]
    here, there = (search_all(stack(some), SMALL, ImageCapacity.free(2)) for some in (crystals, moved))
    assert not here.cut.any()
    assert_same_neighbors(here, there)


@pytest.mark.property
def test_padding_is_nobodys_neighbour(x64):
    """Padded sites are no neighbours; an all-padding structure has none and is no error."""
    crystals = stack([random_crystal(np.random.default_rng(4), group, 2) for group in (2, 14, 62, 139)])
    small = search_all(crystals, SMALL, ImageCapacity.free(2))
    padded = [pad(row(crystals, index), 5) for index in range(4)]
    large = search_all(stack([*padded, jax.tree.map(np.zeros_like, padded[0])]), SMALL, ImageCapacity.free(5))
    for index in range(4):
        cropped = row(large, index)
        cropped = cropped._replace(
            displacement=cropped.displacement[:2], mask=cropped.mask[:2], reach=cropped.reach[:2]
        )
        assert_same_neighbors(row(small, index), cropped)
    assert not large.mask[:, 2:].any()
    assert not large.mask[4].any()
    assert not large.status.any()
    assert large.num_images[4] == 0
    assert all(np.isfinite(leaf).all() for leaf in large)


def test_fewer_images_than_slots(x64):
    """One atom a cell: its own translations, padded to K."""
    crystals = stack([make_crystal(1, np.full(3, 3.0), np.full(3, 90.0), [26], [[0.3, 0.2, 0.9]])])
    config = GraphConfig(cutoff=3.1, max_neighbors=50)
    found = row(search_all(crystals, config, ImageCapacity(1, merge=False)), 0)
    assert found.status == 0
    assert found.mask.sum() == 6
    assert np.allclose(found.distance[0, :6], 3.0)
    assert np.allclose(found.distance[0, 6:], config.cutoff)
    assert found.reach[0] == config.cutoff


def test_reach_is_the_next_neighbour(x64):
    """A shell that the cut at K splits is left out by weight, not by rank."""
    crystals = stack([make_crystal(1, np.full(3, 3.0), np.full(3, 90.0), [26], [[0.0, 0.0, 0.0]])])
    for degree, reach, cut in ((6, 3 * np.sqrt(2), True), (26, 5.5, False)):
        config = GraphConfig(cutoff=5.5, max_neighbors=degree)
        found = row(search_all(crystals, config, ImageCapacity(1, merge=False)), 0)
        assert found.reach[0] == pytest.approx(reach)
        assert bool(found.cut[0]) is cut


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("cutoff", 0.0, "must be above 0"),
        ("max_neighbors", 0, "at least 1"),
        ("lattice_vectors", 20, "from 27 to 342"),
        ("lattice_vectors", 343, "from 27 to 342"),
    ],
)
def test_impossible_settings(setting, value, message):
    with pytest.raises(ValueError, match=message):
        GraphConfig(**{setting: value})
