"""Long runs: interrupted, killed, shared among devices and processes, they give the same files.

JAXCRYSTAL_KILLS=20 kills more often than the two times of the default, and samples 2,000 structures.
"""

import os
import random
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import pytest

from jaxcrystal import cli
from jaxcrystal.errors import DataError
from jaxcrystal.requests.candidates import make_candidates
from jaxcrystal.requests.orders import make_order
from jaxcrystal.sampling import run as module
from jaxcrystal.sampling.run import RunSettings, open_run, sample_to_folder
from jaxcrystal.sampling.run_folder import PART_SIZE
from jaxcrystal.structures.folder import part_folders
from tests.programs import READ_ONLY

pytestmark = pytest.mark.optimised

KILLS = int(os.environ.get("JAXCRYSTAL_KILLS", "2"))
#: Of each of two groups; half as many of a third. Long enough to be killed so often.
COUNT = 40 * max(KILLS, 4)
#: They take their programs from the run that is not killed.
ONE_DEVICE = {"JAX_NUM_CPU_DEVICES": "1"}
PEROVSKITE = {"Ba": "a", "Ti": "b", "O": "c"}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def request_(tiny_model, quick):
    """Structures of two shapes, in four parts."""
    orders = [make_order(221, PEROVSKITE), make_order(62, {"Na": 3}, "free")]
    candidates = make_candidates(orders, [PART_SIZE + 4, 2 * PART_SIZE], tiny_model.letters)
    config = replace(quick, steps_per_level=5, trajectory_every=0)  # as of the command below
    return candidates, tiny_model, RunSettings(config, batch_size=4)


def sample_into(out, candidates, model, settings):
    folder = open_run(candidates, model, out, settings)
    sample_to_folder(folder, candidates, model, settings)
    return folder


def test_an_interrupted_run_ends_the_same(request_, tmp_path, monkeypatch) -> None:
    candidates, model, settings = request_
    whole = sample_into(tmp_path / "whole", *request_)
    assert whole.complete
    assert len(part_folders(whole.path)) == 4

    stream, drawn = module.sample_stream, []

    def interrupted(wanted, *arguments, **named):
        for number, pair in enumerate(stream(wanted, *arguments, **named)):
            if number == PART_SIZE + 10:
                raise KeyboardInterrupt
            drawn.append(pair[0].place)
            yield pair

    monkeypatch.setattr(module, "sample_stream", interrupted)
    folder = open_run(candidates, model, tmp_path / "broken", settings)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            sample_to_folder(folder, candidates, model, settings)
        assert not folder.complete
    assert folder.parts() == {0, 1}
    assert len(drawn) == 2 * (PART_SIZE + 10)
    # What is written is not drawn again.
    assert len(set(drawn)) == 2 * PART_SIZE + 10
    before = contents(folder.path)
    monkeypatch.setattr(module, "sample_stream", stream)
    sample_into(tmp_path / "broken", *request_)
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")
    assert before.items() <= contents(tmp_path / "broken").items()

    # Once complete, nothing is drawn at all.
    monkeypatch.setattr(module, "sample_stream", lambda wanted, *_, **__: iter(wanted))
    sample_into(tmp_path / "broken", *request_)


def test_another_model_or_another_request_is_refused(request_, tmp_path) -> None:
    candidates, model, settings = request_
    open_run(candidates, model, tmp_path / "run", settings)
    scaled = replace(model, params=jax.tree.map(lambda leaf: leaf * 1.1, model.params))
    for changed, name in (
        ((candidates[:-1], model, settings), "structures"),
        ((candidates, scaled, settings), "model"),
        ((candidates, model, replace(settings, seed=1)), "seed"),
        ((candidates, model, replace(settings, batch_size=8)), "batch_size"),
        ((candidates, model, replace(settings, formats=("json",))), "formats"),
    ):
        with pytest.raises(DataError, match=f"other settings: {name}"):
            open_run(changed[0], changed[1], tmp_path / "run", changed[2])
    open_run(candidates, model, tmp_path / "run", settings)


@pytest.fixture(scope="module")
def command(tiny_model, tmp_path_factory):
    """A run of some shapes by the installed command."""
    folder = tmp_path_factory.mktemp("command")
    tiny_model.save(folder / "model")
    orders = folder / "orders.toml"
    orders.write_text(
        '[[order]]\nspace_group = [221, 225]\nwyckoff = {Ba = "a", Ti = "b", O = "c"}\n'
        f"count = {COUNT}\n"
        '[[order]]\nspace_group = 62\nsites = {Na = 1, O = 2}\nletters = "free"\n'
        f"count = {COUNT // 2}\n"
    )
    return [
        *(sys.executable, "-m", "jaxcrystal.cli", "sample", str(orders), "--model", str(folder / "model")),
        *("--steps-per-level", "5", "--batch-size", "4", "--format", "json", "--out"),
    ]


def finish(arguments, **environment):
    done = subprocess.run(arguments, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def whole(command, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "run"
    jax.devices()  # one
    assert cli.main([*command[3:], str(out)]) == 0
    return contents(out)


@pytest.mark.kills
def test_killed_many_times_a_run_ends_the_same(command, whole, tmp_path) -> None:
    out, moments, kills, lived = tmp_path / "run", random.Random(0), 0, set()
    while kills < KILLS:
        process = subprocess.Popen(
            [*command, str(out)],
            env=os.environ | ONE_DEVICE | READ_ONLY,
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        early = moments.random() < 0.2
        before, wanted = len(part_folders(out)), moments.randint(0, 4)
        while process.poll() is None and not early and len(part_folders(out)) < before + wanted:
            time.sleep(0.005)
        time.sleep(moments.uniform(0.0, 8.0 if early else 0.5))
        if process.poll() is not None:
            assert process.returncode == 0
            break
        process.kill()
        process.wait()
        kills += 1
        lived.add(len(part_folders(out)))
        print(f"kill {kills}: {len(part_folders(out))} parts")
    finish([*command, str(out)], **ONE_DEVICE)
    assert kills >= KILLS / 2
    assert len(lived) > 1
    assert contents(out) == whole


@pytest.mark.statistical
def test_four_devices_write_the_same(command, whole, tmp_path) -> None:
    finish([*command, str(tmp_path / "run")], JAX_NUM_CPU_DEVICES="4")
    assert contents(tmp_path / "run") == whole


@pytest.mark.statistical
def test_two_processes_write_the_same(command, whole, tmp_path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    joint = ["--distributed", "--coordinator", address, "--processes", "2", "--process-id"]
    processes = [
        subprocess.Popen(
            [*command, str(tmp_path / "run"), *joint, str(number)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    said = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert [f"\n{5 * COUNT // 2} crystals: " in out for out, _ in said] == [
        True,
        False,
    ]  # only the first one speaks
    assert contents(tmp_path / "run") == whole
