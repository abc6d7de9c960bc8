"""A data set comes back from its file as it was, and wrong files are named."""

from dataclasses import fields, replace

import numpy as np
import pytest

from jaxcrystal import cli
from jaxcrystal.data.dataset import Dataset
from jaxcrystal.errors import DataError
from jaxcrystal.structures.entries import load_entries


def test_round_trip(aflow, tmp_path):
    aflow = replace(aflow, columns={"gap": np.arange(len(aflow)) / 7})
    aflow.save(tmp_path / "a.npz")
    again = Dataset.load(tmp_path / "a.npz")
    for f in fields(Dataset):
        ours, theirs = getattr(aflow, f.name), getattr(again, f.name)
        if f.name == "info":
            assert ours == theirs
        elif f.name == "columns":
            assert list(theirs) == ["gap"]
            assert np.array_equal(ours["gap"], theirs["gap"])
        else:
            assert ours.dtype == theirs.dtype
            assert np.array_equal(ours, theirs, equal_nan=ours.dtype.kind == "f")


def test_select_by_index_and_mask(aflow):
    chosen = aflow.select([7, 3, 3])
    assert chosen.ids.tolist() == [aflow.ids[n] for n in (7, 3, 3)]
    for row, index in enumerate((7, 3, 3)):
        assert np.array_equal(chosen.frac_coords[chosen.sites(row)], aflow.frac_coords[aflow.sites(index)])
    low = aflow.space_group < 16
    assert len(aflow.select(low)) == low.sum() == 23
    assert aflow.select(aflow.num_sites <= 2).num_sites.max() == 2
    assert len(aflow.select(np.array([], int))) == 0


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 broken"])
def test_wrong_file(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match="not a prepared data set"):
        Dataset.load(tmp_path / "a.npz")


def test_other_npz_other_version_and_missing_file(aflow, tmp_path):
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(DataError, match="not a prepared data set"):
        Dataset.load(tmp_path / "other.npz")
    np.savez(tmp_path / "new.npz", format=np.array(["jaxcrystal-dataset", "99", "{}"]))
    with pytest.raises(DataError, match="version 99"):
        Dataset.load(tmp_path / "new.npz")
    np.savez(tmp_path / "part.npz", format=np.array(["jaxcrystal-dataset", "1", "{}"]), ids=np.array(["a"]))
    with pytest.raises(DataError, match="the file lacks space_group"):
        Dataset.load(tmp_path / "part.npz")
    with pytest.raises(DataError, match="does not exist"):
        Dataset.load(tmp_path / "absent.npz")
    aflow.save(tmp_path / "a.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:-500])
    with pytest.raises(DataError, match="not a prepared data set"):
        Dataset.load(tmp_path / "cut.npz")


@pytest.fixture
def unmarked(aflow, tmp_path):
    """A file as it was written before cells were canonical."""
    info = {name: value for name, value in aflow.info.items() if name != "canonical"}
    low = replace(aflow.select(np.flatnonzero(aflow.space_group < 16)[:3]), info=info)
    low.save(tmp_path / "old.npz")
    return tmp_path / "old.npz"


def test_other_than_canonical_cells_are_refused(aflow, unmarked, tmp_path, capsys):
    """By whatever learns from cells or compares them, in one line, before anything else is done."""
    assert aflow.info["canonical"] is True
    with pytest.raises(DataError, match="3 structures of groups 1 to 15") as error:
        Dataset.load(unmarked)
    assert "\n" not in str(error.value)
    (tmp_path / "train.toml").write_text(f'out = "{tmp_path / "run"}"\n[data]\ntrain = "{unmarked}"\n')
    out = ("--out", str(tmp_path / "out"))
    for command in (
        ["train", str(tmp_path / "train.toml")],
        ["sample", "--like", str(unmarked), *out],
        ["reconstruct", "--targets", str(unmarked), *out],
    ):
        assert cli.main(command) == 2
        printed = capsys.readouterr().err.splitlines()
        assert printed[-1].startswith(f"jaxcrystal: error: {unmarked} has 3 structures of groups 1 to 15")
        assert printed[-1].endswith("`jaxcrystal prepare` it, or its sources, again")
    assert len(load_entries(unmarked)) == 3  # the crystals are what they are, in any cell
    high = replace(aflow.select(aflow.space_group >= 16), info={})
    high.save(tmp_path / "high.npz")
    assert len(Dataset.load(tmp_path / "high.npz")) == len(high)


def test_what_is_refused_can_be_prepared_again(unmarked, tmp_path):
    assert cli.main(["prepare", str(unmarked), "--out", str(tmp_path / "new.npz"), "--processes", "1"]) == 0
    assert len(Dataset.load(tmp_path / "new.npz")) == 3


def test_save_does_not_overwrite(aflow, tmp_path):
    aflow.save(tmp_path / "a.npz")
    with pytest.raises(DataError, match="exists already"):
        aflow.save(tmp_path / "a.npz")
    aflow.select([0]).save(tmp_path / "a.npz", overwrite=True)
    assert len(Dataset.load(tmp_path / "a.npz")) == 1
