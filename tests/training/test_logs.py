"""Logs of a run: rows are added, cut on resume, and survive a kill in the middle of a line."""

import builtins

import numpy as np
import pytest

from jaxcrystal.errors import DataError
from jaxcrystal.training.figures import draw_losses
from jaxcrystal.training.logs import LOG_COLUMNS, Logs, append_rows, cut_rows_after, read_rows
from jaxcrystal.training.validation import LevelLosses, trained_loss

COLUMNS = ("step", "loss")


def levels(sites, coords, lattice):
    sigmas = np.array([[1.0, 2.0], [0.1, 0.5]])
    return LevelLosses(sites, sigmas, np.array(coords), np.array(lattice), 0.25)


def test_rows_after_the_checkpoint_are_cut(tmp_path):
    path = tmp_path / "log.csv"
    append_rows(path, COLUMNS, [(2, 0.5), (4, 1 / 3)])
    append_rows(path, COLUMNS, [(6, 1e-12)])
    assert path.read_text() == "step,loss\n2,0.5\n4,0.333333333\n6,1e-12\n"
    cut_rows_after(path, 4)
    assert path.read_text() == "step,loss\n2,0.5\n4,0.333333333\n"
    cut_rows_after(path, 0)
    assert path.read_text() == "step,loss\n"
    cut_rows_after(tmp_path / "none.csv", 0)
    assert not (tmp_path / "none.csv").exists()


@pytest.mark.parametrize("torn", ["6", "1", "6,0.2", "", "\x00\x00"])
def test_a_torn_line_is_cut(tmp_path, torn):
    """`1` may be the beginning of 10: a line without its end says nothing."""
    path = tmp_path / "log.csv"
    path.write_text("step,loss\n2,0.5\n4,0.25\n" + torn)
    cut_rows_after(path, 100)
    append_rows(path, COLUMNS, [(6, 0.125)])
    assert [row["step"] for row in read_rows(path)] == ["2", "4", "6"]
    assert read_rows(path)[-1]["loss"] == "0.125"


@pytest.mark.parametrize("torn", ["", "st", "step,loss"])
def test_a_torn_header_is_written_again(tmp_path, torn):
    path = tmp_path / "log.csv"
    path.write_text(torn)
    cut_rows_after(path, 0)
    append_rows(path, COLUMNS, [(2, 0.5)])
    assert path.read_text() == "step,loss\n2,0.5\n"


@pytest.mark.parametrize("damage", [b"two,0.5\n", b"\xff\xfe\n", b"\n"])
def test_a_damaged_log_is_named(tmp_path, damage):
    path = tmp_path / "log.csv"
    path.write_bytes(b"step,loss\n2,0.5\n" + damage)
    with pytest.raises(DataError, match=r"cannot read .*log\.csv: .*a run can go on without it"):
        cut_rows_after(path, 100)
    assert path.read_bytes().endswith(damage)


def test_numbers_of_single_precision_are_told_apart(tmp_path):
    value = np.float32(0.1)
    after = np.nextafter(value, np.float32(1))
    append_rows(tmp_path / "log.csv", COLUMNS, [(1, float(value)), (2, float(after))])
    one, other = (np.float32(row["loss"]) for row in read_rows(tmp_path / "log.csv"))
    assert (one, other) == (value, after)


def test_a_log_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(DataError, match=r"cannot write .*log.csv: "):
        append_rows(tmp_path / "none" / "log.csv", COLUMNS, [(1, 2.0)])


def test_only_one_process_writes(tmp_path):
    logs = Logs(tmp_path, 0, tensorboard=True, enabled=False)
    logs.update(range(len(LOG_COLUMNS)))
    logs.validation(1, [levels("free", [1.0, 0.5], [1.0, 0.5])])
    logs.close()
    assert list(tmp_path.iterdir()) == []


def without(monkeypatch, library):
    """Makes a library look as if it were not installed."""
    real = builtins.__import__

    def importing(name, *arguments, **keywords):
        if name.split(".")[0] == library:
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", importing)


def test_tensorboard(tmp_path, monkeypatch):
    pytest.importorskip("tensorboardX")
    logs = Logs(tmp_path, 0, tensorboard=True)
    logs.update((2, 16, 0.5, 1e-3, 0.9, 0.8, 2.0, 0.1))
    logs.validation(2, [levels("free", [1.0, 0.5], [1.0, 0.25])])
    logs.close()
    (events,) = (tmp_path / "tensorboard").iterdir()
    content = events.read_bytes()
    for name in (b"training/coords", b"validation_free_coords/level_02", b"validation_free_lattice/level_01"):
        assert name in content


def test_tensorboard_that_is_not_installed_is_named(tmp_path, monkeypatch):
    without(monkeypatch, "tensorboardX")
    with pytest.raises(DataError, match=r"pip install 'jaxcrystal\[tensorboard\]'"):
        Logs(tmp_path, 0, tensorboard=True)


def test_curves_of_both_logs(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    logs = Logs(tmp_path, 0)
    for step in (2, 4):
        logs.update((step, 16, 0.5, 1e-3, 0.9 / step, 0.8, 2.0, 0.1))
        logs.validation(step, [levels(sites, [1.0, 0.5], [1.0, 0.25]) for sites in ("free", "constrained")])
    assert draw_losses(tmp_path) == tmp_path / "losses.png"
    assert (tmp_path / "losses.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "validation.csv").unlink()
    assert draw_losses(tmp_path) == tmp_path / "losses.png"

    without(monkeypatch, "matplotlib")
    assert draw_losses(tmp_path) is None


def test_the_best_weights_are_chosen_by_what_is_trained():
    losses = [levels("free", [1.0, 0.5], [1.0, 0.0]), levels("constrained", [0.2, 0.2], [0.4, 0.4])]
    assert trained_loss(losses, 0.0) == pytest.approx(0.625)
    assert trained_loss(losses, 1.0) == pytest.approx(0.3)
    assert trained_loss(losses, 0.25) == pytest.approx(0.75 * 0.625 + 0.25 * 0.3)
    unseen = [levels("free", [np.nan] * 2, [np.nan] * 2), losses[1]]
    assert trained_loss(unseen, 1.0) == pytest.approx(0.3)
