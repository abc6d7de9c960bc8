"""Phonons by EMT: of metals that are stable and of one that is not, and folders of them."""

import csv
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from ase.calculators.emt import EMT
from pymatgen.core import Structure

from jaxcrystal.cli import main
from jaxcrystal.discovery import vibrations
from jaxcrystal.discovery.best import best_relaxed
from jaxcrystal.discovery.gates import Failure
from jaxcrystal.discovery.phonons import IMAGINARY, describe, phonons_to_folder, verdict
from jaxcrystal.discovery.run import Work, entries_of
from jaxcrystal.discovery.vibrations import (
    BANDS_NAME,
    DOS_NAME,
    PARAMS_NAME,
    PLOT_NAME,
    Phonons,
    PhononSettings,
    band_path,
    exact_points,
    multiples,
    phonons_of,
)
from jaxcrystal.errors import DataError, JaxcrystalError
from jaxcrystal.io.convert import pymatgen_json_text
from jaxcrystal.reports.gallery.content import gallery_content
from jaxcrystal.structures.entries import load_entries
from jaxcrystal.structures.folder import summary_rows
from jaxcrystal.symmetry.orbits import centring_translations
from jaxcrystal.symmetry.wyckoff import group_operations
from tests.discovery.crystals import b2, cubic

SMALL = PhononSettings("emt", min_length=7.0)
QUIET = Work(processes=1, progress=False)


def bcc(a: float, element: str) -> Structure:
    return b2(a, element, element)


def phonons(structure: Structure, settings: PhononSettings = SMALL) -> Phonons:
    found = phonons_of(entries_of([structure])[0], settings)
    assert isinstance(found, Phonons)
    return found


@pytest.mark.parametrize("element", ["Cu", "Al"])
def test_fcc_metals_are_stable(element) -> None:
    """By one displacement; the highest frequencies of Cu and Al are 7.4 and 9.7 THz in experiments."""
    found = phonons(cubic(3.8, element))
    assert found.supercell == (2, 2, 2)
    assert found.displacements == 1
    assert found.ground.max_force < 1e-3
    assert -0.01 < found.lowest <= found.lowest_exact <= 0.01  # at the centre of the zone
    assert found.imaginary_share == 0.0
    assert 6.5 < found.highest < 10.0


def test_bcc_copper_is_not_stable() -> None:
    found = phonons(bcc(2.9, "Cu"))
    assert found.lowest < -0.5
    assert found.lowest_exact < -0.5
    assert 0 < found.imaginary_share < 0.5
    # Red, along the bands that are imaginary.
    assert "#c0392b" in found.files[PLOT_NAME]


@pytest.mark.parity
def test_a_wave_that_the_supercell_holds_has_the_frequency_of_its_energy() -> None:
    """At the zone's edge along c of fcc Cu: planes that move against each other, a doubled cell by hand."""
    found = phonons(cubic(3.6, "Cu"))
    bands = yaml.safe_load(found.files[BANDS_NAME])
    at_x = max(
        (point for point in bands["phonon"] if np.allclose(sorted(point["q-position"]), [0, 0.5, 0.5])),
        key=lambda point: point["band"][-1]["frequency"],
    )
    longitudinal = at_x["band"][-1]["frequency"]
    atoms = cubic(1.0, "Cu").to_ase_atoms()
    cell = np.array(bands["lattice"])
    atoms.set_cell(np.eye(3) * np.cbrt(4 * abs(np.linalg.det(cell))), scale_atoms=True)
    atoms.calc = EMT()
    up = (np.abs(atoms.get_scaled_positions()[:, 2] - 0.5) < 0.1) * 2.0 - 1.0
    energies = []
    places = atoms.get_positions()
    for size in (-0.01, 0.0, 0.01):
        atoms.set_positions(places + size * up[:, None] * [0, 0, 1])
        energies.append(atoms.get_potential_energy())
    stiffness = (energies[0] - 2 * energies[1] + energies[2]) / 0.01**2 / 4  # eV/Å² an atom
    to_thz = np.sqrt(1.602176634e-19 / 1e-20 / 1.66053907e-27) / 2 / np.pi / 1e12
    assert longitudinal == pytest.approx(np.sqrt(stiffness / 63.546) * to_thz, rel=0.01)


@pytest.mark.parametrize("group", [1, 5, 12, 22, 38, 62, 79, 146, 166, 194, 227])
def test_points_that_a_supercell_holds(group) -> None:
    primitive = group_operations(group)[2]
    points = exact_points(primitive, (2, 1, 3))
    assert len(points) == 6 * len(centring_translations(group))
    waves = points @ np.linalg.inv(primitive).T * [2, 1, 3]
    np.testing.assert_allclose(waves, np.rint(waves), atol=1e-6)


def test_supercells() -> None:
    assert multiples(np.diag([4.0, 5.0, 10.0]), 10.0) == (3, 2, 1)
    flat = np.array([[4.0, 0, 0], [3.9, 1.0, 0], [0, 0, 8.0]])  # its faces are one ångström apart
    assert multiples(flat, 4.0) == (5, 4, 1)


def test_the_way_of_the_bands() -> None:
    found = band_path(np.array([[0, 1.8, 1.8], [1.8, 0, 1.8], [1.8, 1.8, 0]]))
    assert found.ends[0] == ("G", "X")
    assert found.connections[-1] is False
    assert found.connections.count(False) == 2  # it jumps once
    for piece, (first, _) in zip(found.pieces, found.ends, strict=True):
        assert len(piece) > 2
        if first == "G":
            np.testing.assert_allclose(piece[0], 0)


def test_what_has_no_phonons() -> None:
    found = phonons_of(entries_of([cubic(5.0, "Na")])[0], SMALL)
    assert isinstance(found, Failure)
    assert found.word == "potential"


def test_what_phonopy_or_the_figure_cannot_do_is_a_failure_of_one_crystal(monkeypatch) -> None:
    entry = entries_of([cubic(3.6, "Cu")])[0]
    for error, word in ((ValueError("no such\nlattice"), "phonons"), (Failure("energy", ""), "energy")):
        monkeypatch.setattr(vibrations, "band_path", raising(error))
        found = phonons_of(entry, SMALL)
        assert isinstance(found, Failure)
        assert found.word == word
        assert found.detail in ("ValueError: no such lattice", "")
    monkeypatch.setattr(vibrations, "band_path", raising(JaxcrystalError("the potential is gone")))
    with pytest.raises(JaxcrystalError, match="the potential is gone"):
        phonons_of(entry, SMALL)


def raising(error: Exception):
    def function(*_):
        raise error

    return function


def test_crystals_that_did_not_reach_their_minimum_are_told(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(vibrations, "MAX_STEPS", 1)
    folder = phonons_to_folder(entries_of([cubic(4.0, "Cu")]), SMALL, tmp_path / "run", QUIET)
    (row,) = folder.summary()
    assert (row["status"], row["converged"]) == ("ok", "no")
    assert float(row["max_force"]) < 1e-3  # by symmetry; the cell is too large
    _, (warning,) = describe([row | {"imaginary": "no"}], SMALL.imaginary)
    assert warning.startswith(f"{row['id']}: not at a minimum")


@pytest.fixture(scope="module")
def relaxed(tmp_path_factory) -> Path:
    """A folder of `relax`: copper in three ways, one of them twice, and one that failed."""
    folder = tmp_path_factory.mktemp("relaxed")
    source = folder / "source.json"
    structures = {"bcc": bcc(2.9, "Cu"), "fcc": cubic(3.6, "Cu"), "again": cubic(3.7, "Cu")}
    source.write_text(pymatgen_json_text({**structures, "close": b2(1.5, "Cu", "Au")}))
    emt = ["--potential", "emt", "--processes", "1"]
    assert main(["relax", str(source), *emt, "--out", str(folder / "run")]) == 0
    return folder / "run"


def test_the_best(relaxed, tmp_path) -> None:
    found = best_relaxed(relaxed, 5)
    assert {entry.name for entry in found.entries[:2]} == {"fcc", "again"}
    assert [entry.name for entry in found.entries[2:]] == ["bcc"]
    assert np.isnan(found.e_above_hull).all()
    assert found.energies.potential == "emt"
    assert len(best_relaxed(relaxed, 1).entries) == 1
    # What is above the hull says more than the energy, and duplicates are left out once they are known.
    (relaxed / "hull.csv").write_text("id,formula,e_above_hull\nbcc,Cu,-0.1\nfcc,Cu,0.0\nagain,Cu,\n")
    try:
        found = best_relaxed(relaxed, 5)
        assert [entry.name for entry in found.entries] == ["bcc", "fcc", "again"]
        assert found.e_above_hull[:2] == [-0.1, 0.0]
        assert main(["screen", str(relaxed), "--processes", "1"]) == 0
        found = best_relaxed(relaxed, 5)
        assert [entry.name for entry in found.entries] == ["bcc", "fcc"]
        (relaxed / "hull.csv").write_text("id,e_above\nbcc,1\n")
        with pytest.raises(DataError, match=r"cannot read .*hull\.csv"):
            best_relaxed(relaxed, 5)
    finally:
        (relaxed / "hull.csv").unlink()
        (relaxed / "screening.csv").unlink(missing_ok=True)
    with pytest.raises(DataError, match="is no folder that `jaxcrystal relax` wrote"):
        best_relaxed(tmp_path, 5)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def whole(relaxed, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("phonons") / "run"
    phonons_to_folder(best_relaxed(relaxed, 3).entries, SMALL, out, QUIET)
    return out


def test_what_is_in_the_folder(relaxed, whole) -> None:
    best = best_relaxed(relaxed, 3).entries
    with (whole / "phonons.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [entry.name for entry in best]
    assert [row["imaginary"] for row in rows] == ["no", "no", "yes"]
    assert [row["converged"] for row in rows] == ["yes"] * 3
    assert [verdict(row, SMALL.imaginary) for row in rows] == ["", "", IMAGINARY]
    assert [row["group"] for row in rows] == ["225", "225", "229"]
    assert [row["supercell"] for row in rows] == ["2x2x2", "2x2x2", "3x3x3"]
    assert [row["atoms"] for row in rows] == ["32", "32", "54"]
    part = whole / "parts" / "00000"
    names = {PARAMS_NAME, BANDS_NAME, DOS_NAME, PLOT_NAME, "phonons.csv", f"{best[0].name}.cif"}
    assert {path.name for path in part.iterdir()} == names
    states = np.loadtxt(part / DOS_NAME)
    assert np.trapezoid(states[:, 1], states[:, 0]) == pytest.approx(3.0, rel=0.02)  # three modes an atom
    text, warnings = describe(rows, SMALL.imaginary)
    assert "3 crystals: 2 without imaginary modes (below -0.1 THz), 1 with, 0 failed" in text
    assert warnings == []


def test_other_commands_read_it(whole) -> None:
    entries = load_entries(whole, 1)
    rows = {row["id"]: row for row in summary_rows(whole)}
    assert [entry.flag for entry in entries] == ["ok"] * 3
    assert [entry.structure.get_space_group_info()[1] for entry in entries] == [225, 225, 229]
    content = gallery_content(entries, rows, title="phonons")
    assert len(content["rows"]) == 3


def test_the_limit_of_recursion_stays(whole) -> None:
    """symfc, which phonopy imports for other settings, raises it: nested files would end the process."""
    assert "phonopy" in sys.modules
    assert sys.getrecursionlimit() < 10_000


@pytest.mark.parity
def test_phonopy_reads_its_files_again(whole) -> None:
    import phonopy

    part, limit = whole / "parts" / "00002", sys.getrecursionlimit()
    again = phonopy.load(part / PARAMS_NAME, log_level=0)
    sys.setrecursionlimit(limit)
    (row,) = csv.DictReader((part / "phonons.csv").read_text().splitlines())
    at = [float(x) for x in row["lowest_at"].split()]
    lowest = again.run_qpoints([at]).frequencies.min()
    assert lowest == pytest.approx(float(row["lowest_frequency"]), abs=2e-3)


@pytest.mark.kills
def test_a_killed_run_ends_the_same(relaxed, whole, tmp_path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "jaxcrystal.cli", "phonons", str(relaxed), "--best", "3"]
    command += ["--min-length", "7", "--processes", "1", "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not (out / "parts" / "00000").exists():
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert (out / "parts" / "00000").exists()
    phonons_to_folder(best_relaxed(relaxed, 3).entries, SMALL, out, QUIET)
    assert contents(out) == contents(whole)


def test_by_command(relaxed, whole, tmp_path, capsys, monkeypatch) -> None:
    out = tmp_path / "phonons"
    command = ["phonons", str(relaxed), "--best", "1", "--min-length", "7", "--processes", "1"]
    assert main([*command, "--out", str(out)]) == 0
    assert "1 crystals: 1 without imaginary modes" in capsys.readouterr().out
    for arguments, words in (
        ([*command, "--displacement", "0.02", "--out", str(out)], "other settings: displacement"),
        ([*command, "--best", "0", "--out", str(out)], "--best is 0; it must be at least 1"),
        (["phonons", str(tmp_path), "--out", str(out)], "is no folder that `jaxcrystal relax` wrote"),
        (["phonons", str(relaxed), "--potential", "none", "--out", str(out)], "unknown potential 'none'"),
    ):
        assert main(arguments) == 2
        said = capsys.readouterr()
        assert words in said.err.splitlines()[-1]
        assert said.err.count("error") == 1
    monkeypatch.setattr(vibrations.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(JaxcrystalError, match=r"pip install 'jaxcrystal\[phonons\]'"):
        phonons_to_folder([], SMALL, out, QUIET)
