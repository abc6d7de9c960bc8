"""Killed at any moment, `prepare`, `screen` and `evaluate` leave nothing behind, and do it all the next time.

JAXCRYSTAL_KILLS=50 kills each of them 50 times instead of once.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jaxcrystal.files import is_partial
from tests.programs import READ_ONLY

KILLS = int(os.environ.get("JAXCRYSTAL_KILLS", "1"))
#: Of each signal: what tells that it ended the command.
ENDED = {
    signal.SIGKILL: (-signal.SIGKILL,),
    signal.SIGTERM: (-signal.SIGTERM,),  # a shell calls it 143
    signal.SIGINT: (130, -signal.SIGINT),  # the second before there is anything to interrupt
}
COMMANDS = {
    "prepare": ["prepare", "{data}", "--out", "{}/out.npz", "--processes", "2"],
    "screen": ["screen", "{data}", "--out", "{}/out", "--processes", "2"],
    "evaluate": [
        *("evaluate", "{data}", "--reference", "{data}", "--out", "{}/out"),
        *("--processes", "2", "--no-html"),
    ],
}


def contents(folder: Path) -> dict[str, bytes]:
    """The files, without those that were being written when a process was killed."""
    found = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    return {
        str(place): path.read_bytes()
        for place, path in found.items()
        if not any(is_partial(Path(part)) for part in place.parts)
    }


def processes_of(session: int) -> list[int]:
    """The processes of a session that have not ended."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, of = place.joinpath("stat").read_text().rpartition(")")[2].split()[:4]
        except OSError:  # it has just ended
            continue
        if int(of) == session and state != "Z":
            found.append(int(place.name))
    return found


@pytest.mark.kills
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads processes from /proc")
@pytest.mark.parametrize("name", COMMANDS)
def test_a_killed_command_starts_over(name, aflow, tmp_path) -> None:
    aflow.select(range(12)).save(tmp_path / "data.npz")
    environment = os.environ | READ_ONLY | {"JAXCRYSTAL_CACHE": str(tmp_path / "cache")}

    def start(place: Path) -> subprocess.Popen[bytes]:
        words = [word.format(place, data=tmp_path / "data.npz") for word in COMMANDS[name]]
        place.mkdir(exist_ok=True)
        return subprocess.Popen(
            [sys.executable, "-m", "jaxcrystal.cli", *words],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    started = time.perf_counter()
    assert start(tmp_path / "broken").wait() == 0
    seconds = time.perf_counter() - started
    whole = contents(tmp_path / "broken")
    assert whole
    moments = random.Random(0)
    for number in range(KILLS):
        for path in sorted((tmp_path / "broken").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        process = start(tmp_path / "broken")
        time.sleep(moments.uniform(0.1, seconds))
        if process.poll() is None:
            kind = (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)[number % 3]
            process.send_signal(kind)
            assert process.wait() in (0, *ENDED[kind])
        while processes_of(process.pid):
            time.sleep(0.05)
        if contents(tmp_path / "broken").keys() != whole.keys():
            assert start(tmp_path / "broken").wait() == 0
        assert contents(tmp_path / "broken") == whole
