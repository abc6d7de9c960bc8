"""Files that are written, read back by other programs; the summary and the table."""

import csv
import json
import os
import re
from dataclasses import replace

import numpy as np
import pytest
from ase.io import read as ase_read
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Structure

from jaxcrystal.data.prepare import prepare
from jaxcrystal.errors import DataError, RequestError, Status
from jaxcrystal.sampling.sample import sample
from jaxcrystal.structures.finished import Samples
from jaxcrystal.structures.summary import describe, parse_summary, summary_csv, summary_row
from jaxcrystal.structures.writers import (
    FORMATS,
    parse_formats,
    write_samples,
)


@pytest.fixture(scope="module")
def crystals(tiny_model, quick) -> Samples:
    sites = {"Na": "a", "Cl": "c", "O": "b"}
    return sample([62, 227, 166], sites, 2, model=tiny_model, config=quick, batch_size=4)


@pytest.fixture(scope="module")
def folder(crystals, tmp_path_factory):
    return write_samples(crystals, tmp_path_factory.mktemp("out") / "new" / "folder", FORMATS)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["cif", "poscar", "extxyz", "json"])
def test_formats_read_back(crystals, folder, kind) -> None:
    for number, crystal in enumerate(crystals):
        if kind == "cif":
            structure = Structure.from_file(folder / f"{crystal.name}.cif")
        elif kind == "poscar":
            structure = Structure.from_str((folder / f"{crystal.name}.vasp").read_text(), fmt="poscar")
        elif kind == "extxyz":
            atoms = ase_read(folder / "structures.extxyz", index=number)
            assert atoms.info["name"] == crystal.name
            structure = Structure(atoms.cell.array, atoms.symbols, atoms.positions, coords_are_cartesian=True)
        else:
            content = json.loads((folder / "structures.json").read_text())
            structure = Structure.from_dict(content[crystal.name])
        wanted = crystal.to_pymatgen()
        assert structure.composition == wanted.composition
        np.testing.assert_allclose(structure.lattice.abc, wanted.lattice.abc, atol=1e-5)
        if crystal.valid:
            matcher = StructureMatcher(0.001, 0.001, 0.01, scale=False)
            assert matcher.fit(structure, wanted)


def test_summary(crystals, folder) -> None:
    with (folder / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert (folder / "summary.csv").read_text() == summary_csv(map(summary_row, crystals))
    assert [row["id"] for row in rows] == [crystal.name for crystal in crystals]
    for row, crystal in zip(rows, crystals, strict=True):
        assert row["formula"] == crystal.formula
        assert row["letters"] == crystal.wyckoff
        assert int(row["requested_group"]) == crystal.space_group
        assert int(row["found_group"]) == crystal.found_group
        assert float(row["a"]) == pytest.approx(crystal.lattice[0, 0], abs=1e-3)
        assert float(row["gamma"]) == pytest.approx(120 if crystal.space_group == 166 else 90)
        assert row["valid"] == str(crystal.valid)
        for name, score in zip(("score_coords", "score_lattice"), crystal.scores, strict=True):
            assert float(row[name]) == pytest.approx(score, rel=1e-3)
        assert row["status"] == "ok"


def test_names_are_files(crystals, folder) -> None:
    assert crystals[0].name.startswith("0001_")
    assert crystals[0].name.endswith("_62")
    assert len(list(folder.glob("*.cif"))) == len(list(folder.glob("*.vasp"))) == len(crystals)
    assert len(list((folder / "trajectories").iterdir())) == len(crystals)
    assert len(ase_read(folder / "trajectories" / f"{crystals[0].name}.extxyz", index=":")) == 4


@pytest.mark.filterwarnings("ignore")
def test_prepare_reads_what_sample_wrote(crystals, folder, tmp_path) -> None:
    report = prepare([folder], tmp_path / "again.npz", processes=1, progress=False)
    assert report.read >= 4 * len(crystals)


def test_nothing_is_overwritten(crystals, folder, tmp_path) -> None:
    with pytest.raises(DataError, match="is not empty: choose another --out"):
        write_samples(crystals, folder)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write to"):
        write_samples(crystals, tmp_path / "file")
    write_samples(crystals[:1], tmp_path / "empty")
    assert sorted(os.listdir(tmp_path / "empty")) == [
        f"{crystals[0].name}.cif",
        "summary.csv",
        "trajectories",
    ]


def test_full_disk_is_one_line(crystals, tmp_path, monkeypatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="No space left on device") as error:
        write_samples(crystals[:1], tmp_path / "out")
    assert "\n" not in str(error.value)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_table(crystals) -> None:
    text, warnings = describe(map(summary_row, crystals), max_rows=4)
    lines = text.splitlines()
    assert lines[0].split()[:4] == ["id", "letters", "group", "found"]
    assert crystals[0].name in lines[1]
    assert lines[5] == "... and 2 more in summary.csv"
    assert lines[-1].startswith("6 crystals: ")
    assert max(map(len, lines[:5])) < 110
    assert not warnings


def test_groups_are_counted(crystals) -> None:
    """As asked for, higher, and neither."""
    rows = [
        summary_row(crystals[0]) | {"requested_group": "62", "found_group": g}
        for g in ("62", "63", "221", "0", "14")
    ]
    text, _ = describe(rows)
    assert "; 1 in the group asked for, 2 in a supergroup of it; all " in text


def test_flags_are_told(crystals) -> None:
    flagged = Samples([replace(crystals[0], flags=Status.LATTICE_VECTORS), *crystals[1:]])
    text, (line,) = describe(map(summary_row, flagged))
    assert line.startswith("1 of 6 crystals stopped early")
    assert "(the model's graph.lattice_vectors)" in line
    assert "lattice_vectors" in text


def test_format_names() -> None:
    assert parse_formats("cif, POSCAR,cif") == ("cif", "poscar")
    with pytest.raises(RequestError, match="unknown format 'pdb': expected some of cif, extxyz"):
        parse_formats("cif,pdb")


def test_a_summary_of_an_earlier_version_is_told(crystals) -> None:
    """Columns that it lacks are empty, and names are what they were for a spreadsheet too."""
    row = summary_row(crystals[0]) | {"id": "+1 or so"}
    text = summary_csv([row, dict.fromkeys(("id", "letters", "requested_group", "status"), "1")])
    first, second = parse_summary(text.splitlines(), "summary.csv")
    assert first["id"] == "+1 or so"
    lines = describe(
        [first, {name: second[name] for name in ("id", "letters", "requested_group", "status")}]
    )[0]
    assert re.search(r"^1 +1 +1 +- +- +- +- +- +- +1$", lines, re.MULTILINE)
    assert summary_csv([first, second]) == text
