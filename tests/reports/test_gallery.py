"""The gallery: complete, alone, the same every time, and careful with files and names."""

import csv
import json
import re

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from jaxcrystal import cli
from jaxcrystal.commands.view import default_page
from jaxcrystal.io.readers import read_structures
from jaxcrystal.reports.gallery.cells import compact_cell
from jaxcrystal.reports.gallery.content import gallery_content
from jaxcrystal.reports.gallery.folder import trajectory_files
from jaxcrystal.reports.gallery.page import MARKER, render
from jaxcrystal.sampling.run_folder import RunFolder
from jaxcrystal.structures.entries import Entry, load_entries
from jaxcrystal.structures.folder import summary_rows
from jaxcrystal.structures.writers import write_samples
from jaxcrystal.symmetry.detect import find_group

SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.6), ["Na", "Cl"], [[0] * 3, [0.5] * 3])
HOSTILE = "</script><script>alert(1)</script><b>&\u2028'\""


@pytest.fixture
def folder(samples, tmp_path):
    return write_samples(samples, tmp_path / "out", ("cif",), check="strict")


def content_of(page: str) -> dict:
    """The data of a page, as a browser takes them from it."""
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(text)


def table_of(content: dict) -> dict[str, dict]:
    """Rows by id, cells by column."""
    keys = [column["key"] for column in content["columns"]]
    rows = [dict(zip(keys, row, strict=True)) for row in content["rows"]]
    return {row["id"]: row for row in rows}


def view(*arguments: object) -> int:
    return cli.main(["view", *map(str, arguments)])


def structure_of(cell: dict) -> Structure:
    """The crystal that is drawn."""
    symbols = [symbol for symbol, count in cell["elements"] for _ in range(count)]
    coords = np.reshape(cell["coords"], (-1, 3)) * 1e-4
    return Structure(Lattice.from_parameters(*cell["lattice"]), symbols, coords)


def test_a_folder_of_the_sampler(folder, samples, capsys) -> None:
    """Every structure, with the figures of summary.csv and the cell of its file."""
    assert view(folder) == 0
    assert f"4 structures; written to {folder / 'gallery.html'}" in capsys.readouterr().out
    content = content_of((folder / "gallery.html").read_text(encoding="utf-8"))
    assert content["title"] == "out"
    table = table_of(content)
    assert list(table) == [sample.name for sample in samples]
    with (folder / "summary.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            shown = table[row["id"]]
            assert (shown["formula"], shown["letters"]) == (row["formula"], row["letters"])
            for key in ("requested_group", "found_group", "volume_per_atom", "shortest_distance"):
                assert shown[key] == float(row[key])
            assert shown["valid"] == (row["valid"] == "True")
    for cell, sample in zip(content["cells"], samples, strict=True):
        drawn, given = structure_of(cell), sample.to_pymatgen()
        assert drawn.composition == given.composition
        np.testing.assert_allclose(drawn.lattice.parameters, given.lattice.parameters, atol=1e-3)
    assert {"225": "Fm-3m", "221": "Pm-3m"}.items() >= content["groups"].items()
    assert set(content["elements"]) == {"Ba", "Ti", "O", "Na", "Cl"}
    assert "status" not in table[samples[0].name]


def rows_of(folder) -> dict[str, dict[str, str]]:
    return {row["id"]: row for row in summary_rows(folder)}


def test_every_atom_is_where_its_file_has_it(folder) -> None:
    entries = load_entries(folder)
    content = gallery_content(entries, rows_of(folder), title="x")
    for entry, cell in zip(entries, content["cells"], strict=True):
        drawn = structure_of(cell)
        assert drawn.atomic_numbers == entry.structure.atomic_numbers
        offset = drawn.frac_coords - entry.structure.frac_coords
        assert np.abs(offset - np.round(offset)).max() <= 0.5001e-4


def test_structures_of_another_program(tmp_path) -> None:
    """Figures are computed, and the conventional cell is drawn of whatever cell was given."""
    (tmp_path / "x").mkdir()
    SALT.get_primitive_structure().to(str(tmp_path / "x" / "salt.cif"))
    Structure(Lattice.cubic(3.35), ["Po"], [[0.1, 0.2, 0.3]]).to(str(tmp_path / "x" / "po.cif"))
    Structure(Lattice.cubic(4), ["Ti", "O"], [[0] * 3, [0, 0, 0.02]]).to(str(tmp_path / "x" / "wreck.cif"))
    (tmp_path / "x" / "zero.cif").write_text("data_x\n_atom_site_type_symbol\n")
    assert view(tmp_path / "x") == 0
    content = content_of((tmp_path / "x" / "gallery.html").read_text(encoding="utf-8"))
    table = table_of(content)
    assert {"requested_group", "letters", "duplicate_of", "kept"}.isdisjoint(table["salt.cif"])
    salt, po = table["salt.cif"], table["po.cif"]
    assert (salt["formula"], salt["found_group"], salt["atoms"], salt["valid"]) == ("NaCl", 225, 8, True)
    assert salt["shortest_distance"] == pytest.approx(2.8, abs=1e-3)
    assert salt["volume_per_atom"] == pytest.approx(5.6**3 / 8, abs=1e-3)
    assert salt["density"] == pytest.approx(SALT.density, abs=1e-3)
    assert (po["found_group"], po["shortest_distance"]) == (221, 3.35)  # its own image
    assert table["wreck.cif"]["valid"] is False
    assert table["wreck.cif"]["shortest_distance"] == pytest.approx(0.08, abs=1e-3)
    row = list(table).index("zero.cif")
    assert (table["zero.cif"]["valid"], content["cells"][row]) == (False, None)
    assert content["errors"][row]
    drawn = structure_of(content["cells"][list(table).index("salt.cif")])
    assert drawn.lattice.parameters == pytest.approx((5.6, 5.6, 5.6, 90, 90, 90), abs=1e-3)
    assert drawn.matches(SALT, scale=False)


@pytest.mark.parametrize("hand", [1, -1])
def test_the_hand_of_a_crystal_stays(hand) -> None:
    """Quartz of P3_221 is not drawn as its mirror image, P3_121, whichever way its vectors are given."""
    quartz = Structure.from_spacegroup(
        "P3_221", Lattice.hexagonal(4.91, 5.40), ["Si", "O"], [[0.47, 0, 2 / 3], [0.413, 0.267, 0.786]]
    )
    flip = np.diag([1.0, 1.0, hand])
    cell = compact_cell(
        flip @ quartz.lattice.matrix, np.array(quartz.atomic_numbers), quartz.frac_coords @ flip
    )
    drawn = structure_of(cell)
    group = find_group(drawn.lattice.matrix, np.array(drawn.atomic_numbers), drawn.frac_coords, 0.1)
    assert group == 154


def test_screening_is_joined(folder, samples) -> None:
    names = [sample.name for sample in samples]
    with (folder / "screening.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "kept", "duplicate_of", "known_as", "density", "flags", "charge_balanced"])
        writer.writerow([names[0], "True", "", "", "5.0", "", "yes"])
        writer.writerow([names[1], "False", names[0], "mp-2998", "5.0", "dense; lone atom", "no"])
    assert view(folder) == 0
    content = content_of((folder / "gallery.html").read_text(encoding="utf-8"))
    first, second, third, _ = table_of(content).values()
    keys = ("kept", "duplicate_of", "known_as", "flags")
    assert [first[key] for key in keys] == [True, None, None, None]
    assert [second[key] for key in keys] == [False, names[0], "mp-2998", "dense; lone atom"]
    assert [third[key] for key in keys] == [None] * 4
    # What has no column of its own is said in the large view.
    assert content["more"][1]["charge balanced"] == "no"
    assert content["more"][1]["group, 0.01 Å"].isdigit()


def test_flags_of_the_sampler_and_scores(folder) -> None:
    """A structure stopped early has a status; figures that are missing or infinite are left out."""
    rows = rows_of(folder)
    first, second, *_ = rows.values()
    first |= {"status": "images", "score_coords": "0.125", "shortest_distance": "nan"}
    second["score_coords"] = ""
    table = table_of(gallery_content(load_entries(folder), rows, title="x"))
    assert table[first["id"]]["status"] == "images"
    assert (table[first["id"]]["score_coords"], table[second["id"]]["score_coords"]) == (0.125, None)
    assert table[first["id"]]["shortest_distance"] is None
    assert table[first["id"]]["score_lattice"] == float(rows[first["id"]]["score_lattice"])


def test_a_run_in_parts(samples, tmp_path) -> None:
    """Shown while it is under way, too."""
    run, names = RunFolder(tmp_path / "run", {}), [sample.name for sample in samples]
    for part in (0, 1):
        run.write(part, samples[2 * part : 2 * part + 2], ("cif",))
    for _ in range(2):
        content = gallery_content(load_entries(run.path), rows_of(run.path), title="x")
        assert list(table_of(content)) == names
        assert sorted(trajectory_files(run.path)) == sorted(names)
        run.finish(2)


def test_names_are_texts_only() -> None:
    """Nothing of the data ends a script, and all of it comes out again as it was."""
    entries = [Entry(HOSTILE, SALT), Entry("nothing \udc80", None, HOSTILE)]
    page = render(gallery_content(entries, title=HOSTILE))
    assert page.encode()  # a name that is no text in the file system's encoding included
    assert "<b>" not in page
    assert page.count("</script>") == 2
    assert page.count("alert(1)") == page.count("&lt;script&gt;alert(1)") + page.count(
        "\\u003cscript>alert(1)"
    )
    content = content_of(page)
    assert [row["id"] for row in table_of(content).values()] == [HOSTILE, "nothing \udc80"]
    assert content["errors"][1] == HOSTILE


def test_the_page_stands_alone(folder) -> None:
    """No address, no file: nothing to load, and the page forbids itself to."""
    page = render(gallery_content(load_entries(folder), rows_of(folder), title="x"))
    for word in (
        "http:",
        "https:",
        "//www",
        " src=",
        " href=",
        "@import",
        "url(",
        "fetch(",
        "XMLHttpRequest",
    ):
        assert word not in page, word
    assert "default-src 'none'" in page
    assert "{{" not in page


def test_the_same_bytes_again(folder) -> None:
    assert view(folder) == 0
    first = (folder / "gallery.html").read_bytes()
    assert view(folder) == 0  # our own page is replaced
    assert (folder / "gallery.html").read_bytes() == first
    assert MARKER.encode() in first[:1024]


def test_trajectory(folder, samples, capsys) -> None:
    """The frames are those of the files; without names, those of the first structures."""
    name = samples[1].name
    assert view(folder, "--trajectory", name) == 0
    frames = content_of((folder / "gallery.html").read_text(encoding="utf-8"))["frames"]
    assert list(frames) == [name]
    read = [structure for _, structure in read_structures(folder / "trajectories" / f"{name}.extxyz")]
    assert len(frames[name]) == len(read) == len(samples[1].trajectory)
    for cell, structure in zip(frames[name], read, strict=True):
        drawn = structure_of(cell)
        np.testing.assert_allclose(drawn.lattice.parameters, structure.lattice.parameters, atol=1e-3)
        offset = drawn.frac_coords - structure.frac_coords
        assert np.abs(offset - np.round(offset)).max() < 0.51e-4
    assert view(folder, "--trajectory") == 0
    frames = content_of((folder / "gallery.html").read_text(encoding="utf-8"))["frames"]
    assert list(frames) == [sample.name for sample in samples]


def test_first_n(folder, samples, capsys) -> None:
    page = folder / "gallery.html"
    assert view(folder, "--max", 3, "--title", "Three of them") == 0
    assert "3 of 4 structures (--max 4 shows all); written to" in capsys.readouterr().out
    content = content_of(page.read_text(encoding="utf-8"))
    assert list(table_of(content)) == [sample.name for sample in samples[:3]]
    assert (content["leftOut"], content["title"]) == (1, "Three of them")


@pytest.mark.parametrize(
    ("source", "page"),
    [
        ("salt.cif", "salt.html"),
        ("POSCAR", "POSCAR.html"),
        ("a.b.extxyz", "a.b.html"),
        ("x.json.gz", "x.html"),
    ],
)
def test_page_of_a_file(tmp_path, source, page) -> None:
    assert default_page(tmp_path / source) == tmp_path / page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{0}/none"], "{0}/none does not exist"),
        (["{0}/salt.cif", "--max", "0"], "--max is 0; it must be at least 1"),
        (["{0}/salt.cif", "--trajectory"], "{0}/salt.cif has no trajectories"),
        (["{0}/salt.cif", "--out", "{0}/notes.html"], "{0}/notes.html exists and is not a gallery"),
        (["{0}/salt.cif", "--out", "{0}"], "{0} is a folder: --out names the HTML file"),
        (["{0}/salt.cif", "--out", "/proc/nowhere/x.html"], "cannot write /proc/nowhere/x.html"),
    ],
)
def test_mistakes(tmp_path, capsys, arguments, message) -> None:
    SALT.to(str(tmp_path / "salt.cif"))
    (tmp_path / "notes.html").write_text("my notes")
    assert view(*(word.format(tmp_path) for word in arguments)) == 2
    *_, line = capsys.readouterr().err.splitlines()  # the progress bar ends its line
    assert line.startswith("jaxcrystal: error: " + message.format(tmp_path))
    assert (tmp_path / "notes.html").read_text() == "my notes"
    assert not (tmp_path / "salt.html").exists()


@pytest.mark.parametrize(
    ("damage", "arguments", "message"),
    [
        (lambda out: None, ["--trajectory", "x"], "--trajectory x: not among the 4 structures shown"),
        (
            lambda out: [path.unlink() for path in (out / "trajectories").glob("0001*")],
            ["--trajectory", "0001_BaTiO3_221"],
            "has no trajectory of it",
        ),
        (
            lambda out: [path.write_text("2\nno lattice\n") for path in (out / "trajectories").glob("0001*")],
            ["--trajectory"],
            "trajectories/0001_BaTiO3_221.extxyz: no Lattice in this frame",
        ),
        (
            lambda out: (out / "screening.csv").write_bytes(b"id\n\xff\xfe\n"),
            [],
            "screening.csv: 'utf-8' codec can't decode",
        ),
        (
            lambda out: (out / "summary.csv").write_text(
                (out / "summary.csv").read_text().replace(",221,", ",cubic,", 1)
            ),
            [],
            "requested_group is 'cubic' in a row of the summary",
        ),
    ],
)
def test_damaged_folders(folder, capsys, damage, arguments, message) -> None:
    damage(folder)
    assert view(folder, *arguments) == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert line.startswith("jaxcrystal: error: ")
    assert message in line
    assert not (folder / "gallery.html").exists()
