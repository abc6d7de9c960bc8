"""Symmetrised structures are the structures they came from."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import DummySpecies, Lattice, Structure

from jaxcrystal.data.symmetrize import params_of_lattice, symmetrize
from jaxcrystal.io.convert import to_pymatgen
from jaxcrystal.io.readers import read_structures
from jaxcrystal.io.rejection import Reason, Rejected
from jaxcrystal.symmetry.lattice import lengths_angles
from jaxcrystal.symmetry.orbits import expand_crystal
from jaxcrystal.symmetry.wyckoff import wyckoff_positions
from tests.crystals import params_from_lengths_angles


def _letters(sites):
    positions = wyckoff_positions(sites.space_group)
    return sorted((int(z), positions[i].letter) for z, i in zip(sites.species, sites.letters, strict=True))


def test_rutile(rutile):
    sites = symmetrize(rutile)
    assert sites.space_group == 136
    assert _letters(sites) == [(8, "f"), (22, "a")]
    lengths, angles = lengths_angles(jnp.asarray(sites.lattice_params), 136)
    assert np.allclose(lengths, [4.59, 4.59, 2.96], atol=1e-4)
    assert np.allclose(angles, 90, atol=1e-4)


def test_charges_isotopes_supercells_and_moved_cells_do_not_matter(perovskite):
    plain = symmetrize(perovskite)
    decorated = perovskite.copy()
    decorated.add_oxidation_state_by_element({"Ba": 2, "Ti": 4, "O": -2})
    decorated.make_supercell([2, 1, 1])
    decorated.translate_sites(range(len(decorated)), [0.13, 0.27, 0.41])
    found = symmetrize(decorated)
    assert found.space_group == plain.space_group == 221
    assert np.allclose(found.lattice_params, plain.lattice_params, atol=1e-6)
    hydride = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(4.1), ["Li", "D"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    assert sorted(symmetrize(hydride).species) == [1, 3]


@pytest.mark.parity
def test_aflow_structures_are_rebuilt(aflow):
    """The full cells of all prototypes match the structures they were prepared from."""
    originals = dict(read_structures("aflow"))
    matcher = StructureMatcher(primitive_cell=True, scale=False, ltol=0.05, stol=0.1, angle_tol=2)
    for index in range(0, len(aflow), 4):
        lattice, species, frac_coords, _ = expand_crystal(aflow.crystal(index))
        rebuilt = to_pymatgen(lattice, species, frac_coords)
        original = originals[str(aflow.ids[index])]
        if len(original) <= 40:  # matching large cells is slow
            assert matcher.fit(rebuilt, original), aflow.ids[index]


def _row(dataset, index):
    from jaxcrystal.data.dataset import PreparedSites

    sites = dataset.sites(index)
    return PreparedSites(
        int(dataset.space_group[index]),
        dataset.lattice_params[index],
        dataset.species[sites],
        dataset.frac_coords[sites],
        dataset.letters[sites],
    )


def test_sites_lie_exactly_on_their_subspaces(aflow):
    for index in range(len(aflow)):
        positions = wyckoff_positions(int(aflow.space_group[index]))
        sites = aflow.sites(index)
        for coords, letter in zip(aflow.frac_coords[sites], aflow.letters[sites], strict=True):
            offset = coords - positions[letter].origin
            assert np.abs(offset - positions[letter].projection @ offset).max() < 1e-12


def test_no_fixed_position_is_used_twice(aflow):
    for index in range(len(aflow)):
        positions = wyckoff_positions(int(aflow.space_group[index]))
        fixed = [i for i in aflow.letters[aflow.sites(index)] if positions[i].num_free == 0]
        assert len(fixed) == len(set(fixed))


@pytest.mark.parametrize("space_group", [2, 14, 62, 139, 166, 194, 225])
def test_params_of_lattice_agree_with_the_tables(space_group, x64):
    lengths, angles = {
        2: ([3.0, 4.0, 5.0], [80.0, 95.0, 103.0]),
        14: ([3.0, 4.0, 5.0], [90.0, 112.0, 90.0]),
        62: ([3.0, 4.0, 5.0], [90.0, 90.0, 90.0]),
        139: ([3.0, 3.0, 5.0], [90.0, 90.0, 90.0]),
        166: ([3.0, 3.0, 15.0], [90.0, 90.0, 120.0]),
        194: ([3.0, 3.0, 5.0], [90.0, 90.0, 120.0]),
        225: ([5.0, 5.0, 5.0], [90.0, 90.0, 90.0]),
    }[space_group]
    lattice = Lattice.from_parameters(*lengths, *angles).matrix
    rotated = lattice @ np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    expected = params_from_lengths_angles(jnp.array(lengths), jnp.array(angles), space_group)
    assert np.allclose(params_of_lattice(rotated, space_group), expected, atol=1e-9)


def _bad(kind):
    cubic = Lattice.cubic(4.0)
    if kind == Reason.EMPTY:
        return Structure(cubic, [], [])
    if kind == Reason.DISORDERED:
        return Structure(cubic, [{"Fe": 0.5, "Ni": 0.5}], [[0, 0, 0]])
    if kind == "vacancy":
        return Structure(cubic, [{"Fe": 0.7}], [[0, 0, 0]])
    if kind == Reason.UNKNOWN_ELEMENT:
        return Structure(cubic, [DummySpecies("X"), "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    if kind == Reason.OVERLAPPING:
        return Structure(cubic, ["Fe", "Fe"], [[0, 0, 0], [0.001, 0, 0]])
    if kind == "too near":  # with other species, which spglib takes for two atoms
        return Structure(cubic, ["Fe", "O"], [[0, 0, 0], [0.1, 0, 0]])
    if kind == Reason.NOT_PERIODIC:
        return Structure(Lattice(4 * np.eye(3), pbc=(True, True, False)), ["Fe"], [[0, 0, 0]])
    if kind == Reason.UNPARSABLE:
        return Structure(cubic, ["Fe", "Fe"], [[0, 0, 0], [float("nan"), 0, 0]])
    rng = np.random.default_rng(0)
    grid = np.array(list(itertools.product(range(3), repeat=3))) / 3
    return Structure(
        Lattice.from_parameters(9, 10, 11, 80, 95, 100), ["Fe"] * 27, grid + rng.random((27, 3)) / 9
    )


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Reason.EMPTY, Reason.EMPTY),
        (Reason.DISORDERED, Reason.DISORDERED),
        ("vacancy", Reason.DISORDERED),
        (Reason.UNKNOWN_ELEMENT, Reason.UNKNOWN_ELEMENT),
        (Reason.UNPARSABLE, Reason.UNPARSABLE),
        (Reason.TOO_MANY_SITES, Reason.TOO_MANY_SITES),
        (Reason.OVERLAPPING, Reason.OVERLAPPING),
        ("too near", Reason.OVERLAPPING),
        (Reason.NOT_PERIODIC, Reason.NOT_PERIODIC),
    ],
)
def test_rejections(kind, reason):
    with pytest.raises(Rejected) as refusal:
        symmetrize(_bad(kind))
    assert refusal.value.reason == reason


def test_no_group_is_a_rejection(monkeypatch, rutile):
    monkeypatch.setattr("spglib.get_symmetry_dataset", lambda *_, **__: None)
    with pytest.raises(Rejected) as refusal:
        symmetrize(rutile)
    assert refusal.value.reason == Reason.SYMMETRY_FAILED
