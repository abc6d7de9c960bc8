"""A signal saves the state, says so, and a resumed run is the one that nobody stopped."""

import os
import signal

import pytest

from jaxcrystal import cli
from jaxcrystal.config import to_toml
from jaxcrystal.training.inputs import Inputs
from jaxcrystal.training.loop import train
from tests.training.runs import assert_same_run, small_config


@pytest.fixture(scope="module")
def whole(tmp_path_factory, prototypes):
    return train(small_config(tmp_path_factory.mktemp("whole") / "run", prototypes), progress=False)


def test_a_signal_saves_and_a_resumed_run_ends_the_same(config, whole, tmp_path, capsys):
    """They come between two rows of the log, so that the pending part of a row is saved as well."""
    (tmp_path / "run.toml").write_text(to_toml(config))
    at, handlers = Inputs.at, [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    command = ["train", str(tmp_path / "run.toml")]
    for name, code, last, more in (("SIGTERM", 143, 1, []), ("SIGINT", 130, 5, ["--resume"])):

        def signalled(inputs, step, name=name, last=last):
            if step + 1 == last:
                os.kill(os.getpid(), getattr(signal, name))
            return at(inputs, step)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Inputs, "at", signalled)
            assert cli.main([*command, *more]) == code
        line = f"jaxcrystal: stopped by {name} after step {last}; its state is saved: go on with --resume\n"
        assert capsys.readouterr().err.endswith(line)
        assert (tmp_path / "run" / "checkpoints" / str(last)).exists()
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == handlers

    assert cli.main([*command, "--resume"]) == 0
    assert_same_run(whole, tmp_path / "run")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--processes", "2"], "need --distributed"),
        (["--distributed", "--processes", "2"], "go together"),
    ],
)
def test_settings_of_several_hosts_go_together(config, tmp_path, capsys, more, message):
    (tmp_path / "run.toml").write_text(to_toml(config))
    assert cli.main(["train", str(tmp_path / "run.toml"), *more]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()
