"""Every format gives back the structure that was written; what is broken is named."""

import csv
import gzip
import json

import ase.io
import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.io.cif import CifWriter
from pymatgen.io.vasp import Poscar

from jaxcrystal.errors import DataError
from jaxcrystal.io.readers import read_structures


def _cif(structure) -> str:
    return str(CifWriter(structure))


def _write_cif(path, structure):
    path = path / "rutile.cif"
    path.write_text(_cif(structure))
    return path


def _write_symmetric_cif(path, structure):
    path = path / "rutile.cif"
    path.write_text(str(CifWriter(structure, symprec=0.01)))
    return path


def _write_cif_gz(path, structure):
    path = path / "rutile.cif.gz"
    path.write_bytes(gzip.compress(_cif(structure).encode()))
    return path


def _write_csv(path, structure):
    path = path / "rutile.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["material_id", "cif", "e_above_hull"], ["r", _cif(structure), "0.1"]])
    return path


def _write_csv_gz(path, structure):
    written = _write_csv(path, structure)
    path = path / "rutile.csv.gz"
    path.write_bytes(gzip.compress(written.read_bytes()))
    return path


def _write_extxyz(path, structure):
    path = path / "rutile.extxyz"
    atoms = AseAtomsAdaptor.get_atoms(structure)
    atoms.info = {"note": "two words", "energy_value": -3.5}
    ase.io.write(path, atoms, format="extxyz")
    return path


def _write_poscar(path, structure):
    path = path / "POSCAR"
    path.write_text(Poscar(structure).get_str())
    return path


def _write_vasp(path, structure):
    path = path / "rutile.vasp"
    path.write_text(Poscar(structure).get_str(direct=False))
    return path


def _write_json(path, structure):
    path = path / "rutile.json"
    path.write_text(json.dumps(structure.as_dict()))
    return path


def _write_entries(path, structure):
    path = path / "rutile.json.gz"
    entry = {
        "@class": "ComputedStructureEntry",
        "structure": structure.as_dict(),
        "entry_id": "r",
        "data": {},
    }
    path.write_bytes(gzip.compress(json.dumps({"entries": [entry]}).encode()))
    return path


WRITERS = [
    _write_cif,
    _write_symmetric_cif,
    _write_cif_gz,
    _write_csv,
    _write_csv_gz,
    _write_extxyz,
    _write_poscar,
    _write_vasp,
    _write_json,
    _write_entries,
]


@pytest.mark.parity
@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_format_gives_the_structure_back(write, tmp_path, rutile):
    ((_, found),) = read_structures(write(tmp_path, rutile))
    assert isinstance(found, Structure)
    assert np.allclose(found.lattice.matrix, rutile.lattice.matrix, atol=1e-4)
    assert StructureMatcher(primitive_cell=False, scale=False).get_rms_dist(found, rutile)[0] < 1e-4


def test_many_structures_in_one_file(tmp_path, rutile, perovskite):
    (tmp_path / "two.cif").write_text(_cif(rutile) + "\n" + _cif(perovskite))
    (tmp_path / "list.json").write_text(json.dumps([rutile.as_dict(), perovskite.as_dict()]))
    (tmp_path / "dict.json").write_text(json.dumps({"r": rutile.as_dict(), "p": perovskite.as_dict()}))
    atoms = [AseAtomsAdaptor.get_atoms(s) for s in (rutile, perovskite)]
    ase.io.write(tmp_path / "two.extxyz", atoms, format="extxyz")
    found = {
        name: [s.reduced_formula for _, s in read_structures(tmp_path / name)]
        for name in ("two.cif", "list.json", "dict.json", "two.extxyz")
    }
    assert set(map(tuple, found.values())) == {("TiO2", "BaTiO3")}
    assert [name for name, _ in read_structures(tmp_path / "dict.json")] == ["r", "p"]


def test_folder_is_searched_and_other_files_are_left(tmp_path, rutile, perovskite):
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    _write_cif(deep, rutile)
    _write_poscar(tmp_path, perovskite)
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "energies.csv").write_text("id,energy\n1,2\n")
    found = dict(read_structures([tmp_path]))
    assert {name: s.reduced_formula for name, s in found.items()} == {
        "POSCAR": "BaTiO3",
        "a/b/rutile.cif": "TiO2",
    }


def test_csv_without_identifiers_numbers_its_rows(tmp_path, rutile):
    path = tmp_path / "s.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["cif"], [_cif(rutile)], [""]])
    (first, structure), (second, error) = read_structures(path)
    assert (first, second) == ("s.csv:1", "s.csv:2")
    assert isinstance(structure, Structure)
    assert isinstance(error, DataError)


@pytest.mark.parametrize("symbol", ["Xx", "Vac", "M1", "OH", "Wat"])
def test_symbols_that_are_no_element_are_not_guessed(tmp_path, rutile, symbol):
    """pymatgen reads Vac as vanadium and leaves sites named OH out."""
    text = _cif(rutile).replace("  Ti  Ti0", f"  {symbol}  Ti0")
    (tmp_path / "a.cif").write_text(text)
    ((_, found),) = read_structures(tmp_path / "a.cif")
    assert isinstance(found, Exception)
    assert symbol in str(found)


@pytest.mark.parametrize("symbol", ["Ti4+", "TI", "Ti1"])
def test_symbols_with_charge_number_or_capitals(tmp_path, rutile, symbol):
    (tmp_path / "a.cif").write_text(_cif(rutile).replace("  Ti  Ti0", f"  {symbol}  Ti0"))
    ((_, found),) = read_structures(tmp_path / "a.cif")
    assert found.composition.reduced_formula == "TiO2"


def test_broken_files_become_errors(tmp_path, rutile, caplog):
    (tmp_path / "broken.cif").write_text(_cif(rutile)[:300])
    (tmp_path / "unplaced.cif").write_text(_cif(rutile).replace("0.30530000", "?"))
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "other.json").write_text('{"a": 1}')
    (tmp_path / "broken.cif.gz").write_bytes(gzip.compress(b"data_x")[:-6])
    (tmp_path / "molecule.xyz").write_text("1\n\nH 0 0 0\n")
    (tmp_path / "slab.extxyz").write_text(
        '1\nLattice="3 0 0 0 3 0 0 0 3" pbc="T T F" Properties=species:S:1:pos:R:3\nH 0 0 0\n'
    )
    (tmp_path / "short.extxyz").write_text('2\nLattice="3 0 0 0 3 0 0 0 3"\nH 0 0 0\n')
    (tmp_path / "POSCAR").write_text("x\n1.0\n3 0 0\n0 3 0\n0 0 3\n1\nDirect\n0 0 0\n")  # no elements
    found = list(read_structures(tmp_path))
    assert len(found) == 8
    assert all(isinstance(error, Exception) for _, error in found), found
    assert "other.json (no structure in it)" in caplog.text  # is no failed structure


def test_csv_damaged_at_its_end_gives_its_first_rows(tmp_path, perovskite):
    path = tmp_path / "s.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["id", "cif"]] + [[n, _cif(perovskite)] for n in range(300)])
    (tmp_path / "s.csv.gz").write_bytes(gzip.compress(path.read_bytes())[:-100])
    found = list(read_structures(tmp_path / "s.csv.gz"))
    assert isinstance(found[0][1], Structure)
    assert "stopped" in str(found[-1][1])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.cif", None, "does not exist"),
        ("a.txt", "x", "unknown kind"),
        ("a.csv", "id,energy\n", "no column named cif"),
        ("folder/a.txt", "x", "no structure file"),
    ],
)
def test_wrong_source_is_said_at_once(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    source = path.parent if name.startswith("folder") else path
    with pytest.raises(DataError, match=message):
        read_structures(source)


def test_disordered_and_charged_structures_are_read(tmp_path):
    salt = Structure(Lattice.cubic(4.0), ["Na+", {"Cl-": 0.5, "Br-": 0.5}], [[0, 0, 0], [0.5, 0.5, 0.5]])
    (tmp_path / "a.cif").write_text(_cif(salt))
    ((_, found),) = read_structures(tmp_path / "a.cif")
    assert isinstance(found, Structure)
