"""Files that are written together: each complete or absent."""

import os

import pytest

from jaxcrystal.errors import DataError
from jaxcrystal.files import write_text
from jaxcrystal.io.together import write_together


def test_many_files_as_each_by_itself(tmp_path) -> None:
    """More than are open at a time; the mode is that of other files too."""
    texts = [(f"{n}.cif", f"Å {n}\n") for n in range(150)]
    write_together(tmp_path / "new" / "folder", iter(texts))
    write_text(tmp_path / "one", "Å 0\n")
    found = tmp_path / "new" / "folder"
    assert {path.name: path.read_text(encoding="utf-8") for path in found.iterdir()} == dict(texts)
    assert (found / "0.cif").stat().st_mode == (tmp_path / "one").stat().st_mode


def test_nothing_makes_no_folder(tmp_path) -> None:
    write_together(tmp_path / "folder", [])
    assert not (tmp_path / "folder").exists()


def test_places_are_taken_in_order(tmp_path, monkeypatch) -> None:
    """So that the last file marks a complete folder."""
    taken = []
    real = os.replace

    def noted(source: object, place: object) -> None:
        taken.append(str(place))
        real(source, place)

    monkeypatch.setattr(os, "replace", noted)
    names = ["b", "below/c", "a", "summary.csv"]
    write_together(tmp_path, [(name, name) for name in names])
    assert taken == [str(tmp_path / name) for name in names]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_whole_files_only(tmp_path, monkeypatch, call) -> None:
    calls = []
    real = getattr(os, call)

    def full(*arguments: object) -> None:
        calls.append(arguments)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        real(*arguments)

    monkeypatch.setattr(os, call, full)
    with pytest.raises(DataError, match=r"cannot write .*\.cif: No space left on device"):
        write_together(tmp_path, [(f"{n}.cif", "x") for n in range(5)])
    whole = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert whole == ({} if call == "fsync" else {"0.cif": "x", "1.cif": "x"})
