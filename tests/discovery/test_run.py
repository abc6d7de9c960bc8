"""Folders of relaxed crystals: what is in them, and that a killed run ends the same."""

import csv
import gzip
import os
import subprocess
import sys
import time
from pathlib import Path

import ase.io
import pytest

from jaxcrystal.cli import main
from jaxcrystal.discovery.relaxation import RelaxSettings
from jaxcrystal.discovery.run import Work, relax_to_folder
from jaxcrystal.errors import DataError
from jaxcrystal.io.convert import pymatgen_json_text
from jaxcrystal.reports.gallery.content import gallery_content
from jaxcrystal.structures.entries import load_entries
from jaxcrystal.structures.folder import opened_source, part_folders, summary_rows
from tests.discovery.crystals import cubic, some

SETTINGS = RelaxSettings("emt")
QUIET = Work(processes=1, progress=False)
KILLS = int(os.environ.get("JAXCRYSTAL_KILLS", "1"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Twenty alloys, of which one has atoms that overlap."""
    path = tmp_path_factory.mktemp("source") / "alloys.json"
    structures = {entry.name: entry.structure for entry in some(20)}
    path.write_text(pymatgen_json_text(structures))
    return path


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    relax_to_folder(load_entries(source, 1), SETTINGS, out, QUIET)
    return out


def test_what_is_in_it(whole) -> None:
    with (whole / "relaxed.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20
    assert len(part_folders(whole)) == 3
    assert [row["status"] for row in rows].count("overlap") == 1
    relaxed = [row for row in rows if row["status"] == "ok"]
    assert {row["converged"] for row in relaxed} == {"yes"}
    assert {row["group_before"] for row in relaxed} == {"10"}
    frames = [
        frame
        for part in part_folders(whole)
        for frame in ase.io.read(part / "structures.extxyz", ":", format="extxyz")
    ]
    for row, frame in zip(relaxed, frames, strict=True):
        assert frame.info["name"] == row["id"]
        assert frame.get_potential_energy() / len(frame) == pytest.approx(
            float(row["energy_per_atom"]), abs=1e-6
        )
        assert abs(frame.get_forces()).max() <= 0.02
        assert frame.get_volume() / len(frame) == pytest.approx(float(row["volume_per_atom"]), abs=1e-3)
    # Other commands read it as a folder of the sampler: each crystal once, failures too.
    entries = load_entries(whole, 1)
    assert [entry.name for entry in entries] == [row["id"] for row in rows]
    assert [entry.flag for entry in entries] == [row["status"] for row in rows]
    assert entries[0].structure.get_space_group_info()[1] == 10
    # As `symmetry.canonical` describes them, whatever they were sampled on: Au is before Cu.
    assert [entry.letters for entry in entries if entry.structure] == ["Cu:n Au:m"] * 19


def test_an_interrupted_run_computes_only_what_is_missing(source, whole, tmp_path, monkeypatch) -> None:
    entries, out = load_entries(source, 1), tmp_path / "run"
    relax_one, seen = Work.relax, []

    def interrupted(work, todo, settings):
        for number, outcome in enumerate(relax_one(work, todo, settings)):
            if number == len(seen) == 11:  # in the first run
                raise KeyboardInterrupt
            seen.append(todo[number].name)
            yield outcome

    monkeypatch.setattr(Work, "relax", interrupted)
    with pytest.raises(KeyboardInterrupt):
        relax_to_folder(entries, SETTINGS, out, QUIET)
    assert len(part_folders(out)) == 1
    relax_to_folder(entries, SETTINGS, out, QUIET)
    assert len(seen) == 11 + len(entries) - 8
    assert contents(out) == contents(whole)


@pytest.mark.kills
def test_a_killed_run_ends_the_same(source, whole, tmp_path) -> None:
    out, kills = tmp_path / "run", 0
    command = [sys.executable, "-m", "jaxcrystal.cli", "relax", str(source), "--potential", "emt"]
    command += ["--processes", "1", "--out", str(out)]
    while kills < KILLS and not (out / "relaxed.csv").exists():
        parts = len(part_folders(out))
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and len(part_folders(out)) == parts:
            time.sleep(0.01)
        process.kill()
        process.wait()
        kills += 1
    assert part_folders(out)
    relax_to_folder(load_entries(source, 1), SETTINGS, out, QUIET)
    assert contents(out) == contents(whole)


def test_another_run_is_refused(source, whole, tmp_path) -> None:
    entries = load_entries(source, 1)
    for other, words in (
        (RelaxSettings("emt", free=True), "free"),
        (RelaxSettings("emt", max_steps=3), "max"),
    ):
        with pytest.raises(DataError, match=f"other settings: {words}"):
            relax_to_folder(entries, other, whole, QUIET)
    with pytest.raises(DataError, match="other settings: structures"):
        relax_to_folder(entries[:-1], SETTINGS, whole, QUIET)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DataError, match="not empty"):
        relax_to_folder(entries, SETTINGS, tmp_path, QUIET)


def test_a_folder_at_a_url_holds_the_same(source, whole, tmp_path) -> None:
    """A run of two of its three parts goes on there, and reads back as the local one does."""
    url, entries = f"memory://{tmp_path}/run", load_entries(source, 1)
    calls = []

    class Killed(Work):
        def relax(self, entries, settings):
            for number, outcome in enumerate(super().relax(entries, settings)):
                calls.append(number)
                if number == 17:
                    raise KeyboardInterrupt
                yield outcome

    with pytest.raises(KeyboardInterrupt):
        relax_to_folder(entries, SETTINGS, url, Killed(processes=1, progress=False))
    first = len(calls)
    relax_to_folder(entries, SETTINGS, url, Killed(processes=1, progress=False))
    assert (first, len(calls) - first) == (18, 4)
    with opened_source(url) as folder:
        assert contents(folder) == contents(whole)


def test_a_folder_of_the_sampler_is_refused(source, tmp_path) -> None:
    (tmp_path / "run.json").write_text('{"format": "jaxcrystal-run-1", "settings": {}}')
    with pytest.raises(DataError, match="is of format 'jaxcrystal-run-1', this command writes"):
        relax_to_folder(load_entries(source, 1), SETTINGS, tmp_path, QUIET)


def test_relax_references_and_hull_by_command(source, tmp_path, monkeypatch, capsys) -> None:
    """The whole way of three commands, and what they say."""
    monkeypatch.setenv("JAXCRYSTAL_CACHE", str(tmp_path / "cache"))
    known = tmp_path / "known.json"
    known.write_text(
        pymatgen_json_text({"cu": cubic(3.6, "Cu"), "au": cubic(4.1, "Au"), "na": cubic(5.0, "Na")})
    )
    salt = tmp_path / "na.json"
    salt.write_text(pymatgen_json_text({"na": cubic(5.0, "Na")}))
    few = tmp_path / "few.json"
    few.write_text(pymatgen_json_text({e.name: e.structure for e in some(2)}))
    relaxed, references = tmp_path / "relaxed", tmp_path / "references.json.gz"
    emt = ["--potential", "emt", "--processes", "1"]
    assert main(["relax", str(few), *emt, "--free", "--out", str(relaxed)]) == 0
    said = capsys.readouterr()
    assert "2 structures: 1 relaxed, 0 not within the steps, 1 failed" in said.out
    assert "let go, " in said.out
    assert "1 of 2 structures failed: overlap" in said.err
    assert main(["references", str(known), "--system", "Cu-Au", *emt, "--out", str(references)]) == 0
    assert "2 relaxed energies of emt" in capsys.readouterr().out
    same = tmp_path / "same.json.gz"
    assert main(["references", str(known), "--for", str(relaxed), *emt, "--out", str(same)]) == 0
    assert gzip.decompress(same.read_bytes()) == gzip.decompress(references.read_bytes())
    assert (
        main(["references", str(salt), "--for", str(relaxed), *emt, "--out", str(tmp_path / "x.json")]) == 2
    )
    assert f"none of 1 structures is of the elements of {relaxed}" in capsys.readouterr().err
    assert main(["hull", str(relaxed), "--references", str(references)]) == 0
    said = capsys.readouterr()
    assert "energies of emt (without corrections); 2 references" in said.out
    assert "no known compounds among the references in Au-Cu" in said.err
    assert "lower bounds" in said.err
    with (relaxed / "hull.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["formula"] for row in rows] == ["CuAu"]
    assert rows[0]["e_above_hull"] == rows[0]["formation_energy"]
    assert main(["hull", str(relaxed), "--references", str(references)]) == 0  # in place of the older one
    capsys.readouterr()
    for arguments, words in (
        (["references", str(known), *emt, "--out", str(references)], "exists already"),
        (
            ["references", str(known), *emt, "--system", "Cu-Xx", "--out", "x.json"],
            "unknown element 'Xx'",
        ),
        (
            ["relax", str(known), *emt, "--max-force", "-1", "--out", "x"],
            "--max-force is -1.0; it must be above 0",
        ),
        (["hull", str(known), "--references", str(references)], "is not a folder: say with --out"),
        (
            ["hull", str(tmp_path), "--references", str(references)],
            "is no folder that `jaxcrystal relax` wrote",
        ),
    ):
        assert main(arguments) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert words in said.err
        assert said.err.count("\n") == 1


def test_the_gallery_measures_what_the_table_does_not_say(whole) -> None:
    entries = load_entries(whole, 1)
    rows = {row["id"]: row for row in summary_rows(whole)}
    content = gallery_content(entries, rows, title="alloys")
    keys = [column["key"] for column in content["columns"]]
    shown = [dict(zip(keys, row, strict=True)) for row in content["rows"]]
    assert [row["valid"] for row in shown] == [entry.structure is not None for entry in entries]
    for row in shown:
        if row["valid"]:
            assert row["shortest_distance"] > 2
            assert row["found_group"] == int(rows[row["id"]]["group_after"])
    (error,) = (entry.error for entry in entries if entry.structure is None)
    assert "relaxed.csv" in error
