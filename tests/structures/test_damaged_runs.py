"""Run folders that a kill, a full disk or a user left in disorder."""

import shutil

import pytest

from jaxcrystal import cli
from jaxcrystal.errors import DataError
from jaxcrystal.sampling.part_stores import PartStore
from jaxcrystal.sampling.run import _finish
from jaxcrystal.sampling.run_folder import RunFolder, Shard
from tests.files import change, put, refusal, write_run


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run")


def shown(run, capsys) -> str:
    """The first line of what `view` and `screen` say of a run that they take."""
    assert cli.main(["view", str(run)]) == 0
    assert cli.main(["screen", str(run), "--processes", "1"]) == 0
    said = capsys.readouterr().out
    assert "3 structures: " in said
    return said.splitlines()[0]


def test_a_whole_run(run, capsys) -> None:
    assert shown(run, capsys).startswith("3 structures; written to ")


def test_a_run_that_was_killed_before_its_first_part(run, capsys) -> None:
    """Its run.json was taken for structures."""
    shutil.rmtree(run / "parts")
    (run / "summary.csv").unlink()
    for command in ("view", "screen"):
        assert "holds a run without a finished part" in refusal(capsys, command, run)
    assert [path.name for path in run.iterdir()] == ["run.json"]


@pytest.mark.parametrize("content", [None, ""])
def test_a_part_without_rows_is_no_part(content, run, capsys) -> None:
    part = run / "parts" / "00000"
    (part / "summary.csv").unlink()
    if content is not None:
        (part / "summary.csv").write_text(content)
    for command in ("view", "screen"):
        assert "holds a run without a finished part" in refusal(capsys, command, run)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text.splitlines()[0] + "\n", "is damaged, its summary.csv has no rows"),
        (lambda text: "nothing\n", "is damaged, its summary.csv has no rows"),
        (lambda text: text + "a,b\n", "row 4 has not the columns of its head"),
        (lambda text: text + "a," * 99 + "\n", "row 4 has not the columns of its head"),
        (lambda text: text.replace(",221,", ",999,"), "expected a space group"),
        (lambda text: text.replace("salt,X", "salt\0,X").replace("4.5", "x" * 999), "expected a number"),
        (lambda text: text.encode("utf-16"), "cannot read"),
    ],
)
def test_a_damaged_summary(damage, message, run, capsys) -> None:
    path = run / "parts" / "00000" / "summary.csv"
    content = damage(path.read_text())
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert message in refusal(capsys, "view", run)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text.replace("requested_group", "reqquested_group"), "part 0 of .* has no rows"),
        (lambda text: text.rsplit("\n", 2)[0] + "\n", "have 2 rows, expected 3: some are damaged"),
        (lambda text: text.replace("salt", "s\xe4lz").encode("latin-1"), "cannot read part 0 of .* decode"),
    ],
)
def test_a_run_is_not_complete_while_a_part_is_damaged(damage, message, tmp_path) -> None:
    """Its crystals would be missing in the summary, and nobody would know."""
    run = write_run(tmp_path / "run", structures=3)
    (run / "summary.csv").unlink()
    path = run / "parts" / "00000" / "summary.csv"
    content = damage(path.read_text())
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    folder = RunFolder(run, {"structures": 3})
    with pytest.raises(DataError, match=message) as error:
        folder.finish(1)
    assert "\n" not in str(error.value)
    assert not folder.complete


def test_bytes_that_are_no_text_in_the_summary_of_a_run(run, monkeypatch) -> None:
    (run / "summary.csv").write_bytes((run / "summary.csv").read_bytes().replace(b"salt", b"s\xe4lz"))
    folder = RunFolder(run, {"seed": 0})
    with pytest.raises(DataError, match=r"cannot read .*summary.csv: .* decode"):
        list(folder.summary())
    # And where it is an object at a URL, which is read at once.
    monkeypatch.setattr(type(folder._store), "lines", PartStore.lines)
    with pytest.raises(DataError, match=r"cannot read .*summary.csv: .* decode"):
        list(folder.summary())


def test_what_is_no_part_stands_in_nobodys_way(run, capsys) -> None:
    parts = run / "parts"
    (parts / "notes.txt").write_text("mine")
    (parts / "00001").mkdir()
    (parts / "00002").write_text("a file")
    (parts / "other").mkdir()
    (parts / ("9" * 200)).mkdir()
    assert shown(run, capsys).startswith("3 structures; written to ")
    folder = RunFolder(run, {"seed": 0})
    assert folder.parts() == {0}

    def fill(place) -> None:
        place.mkdir()
        (place / "summary.csv").write_text("id\n")

    folder.write_with(1, fill)  # in place of the empty folder
    assert folder.parts() == {0, 1}
    (parts / "00003").mkdir()
    (parts / "00003" / "thesis.tex").write_text("mine")
    for number in (2, 3):
        with pytest.raises(DataError, match=rf"0000{number} is no part of the run, .* remove it"):
            folder.write_with(number, fill)
    assert (parts / "00003" / "thesis.tex").read_text() == "mine"


def test_arrays_that_cannot_be_read_are_said(run, capsys) -> None:
    """The rows are there, and each says what is wrong with the file."""
    change(run / "parts" / "00000" / "structures.npz", frac_coords=put(float("nan")))
    assert cli.main(["view", str(run)]) == 0
    assert "is not a prepared data set" in (run / "gallery.html").read_text()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "[" * 9999, '{"format": "' + "x" * 999 + '", "settings": {}}']
)
def test_a_damaged_description_of_a_run(text, run) -> None:
    (run / "run.json").write_text(text)
    with pytest.raises(DataError) as error:
        RunFolder(run, {"seed": 0})
    assert len(str(error.value)) < 300


def test_a_device_in_place_of_a_description(run, capsys) -> None:
    (run / "run.json").unlink()
    (run / "run.json").symlink_to("/dev/zero")
    assert "is no folder that `jaxcrystal relax` wrote" in refusal(capsys, "hull", run, "--references", run)
    with pytest.raises(DataError, match=r"cannot read .*run\.json: it is no regular file"):
        RunFolder(run, {"seed": 0})


def test_a_folder_that_is_removed_during_a_run_ends_it(run) -> None:
    folder = RunFolder(run, {"seed": 0})
    shutil.rmtree(run)
    with pytest.raises(DataError, match="was removed"):
        folder.write_with(1, lambda place: place.mkdir())
    assert not run.exists()
    with pytest.raises(DataError, match="was removed"):
        _finish(folder, 2, Shard())


def test_another_run_that_began_in_the_folder_at_the_same_moment_ends_it(run) -> None:
    """Both found the folder empty; the settings of the later one are in it."""
    folder, text = RunFolder(run, {"seed": 0}), (run / "run.json").read_text()
    (run / "run.json").write_text(text.replace('{"seed": 0}', '{"seed": 1}'))
    with pytest.raises(DataError, match=r"other settings: seed \(1, now 0\)"):
        folder.write_with(1, lambda place: place.mkdir())
    assert [path.name for path in (run / "parts").iterdir()] == ["00000"]


def test_a_part_that_is_removed_during_a_run_ends_it(run) -> None:
    folder = RunFolder(run, {"seed": 0})
    (run / "summary.csv").unlink()
    with pytest.raises(DataError, match=r"part 1 of .* was removed"):
        _finish(folder, 2, Shard())
