"""What the command prints, on whatever it prints: other encodings, closed and full outputs, progress bars."""

import io
import sys
from unittest import mock

import pytest
from tqdm import tqdm

from jaxcrystal import cli
from jaxcrystal.commands.parser import say
from tests.test_cli import COMMANDS
from tests.tiny import make_tiny_model


class Ascii(io.TextIOWrapper):
    """A terminal that knows no other characters, as `PYTHONIOENCODING=ascii` makes one.

    Or `LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0`, with the other way of Python with what it lacks.
    """

    def __init__(self, errors: str = "strict") -> None:
        super().__init__(io.BytesIO(), encoding="ascii", errors=errors)

    def text(self) -> str:
        self.flush()
        return self.buffer.getvalue().decode("ascii")


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_on_an_ascii_terminal(command, monkeypatch) -> None:
    terminal = Ascii()
    monkeypatch.setattr(sys, "stdout", terminal)
    with pytest.raises(SystemExit) as stop:
        cli.main([*filter(None, [command]), "--help"])
    assert stop.value.code == 0
    assert "usage: jaxcrystal" in terminal.text()


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_characters_that_a_terminal_lacks_have_others(errors, monkeypatch) -> None:
    terminal = Ascii(errors)
    monkeypatch.setattr(sys, "stdout", terminal)

    def run(_: object) -> int:
        print("4.1 Å, 12 Å³/atom, 90°, × \udc80")
        return 0

    monkeypatch.setattr("jaxcrystal.commands.info.run", run)
    assert cli.main(["info"]) == 0
    assert terminal.text() == "4.1 A, 12 A3/atom, 90?, ? ?\n"


def test_sampling_and_screening_on_an_ascii_terminal(model, tmp_path, monkeypatch) -> None:
    """They had finished, and then could not say so."""
    what = ["--space-group", "221", "--wyckoff", "Ba=a,Ti=b,O=c", "--count", "2", "--steps-per-level", "1"]
    run = str(tmp_path / "run")
    for line in (["sample", *what, "--model", model, "--out", run], ["screen", run, "--processes", "1"]):
        terminal = Ascii()
        monkeypatch.setattr(sys, "stdout", terminal)
        assert cli.main(line) == 0
        assert "written to" in terminal.text()


def test_too_little_memory_is_an_error_of_one_line(monkeypatch, capsys) -> None:
    monkeypatch.setattr("jaxcrystal.commands.info.run", mock.Mock(side_effect=MemoryError))
    assert cli.main(["info"]) == 2
    assert capsys.readouterr().err == "jaxcrystal: error: there is not enough memory\n"


@pytest.fixture
def model(tmp_path) -> str:
    make_tiny_model().save(tmp_path / "model")
    return str(tmp_path / "model")


def test_a_closed_output(model, monkeypatch, capsys) -> None:
    """`jaxcrystal info MODEL >&-`."""
    monkeypatch.setattr(sys, "stdout", None)
    assert cli.main(["info", model]) == 0
    sys.stdout.close()
    assert capsys.readouterr().err == ""


def test_a_full_output(model, monkeypatch, capsys) -> None:
    """`jaxcrystal info MODEL > /dev/full`; Python does not try again when the file is closed."""
    with open("/dev/full", "w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert cli.main(["info", model]) == 2
    assert capsys.readouterr().err == "jaxcrystal: error: No space left on device\n"


def test_an_error_stands_below_the_bar_of_a_progress(capsys) -> None:
    bar = tqdm(total=3, desc="sample", file=sys.stderr)
    bar.update()
    say("error: the disk\nis full")
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "jaxcrystal: error: the disk is full"
    assert "sample" in lines[-2]


def test_a_long_message_loses_its_middle(capsys) -> None:
    say(f"error: {'x' * 5000} is no group: expected a number")
    said = capsys.readouterr().err
    assert said.startswith("jaxcrystal: error: xxx")
    assert said.endswith("xxx is no group: expected a number\n")
    assert len(said) <= 300
