"""Preparation accounts for every structure and never leaves half a file."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import DummySpecies, Lattice, Structure
from pymatgen.io.cif import CifWriter

from jaxcrystal import files
from jaxcrystal.data import prepare as preparation
from jaxcrystal.data.dataset import Dataset
from jaxcrystal.data.prepare import prepare, prepare_record
from jaxcrystal.errors import DataError


def _rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_aflow_is_all_accounted_for(aflow_report, aflow):
    assert aflow_report.read == 288
    assert aflow_report.accepted == len(aflow) == 286
    assert aflow_report.rejected == {"too_many_sites": 2}
    rows = _rows(aflow_report.rejected_out)
    assert len(rows) == 2
    assert len({*aflow.ids.tolist(), *(row["id"] for row in rows)}) == 288
    assert "286 accepted" in aflow_report.describe()


def test_rejected_table_names_every_reason(tmp_path, rutile):
    source = tmp_path / "in"
    source.mkdir()
    cubic = Lattice.cubic(4.0)
    rng = np.random.default_rng(0)
    good = str(CifWriter(rutile))
    (source / "good.cif").write_text(good)
    (source / "broken.cif").write_text(good[:200])
    (source / "element.cif").write_text(good.replace("  Ti  Ti0", "  Xx  Ti0"))
    (source / "mixed.cif").write_text(str(CifWriter(Structure(cubic, [{"Fe": 0.5, "Ni": 0.5}], [[0, 0, 0]]))))
    dummy = Structure(cubic, [DummySpecies("X")], [[0, 0, 0]])
    (source / "dummy.json").write_text(json.dumps(dummy.as_dict()))
    (source / "empty.json").write_text(json.dumps({**dummy.as_dict(), "sites": []}))
    close = Structure(cubic, ["Fe", "Fe"], [[0, 0, 0], [0.001, 0, 0]])
    (source / "close.json").write_text(json.dumps(close.as_dict()))
    many = Structure(
        Lattice.from_parameters(9, 10, 11, 80, 95, 100),
        ["Fe"] * 5,
        np.arange(5)[:, None] / 5 + rng.random((5, 3)) / 9,
    )
    (source / "many.json").write_text(json.dumps(many.as_dict()))

    report = prepare(source, tmp_path / "out", max_sites=4, processes=1, progress=False)
    assert report.out.name == "out.npz"
    assert Dataset.load(report.out).ids.tolist() == ["good.cif"]
    assert {row["id"]: row["reason"] for row in _rows(report.rejected_out)} == {
        "broken.cif": "unparsable",
        "element.cif": "unknown_element",
        "dummy.json": "unknown_element",
        "mixed.cif": "disordered",
        "empty.json": "empty",
        "close.json": "overlapping",
        "many.json": "too_many_sites",
    }
    assert all(row["detail"] and "\n" not in row["detail"] for row in _rows(report.rejected_out))
    assert Counter(row["reason"] for row in _rows(report.rejected_out)) == report.rejected

    # A second data set in the folder keeps the rows of the first.
    prepare(source, tmp_path / "more.npz", processes=1, progress=False)
    assert Counter(row["data"] for row in _rows(report.rejected_out)) == {"out.npz": 7, "more.npz": 6}


def _many(path, structure, count):
    text = str(CifWriter(structure))
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["material_id", "cif", "formation_energy_per_atom", "e_above_hull"])
        writer.writerows([[f"m{n}", text if n % 50 else "", -0.5 * n, ""] for n in range(count)])
    return path


def test_parallel_equals_serial_and_keeps_energies(tmp_path, perovskite):
    source = _many(tmp_path / "in.csv", perovskite, 140)
    one = prepare(source, tmp_path / "one.npz", processes=1, progress=False)
    two = prepare(source, tmp_path / "two.npz", processes=2, progress=False)
    assert one.rejected == two.rejected == {"unparsable": 3}
    first, second = Dataset.load(one.out), Dataset.load(two.out)
    for name in ("ids", "space_group", "lattice_params", "species", "frac_coords", "letters"):
        assert np.array_equal(getattr(first, name), getattr(second, name))
    assert first.ids[:2].tolist() == ["m1", "m2"]
    assert first.formation_energy_per_atom[1] == -1.0
    assert np.isnan(first.e_above_hull).all()


def test_out_is_not_overwritten_and_nothing_usable_is_an_error(tmp_path, rutile):
    (tmp_path / "good.cif").write_text(str(CifWriter(rutile)))
    (tmp_path / "bad.cif").write_text("data_x\n_atom_site_label Fe\n")
    prepare(tmp_path / "good.cif", tmp_path / "a.npz", processes=1, progress=False)
    before = (tmp_path / "a.npz").read_bytes()
    with pytest.raises(DataError, match="exists already"):
        prepare(tmp_path / "good.cif", tmp_path / "a.npz", processes=1, progress=False)
    assert (tmp_path / "a.npz").read_bytes() == before
    for folder in (tmp_path, Path(), Path("..")):
        with pytest.raises(DataError, match=r"is a folder: name the \.npz file"):
            prepare(tmp_path / "good.cif", folder, processes=1, progress=False)
    with pytest.raises(DataError, match="no structure could be used"):
        prepare(tmp_path / "bad.cif", tmp_path / "b.npz", processes=1, progress=False)
    assert not (tmp_path / "b.npz").exists()


def test_full_disk_leaves_no_file(tmp_path, rutile, monkeypatch):
    (tmp_path / "good.cif").write_text(str(CifWriter(rutile)))

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(DataError, match="No space left"):
        prepare(tmp_path / "good.cif", tmp_path / "a.npz", processes=1, progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["good.cif"]


def test_killed_process_leaves_no_out_file(tmp_path, perovskite):
    source = _many(tmp_path / "in.csv", perovskite, 3000)
    script = (
        "from jaxcrystal.data.prepare import prepare\n"
        f"prepare({str(source)!r}, {str(tmp_path / 'a.npz')!r}, processes=1)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, cwd=os.getcwd()) as process:
        while b"structures/s" not in process.stderr.read1():
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (tmp_path / "a.npz").exists()


def test_kept_columns(tmp_path, rutile, perovskite) -> None:
    """Numbers of a column, NaN where a cell holds none; they follow their structures."""
    rows = [{"cif": rutile.to(fmt="cif"), "gap": "3.0", "note": "wide"}]
    rows += [{"cif": perovskite.to(fmt="cif"), "gap": "", "note": "7"}]
    with (tmp_path / "a.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["cif", "gap", "note"])
        writer.writeheader()
        writer.writerows(rows)
    keep = ["gap", "note"]
    report = prepare(tmp_path / "a.csv", tmp_path / "a.npz", processes=1, progress=False, keep=keep)
    dataset = Dataset.load(report.out)
    np.testing.assert_array_equal(dataset.columns["gap"], [3.0, np.nan])
    np.testing.assert_array_equal(dataset.select([1, 0]).columns["note"], [7.0, np.nan])
    with pytest.raises(DataError, match="no structure has a number named 'mass'"):
        prepare(tmp_path / "a.csv", tmp_path / "b.npz", processes=1, progress=False, keep=["mass"])
    assert not (tmp_path / "b.npz").exists()


def test_a_name_that_no_table_has_is_refused_before_structures_are_read(tmp_path) -> None:
    (tmp_path / "a.csv").write_text("cif;gap\nno structure;1\n")
    with pytest.raises(DataError, match="no structure has a number named 'mass'"):
        prepare(tmp_path / "a.csv", tmp_path / "b.npz", processes=1, progress=False, keep=["gap", "mass"])
    assert not (tmp_path / "rejected.csv").exists()


def test_numbers_that_nobody_keeps_stay_behind(tmp_path, rutile, monkeypatch) -> None:
    """Records that travel to the workers have the energies and what is kept."""
    seen = []
    monkeypatch.setattr(
        preparation, "prepare_record", lambda record, n: (seen.append(record), prepare_record(record, n))[1]
    )
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [["cif", "gap", "density", "ehull"], [rutile.to(fmt="cif"), "3.0", "4.2", "0.1"]]
        )
    prepare(tmp_path / "a.csv", tmp_path / "a.npz", processes=1, progress=False, keep=["gap"])
    assert [record.properties for record in seen] == [{"gap": 3.0, "e_above_hull": 0.1}]


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"\xff", "cannot read .*rejected.csv"), (b"mine,\n", "is not a table of jaxcrystal")],
)
def test_a_foreign_table_is_refused_before_structures_are_read(content, words, tmp_path, monkeypatch) -> None:
    (tmp_path / "rejected.csv").write_bytes(content)
    monkeypatch.setattr(preparation, "_work", None)
    with pytest.raises(DataError, match=words):
        prepare("aflow", tmp_path / "a.npz", processes=1, progress=False)
    assert (tmp_path / "rejected.csv").read_bytes() == content
