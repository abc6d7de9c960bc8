"""Tables of structures: what a cell may hold, and what is said of one that holds none."""

import csv
import json

import pytest
from pymatgen.core import Lattice, Structure

from jaxcrystal.errors import DataError
from jaxcrystal.io.readers import read_structures
from jaxcrystal.io.records import known_properties

SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0] * 3, [0.5] * 3])
CSCL = Structure(Lattice.cubic(4.12), ["Cs", "Cl"], [[0] * 3, [0.5] * 3])
CIF = SALT.to(fmt="cif")


@pytest.fixture
def found(tmp_path):
    def of(rows, delimiter=",", encoding="utf-8", name="t.csv"):
        with (tmp_path / name).open("w", newline="", encoding=encoding) as file:
            csv.writer(file, delimiter=delimiter).writerows(rows)
        return {
            key: value.formula if isinstance(value, Structure) else str(value)
            for key, value in read_structures(tmp_path / name)
        }

    return of


@pytest.mark.parametrize(
    "rows",
    [
        [["id", "cif"], ["m", CIF]],
        [["id", "CIF"], ["m", CIF]],
        [["cif", "id"], [CIF, "m"]],
        [["material_id", "structure", "cif"], ["m", "x", CIF]],
        [["id", "structure"], ["m", json.dumps(SALT.as_dict())]],
        [["id", "structure"], ["m", repr(SALT.as_dict())]],
        [["id", "structure"], ["m", SALT.to(fmt="poscar")]],
        [["id", "cif"], ["m", CIF.replace("\n", "\\n")]],
        [["id", "cif"], ["m", CIF.replace("data_NaCl\n", "")]],
    ],
)
def test_forms_of_cells(found, rows):
    assert found(rows) == {"m": "Na4 Cl4"}


def test_separators_and_encodings(found):
    rows = [["id", "cif"], ["Sré", f"# café\n{CIF}"]]
    assert found(rows, ";") == found(rows, "\t", name="t.tsv") == {"Sré": "Na4 Cl4"}
    for encoding in ("utf-8-sig", "utf-16", "cp1252"):
        assert found(rows, encoding=encoding) == {"Sré": "Na4 Cl4"}, encoding


def test_bad_cells_stay_in_their_place(found):
    cells = [CIF, "", "nan", "no cif", "mp-1.cif", "{'lattice': foo", "data_x\n_cell_length_a 3", CIF]
    outcomes = found([["id", "cif"], *([f"m{n}", cell] for n, cell in enumerate(cells))])
    assert list(outcomes) == [f"m{n}" for n in range(8)]
    assert outcomes["m0"] == outcomes["m7"] == "Na4 Cl4"
    assert outcomes["m1"] == outcomes["m2"] == "the cif column is empty"
    assert "holds no structure, but 'no cif'" in outcomes["m3"]
    assert "names a file, mp-1.cif" in outcomes["m4"]
    assert "neither JSON nor a dictionary of Python" in outcomes["m5"]
    assert "no data block with atoms" in outcomes["m6"]


def test_several_structures_in_a_cell_and_one_name_twice(found):
    both = CIF + CSCL.to(fmt="cif")
    assert found([["id", "cif"], ["m", both]]) == {"m:0:NaCl": "Na4 Cl4", "m:1:CsCl": "Cs1 Cl1"}
    assert found([["id", "cif"], ["m", CIF], ["m", CIF]]) == {"m": "Na4 Cl4", "m#2": "Na4 Cl4"}


@pytest.mark.parametrize(
    ("head", "cause"),
    [
        (
            ["id", "cif_file"],
            "no column named cif or structure or cif_string; its columns are 'id', 'cif_file'",
        ),
        (["L", "X", "A", "W", "M"], "a table of CrystalFormer's raw output"),
    ],
)
def test_other_columns(found, head, cause):
    with pytest.raises(DataError, match=cause):
        found([head, ["1"] * len(head)])


def test_a_table_whose_ends_of_lines_are_not_quoted(found, tmp_path):
    (tmp_path / "u.csv").write_text("id,cif\nm,# generated\n" + CIF)
    ((name, cause),) = read_structures(tmp_path / "u.csv")
    assert name == "m"
    assert "ends of lines need quotes" in str(cause)


def test_numbers_of_a_row_are_finite_decimals():
    row = {
        "a": "1.5",
        "b": " -2e-3 ",
        "c": "1_000",
        "d": "nan",
        "e": "inf",
        "f": "٣",
        "g": "1e999",
        "h": True,
    }
    row |= {
        "i": 7,
        "j": float("nan"),
        "k": 10**400,
        "l": "0x10",
        "m": None,
        "ehull": "-inf",
        "n": ".5",
        "o": CIF,
    }
    assert known_properties(row) == {"a": 1.5, "b": -0.002, "i": 7.0, "n": 0.5}
    assert known_properties({"ehull": "0.1", "e_above_hull": "nan"}) == {"ehull": 0.1, "e_above_hull": 0.1}
