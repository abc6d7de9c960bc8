"""Folders that one process writes to, and results that come all at once."""

import os

import pytest

from jaxcrystal.errors import DataError
from jaxcrystal.folders import held, is_filled, results_folder


def names(folder):
    return sorted(path.name for path in folder.rglob("*"))


def test_the_second_process_is_told_who_holds_a_folder(tmp_path) -> None:
    with held(tmp_path):
        for attempt in (held, results_folder):
            with pytest.raises(DataError, match=f"in use by process {os.getpid()} on "), attempt(tmp_path):
                pass
    assert names(tmp_path) == []
    with held(tmp_path):  # it is free again
        pass
    (tmp_path / ".lock.part").write_text("process 1 on a machine that went down")
    with held(tmp_path):  # the process, not its file, holds a folder
        pass


def test_results_come_at_the_end(tmp_path) -> None:
    with results_folder(tmp_path / "out") as folder:
        (folder / "a.csv").write_text("1")
        (folder / "more").mkdir()
        (folder / "more" / "b").write_text("2")
        assert [path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")] == []
    assert names(tmp_path / "out") == ["a.csv", "b", "more"]
    with pytest.raises(DataError, match="is not empty"), results_folder(tmp_path / "out"):
        pass


def fill_and_fail(out) -> None:
    with results_folder(out) as folder:
        (folder / "a.csv").write_text("1")
        raise ValueError


def test_nothing_comes_after_an_error(tmp_path) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        fill_and_fail(tmp_path / "out")
    assert names(tmp_path / "out") == []


@pytest.mark.parametrize("moved", [0, 1, 2])
def test_after_a_kill_the_next_process_starts_over(moved, tmp_path) -> None:
    """It was filling the folder, or had moved some of the results."""
    left = tmp_path / ".results.part"
    left.mkdir()
    for number, name in enumerate(("a", "b")):
        (tmp_path / name if number < moved else left / name).write_text("old")
    if moved:
        (left / ".names").write_text("a\nb\n../thesis")
    assert not is_filled(tmp_path)
    with results_folder(tmp_path) as folder:
        (folder / "a").write_text("new")
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "new"


def test_names_of_a_folder_reach_no_further(tmp_path) -> None:
    (tmp_path / "thesis").write_text("mine")
    (tmp_path / "out" / ".results.part").mkdir(parents=True)
    (tmp_path / "out" / ".results.part" / ".names").write_text(f"../thesis\n{tmp_path}/thesis\n..\n.\n")
    with results_folder(tmp_path / "out"):
        pass
    assert (tmp_path / "thesis").read_text() == "mine"


def test_a_line_without_a_name_removes_nothing(tmp_path) -> None:
    out = tmp_path / "out"
    (out / ".results.part").mkdir(parents=True)
    (out / "thesis").write_text("mine")
    (out / ".results.part" / ".names").write_bytes(b"\n\xff\n")
    with pytest.raises(DataError, match="is not empty"), results_folder(out):
        pass
    assert (out / "thesis").read_text() == "mine"


def fill(out) -> None:
    with results_folder(out) as folder:
        (folder / "a").mkdir()
        for name in ("a/x", "b", "c"):
            (folder / name).write_text("1")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_results_are_taken_back_where_they_cannot_all_be_moved(error, tmp_path, monkeypatch) -> None:
    rename = os.rename

    def full(source, place) -> None:
        if str(place).endswith("/b"):
            raise error
        rename(source, place)

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises((DataError, KeyboardInterrupt)):
        fill(tmp_path / "out")
    assert names(tmp_path / "out") == []
