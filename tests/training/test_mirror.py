"""Training into a bucket: the run of the disk, gone on with by machines that share nothing.

JAXCRYSTAL_KILLS=20 kills more often than the two times of the default.
"""

import os
import random
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxcrystal import cli
from jaxcrystal.config import to_toml
from jaxcrystal.errors import DataError
from jaxcrystal.model import load_model
from jaxcrystal.remote import Objects
from jaxcrystal.training.inputs import Inputs
from jaxcrystal.training.logs import read_rows
from jaxcrystal.training.loop import train
from jaxcrystal.training.mirror import Mirror
from tests.programs import READ_ONLY
from tests.training.runs import assert_same_run, command, finish, small_config
from tests.training.test_parallel import TwoProcesses

KILLS = int(os.environ.get("JAXCRYSTAL_KILLS", "2"))


def settings(out, prototypes, **optimizer):
    return small_config(
        out,
        prototypes,
        data={"validation": prototypes},
        optimizer=optimizer,
        log={"validate_every": 3, "validation_structures": 8},
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory, prototypes):
    return train(settings(tmp_path_factory.mktemp("whole") / "run", prototypes), progress=False)


def copied(url, folder):
    Objects(url).download(folder)
    return folder


def test_a_run_in_a_bucket_is_that_of_the_disk(prototypes, bucket, whole, tmp_path, capsys) -> None:
    """Stopped by an error on the way, and gone on with where nothing of it is."""
    Objects(bucket).write("two.npz", Path(prototypes).read_bytes())
    config = settings(f"{bucket}/run", prototypes)
    config = replace(config, data=replace(config.data, train=f"{bucket}/two.npz"))
    at = Inputs.at

    def stopped(inputs, step):
        if step == 4:
            raise DataError("a machine that is taken away")
        return at(inputs, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Inputs, "at", stopped)
        with pytest.raises(DataError, match="taken away"):
            train(config, progress=False)
    objects = Objects(f"{bucket}/run")
    assert objects.names("checkpoints") == {"3.zip"}
    assert {"config.toml", "log.csv", "model.toml", "weights.npz", "letters.json", "best"} <= objects.names()
    (tmp_path / "run.toml").write_text(to_toml(config))
    assert cli.main(["train", str(tmp_path / "run.toml"), "--resume-if-started"]) == 0
    assert f"the model is in {bucket}/run" in capsys.readouterr().out
    assert objects.names("checkpoints") == {"3.zip", "6.zip"}
    there = copied(f"{bucket}/run", tmp_path / "copy")
    assert [row["step"] for row in read_rows(there / "log.csv")] == ["2", "4", "6"]
    one, other = load_model(whole), load_model(f"{bucket}/run")
    jax.tree.map(np.testing.assert_array_equal, one.params, other.params)
    assert one.info | {"data": ""} == other.info | {"data": ""}
    (there / "model.toml").write_bytes((whole / "model.toml").read_bytes())  # names the data
    (there / "best" / "model.toml").write_bytes((whole / "best" / "model.toml").read_bytes())
    assert_same_run(whole, there)


def test_refusals(prototypes, bucket, tmp_path, capsys) -> None:
    def refused(config, *more) -> str:
        (tmp_path / "run.toml").write_text(to_toml(config))
        assert cli.main(["train", str(tmp_path / "run.toml"), *more]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    config = settings(f"{bucket}/run", prototypes)
    assert f"{bucket}/run holds no run to resume: there is no config.toml in it" in refused(
        config, "--resume"
    )
    Objects(bucket).write("run/config.toml", to_toml(config).encode())
    message = f"{bucket}/run is not empty: give another out=..., or --resume to go on with its run"
    assert message in refused(config)
    other = replace(config, seed=5)
    assert "seed (0, now 5); a run resumes unchanged" in refused(other, "--resume-if-started")
    assert "no-such-bucket" in refused(replace(config, out="s3://no-such-bucket/run"))
    assert Objects(bucket).below() == ["run/config.toml"]


def test_what_is_copied(bucket, tmp_path, monkeypatch) -> None:
    """Files that changed, and a checkpoint once; what the folder lost of those goes, too."""
    url, uploaded = f"{bucket}/run", []
    upload = Objects.upload
    monkeypatch.setattr(
        Objects, "upload", lambda self, name, path: (uploaded.append(name), upload(self, name, path))
    )
    with Mirror(url) as mirror:
        for name in ("log.csv", "best/model.toml", ".best.part/model.toml", "checkpoints/3/state/a"):
            (mirror.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (mirror.folder / name).write_text(name)
        mirror.push()
        assert uploaded == ["best/model.toml", "log.csv"]
        (mirror.folder / "log.csv").write_text("two rows")
        (mirror.folder / "checkpoints" / "3").rename(mirror.folder / "checkpoints" / "6")
        mirror.push()
        assert uploaded == ["best/model.toml", "log.csv", "log.csv"]
        folder = mirror.folder
    assert not folder.exists()
    assert Objects(url).below() == ["best/model.toml", "checkpoints/6.zip", "log.csv"]
    with Mirror(url) as mirror:
        mirror.fetch()
        assert (mirror.folder / "checkpoints" / "6" / "state" / "a").read_text() == "checkpoints/3/state/a"
        uploaded.clear()
        mirror.push()
        assert uploaded == []
        Objects(url).write("checkpoints/6.zip", b"PK half")
    with Mirror(url) as mirror, pytest.raises(DataError, match=r"cannot read 6\.zip") as error:
        mirror.fetch()
    assert "\n" not in str(error.value)


@pytest.mark.kills
def test_killed_many_times_a_run_ends_the_same(
    prototypes, bucket, s3_environment, compiled, tmp_path
) -> None:
    environment, url = compiled | s3_environment, f"{bucket}/run"
    config = settings(url, prototypes, steps=30 * KILLS)
    config = replace(config, log=replace(config.log, every=4, checkpoint_every=5, validate_every=15))
    train(replace(config, out=str(tmp_path / "whole")), progress=False)
    start = [*command(config, tmp_path / "broken.toml"), "--resume-if-started"]
    objects = Objects(url)
    moments, said, kills = random.Random(0), tmp_path / "said.txt", 0

    def last() -> int:
        return max((int(name.removesuffix(".zip")) for name in objects.names("checkpoints")), default=0)

    while kills < KILLS:
        with said.open("w") as file:
            process = subprocess.Popen(start, env=environment | READ_ONLY, stdout=file, stderr=file)
        before, wanted = last(), 5 * moments.randint(1, 2)
        while process.poll() is None and last() < before + wanted:
            time.sleep(0.005)
        time.sleep(moments.uniform(0.0, 0.1))
        if process.poll() is not None:
            assert process.returncode == 0, said.read_text()[-3000:]
            break
        process.kill()
        process.wait()
        kills += 1
        print(f"kill {kills}: checkpoints {sorted(objects.names('checkpoints'))}")
    finish(start, environment)
    assert kills >= KILLS / 2
    assert_same_run(tmp_path / "whole", copied(url, tmp_path / "broken"))


@pytest.mark.statistical
def test_two_processes_share_no_disk(prototypes, bucket, s3_environment, compiled, whole, tmp_path) -> None:
    """They are stopped, and go on with what is in the bucket; only the first one writes there."""
    config = settings(f"{bucket}/run", prototypes)
    arguments = stopping([*command(config, tmp_path / "run.toml"), "--resume-if-started"])
    environment = compiled | s3_environment | {"JAX_NUM_CPU_DEVICES": "1"}
    for code, stop, there in ((143, "3", {"3.zip"}), (0, "", {"3.zip", "6.zip"})):
        codes, _, said = TwoProcesses(arguments, environment | {"STOP_AFTER": stop}, tmp_path).finish()
        assert codes == {code}, said
        assert Objects(config.out).names("checkpoints") == there
    one, other = load_model(whole), load_model(config.out)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), one.params, other.params)


def stopping(arguments):
    """The command, in processes that stop themselves after the updates that STOP_AFTER says."""
    script = (
        "import os, signal, sys\n"
        "from jaxcrystal import cli\n"
        "from jaxcrystal.training.inputs import Inputs\n"
        "at, last = Inputs.at, int(os.environ['STOP_AFTER'] or 0)\n"
        "def stopped(inputs, step):\n"
        "    if step + 1 == last:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    return at(inputs, step)\n"
        "Inputs.at = stopped\n"
        "sys.exit(cli.main(sys.argv[1:]))\n"
    )
    return [arguments[0], "-c", script, *arguments[3:]]
