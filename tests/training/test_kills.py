"""Killed at any moment and resumed, a run ends with the same bits as one that was not.

JAXCRYSTAL_KILLS=20 kills more often than the four times of the default.
"""

import os
import random
import subprocess
import time

import pytest

from jaxcrystal.training.logs import read_rows
from tests.training.runs import assert_same_run, command, finish, small_config

KILLS = int(os.environ.get("JAXCRYSTAL_KILLS", "4"))


def settings(tmp_path, prototypes, name):
    """A run that saves every few milliseconds, so that many kills hit a save."""
    return small_config(
        tmp_path / name,
        prototypes,
        data={"validation": prototypes},
        optimizer={"steps": 60 * KILLS},
        log={"every": 4, "checkpoint_every": 5, "validate_every": 15, "validation_structures": 8},
    )


def size_of_log(run):
    try:
        return (run / "log.csv").stat().st_size
    except OSError:
        return 0


@pytest.mark.statistical
def test_killed_many_times_a_run_ends_the_same(tmp_path, prototypes, compiled):
    whole, broken = (settings(tmp_path, prototypes, name) for name in ("whole", "broken"))
    finish(command(whole, tmp_path / "whole.toml"), compiled)
    rows = read_rows(tmp_path / "whole" / "log.csv")
    stepping = float(rows[-1]["seconds"]) - float(rows[0]["seconds"])

    start = command(broken, tmp_path / "broken.toml")
    run, kills, lived = tmp_path / "broken", 0, set()
    moments, said = random.Random(0), tmp_path / "said.txt"
    while kills < KILLS:
        resume = ["--resume"] if (run / "config.toml").exists() else []
        with said.open("w") as file:  # a pipe that nobody reads would block it
            process = subprocess.Popen([*start, *resume], env=compiled, stdout=file, stderr=file)
        early = moments.random() < 0.2  # while it starts; else while it trains
        before, began = size_of_log(run), time.monotonic()
        while process.poll() is None and not early and size_of_log(run) <= before:
            time.sleep(0.01)
            if size_of_log(run) < before:
                before = size_of_log(run)  # it has cut the rows that it writes again
        ready = time.monotonic() - began
        time.sleep(moments.uniform(0.0, 10.0 if early else 1.5 * stepping / KILLS))
        if process.poll() is not None:
            assert process.returncode == 0, said.read_text()[-3000:]
            break
        process.kill()
        process.wait()
        kills += 1
        steps = [int(p.name) for p in (run / "checkpoints").glob("*") if p.name.isdigit()]
        lived.add(max(steps, default=0))
        print(f"kill {kills}: {'starting' if early else f'training for {ready:.0f} s'}, checkpoints {steps}")
    finish([*start, "--resume"], compiled)
    assert kills >= KILLS / 2
    assert len(lived) >= kills / 3  # the kills hit different places

    assert_same_run(tmp_path / "whole", run)
