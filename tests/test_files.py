"""Folders that are claimed, and errors in one line."""

from pathlib import Path

import pytest

from jaxcrystal.errors import DataError, one_line
from jaxcrystal.files import claim_folder
from jaxcrystal.io.rejection import Reason, Rejected


def test_an_empty_folder_is_ours(tmp_path: Path) -> None:
    assert claim_folder(tmp_path / "a" / "b").is_dir()
    assert claim_folder(str(tmp_path / "a" / "b")) == tmp_path / "a" / "b"


def test_what_is_there_is_kept(tmp_path: Path) -> None:
    (tmp_path / ".x.part").touch()
    assert claim_folder(tmp_path, leftovers=True) == tmp_path
    with pytest.raises(DataError, match="is not empty: choose another --out, nothing is overwritten"):
        claim_folder(tmp_path)
    (tmp_path / "x").touch()
    with pytest.raises(DataError, match="is not empty: say where"):
        claim_folder(tmp_path, "say where", leftovers=True)
    with pytest.raises(DataError, match=r"cannot write to .*x: "):
        claim_folder(tmp_path / "x")


def test_errors_in_one_line() -> None:
    """Our own say all that there is to say."""
    assert one_line(ValueError("a\n  b")) == "ValueError: a b"
    assert one_line(DataError("no such\nfile")) == "no such file"
    assert one_line(Rejected(Reason.EMPTY, "no atoms")) == "empty: no atoms"
    assert len(one_line(ValueError("x" * 1000))) == 200
    assert len(one_line(ValueError("x" * 1000), 300)) == 300
