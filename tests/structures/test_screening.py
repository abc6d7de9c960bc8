"""Screening: what is set aside and why, what is written, and what is never overwritten."""

import csv
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.core.operations import SymmOp

from jaxcrystal import cli
from jaxcrystal.errors import DataError, RequestError
from jaxcrystal.io.readers import read_structures
from jaxcrystal.io.writers import write_cif
from jaxcrystal.sampling.run_folder import RunFolder
from jaxcrystal.structures import screening as module
from jaxcrystal.structures.screening import Measure, ranking, screen
from jaxcrystal.structures.screening_files import file_names, screening_csv, table, write_kept
from tests.crystals import make_crystal

SUMMARY = ("id", "formula", "letters", "requested_group", "status")
HOSTILE = (
    "../../evil",
    "a\nb",
    "",
    "a,b",
    '"',
    "/etc/passwd",
    "..",
    "x" * 300,
    "Ä/é",
    "con\x1b[2J",
    "é\ud800",
)


def rutile(u=0.305, scale=1.0) -> Structure:
    lattice = Lattice.tetragonal(4.59 * scale, 2.96 * scale)
    return Structure.from_spacegroup("P4_2/mnm", lattice, ["Ti", "O"], [[0] * 3, [u, u, 0]])


def fluorite() -> Structure:
    """Of the formula of rutile."""
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.8), ["Ti", "O"], [[0] * 3, [0.25] * 3])


def salt(length=5.64) -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(length), ["Na", "Cl"], [[0] * 3, [0.5] * 3])


def write_structures(path: Path, structures: dict[str, Structure]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({name: s.as_dict() for name, s in structures.items()}))
    return path


def perovskite(length: float, swapped: bool = False):
    """A cubic perovskite about its A site, or about its B site: letters a and b change places."""
    o, letters = ([0.0, 0, 0.5], "bad") if swapped else ([0.5, 0.5, 0], "abc")
    points = [[0.5] * 3, [0] * 3, o] if swapped else [[0] * 3, [0.5] * 3, o]
    return make_crystal(221, [length] * 3, [90.0] * 3, [56, 22, 8], points, letters), letters


def write_run(folder: Path, crystals: dict[str, tuple], **columns: dict[str, str]) -> Path:
    """A folder as the sampler writes one; `columns` are texts by id, `ok` is the default status."""
    status = columns.pop("status", {})
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "summary.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*SUMMARY, *columns])
        for name, (crystal, letters) in crystals.items():
            write_cif(folder / f"{name}.cif", crystal, tuple(letters), name)
            words = " ".join(f"{e}:{x}" for e, x in zip(("Ba", "Ti", "O"), letters, strict=True))
            more = [column.get(name, "") for column in columns.values()]
            writer.writerow([name, "BaTiO3", words, 221, status.get(name, "ok"), *more])
    return folder


@pytest.fixture
def run_folder(tmp_path) -> Path:
    """Three equal perovskites, the last about another atom, and one that the sampler stopped."""
    crystals = {
        "0001": perovskite(4.00),
        "0002": perovskite(4.05),
        "0003": perovskite(4.03, swapped=True),
        "0004": perovskite(4.01),
    }
    scores = {
        "score_coords": {"0001": "0.3", "0002": "0.1", "0003": "0.2", "0004": "0.01"},
        "score_lattice": {"0001": "0.3", "0002": "0.1", "0003": "0.2", "0004": "0.01"},
    }
    return write_run(tmp_path / "run", crystals, status={"0004": "images+non_finite"}, **scores)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def by_name(screening) -> dict[str, object]:
    return {row.entry.name: row for row in screening.rows}


def test_copies_of_real_crystals_are_duplicates(tmp_path) -> None:
    """Each crystal with copies: moved a little, rotated, a supercell, another origin, all at once."""
    rng = np.random.default_rng(0)
    wanted = ("NaCl", "CaTiO3", "SiO2", "Al2O3", "CuFeS2", "TiO2")
    crystals: dict[str, Structure] = {}
    for _, structure in read_structures("aflow"):
        formula = structure.reduced_formula
        if formula in wanted and formula not in crystals and structure.is_ordered and len(structure) < 12:
            crystals[formula] = structure
    assert len(crystals) >= 4
    copies = {}
    for name, structure in crystals.items():
        perturbed = structure.copy().perturb(0.01)
        turned = structure.copy().apply_operation(
            SymmOp.from_axis_angle_and_translation(rng.normal(size=3).tolist(), 77)
        )
        moved = structure.copy().translate_sites(range(len(structure)), rng.uniform(size=3))
        strained = structure.copy().apply_strain(0.02)
        both = (moved * (1, 2, 1)).perturb(0.002)
        for number, copy in enumerate(
            (structure, perturbed, turned, moved, strained, structure * (2, 1, 1), both)
        ):
            copies[f"{name}-{number}"] = copy
    rows = by_name(screen(write_structures(tmp_path / "s.json", copies), processes=1))
    for name, row in rows.items():
        assert row.flags == ()
        formula, number = name.split("-")
        assert row.duplicate_of == ("" if number == "0" else f"{formula}-0"), name
        assert row.kept == (number == "0")


def test_different_crystals_are_kept(tmp_path) -> None:
    caesium_chloride = Structure(Lattice.cubic(3.4), ["Na", "Cl"], [[0] * 3, [0.5] * 3])
    different = {"a": salt(), "b": rutile(), "c": fluorite(), "d": caesium_chloride}
    found = screen(write_structures(tmp_path / "s.json", different), processes=1)
    assert [row.entry.name for row in found.rows] == list(different)
    assert all(row.kept for row in found.rows)
    assert found.kept == [row.entry.structure for row in found.rows]
    assert found.counts == {"structures": 4, "kept": 4, "flagged": 0, "known": 0, "duplicates": 0}


def test_origins_are_no_difference(run_folder) -> None:
    """Ba on a and Ti on b, or the other way: one crystal, though its letters differ."""
    rows = by_name(screen(run_folder))
    assert (rows["0001"].entry.letters, rows["0003"].entry.letters) == ("Ba:a Ti:b O:c", "Ba:b Ti:a O:d")
    assert [row.duplicate_of for row in rows.values()] == ["", "0001", "0001", ""]
    assert rows["0004"].flags == ("images", "non_finite")
    assert [row.kept for row in rows.values()] == [True, False, False, False]


def test_flags(tmp_path, monkeypatch) -> None:
    close = salt()
    close.append("Cl", [0.2, 0, 0])
    structures = {"good": salt(), "close": close, "loose": salt(22.0), "dense": salt(4.15), "odd": rutile()}
    (tmp_path / "damaged.cif").write_text("data_nothing\n")
    write_structures(tmp_path / "s.json", structures)
    measure = module.measure

    def measure_most(structure):
        if structure.reduced_formula == "TiO2":
            raise ValueError("a strange cell")
        return measure(structure)

    monkeypatch.setattr(module, "measure", measure_most)
    found = screen(tmp_path)
    flags = {name: row.flags for name, row in by_name(found).items()}
    assert flags == {
        "damaged.cif": ("unreadable",),
        "good": (),
        "close": ("short_distance",),
        "loose": ("density",),
        "dense": ("density",),
        "odd": ("no_geometry",),
    }
    assert found.counts == {"structures": 6, "kept": 1, "flagged": 5, "known": 0, "duplicates": 0}
    assert found.flag_counts == {"density": 2, "unreadable": 1, "short_distance": 1, "no_geometry": 1}

    limited = by_name(screen(tmp_path, min_distance=2.9, density=(1.0, 2.2)))
    assert limited["good"].flags == ("short_distance",)
    assert limited["dense"].flags == ("short_distance", "density")
    assert limited["loose"].flags == ("density",)
    assert by_name(screen(tmp_path, min_distance=0.1))["close"].flags == ()


def test_a_flagged_structure_hides_no_other(tmp_path) -> None:
    """The first of two equal ones is too dense: the second is kept, and not its duplicate."""
    structures = {"dense": rutile(0.305, 0.85), "good": rutile()}
    rows = by_name(screen(write_structures(tmp_path / "s.json", structures), density=(1.0, 6.0)))
    assert rows["dense"].flags == ("density",)
    assert rows["good"].kept


def test_known_ones(tmp_path) -> None:
    structures = {"one": salt(5.6), "two": rutile(), "three": salt(5.7), "four": fluorite()}
    source = write_structures(tmp_path / "s.json", structures)
    reference = write_structures(tmp_path / "known.json", {"other": rutile(0.12), "halite": salt()})
    found = screen(source, novel_against=reference)
    rows = by_name(found)
    assert [row.known_as for row in rows.values()] == ["halite", "", "halite", ""]
    # A known structure is not looked at further, so that the counts add up.
    assert [row.duplicate_of for row in rows.values()] == [""] * 4
    assert [row.kept for row in rows.values()] == [False, True, False, True]
    assert found.counts == {"structures": 4, "kept": 2, "flagged": 0, "known": 2, "duplicates": 0}
    assert screen(source).counts["duplicates"] == 1


def test_the_best_ranked_of_equal_ones_is_kept(run_folder) -> None:
    found = screen(run_folder, rank=True)
    assert [(row.rank, row.entry.name) for row in found.rows] == [
        (1, "0004"),
        (2, "0002"),
        (3, "0003"),
        (4, "0001"),
    ]
    rows = by_name(found)
    assert [name for name, row in rows.items() if row.kept] == ["0002"]
    assert rows["0001"].duplicate_of == rows["0003"].duplicate_of == "0002"
    assert rows["0002"].scores == (0.1, 0.1)


@pytest.mark.parametrize(
    ("scores", "order"),
    [
        ([[3, 3], [1, 1], [2, 2]], [1, 2, 0]),
        ([[1, 30], [2, 10], [3, 20]], [1, 0, 2]),  # places 1+3, 2+1, 3+2
        ([[1e6, 1e-6], [1, 1]], [0, 1]),  # equal means: the first stays first
        ([[2, np.nan], [1, np.nan], [np.nan, np.nan]], [1, 0, 2]),  # a column without numbers
        ([[np.nan, 1], [5, 5], [4, 9], [1, np.nan]], [1, 2, 0, 3]),  # missing ones last, as they stand
        ([[0, 3], [0, 2], [0, 1]], [2, 1, 0]),
    ],
)
def test_ranking(scores, order) -> None:
    assert ranking(np.array(scores, float)).tolist() == order


def test_a_measure_ranks(tmp_path) -> None:
    """Beside the scores: the least is best, what has none is last, and the column is there."""
    structures = {"a": rutile(), "b": salt(), "c": rutile(0.306), "d": fluorite()}
    path = write_structures(tmp_path / "all.json", structures)
    asked = []

    def of(structures):
        asked.extend(structures)
        return np.array([0.3, np.nan, -0.2, 0.1])

    found = screen(path, rank=Measure("energy", of))
    assert [s.reduced_formula for s in asked] == ["TiO2", "NaCl", "TiO2", "TiO2"]
    assert [row.entry.name for row in found.rows] == ["c", "d", "a", "b"]
    assert by_name(found)["a"].duplicate_of == "c"  # the better of equal ones is kept
    rows = list(csv.DictReader(screening_csv(found).splitlines()))
    assert [row["energy"] for row in rows] == ["-0.2", "0.1", "0.3", ""]
    assert "energy" in table(found)
    without = list(csv.DictReader(screening_csv(screen(path)).splitlines()))
    assert list(without[0]) == list(rows[0])[:-1]
    assert "energy" not in table(screen(path))
    none = Measure("energy", lambda structures: np.full(len(structures), np.nan))
    with pytest.raises(RequestError, match=r"nothing to rank by: no structure of .*all.json has a energy"):
        screen(path, rank=none)


@pytest.mark.parametrize("columns", [{}, {"score_coords": {"0001": ""}, "score_lattice": {"0001": "nan"}}])
def test_scores_may_be_missing(tmp_path, columns) -> None:
    folder = write_run(tmp_path / "run", {"0001": perovskite(4.0), "0002": perovskite(4.1)}, **columns)
    found = screen(folder)
    assert np.isnan([row.scores for row in found.rows]).all()
    row = next(csv.DictReader(screening_csv(found).splitlines()))
    assert (row["score_coords"], row["score_lattice"], row["kept"]) == ("", "", "yes")
    assert "score_coords" not in table(found)
    with pytest.raises(RequestError, match="no scores to rank by"):
        screen(folder, rank=True)


def test_a_run_in_parts(tmp_path) -> None:
    """Scores and files of the sampler, while the run is under way and when it is complete."""
    run = RunFolder(tmp_path / "run", {})
    for part, name in enumerate(("0001", "0002")):
        folder = run.path / "parts" / f"{part:05d}"
        write_run(folder, {name: perovskite(4.0 + part)}, score_coords={name: str(1.5 - part)})
    for _ in range(2):
        found = screen(run.path, rank=True)
        assert [(row.entry.name, row.scores[0]) for row in found.rows] == [("0002", 0.5), ("0001", 1.5)]
        assert found.rows[1].duplicate_of == "0002"
        (kept,) = write_kept(found, run.path, tmp_path / "kept")
        assert kept.read_bytes() == (run.path / "parts" / "00001" / "0002.cif").read_bytes()
        shutil.rmtree(tmp_path / "kept")
        run.finish(2)
    (run.path / "parts" / "00001" / "summary.csv").write_bytes(b"id\n\xff\xfe\n")
    with pytest.raises(DataError, match=r"cannot read .*summary\.csv"):
        screen(run.path)


def test_kept_structures_are_written(run_folder, tmp_path) -> None:
    """The sampler's file as it is; others with their symmetry."""
    paths = write_kept(screen(run_folder), run_folder, tmp_path / "kept")
    assert [path.name for path in paths] == ["0001.cif"]
    assert paths[0].read_bytes() == (run_folder / "0001.cif").read_bytes()

    source = write_structures(tmp_path / "s.json", {"salt": salt(), "p1": salt().get_primitive_structure()})
    (path,) = write_kept(screen(source), source, tmp_path / "others")
    text = path.read_text()
    assert "_symmetry_Int_Tables_number   225" in text
    assert Structure.from_file(path).matches(salt(), scale=False)
    with pytest.raises(DataError, match="exists already"):
        write_kept(screen(source), source, tmp_path / "others")


def test_hostile_ids(tmp_path, capsys) -> None:
    """No name leads out of the folder, breaks the table or is lost."""
    structures = {name: salt() for name in HOSTILE}
    for number, structure in enumerate(structures.values()):
        structure.replace(0, ["Li", "K", "Rb", "Cs", "Ag", "Cu", "Tl", "H", "F", "Br", "I"][number])
    source = write_structures(tmp_path / "in" / "s.json", structures)
    out = tmp_path / "out" / "kept"
    assert (
        cli.main(["screen", str(source), "--out", str(out), "--density", "0,100", "--min-distance", "0"]) == 0
    )
    assert "\x1b" not in capsys.readouterr().out
    rows = read(out / "screening.csv")
    assert [row["id"] for row in rows] == [*HOSTILE[:-1], "é?"]
    assert all(row["kept"] == "yes" for row in rows)
    assert len(list(out.glob("*.cif"))) == len(HOSTILE)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["kept"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def test_file_names() -> None:
    names = file_names(["a", "A", "a.cif", "../a", ".", "", "é", "-rf", "x" * 300])
    assert names[:4] == ["a.cif", "A_2.cif", "a_3.cif", "_a.cif"]
    assert len({name.lower() for name in names}) == 9
    assert all(len(name) < 120 and not name.startswith((".", "-")) and "/" not in name for name in names)


def test_command(run_folder, tmp_path, capsys) -> None:
    reference = write_structures(tmp_path / "known.json", {"halite": salt()})
    before = {path.name: path.read_bytes() for path in run_folder.iterdir()}
    for arguments in ([], ["--rank"], ["--novel-against", str(reference), "--processes", "1"]):
        assert cli.main(["screen", str(run_folder), *arguments]) == 0
        printed = capsys.readouterr().out
        assert "4 structures: 1 kept, 2 duplicates, 1 flagged (1 images, 1 non_finite), 0 known" in printed
        assert f"written to {run_folder / 'screening.csv'}" in printed
        rows = read(run_folder / "screening.csv")
        assert len(rows) == 4
        kept = next(row for row in rows if row["kept"] == "yes")
        assert kept["id"] == ("0002" if "--rank" in arguments else "0001")
        assert kept["formula"] == "BaTiO3"
        assert kept["found_group"] == "221"
        assert float(kept["shortest_distance"]) == pytest.approx(2.025 if "--rank" in arguments else 2.0)
        assert kept["flags"] == kept["duplicate_of"] == kept["known_as"] == ""
    # Nothing but screening.csv was touched.
    (run_folder / "screening.csv").unlink()
    assert {path.name: path.read_bytes() for path in run_folder.iterdir()} == before


def test_command_with_a_folder_for_the_kept(run_folder, tmp_path, capsys) -> None:
    out = tmp_path / "kept"
    assert cli.main(["screen", str(run_folder), "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["0001.cif", "screening.csv"]
    assert not (run_folder / "screening.csv").exists()
    before = (out / "screening.csv").read_text()
    assert cli.main(["screen", str(run_folder), "--rank", "--out", str(out)]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert (out / "screening.csv").read_text() == before


def test_a_file_of_others_is_not_overwritten(run_folder, capsys) -> None:
    (run_folder / "screening.csv").write_text("my,own,notes\n")
    assert cli.main(["screen", str(run_folder)]) == 2
    assert "screening.csv is not a file of `jaxcrystal screen`: rename it" in capsys.readouterr().err
    assert (run_folder / "screening.csv").read_text() == "my,own,notes\n"


def test_without_the_extra_for_evaluation(run_folder, tmp_path, monkeypatch, capsys) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] in ("matminer", "smact", "matplotlib")]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("matminer", "smact", "matplotlib"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it fails
    reference = write_structures(tmp_path / "known.json", {"halite": salt()})
    arguments = ["screen", str(run_folder), "--rank", "--novel-against", str(reference), "--out"]
    assert cli.main([*arguments, str(tmp_path / "out")]) == 0
    assert "1 kept" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{}/nowhere"], "nowhere does not exist"),
        (["{}/nowhere", "--out", "{}/x"], "nowhere does not exist"),
        (["{}/empty"], "holds no structure file"),
        (["{}/s.json"], "s.json is not a folder: say with --out where"),
        (["{}/s.json", "--out", "{}/x", "--novel-against", "{}/none"], "none does not exist"),
        (["{}/s.json", "--out", "{}/x", "--novel-against", "{}/notes.txt"], "unknown kind of file"),
        (["{}/s.json", "--out", "{}/x", "--novel-against", "{}/bad.cif"], "no structure of"),
        (["{}/s.json", "--out", "{}/x", "--novel-against", "{}/bad.npz"], "bad.npz"),
        (["{}/s.json", "--out", "{}/empty/../s.json"], "cannot write to"),
        (["{}/s.json", "--out", "{}/x", "--rank"], "no scores to rank by"),
        (
            ["{}/s.json", "--out", "{}/x", "--min-distance", "-1"],
            "--min-distance is -1.0; it must be at least 0",
        ),
        (
            ["{}/s.json", "--out", "{}/x", "--min-distance", "nan"],
            "--min-distance is nan; it must be at least 0",
        ),
        (["{}/s.json", "--out", "{}/x", "--density", "3"], "--density is '3'; expected LOW,HIGH"),
        (["{}/s.json", "--out", "{}/x", "--density", "3,a"], "--density is '3,a'; expected LOW,HIGH"),
        (
            ["{}/s.json", "--out", "{}/x", "--density", "3,2"],
            "--density is '3,2'; expected LOW,HIGH in g/cm³",
        ),
        (
            ["{}/s.json", "--out", "{}/x", "--density", "nan,2"],
            "--density is 'nan,2'; expected LOW,HIGH in g/cm³",
        ),
        (["{}/s.json", "--out", "{}/x", "--processes", "0"], "--processes is 0"),
    ],
)
def test_mistakes(tmp_path, capsys, arguments, message) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("nothing\n")
    (tmp_path / "bad.cif").write_text("data_nothing\n")
    (tmp_path / "bad.npz").write_text("no archive\n")
    write_structures(tmp_path / "s.json", {"salt": salt()})
    assert cli.main(["screen", *(word.format(tmp_path) for word in arguments)]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("jaxcrystal: error: ")]
    assert len(lines) == 1
    assert message in lines[0]
