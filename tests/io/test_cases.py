"""Small inputs in the forms that people's files have, each with what a right reading gives.

`cases/expected.csv` has, for every file, formula and space group of each structure in it, or
words of the one line that refuses it.
"""

import csv
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Composition, Structure

from jaxcrystal.data.symmetrize import symmetrize
from jaxcrystal.errors import DataError, one_line
from jaxcrystal.io.readers import read_structures
from jaxcrystal.io.rejection import Rejected
from jaxcrystal.symmetry.symbols import space_group_number

CASES = Path(__file__).parent / "cases"
with (CASES / "expected.csv").open(newline="", encoding="utf-8") as _file:
    EXPECTED = {row["file"]: row["expected"] for row in csv.DictReader(_file)}


def _outcomes(path) -> list[str]:
    """Returns formula and group of every structure of a file, or the line that refuses it."""
    try:
        return [_outcome(found) for _, found in read_structures(path)]
    except DataError as error:
        return [f"refused: {one_line(error)}"]


def _outcome(found) -> str:
    if isinstance(found, Exception):
        assert isinstance(found, Rejected | DataError), found  # a cause that we name
        return f"refused: {one_line(found)}"
    try:
        return f"{found.composition.formula} {symmetrize(found).space_group}"
    except Rejected as refusal:
        return f"refused: {one_line(refusal)}"


def _is_as_expected(outcome: str, expected: str) -> bool:
    if expected.startswith("refused: "):
        return outcome.startswith("refused: ") and expected.removeprefix("refused: ") in outcome
    if outcome.startswith("refused: "):
        return False
    (formula, group), (expected_formula, expected_group) = outcome.rsplit(" ", 1), expected.rsplit(" ", 1)
    return Composition(formula) == Composition(expected_formula) and group == expected_group


def test_every_case_has_an_expectation():
    files = {str(p.relative_to(CASES)) for p in CASES.rglob("*") if p.is_file()} - {"expected.csv"}
    assert files == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_case_is_read_as_its_file_says_or_refused(name):
    outcomes, expected = _outcomes(CASES / name), EXPECTED[name].split(" | ") if EXPECTED[name] else []
    assert len(outcomes) == len(expected), outcomes
    assert all(map(_is_as_expected, outcomes, expected)), outcomes
    assert all("\n" not in outcome for outcome in outcomes)


def _atoms(name) -> dict[str, np.ndarray]:
    """Returns the coordinates of each element of the one structure in a case."""
    ((_, structure),) = read_structures(CASES / name)
    assert isinstance(structure, Structure)
    return {
        str(element): np.array([site.frac_coords for site in structure if site.specie == element])
        for element in structure.elements
    }


def _has(coords: np.ndarray, *points) -> bool:
    offsets = coords[:, None] - np.array(points)
    return bool((np.abs(offsets - np.rint(offsets)).max(-1) < 1e-4).any(0).all())


def test_coordinates_of_cases_that_were_misread():
    """A centring, minus signs of word processors, exchanged rows, a volume as scale, a left-handed cell."""
    assert _has(_atoms("02_hm_nonstandard_no_ops/Bba2_number.cif")["O"], (0.13, 0.21, 0.3), (0.63, 0.21, 0.8))
    for name in ("ascii.cif", "u2212.cif", "cp1252.cif", "poscar_minus.vasp"):
        assert _has(_atoms(f"22_unicode_numbers/{name}")["O"], (0.5, 0.5, -0.1)), name
    for name in ("other_order.cif", "duplicate_type.cif"):
        atoms = _atoms(f"27_two_atom_loops/{name}")
        assert _has(atoms["Pb"], (0, 0, 0))
        assert _has(atoms["Ti"], (0.5, 0.5, 0.53))
    rutile = [(0.305, 0.305, 0), (0.695, 0.695, 0), (0.195, 0.805, 0.5), (0.805, 0.195, 0.5)]
    for name in ("POSCAR_neg_cart", "POSCAR_neg_direct", "POSCAR_three_scales", "POSCAR_repeated"):
        assert _has(_atoms(f"14_poscar/{name}")["O"], *rutile), name
        ((_, structure),) = read_structures(CASES / "14_poscar" / name)
        assert structure.lattice.abc == pytest.approx((4.594, 4.594, 2.959), abs=1e-4)
    thirds = _atoms("10_few_digits/mos2_5.cif")["Mo"]
    assert np.allclose(sorted(thirds.tolist()), [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]], atol=1e-12)


def test_folder_of_another_generator(tmp_path, caplog):
    """Frames, a zip of the same crystals and figures: the crystals count once, figures are no failure."""
    folder = tmp_path / "results"
    folder.mkdir()
    frame = (CASES / "15_extxyz" / "no_pbc.extxyz").read_text()
    (folder / "generated_crystals.extxyz").write_text(frame * 2)
    (folder / "metrics.json").write_text('{"frac_unique": {"value": 1.0}, "list": [0.1, 0.2]}')
    with zipfile.ZipFile(folder / "generated_crystals_cif.zip", "w") as archive:
        archive.write(CASES / "07_case_of_tags" / "good.cif", "gen_0.cif")
    found = list(read_structures(folder))
    assert [type(structure) for _, structure in found] == [Structure, Structure]
    assert "2 files passed over" in caplog.text
    assert "generated_crystals_cif.zip (an archive: give it by itself)" in caplog.text
    assert "metrics.json (no structure in it)" in caplog.text


def test_mixed_folder_says_what_it_passes_over(tmp_path, caplog):
    folder = tmp_path / "my structures (α)"
    good = (CASES / "07_case_of_tags" / "good.cif").read_text()
    poscar = (CASES / "14_poscar" / "POSCAR_cart").read_text()
    files = {
        "PbTiO3.cif": good,
        "Fe₂O₃ – x.cif": good,
        'sub/deep #2,"x".cif': good,
        "magnetic.mcif": good,
        "mp-2_POSCAR": poscar,
        ".hidden.cif": "junk",
        "._PbTiO3.cif": "junk",
        "__MACOSX/a.cif": "junk",
        "sub/.git/x.cif": "junk",
        "XDATCAR": poscar,
        "a.xsf": "CRYSTAL",
        "notes.txt": "x",
        "table.csv": "a,b\n1,2\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    found = dict(read_structures(folder))
    assert sorted(found) == sorted([*list(files)[:5]])
    assert all(isinstance(structure, Structure) for structure in found.values())
    for name in ("XDATCAR", "a.xsf", "notes.txt", "table.csv (no column named cif"):
        assert name in caplog.text
    assert "hidden" not in caplog.text


def test_files_of_one_name_can_be_told_apart(tmp_path):
    good = (CASES / "07_case_of_tags" / "good.cif").read_text()
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.cif").write_text(good)
    names = [name for name, _ in read_structures([tmp_path / "a", tmp_path / "b"])]
    assert names == [str(tmp_path / "a" / "x.cif"), str(tmp_path / "b" / "x.cif")]
    names = [name for name, _ in read_structures([tmp_path / "a" / "x.cif"] * 2)]
    assert len(set(names)) == 2
    assert Counter(name for name, _ in read_structures(CASES / "16_json/id_same.json")) == {
        "mp-1": 1,
        "mp-1#2": 1,
    }


GROUPS = {
    194: "P63/mmc|P6_3/mmc|P 63/m m c|P 6_3/m m c|P6(3)/mmc|P6₃/mmc",
    166: "R-3m:H|R-3m",
    160: "R3m",
    155: "H32|R32|R 3 2 :R",
    62: "0062|62|+62|Pbnm",
    225: "Oh^5|Fm3m|225 |\t225",
    227: "Fd-3m|Fd3m|Fd-3m:2|F d -3 m S",
    64: "Cmca|Cmce",
    67: "Cmma|Cmme",
    39: "Abm2|Aem2",
    41: "Aba2|Aea2",
    68: "Ccca|Ccce",
    14: "P21/c|P2_1/c|P121/c1|P2₁/c",
    221: "Pm3̅m|Pm−3m|Pm-3 m",
    229: "Im-3m",
    139: "I4/mmm|I 4/m m m|F4/mmm",
    85: "P 4/n",
    129: "P4/nmm:1",
    17: "P 2 2 21|P2221",
    19: "P21 21 21|P2(1)2(1)2(1)",
}


def test_names_of_groups():
    for number, names in GROUPS.items():
        for name in names.split("|"):
            assert space_group_number(name) == number, name
