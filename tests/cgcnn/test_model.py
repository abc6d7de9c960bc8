"""The bundled CGCNN: what its file says, activations and energies of known crystals."""

import csv
from importlib.resources import files

import numpy as np
import pytest
from pymatgen.analysis.prototypes import AFLOW_PROTOTYPE_LIBRARY
from pymatgen.core import DummySpecies, Lattice, Structure

from jaxcrystal.cgcnn import model as cgcnn
from jaxcrystal.cgcnn.model import activations, formation_energies, load_cgcnn
from jaxcrystal.cli import main
from jaxcrystal.errors import DataError
from jaxcrystal.io.convert import pymatgen_json_text


def crystal(group: str, length: float, species: list[str], frac_coords: list[list[float]]) -> Structure:
    return Structure.from_spacegroup(group, Lattice.cubic(length), species, frac_coords)


def rocksalt(length: float, cation: str, anion: str) -> Structure:
    return crystal("Fm-3m", length, [cation, anion], [[0, 0, 0], [0.5, 0.5, 0.5]])


NACL, MGO = rocksalt(5.64, "Na", "Cl"), rocksalt(4.21, "Mg", "O")


def prototypes(count: int) -> list[Structure]:
    return [entry["snl"].structure for entry in AFLOW_PROTOTYPE_LIBRARY[:count]]


def test_what_the_file_says_of_itself() -> None:
    model = load_cgcnn()
    assert model.info["test_mae"] < 0.15
    assert model.info["train_mae"] < model.info["test_mae"]
    # Half precision, and chosen by validation: neither may cost anything.
    assert model.info["validation_mae"] == pytest.approx(model.info["validation_mae_float32"], abs=2e-3)
    assert model.info["validation_mae"] == pytest.approx(model.info["test_mae"], rel=0.3)
    assert {name: part["crystals"] for name, part in model.info["data"].items()} == {
        "train": 11169, "validation": 1122, "test": 4433
    }  # fmt: skip
    bundled = files("jaxcrystal") / "bundled"
    assert (bundled / "cgcnn.npz").stat().st_size < 1_000_000
    card = (bundled / "CGCNN_CARD.md").read_text(encoding="utf-8")
    assert "CC BY 4.0" in card
    assert f"{model.info['test_mae']:.3f}" in card


def test_energies_of_crystals_that_everyone_knows() -> None:
    """In order, and near what is measured: MgO -3.1, NaCl -2.1, GaAs -0.4, copper 0 eV per atom."""
    gallium_arsenide = crystal("F-43m", 5.65, ["Ga", "As"], [[0, 0, 0], [0.25, 0.25, 0.25]])
    copper = crystal("Fm-3m", 3.61, ["Cu"], [[0, 0, 0]])
    found = formation_energies([MGO, NACL, gallium_arsenide, copper])
    assert found.shape == (4,)
    assert (np.diff(found) > 0.2).all()
    np.testing.assert_allclose(found, [-3.1, -2.1, -0.4, 0.0], atol=0.4)


def test_as_a_rank(tmp_path, capsys) -> None:
    structures = {"salt": NACL, "stretched": rocksalt(7.5, "Na", "Cl"), "magnesia": MGO}
    (tmp_path / "some.json").write_text(pymatgen_json_text(structures))
    command = ["screen", str(tmp_path / "some.json"), "--rank", "energy", "--processes", "1"]
    assert main([*command, "--out", str(tmp_path / "kept")]) == 0
    assert "formation_energy" in capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "kept" / "screening.csv").read_text().splitlines()))
    assert [row["id"] for row in rows][:2] == ["magnesia", "salt"]
    energies = formation_energies([structures[row["id"]] for row in rows])
    np.testing.assert_allclose([float(row["formation_energy"]) for row in rows], energies, atol=1e-4)


def test_structure_counts_and_not_only_composition() -> None:
    """A spinel, -3.3 eV per atom by experiment, and its atoms strewn over the same cell."""
    places = [[0.125, 0.125, 0.125], [0.5, 0.5, 0.5], [0.2624, 0.2624, 0.2624]]
    spinel = Structure.from_spacegroup("Fd-3m:2", Lattice.cubic(8.08), ["Mg", "Al", "O"], places)
    assert spinel.composition.reduced_formula == "MgAl2O4"
    strewn = spinel.copy()
    rng = np.random.default_rng(0)
    for site in range(len(strewn)):
        strewn.replace(site, strewn[site].specie, rng.uniform(size=3))
    right, wrong = formation_energies([spinel, strewn])
    assert right == pytest.approx(-3.3, abs=0.4)
    assert abs(wrong - right) > 0.3


@pytest.mark.property
def test_the_cell_does_not_matter() -> None:
    for structure in (NACL, prototypes(4)[3]):
        larger = structure.copy()
        larger.make_supercell([[1, 1, 0], [0, 1, 0], [0, 0, 2]])
        found = activations([structure, structure.get_primitive_structure(), larger])
        np.testing.assert_allclose(found[1:], found[[0, 0]], atol=2e-4)


def test_failures_are_rows_of_nan_in_their_places() -> None:
    disordered = Structure(Lattice.cubic(4), [{"Na": 0.5, "K": 0.5}], [[0, 0, 0]])
    dummy = Structure(Lattice.cubic(4), [DummySpecies("X")], [[0, 0, 0]])
    collapsed = Structure(Lattice([[4, 0, 0], [4, 0, 0], [0, 0, 4]]), ["Na"], [[0, 0, 0]])
    infinite = Structure(Lattice.cubic(4), ["Na"], [[np.nan, 0, 0]])
    empty = Structure(Lattice.cubic(4), [], [])
    charged = Structure(Lattice.cubic(4.21), ["Mg2+", "O2-"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    listed = [NACL, None, disordered, dummy, collapsed, infinite, empty, MGO, charged]
    found = activations(listed)
    assert found.shape == (9, load_cgcnn().config.hidden)
    assert np.isfinite(found).all(1).tolist() == [True] + [False] * 6 + [True, True]
    assert np.isnan(found[1:7]).all()
    np.testing.assert_allclose(found[[0, 7]], activations([NACL, MGO]), atol=1e-5)


def test_nothing_to_do() -> None:
    assert activations([]).shape == (0, load_cgcnn().config.hidden)
    assert np.isnan(activations([None, None])).all()


def test_one_at_a_time_and_in_processes_are_the_same(monkeypatch) -> None:
    listed = [*prototypes(14), None]
    together = activations(listed)
    alone = np.concatenate([activations([structure]) for structure in listed])
    np.testing.assert_allclose(together, alone, atol=1e-4)
    monkeypatch.setattr(cgcnn, "_MANY", 2)
    np.testing.assert_allclose(activations(listed, processes=2), together, atol=1e-6)


@pytest.mark.compile
def test_batches_share_compilations() -> None:
    activations([NACL])
    before = cgcnn._apply._cache_size()
    activations([*prototypes(20), MGO])
    assert cgcnn._apply._cache_size() == before


def test_files_that_hold_no_weights(tmp_path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        load_cgcnn(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    for name in ("text", "other"):
        with pytest.raises(DataError, match="holds no CGCNN") as caught:
            load_cgcnn(tmp_path / f"{name}.npz")
        assert "\n" not in str(caught.value)
