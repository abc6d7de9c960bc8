"""JSON documents of databases and programs: every structure once, figures never, a cause for each refusal."""

import json

import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.io.jsonio import encode
from pymatgen.core import Lattice, Molecule, Structure

from jaxcrystal.io.readers import read, read_records

SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0] * 3, [0.5] * 3])
CSCL = Structure(Lattice.cubic(4.12), ["Cs", "Cl"], [[0] * 3, [0.5] * 3])
BOTH = {"m1": "Na4 Cl4", "m2": "Cs1 Cl1"}


def _found(path):
    """Returns name -> formula, or the cause, of every structure of a file."""
    outcomes = {}
    for record in read_records(path):
        try:
            outcomes[record.source_id] = read(record).formula
        except Exception as error:  # whatever it is, it is looked at
            outcomes[record.source_id] = f"{type(error).__name__}: {error}"
    return outcomes


@pytest.fixture
def found(tmp_path):
    def of(content, name="d.json"):
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / name).write_text(text)
        return _found(tmp_path / name)

    return of


def _optimade(structure, name, **changes):
    species = [
        {"name": str(e), "chemical_symbols": [str(e)], "concentration": [1.0]} for e in structure.elements
    ]
    attributes = {
        "lattice_vectors": structure.lattice.matrix.tolist(),
        "cartesian_site_positions": structure.cart_coords.tolist(),
        "species_at_sites": [str(site.specie) for site in structure],
        "species": species,
        "dimension_types": [1, 1, 1],
        "nsites": len(structure),
    }
    return {"id": name, "type": "structures", "attributes": {**attributes, **changes}}


def test_optimade(found):
    data = [_optimade(SALT, "m1"), _optimade(CSCL, "m2")]
    meta = {"query": {"representation": "/structures"}, "more_data_available": False}
    assert found({"data": data, "meta": meta, "links": {"next": None}, "included": []}) == BOTH
    assert found({"data": data[0], "meta": meta}) == {"m1": "Na4 Cl4"}


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"dimension_types": [1, 1, 0]}, "not periodic in three directions"),
        ({"species_at_sites": ["Na"] * 7}, "7 elements for 8 places"),
        ({"structure_features": ["implicit_atoms"]}, "not all atoms are listed"),
        ({"structure_features": ["disorder"]}, "disordered"),
        ({"chemical_formula_reduced": "ClHNa"}, "lists no atom of H"),
        ({"lattice_vectors": [[None] * 3] * 3}, "the cell is not of finite numbers"),
        ({"species_at_sites": None}, "not a structure as optimade writes it"),
        (
            {"species": [{"name": "Na", "chemical_symbols": ["Na", "vacancy"], "concentration": [0.5, 0.5]}]},
            "a site holds Na vacancy",
        ),
    ],
)
def test_optimade_says_why_it_is_no_crystal(found, changes, cause):
    (outcome,) = found({"data": [_optimade(SALT, "m1", **changes)]}).values()
    assert cause in outcome


def _jarvis(structure, name, cartesian=False):
    coords = structure.cart_coords if cartesian else structure.frac_coords
    atoms = {
        "lattice_mat": structure.lattice.matrix.tolist(),
        "coords": coords.tolist(),
        "elements": [str(site.specie) for site in structure],
        "cartesian": cartesian,
        "props": [""] * len(structure),
    }
    energies = {"ehull": 0.01, "formation_energy_peratom": -1.5, "optb88vdw_bandgap": "na"}
    return {"jid": name, "atoms": atoms, "efg": [[1.0, 2.0]], "crys": "cubic", **energies}


def test_jarvis(found, tmp_path):
    assert found([_jarvis(SALT, "m1"), _jarvis(CSCL, "m2", cartesian=True)]) == BOTH
    record = next(read_records(tmp_path / "d.json"))
    energies = {"formation_energy_per_atom": -1.5, "e_above_hull": 0.01}
    assert record.properties == energies | {"formation_energy_peratom": -1.5, "ehull": 0.01}


def test_ase(found, tmp_path):
    atoms = Atoms("Na4Cl4", scaled_positions=SALT.frac_coords, cell=SALT.lattice.matrix, pbc=True)
    database = ase.db.connect(tmp_path / "db.json")
    database.write(atoms, relaxed=True)
    database.write(Atoms("H2", positions=[[0] * 3, [0.74, 0, 0]]))
    salt, molecule = _found(tmp_path / "db.json").values()
    assert salt == "Na4 Cl4"
    assert "not periodic in three directions (pbc FFF)" in molecule
    ase.io.write(tmp_path / "a.json", atoms)
    assert list(_found(tmp_path / "a.json").values()) == ["Na4 Cl4"]
    assert list(found(encode(atoms)).values()) == ["Na4 Cl4"]
    assert list(found(encode(atoms.todict())).values()) == ["Na4 Cl4"]


def test_oqmd(found):
    sites = ["Cs @ 0 0 0", "Cl @ 0.5 0.5 0.5"]
    data = [{"name": "CsCl", "entry_id": 7, "unit_cell": (4.12 * np.eye(3)).tolist(), "sites": sites}]
    assert found({"data": data, "meta": {"more_data_available": True}}) == {"7": "Cs1 Cl1"}


def test_materials_project(found, tmp_path):
    document = {
        "material_id": "mp-1",
        "structure": SALT.as_dict(),
        "initial_structures": [SALT.as_dict(), CSCL.as_dict()],
        "energy_above_hull": 0.25,
        "origins": [{"name": "structure", "task_id": "mp-2"}],
        "symmetry": {"number": 225, "symbol": "Fm-3m"},
    }
    assert found({"data": [document], "meta": {"total_doc": 1}}) == {"mp-1": "Na4 Cl4"}
    assert next(read_records(tmp_path / "d.json")).properties == {
        "energy_above_hull": 0.25, "e_above_hull": 0.25, "charge": 0.0
    }  # fmt: skip
    task = {
        "task_id": "mp-9",
        "input": {"structure": SALT.as_dict()},
        "output": {"structure": CSCL.as_dict()},
    }
    assert found(task) == {"mp-9": "Cs1 Cl1"}


@pytest.mark.parametrize("as_text", [False, True], ids=["dictionaries", "CIF"])
def test_tables_of_pandas(found, as_text):
    """Every orientation of DataFrame.to_json, and a dictionary of lists."""
    names, gaps = ["m1", "m2"], [1.0, 2.0]
    cells = [s.to(fmt="cif") if as_text else s.as_dict() for s in (SALT, CSCL)]
    rows = [
        {"material_id": name, "structure": cell, "gap": gap}
        for name, cell, gap in zip(names, cells, gaps, strict=True)
    ]
    columns = ["material_id", "structure", "gap"]
    values = [list(row.values()) for row in rows]
    assert found(rows) == BOTH  # records
    assert found({str(n): row for n, row in enumerate(rows)}) == BOTH  # index
    assert found({c: {str(n): row[c] for n, row in enumerate(rows)} for c in columns}) == BOTH  # columns
    assert found({"columns": columns, "index": [0, 1], "data": values}) == BOTH  # split
    assert found({"schema": {"fields": [{"name": c} for c in columns]}, "data": rows}) == BOTH  # table
    assert found({c: [row[c] for row in rows] for c in columns}) == BOTH
    assert list(found(values).values()) == list(BOTH.values())  # without names
    lines = "\n".join(map(json.dumps, rows))
    assert found(lines) == found(lines + "\n\n", "d.jsonl") == BOTH


def test_the_index_of_a_split_table_names_its_rows(found):
    cells = [[s.as_dict(), 1.0] for s in (SALT, CSCL)]
    table = {"columns": ["structure", "gap"], "data": cells}
    names = list(found({**table, "index": ["m-7", "m-9"]}))
    assert names == ["d.json:m-7", "d.json:m-9"]
    assert list(found({**table, "index": ["m-7", "m-7"]})) == ["d.json:m-7", "d.json:m-7#2"]
    assert list(found(table)) == list(found({**table, "index": [5]})) == ["d.json:0", "d.json:1"]


def test_texts_in_documents(found):
    assert list(found([SALT.to(fmt="cif"), CSCL.to(fmt="cif")]).values()) == list(BOTH.values())
    assert found({"m1": SALT.to(fmt="cif"), "m2": CSCL.to(fmt="poscar")}) == BOTH
    assert found([{"id": "m1", "structure": json.dumps(SALT.as_dict())}]) == {"m1": "Na4 Cl4"}
    assert found([{"id": "m1", "structure": repr(SALT.as_dict())}]) == {"m1": "Na4 Cl4"}


@pytest.mark.parametrize(
    "content",
    [
        {},
        [],
        {"frac_unique": 1.0},
        {"list": [0.1, 0.2]},
        {"structure": "fcc"},
        {"sites": 5, "lattice": "fcc"},
        5,
        "x",
    ],
)
def test_what_holds_no_structure_is_no_failure(found, content, caplog):
    assert found(json.dumps(content)) == {}
    assert "d.json (no structure in it)" in caplog.text


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (Molecule(["O"], [[0, 0, 0]]).as_dict(), "sites without a lattice"),
        ([{"material_id": "m", "structure": None}], "its structure is null"),
        ({"lattice": {}, "sites": [{"species": [{"element": "Na", "occu": 1}], "abc": [0, 0, 0]}]}, "no 'a'"),
        ('{"a": [1, 2', "stopped: Expecting"),
        ({"lattice": {"matrix": np.eye(3).tolist(), "pbc": [1, 1, 0]}, "sites": []}, "no atoms"),
        (
            Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0], [0.001, 0, 0]]).as_dict(),
            "Na and Cl are 0.004 Å apart: atoms on one point",
        ),
    ],
)
def test_causes(found, content, cause):
    (outcome,) = found(content).values()
    assert cause in outcome


def test_a_bad_line_does_not_stop_the_others(found):
    text = "\n".join([json.dumps(SALT.as_dict()), '{"a"', json.dumps(CSCL.as_dict())])
    first, second, third = found(text).values()
    assert (first, third) == tuple(BOTH.values())
    assert "not JSON" in second
