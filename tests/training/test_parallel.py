"""Four devices, or two processes, train what one device trains."""

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace

import jax
import numpy as np
import pytest

from jaxcrystal.config import to_toml
from jaxcrystal.model import load_model
from jaxcrystal.training.logs import read_rows
from jaxcrystal.training.loop import train
from tests.training.runs import command, finish, small_config

FOUR_DEVICES = """
import sys
import jax, numpy as np
from jaxcrystal import cli
from jaxcrystal.config import load
from jaxcrystal.data.batches import BucketSampler
from jaxcrystal.data.dataset import Dataset
from jaxcrystal.training.config import TrainConfig
from jaxcrystal.training.export import first_params
from jaxcrystal.training.inputs import Inputs
from jaxcrystal.training.parallel import data_mesh, place, replicated
from jaxcrystal.models.network import make_module
from jaxcrystal.training.objective import make_optimizer
from jaxcrystal.training.step import init_state
from jaxcrystal.training.updates import compile_updates

assert cli.main(["train", sys.argv[1]]) == 0
assert cli.main(["train", sys.argv[2]]) == 2
config = load(TrainConfig, sys.argv[1])
mesh, dataset = data_mesh(8), Dataset.load(config.data.train)
indices = np.arange(len(dataset))
inputs = Inputs(dataset, indices, BucketSampler(dataset.num_sites, 8), 1.0, mesh)
params, _ = first_params(config, *inputs.first())
state = place(init_state(params, make_optimizer(config.optimizer)), replicated(mesh))
updates = compile_updates(config, make_module(config.network), inputs, state, range(1), mesh)
text = updates[inputs.at(0).shape].as_text()
for name in ("all-gather", "all-to-all", "collective-permute", "all-reduce"):
    print(name, text.count(f" {name}(") + text.count(f" {name}-start("))
updates.close()
"""


def settings(out, prototypes):
    return small_config(
        out,
        prototypes,
        data={"validation": prototypes},
        optimizer={"steps": 20, "constrained_share": 0.5},
        log={"every": 1, "checkpoint_every": 10, "validation_structures": 8},
    )


@pytest.fixture(scope="module")
def one_device(tmp_path_factory, prototypes):
    return train(settings(tmp_path_factory.mktemp("one") / "run", prototypes), progress=False)


def assert_close(one, other):
    """Losses of all updates agree to 1e-5, and so do the weights they lead to."""
    logs = [read_rows(run / "log.csv") for run in (one, other)]
    assert [row["step"] for row in logs[0]] == [row["step"] for row in logs[1]] == [*map(str, range(1, 21))]
    for name in ("coords", "lattice"):
        values = [np.array([float(row[name]) for row in log]) for log in logs]
        np.testing.assert_allclose(*values, atol=1e-5, rtol=1e-5)
    params = [load_model(run).params for run in (one, other)]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), *params)
    assert (other / "best" / "model.toml").exists()
    assert len(read_rows(other / "validation.csv")) == 20


@pytest.mark.statistical
def test_four_devices_train_the_same(tmp_path, prototypes, compiled, one_device):
    config = settings(tmp_path / "run", prototypes)
    wrong = replace(config, out=str(tmp_path / "x"), optimizer=replace(config.optimizer, batch_size=10))
    for given, name in ((config, "run.toml"), (wrong, "x.toml")):
        (tmp_path / name).write_text(to_toml(given))
    script = [sys.executable, "-c", FOUR_DEVICES, str(tmp_path / "run.toml"), str(tmp_path / "x.toml")]
    done = finish(script, compiled | {"JAX_NUM_CPU_DEVICES": "4"})
    assert "each of 4 devices" in done.stderr
    assert_close(one_device, tmp_path / "run")

    assert "optimizer.batch_size is 10; 4 devices share a batch equally: give 8 or 12" in done.stderr
    assert not (tmp_path / "x").exists()

    # The neighbour search sorts the devices' own structures: nothing but sums crosses between them.
    counts = dict(line.split() for line in done.stdout.splitlines()[-4:])
    assert int(counts.pop("all-reduce")) > 0
    assert set(counts.values()) == {"0"}


class TwoProcesses:
    """A command started twice, as processes 0 and 1 of one run; what they say goes to files."""

    def __init__(self, arguments, environment, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        joint = ["--distributed", "--coordinator", address, "--processes", "2", "--process-id"]
        self.files = [(folder / f"out{number}.txt", folder / f"err{number}.txt") for number in range(2)]
        self.processes = []
        for number, (out, err) in enumerate(self.files):
            with out.open("w") as stdout, err.open("w") as stderr:
                command = [*arguments, *joint, str(number)]
                self.processes.append(
                    subprocess.Popen(command, env=environment, stdout=stdout, stderr=stderr)
                )

    def finish(self):
        """Returns the exit codes, and what both said on standard output and error."""
        codes = {process.wait() for process in self.processes}
        said = [[path.read_text() for path in paths] for paths in zip(*self.files, strict=True)]
        return codes, *said


@pytest.mark.statistical
def test_two_processes_train_the_same(tmp_path, prototypes, compiled, one_device):
    """One of them gets SIGTERM on the way: both save and stop, and both go on with --resume."""
    config = settings(tmp_path / "run", prototypes)
    arguments = command(config, tmp_path / "run.toml")
    environment = compiled | {"JAX_NUM_CPU_DEVICES": "1"}
    both = TwoProcesses(arguments, environment, tmp_path)
    log = tmp_path / "run" / "log.csv"
    while len(read_rows(log)) < 2 and all(process.poll() is None for process in both.processes):
        time.sleep(0.05)
    if both.processes[1].poll() is None:
        os.kill(both.processes[1].pid, signal.SIGTERM)
    codes, _, said = both.finish()
    if codes != {0}:  # it may have come too late
        assert codes == {143}, said
        assert all("stopped by SIGTERM after step" in text for text in said)
        codes, spoken, said = TwoProcesses([*arguments, "--resume"], environment, tmp_path).finish()
        assert codes == {0}, said
        assert ["trained" in text for text in spoken] == [True, False]  # only the first one speaks
    assert_close(one_device, tmp_path / "run")

    codes, _, said = TwoProcesses(arguments, environment, tmp_path).finish()  # it holds a run now
    assert codes == {2}, said
    assert "is not empty" in said[0]
    assert "process 0 cannot go on" in said[1]
