"""The launch scripts: what they start, and that the same call goes on with a run.

Slurm and the pod are stood for by small programs of their names, which record how they were called and
start what they were given.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxcrystal.training.logs import read_rows
from tests.training.runs import command, small_config

SCRIPTS = Path(__file__).parents[1] / "configs" / "launch"
#: Writes its arguments, one a line, and a setting of jax to a file; ends with the code that it is given.
RECORD = """#!/usr/bin/env bash
{ printf '%s\\n' "$@"; echo "devices: ${JAX_LOCAL_DEVICE_IDS:-}"; } >> "$RECORDS/$(basename "$0")"
exit "${EXIT_CODE:-0}"
"""
#: Records and then starts the command that follows its own options, or that --command holds.
SRUN = """#!/usr/bin/env bash
printf '%s\\n' "$@" > "$RECORDS/srun"
while [[ $1 == --* ]]; do shift; done
exec "$@"
"""
GCLOUD = """#!/usr/bin/env bash
printf '%s\\n' "$@" >> "$RECORDS/gcloud"
last=${@: -1}
cd "$HOSTS" && exec bash -c "${last#--command=}"
"""


@pytest.fixture
def stand_ins(tmp_path) -> dict[str, str]:
    """The environment with programs that record in place of the real ones."""
    programs, records = tmp_path / "bin", tmp_path / "records"
    programs.mkdir()
    records.mkdir()
    texts = {"jaxcrystal": RECORD, "scontrol": RECORD, "srun": SRUN, "gcloud": GCLOUD}
    for name, text in texts.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    path = f"{programs}{os.pathsep}{environment['PATH']}"
    return environment | {"PATH": path, "RECORDS": str(records), "HOSTS": str(tmp_path)}


def launch(script: str, *arguments: object, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    words = [str(SCRIPTS / script), *map(str, arguments)]
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=600)


def recorded(environment: dict[str, str], name: str) -> list[str]:
    path = Path(environment["RECORDS"]) / name
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return lines


@pytest.fixture
def started(tmp_path) -> Path:
    """A folder that holds a run."""
    (tmp_path / "started").mkdir()
    (tmp_path / "started" / "config.toml").write_text("")
    return tmp_path / "started"


@pytest.mark.parametrize("script", ["one_node.sh", "slurm.sh", "slurm_array.sh", "tpu_pod.sh"])
def test_scripts_are_sound(script, stand_ins) -> None:
    assert os.access(SCRIPTS / script, os.X_OK)
    assert subprocess.run(["bash", "-n", SCRIPTS / script]).returncode == 0
    done = launch(script, "run.toml", environment=stand_ins | {"TPU_NAME": "pod", "TPU_ZONE": "zone"})
    assert done.returncode == 2
    assert done.stderr.startswith("usage: ")
    assert not list(Path(stand_ins["RECORDS"]).iterdir())


def test_slurm(tmp_path, stand_ins, started) -> None:
    job = stand_ins | {"SLURM_JOB_ID": "4711", "SLURM_GPUS_ON_NODE": "4", "SLURM_CPUS_PER_TASK": "16"}
    new = tmp_path / "new run"
    assert launch("slurm.sh", "a.toml", new, "data.cond=a, b", environment=job).returncode == 0
    assert recorded(job, "srun")[:3] == ["--kill-on-bad-exit=0", "jaxcrystal", "train"]
    settings = ["--set", f"out={new}", "data.cond=a, b"]
    assert recorded(job, "jaxcrystal") == ["train", "a.toml", "--distributed", *settings, "devices: 0,1,2,3"]
    assert recorded(job, "scontrol") == []

    # Stopped before its time limit, the job comes back; after an error it does not.
    stopped = launch("slurm.sh", "a.toml", started, "seed=1", environment=job | {"EXIT_CODE": "143"})
    assert stopped.returncode == 143
    words = ["train", "a.toml", "--distributed", "--resume", "--set", f"out={started}", "seed=1"]
    assert recorded(job, "jaxcrystal")[:-1] == words
    assert recorded(job, "scontrol")[:2] == ["requeue", "4711"]
    assert launch("slurm.sh", "a.toml", started, environment=job | {"EXIT_CODE": "2"}).returncode == 2
    assert recorded(job, "scontrol") == []


@pytest.mark.parametrize("script", ["slurm.sh", "tpu_pod.sh"])
def test_a_run_at_a_url(script, tmp_path, stand_ins) -> None:
    """Nobody can look whether it has begun: the training does."""
    (tmp_path / "jaxcrystal" / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(tmp_path / "bin" / "jaxcrystal", tmp_path / "jaxcrystal" / ".venv" / "bin")
    pod = stand_ins | {"TPU_NAME": "pod", "TPU_ZONE": "us-central2-b"}
    done = launch(script, "a.toml", "gs://bucket/a run", "seed=1", environment=pod)
    assert done.returncode == 0, done.stderr
    words = ["train", "a.toml", "--distributed", "--resume-if-started", "--set", "out=gs://bucket/a run"]
    assert recorded(pod, "jaxcrystal")[:-1] == [*words, "seed=1"]


def test_slurm_array(tmp_path, stand_ins) -> None:
    job = stand_ins | {"SLURM_JOB_ID": "4712", "SLURM_ARRAY_TASK_ID": "3", "SLURM_CPUS_PER_TASK": "8"}
    words = ["orders.toml", "--cond", "gap=1", "--out", "s3://bucket/a run"]
    call = ("slurm_array.sh", 16, *words)
    assert launch(*call, environment=job).returncode == 0
    assert recorded(job, "srun")[:2] == ["jaxcrystal", "sample"]
    assert recorded(job, "jaxcrystal")[:-1] == ["sample", *words, "--shard", "3/16"]
    assert recorded(job, "scontrol") == []

    # Stopped before its time limit, the job comes back; after an error it does not.
    assert launch(*call, environment=job | {"EXIT_CODE": "143"}).returncode == 143
    assert recorded(job, "scontrol")[:2] == ["requeue", "4712"]
    assert launch(*call, environment=job | {"EXIT_CODE": "2"}).returncode == 2
    assert recorded(job, "scontrol") == []

    recorded(job, "jaxcrystal")
    for wrong in (("slurm_array.sh", *words), ("slurm_array.sh", 16)):
        assert launch(*wrong, environment=job).returncode == 2
    assert launch(*call, environment=stand_ins).returncode == 2  # not started as an array
    assert recorded(job, "jaxcrystal") == []


@pytest.mark.cli
def test_slurm_array_samples(tmp_path, stand_ins, tiny_model) -> None:
    """The jobs of an array, one after the other, end with the files of one run."""
    (Path(stand_ins["PATH"].split(os.pathsep)[0]) / "jaxcrystal").unlink()
    path = f"{stand_ins['PATH']}{os.pathsep}{Path(sys.executable).parent}"
    environment = stand_ins | {"PATH": path, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1"}
    tiny_model.save(tmp_path / "model")
    words = ["--space-group", "221", "--wyckoff", "Ba=a,Ti=b,O=c", "--count", "6", "--part-size", "2"]
    words += ["--model", tmp_path / "model", "--steps-per-level", "2", "--batch-size", "2", "--out"]
    for job in ("2", "1"):
        task = environment | {"SLURM_ARRAY_TASK_ID": job, "SLURM_JOB_ID": job}
        done = launch("slurm_array.sh", 2, *words, tmp_path / "run", environment=task)
        assert done.returncode == 0, done.stderr[-3000:]
        assert (tmp_path / "run" / "summary.csv").exists() == (job == "1")
    assert len(list((tmp_path / "run").glob("parts/*/*.cif"))) == 6


@pytest.mark.parametrize(
    ("script", "wanted"),
    [
        ("slurm.sh", {"--signal=TERM@300", "--requeue", "--ntasks-per-node=1", "--open-mode=append"}),
        ("slurm_array.sh", {"--signal=TERM@60", "--requeue", "--ntasks=1", "--open-mode=append"}),
    ],
)
def test_slurm_options(script, wanted) -> None:
    """The signal comes to the processes, not to the script, and the job may come back."""
    lines = (SCRIPTS / script).read_text().splitlines()
    options = [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH ")]
    assert wanted <= set(options)
    # Slurm reads no options after the first command.
    first = next(n for n, line in enumerate(lines) if line and not line.startswith("#"))
    assert all(not line.startswith("#SBATCH") for line in lines[first:])


def test_tpu_pod(tmp_path, stand_ins, started) -> None:
    pod = stand_ins | {"TPU_NAME": "pod", "TPU_ZONE": "us-central2-b", "TPU_FOLDER": "a checkout"}
    installed = tmp_path / "a checkout" / ".venv" / "bin"
    installed.mkdir(parents=True)
    shutil.copy(tmp_path / "bin" / "jaxcrystal", installed)
    for run, resume in ((tmp_path / "new run", []), (started, ["--resume"])):
        done = launch("tpu_pod.sh", "a.toml", run, "data.cond=a, 'b'", environment=pod)
        assert done.returncode == 0, done.stderr
        words = ["train", "a.toml", "--distributed", *resume, "--set", f"out={run}", "data.cond=a, 'b'"]
        assert recorded(pod, "jaxcrystal")[:-1] == words
        calls = recorded(pod, "gcloud")
        assert calls[:6] == ["compute", "tpus", "tpu-vm", "ssh", "pod", "--zone=us-central2-b"]
        assert [word for word in calls if word.startswith("--worker")] == ["--worker=0", "--worker=all"]
    # What the hosts end with is what the script ends with.
    assert launch("tpu_pod.sh", "a.toml", started, environment=pod | {"EXIT_CODE": "3"}).returncode == 3


@pytest.mark.cli
def test_one_node_trains_and_resumes(tmp_path, aflow) -> None:
    """Two updates; without the last checkpoint the same call makes the second one again."""
    rows = np.flatnonzero((aflow.num_sites == 2) & (aflow.space_group >= 16))[:24]
    aflow.select(rows).save(tmp_path / "two.npz")
    config = small_config(
        tmp_path / "elsewhere",
        str(tmp_path / "two.npz"),
        optimizer={"steps": 9, "warmup_steps": 1},
        log={"every": 1, "checkpoint_every": 1},
    )
    command(config, tmp_path / "run.toml")
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": "1",
    }
    run = tmp_path / "run"
    call = ("one_node.sh", tmp_path / "run.toml", run, "optimizer.steps=2")
    done = launch(*call, environment=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    log, weights = read_rows(run / "log.csv"), (run / "weights.npz").read_bytes()
    assert [row["step"] for row in log] == ["1", "2"]

    shutil.rmtree(run / "checkpoints" / "2")
    (run / "weights.npz").unlink()
    done = launch(*call, environment=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    again = read_rows(run / "log.csv")
    assert [{**row, "seconds": ""} for row in again] == [{**row, "seconds": ""} for row in log]
    with np.load(run / "weights.npz") as found:
        (tmp_path / "first.npz").write_bytes(weights)
        with np.load(tmp_path / "first.npz") as first:
            assert set(found.files) == set(first.files)
            assert all(np.array_equal(found[name], first[name]) for name in first.files)
