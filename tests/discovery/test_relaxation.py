"""Relaxation of single crystals with EMT: what is reached, what is kept, what is refused."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from pymatgen.core import Lattice, Structure
from scipy.optimize import minimize_scalar

import jaxcrystal as jc
from jaxcrystal.discovery.gates import Failure, require_energy
from jaxcrystal.discovery.relaxation import RelaxSettings, relax_entry
from jaxcrystal.errors import RequestError
from jaxcrystal.structures.entries import Entry
from tests.discovery.crystals import b2, cubic, some


def relaxed(structure: Structure, **settings):
    return relax_entry(Entry("a", structure), RelaxSettings("emt", **settings))


def test_copper_reaches_the_lattice_constant_of_the_potential() -> None:
    def energy(a: float) -> float:
        atoms = bulk("Cu", "fcc", a)
        atoms.calc = EMT()
        return float(atoms.get_potential_energy())

    best = minimize_scalar(energy, bounds=(3.4, 3.8), method="bounded", options={"xatol": 1e-6})
    found = relaxed(cubic(3.9, "Cu"), max_stress=0.001)
    assert found.converged
    assert (found.group_before, found.group_after, found.letters) == (225, 225, ("a",))
    assert found.energy_per_atom == pytest.approx(best.fun, abs=1e-6)
    assert 3.9 * np.cbrt(found.volume_ratio) == pytest.approx(best.x, abs=1e-4)
    assert abs(found.pressure) < 0.001
    assert found.moved == 0.0


def test_free_coordinates_relax_in_their_group() -> None:
    entry = some(1)[0]
    found = relax_entry(entry, RelaxSettings("emt"))
    assert found.converged
    assert found.group_before == 10
    assert found.moved > 0.01
    assert found.max_force <= 0.02
    assert found.letters == ("n", "m")  # as `symmetry.canonical` describes it: Au is before Cu
    structure = jc.relax([entry.structure], "emt")[0].to_pymatgen()
    atoms = structure.to_ase_atoms()
    atoms.calc = EMT()
    assert atoms.get_potential_energy() / len(atoms) == pytest.approx(found.energy_per_atom, abs=1e-6)
    np.testing.assert_allclose(atoms.get_forces(), 0, atol=0.021)
    np.testing.assert_allclose(np.sort(atoms.get_forces(), 0), np.sort(found.forces, 0), atol=1e-5)
    np.testing.assert_allclose(atoms.get_stress(voigt=False), found.stress, atol=1e-6)


def test_what_does_not_stay_without_symmetry() -> None:
    """Copper as a simple cubic crystal becomes another; as it crystallises, it stays."""
    fcc = relaxed(cubic(3.6, "Cu"), free=True)
    assert fcc.released.stays
    assert fcc.released.group == fcc.group_after == 225
    assert fcc.released.energy_per_atom == pytest.approx(fcc.energy_per_atom, abs=1e-3)
    simple = Structure(Lattice.cubic(2.4), ["Cu"], [[0] * 3])
    held = relaxed(simple)
    assert held.group_before == held.group_after == 221
    let_go = relaxed(simple, free=True)
    assert not let_go.released.stays
    assert let_go.group_before == 221
    assert let_go.group_after == let_go.released.group != 221
    assert let_go.energy_per_atom == let_go.released.energy_per_atom < held.energy_per_atom - 0.002
    assert let_go.letters == ("a",) * len(let_go.crystal.species)


def test_no_steps_is_the_energy_as_it_is() -> None:
    structure = cubic(3.8, "Cu")
    found = relaxed(structure, max_steps=0)
    atoms = structure.to_ase_atoms()
    atoms.calc = EMT()
    assert found.steps == 0
    assert not found.converged
    assert found.energy_per_atom == pytest.approx(atoms.get_potential_energy() / 4, abs=1e-9)


@pytest.mark.parametrize(
    ("structure", "word", "detail"),
    [
        (b2(1.5, "Cu", "Au"), "overlap", "Au and Cu are 1.30 Å apart"),
        (Structure(Lattice.cubic(1.3), ["Cu"], [[0] * 3]), "overlap", "Cu and Cu are 1.30 Å apart"),
        (cubic(10.0, "Cu"), "volume", "250 Å³ per atom"),
        (cubic(5.6, "Na"), "potential", "NotImplementedError: No EMT-potential for Na"),
    ],
)
def test_what_is_refused(structure, word, detail) -> None:
    found = relaxed(structure)
    assert isinstance(found, Failure)
    assert (found.word, found.detail) == (word, detail)


def test_entries_without_structure() -> None:
    settings = RelaxSettings("emt")
    gone = relax_entry(Entry("a", None, "damaged"), settings)
    assert (gone.word, gone.detail) == ("unreadable", "damaged")
    assert relax_entry(Entry("a", cubic(3.6, "Cu"), flag="images"), settings).word == "images"


@pytest.mark.parametrize(
    ("potential", "word"),
    [("tests.discovery.crystals:falling", "overlap"), ("tests.discovery.crystals:exploding", "volume")],
)
def test_a_potential_that_leads_astray(potential, word) -> None:
    """What it would end in is no crystal, and gets no energy."""
    found = relax_entry(Entry("a", cubic(3.6, "Cu")), RelaxSettings(potential))
    assert isinstance(found, Failure)
    assert found.word == word


@pytest.mark.parametrize("energy", [-2.7e13, 6.0, float("nan")])
def test_energies_that_no_crystal_has(energy) -> None:
    require_energy(-3.0, (-20.0, 5.0))
    with pytest.raises(Failure, match="energy"):
        require_energy(energy, (-20.0, 5.0))


@pytest.mark.parametrize("settings", [{"max_force": 0.0}, {"max_stress": float("nan")}, {"max_steps": -1}])
def test_settings_that_make_no_sense(settings) -> None:
    with pytest.raises(RequestError, match=f"^{next(iter(settings))} is "):
        RelaxSettings("emt", **settings)


def test_from_python(samples) -> None:
    """Structures of pymatgen and ASE, and samples; each gives one result."""
    found = jc.relax([cubic(3.8, "Cu"), bulk("Au", "fcc", 4.2), samples[0]], potential="emt")
    assert [one.formula for one in found] == ["Cu", "Au", samples[0].formula]
    assert [one.status for one in found[:2]] == ["ok", "ok"]
    assert found[2].status != "ok"  # the network of the tests knows nothing, and EMT no barium
    assert found[2].name == samples[0].name
    assert np.isnan(found[2].energy_per_atom)
    atoms = found[1].to_ase()
    assert len(atoms) == 4
    assert atoms.get_potential_energy() == pytest.approx(4 * found[1].energy_per_atom)
    assert atoms.get_stress().shape == (6,)
    with pytest.raises(Exception, match="expected structures of pymatgen or ASE"):
        jc.relax(["no structure"], potential="emt")


def test_what_has_not_settled_without_symmetry_has_not_converged() -> None:
    """It needs steps that it does not get, though its energy is nearly that of the crystal."""
    structure = cubic(3.6, "Cu")
    steps = relaxed(structure).steps
    found = relaxed(structure, free=True, max_steps=steps)
    assert found.steps == 2 * steps
    assert found.released.stays
    assert not found.converged
    assert relaxed(structure, free=True).converged
