"""Killed at any moment, commands leave no process behind, and do what is missing the next time.

JAXCRYSTAL_KILLS=50 kills each of them 50 times instead of once, and all commands but `train` and `discover`,
which have tests of their own.
"""

import os
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jaxcrystal.files import is_partial
from jaxcrystal.io.convert import pymatgen_json_text
from tests.discovery.crystals import b2, cubic, some
from tests.programs import ENDED, INTERRUPTIBLE, READ_ONLY
from tests.tiny import make_tiny_model

KILLS = int(os.environ.get("JAXCRYSTAL_KILLS", "1"))
COMMANDS = {
    "prepare": ["prepare", "{data}", "--out", "{}/out.npz", "--processes", "2"],
    "screen": ["screen", "{data}", "--out", "{}/out", "--processes", "2"],
    "evaluate": [
        *("evaluate", "{data}", "--reference", "{data}", "--out", "{}/out"),
        *("--processes", "2", "--no-html"),
    ],
}
BY_HAND = {
    "sample": [
        *("sample", "--like", "{data}", "--count", "24", "--model", "{model}", "--steps-per-level", "5"),
        *("--batch-size", "4", "--format", "json,cif", "--out", "{}/out"),
    ],
    "reconstruct": [
        *("reconstruct", "--targets", "{data}", "--samples-per-target", "2", "--model", "{model}"),
        *("--steps-per-level", "5", "--batch-size", "8", "--processes", "2", "--out", "{}/out"),
    ],
    "view": ["view", "{data}", "--out", "{}/page.html"],
    "relax": ["relax", "{alloys}", "--potential", "emt", "--processes", "2", "--out", "{}/out"],
    "references": [
        *("references", "{alloys}", "--potential", "emt", "--processes", "2", "--out", "{}/known.json")
    ],
    "phonons": [
        *("phonons", "{relaxed}", "--best", "2", "--min-length", "4", "--processes", "2", "--out", "{}/out")
    ],
    "inputs": ["inputs", "{relaxed}", "--best", "3", "--out", "{}/out"],
    "hull": ["hull", "{energies}", "--references", "{energies}", "--out", "{}/hull.csv"],
    "info": ["info", "{model}"],
}
if KILLS > 1:
    COMMANDS |= BY_HAND


#: How long it took.
_SECONDS = re.compile(rb'"seconds": \{[^}]*\}')


def contents(folder: Path) -> dict[str, bytes]:
    """The files, without times and those that were being written when a process was killed."""
    found = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    return {
        str(place): _SECONDS.sub(b"", path.read_bytes())
        for place, path in found.items()
        if not any(is_partial(Path(part)) for part in place.parts)
    }


def says_that_it_is_not_complete(found: dict[str, bytes]) -> bool:
    """Whether a command that writes its results bit by bit has not ended; others have all or no file."""
    return b'"complete": false' in found.get("out/metrics.json", b"")


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


def _other_inputs(folder: Path) -> dict[str, Path]:
    """A model, alloys and their energies."""
    make_tiny_model().save(folder / "model")
    (folder / "alloys.json").write_text(
        pymatgen_json_text({entry.name: entry.structure for entry in some(20)[2:]})
    )
    known = {"cu": cubic(3.6, "Cu"), "au": cubic(4.1, "Au"), "cuau": b2(3.0, "Cu", "Au")}
    (folder / "known.json").write_text(pymatgen_json_text(known))
    emt = ["--potential", "emt", "--processes", "1", "--out"]
    for words in (
        ["references", "known.json", *emt, "energies.json"],
        ["relax", "known.json", *emt, "relaxed"],
    ):
        subprocess.run([sys.executable, "-m", "jaxcrystal.cli", *words], cwd=folder, check=True)
    return {
        name.split(".")[0]: folder / name for name in ("model", "alloys.json", "energies.json", "relaxed")
    }


@pytest.mark.kills
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads processes from /proc")
@pytest.mark.parametrize("name", COMMANDS)
def test_a_killed_command_starts_over(name, aflow, tmp_path) -> None:
    aflow.select(range(12)).save(tmp_path / "data.npz")
    inputs = {"data": tmp_path / "data.npz"}
    if name in BY_HAND:
        inputs |= _other_inputs(tmp_path)
    environment = os.environ | READ_ONLY | {"JAXCRYSTAL_CACHE": str(tmp_path / "cache")}

    def start(place: Path) -> subprocess.Popen[bytes]:
        words = [word.format(place, **inputs) for word in COMMANDS[name]]
        place.mkdir(exist_ok=True)
        return subprocess.Popen(
            [*INTERRUPTIBLE, *words],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    started = time.perf_counter()
    assert start(tmp_path / "broken").wait() == 0
    seconds = time.perf_counter() - started
    whole = contents(tmp_path / "broken")
    assert whole or name == "info"
    moments = random.Random(0)
    for number in range(KILLS):
        shutil.rmtree(tmp_path / "broken")
        process = start(tmp_path / "broken")
        time.sleep(moments.uniform(0.1, seconds))
        if process.poll() is None:
            kind = list(ENDED)[number % 3]
            process.send_signal(kind)
            assert process.wait() in (0, *ENDED[kind])
        while processes_of(process.pid):
            time.sleep(0.05)
        found = contents(tmp_path / "broken")
        if found.keys() != whole.keys() or says_that_it_is_not_complete(found):
            assert start(tmp_path / "broken").wait() == 0
        assert contents(tmp_path / "broken") == whole
