"""Killed at any moment and resumed, a run ends with the same bits as one that was not.

JAXCRYSTAL_KILLS=20 kills more often than the two times of the default.
"""

import os
import random
import subprocess
import time

import pytest

from jaxcrystal.training.loop import train
from tests.programs import ENDED, INTERRUPTIBLE, READ_ONLY
from tests.training.runs import assert_same_run, command, finish, small_config

KILLS = int(os.environ.get("JAXCRYSTAL_KILLS", "2"))


def settings(tmp_path, prototypes, name):
    """A run that saves every few milliseconds, so that many kills hit a save."""
    return small_config(
        tmp_path / name,
        prototypes,
        data={"validation": prototypes},
        optimizer={"steps": 60 * KILLS},
        log={"every": 4, "checkpoint_every": 5, "validate_every": 30, "validation_structures": 8},
    )


def rows_of_log(run):
    try:
        return (run / "log.csv").read_bytes().count(b"\n")
    except OSError:
        return 0


@pytest.mark.kills
def test_killed_many_times_a_run_ends_the_same(tmp_path, prototypes, compiled):
    whole, broken = (settings(tmp_path, prototypes, name) for name in ("whole", "broken"))
    train(whole, progress=False)
    start = [*INTERRUPTIBLE, *command(broken, tmp_path / "broken.toml")[3:]]
    run, kills, lived = tmp_path / "broken", 0, set()
    moments, said = random.Random(0), tmp_path / "said.txt"
    while kills < KILLS:
        resume = ["--resume"] if (run / "config.toml").exists() else []
        with said.open("w") as file:  # a pipe that nobody reads would block it
            process = subprocess.Popen([*start, *resume], env=compiled | READ_ONLY, stdout=file, stderr=file)
        early = moments.random() < 0.2  # while it starts; else while it trains
        # Counted in rows of the log, not in seconds: a slow machine is killed as far on its way.
        before, wanted = rows_of_log(run), moments.randint(3, 12)
        while process.poll() is None and not early and rows_of_log(run) < before + wanted:
            time.sleep(0.001)
            before = min(before, rows_of_log(run))  # it cuts the rows that it writes again
        time.sleep(moments.uniform(0.0, 10.0 if early else 0.05))
        if process.poll() is not None:
            assert process.returncode == 0, said.read_text()[-3000:]
            break
        kind = list(ENDED)[kills % 3]
        process.send_signal(kind)
        assert process.wait() in (0, *ENDED[kind])  # 0 if it had just ended
        kills += 1
        steps = [int(p.name) for p in (run / "checkpoints").glob("*") if p.name.isdigit()]
        lived.add(max(steps, default=0))
        where = "starting" if early else f"{wanted} rows on"
        print(f"kill {kills} by {kind.name}: {where}, checkpoints {steps}")
    finish([*start, "--resume"], compiled)
    assert kills >= KILLS / 2
    assert len(lived) >= kills / 3  # the kills hit different places

    assert_same_run(tmp_path / "whole", run)
