"""Saved states: whole or not there, told apart by version and run, kept when something fails."""

import json
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from jaxcrystal.errors import DataError
from jaxcrystal.training.checkpoints import Checkpoints, Progress
from jaxcrystal.training.step import TrainState

RUN = {"configuration": "seed = 0", "data": "abc"}


def state_at(step, size=64):
    key = jax.random.fold_in(jax.random.key(7), step)
    weights = {"layer": {"kernel": jax.random.normal(key, (size, size)), "bias": jnp.full(3, 1e-30 * step)}}
    average, moments = (jax.tree.map(function, weights) for function in (jnp.sin, jnp.cos))
    return TrainState(jnp.int32(step), weights, average, (jnp.int32(step), moments))


def saved(folder, *steps, keep=2, **settings):
    """Saves states and their progress; returns the folder."""
    with Checkpoints(folder, keep, RUN) as checkpoints:
        for step in steps:
            checkpoints.save(state_at(step, **settings), Progress(1.5 * step, [[0.1, 0.2, step / 3]]))
    return folder


def names(folder):
    return sorted(int(path.name) for path in folder.glob("*") if path.name.isdigit())


def test_a_state_comes_back_to_the_bit(tmp_path):
    progress = Progress(2.25, [[0.1, 1 / 3, 1e-30]], {"free_coords": 0.4}, (0.75, 3))
    with Checkpoints(tmp_path / "c", 2, RUN) as checkpoints:
        assert checkpoints.restore(state_at(0)) is None
        assert checkpoints.latest is None
        checkpoints.save(state_at(3), progress)
    with Checkpoints(tmp_path / "c", 2, RUN) as checkpoints:
        state, again = checkpoints.restore(state_at(0))
    assert again == progress
    jax.tree.map(np.testing.assert_array_equal, state, state_at(3))


def test_the_last_ones_are_kept(tmp_path):
    folder = saved(tmp_path / "c", 1, 2, 3, 4)
    assert names(folder) == [3, 4]
    with Checkpoints(folder, 2, RUN) as checkpoints:
        checkpoints.save(state_at(4), Progress())  # saved already: a resumed run that has nothing to do
        assert checkpoints.latest == 4


def test_an_update_may_take_the_memory_of_a_state_being_saved(tmp_path):
    """Writing goes on while the next updates reuse the state's buffers."""

    @partial(jax.jit, donate_argnums=0)
    def update(state):
        return jax.tree.map(lambda leaf: leaf + 1, state)

    state = state_at(5, size=1024)
    expected = jax.tree.map(np.array, state)
    with Checkpoints(tmp_path / "c", 2, RUN) as checkpoints:
        checkpoints.save(state, Progress())
        for _ in range(20):
            state = update(state)
        jax.block_until_ready(state)
    with Checkpoints(tmp_path / "c", 2, RUN) as checkpoints:
        restored, _ = checkpoints.restore(state_at(0, size=1024))
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(restored), expected)


def test_what_a_kill_leaves_is_no_checkpoint(tmp_path):
    folder = saved(tmp_path / "c", 1, 2)
    shutil.copytree(folder / "2", folder / "3.orbax-checkpoint-tmp")  # killed while saving
    shutil.rmtree(folder / "1" / "state")  # killed while deleting
    with Checkpoints(folder, 2, RUN) as checkpoints:
        assert checkpoints.latest == 2
        state, _ = checkpoints.restore(state_at(0))
        checkpoints.save(state_at(4), Progress())
    assert int(state.step) == 2
    assert not list(folder.glob("*tmp*"))
    assert names(folder)[-2:] == [2, 4]


def refused(folder, run=RUN):
    """The one line that says why nothing can be resumed; nothing on the disk changes."""
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with Checkpoints(folder, 2, run) as checkpoints, pytest.raises(DataError) as error:
        checkpoints.restore(state_at(0))
    assert {path: path.read_bytes() for path in before} == before
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_checkpoint_of_another_version_is_refused(tmp_path):
    folder = saved(tmp_path / "c", 1, 2)
    (about,) = (folder / "2" / "about").glob("*metadata*")
    content = json.loads(about.read_text())
    about.write_text(json.dumps(content | {"format": 99}))
    assert "its format is 99, this version of jaxcrystal reads 2" in refused(folder)

    # The first version saved the bare state.
    older = tmp_path / "older"
    with ocp.CheckpointManager(older) as manager:
        manager.save(3, args=ocp.args.StandardSave(state_at(3)._asdict()))
    assert "another version of jaxcrystal wrote it" in refused(older)


@pytest.mark.parametrize("name", RUN)
def test_a_checkpoint_of_another_run_is_refused(tmp_path, name):
    folder = saved(tmp_path / "c", 1)
    assert f"the {name} differs from that of the run" in refused(folder, RUN | {name: "other"})


def test_a_damaged_checkpoint_names_the_one_before(tmp_path):
    folder = saved(tmp_path / "c", 1, 2)
    for path in (folder / "2" / "state").rglob("*"):
        if path.is_file() and path.stat().st_size > 1000:
            path.write_bytes(path.read_bytes()[:100])
    assert "without the folder 2 it resumes from step 1" in refused(folder)
    shutil.rmtree(folder / "2")
    with Checkpoints(folder, 2, RUN) as checkpoints:
        assert int(checkpoints.restore(state_at(0))[0].step) == 1


def test_an_empty_checkpoint_names_the_one_before(tmp_path):
    """It was taken for that of another version."""
    folder = saved(tmp_path / "c", 1, 2)
    shutil.rmtree(folder / "2")
    (folder / "2").mkdir()
    said = refused(folder)
    assert said.endswith("there is no checkpoint in it; without the folder 2 it resumes from step 1")


_FULL_DISK = """
import resource, sys
from pathlib import Path
from jaxcrystal.errors import DataError
from tests.training.test_checkpoints import saved

# A bound on the size of files stands for the full disk: writing fails in the same place.
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
try:
    saved(Path(sys.argv[1]), 3, size=256)
except DataError as error:
    print(error)
"""


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path):
    """In a process of its own: threads of the libraries may complain after the failure."""
    folder = saved(tmp_path / "c", 1, 2, size=256)
    done = subprocess.run(
        [sys.executable, "-c", _FULL_DISK, str(folder)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    (message,) = done.stdout.splitlines()
    assert "cannot write a checkpoint" in message
    assert "that of step 2 is whole" in message
    assert names(folder) == [1, 2]
    with Checkpoints(folder, 2, RUN) as checkpoints:
        state, _ = checkpoints.restore(state_at(0, size=256))
    jax.tree.map(np.testing.assert_array_equal, state, state_at(2, size=256))
