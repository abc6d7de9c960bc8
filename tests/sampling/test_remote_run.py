"""Runs into a bucket: the parts of a local run, whatever is killed and however many share it.

JAXCRYSTAL_KILLS=20 kills more often than the two times of the default.
"""

import io
import os
import random
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from jaxcrystal import cli
from jaxcrystal.errors import DataError
from jaxcrystal.remote import Objects
from jaxcrystal.sampling.part_stores import part_store
from jaxcrystal.sampling.run_folder import RunFolder
from jaxcrystal.structures.entries import load_entries
from tests.programs import READ_ONLY
from tests.s3 import contents

KILLS = int(os.environ.get("JAXCRYSTAL_KILLS", "2"))
#: Of each of two groups, in parts of four.
COUNT = 20 * max(KILLS, 2)
PARTS = -(-2 * COUNT // 4)


@pytest.fixture(scope="module")
def command(tiny_model, tmp_path_factory):
    """A run by the installed command, without its --out."""
    folder = tmp_path_factory.mktemp("command")
    tiny_model.save(folder / "model")
    return [
        *("sample", "--space-group", "221,225", "--wyckoff", "Ba=a,Ti=b,O=c", "--count", str(COUNT)),
        *("--model", str(folder / "model"), "--steps-per-level", "5", "--batch-size", "4"),
        *("--part-size", "4", "--out"),
    ]


def start(arguments, **environment):
    command = [sys.executable, "-m", "jaxcrystal.cli", *arguments]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=os.environ | environment, **streams)


def finish(process) -> str:
    said, errors = process.communicate()
    assert process.returncode == 0, errors[-3000:]
    return said


@pytest.fixture(scope="module")
def whole(command, tmp_path_factory):
    """The files of a run on the disk."""
    out = tmp_path_factory.mktemp("whole") / "run"
    finish(start([*command, str(out)], JAX_NUM_CPU_DEVICES="1"))
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}


def unzipped(url: str) -> dict[str, bytes]:
    """Returns the files that the objects of a run stand for."""
    files = {}
    for name, content in contents(url).items():
        if not name.endswith(".zip"):
            files[name] = content
            continue
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            folder = name.removesuffix(".zip")
            files |= {f"{folder}/{member}": archive.read(member) for member in archive.namelist()}
    return files


def test_a_run_into_a_bucket_is_that_on_the_disk(command, whole, bucket, tmp_path) -> None:
    said = finish(start([*command, f"{bucket}/run"]))
    assert f"\n{2 * COUNT} crystals: " in said
    assert f"written to {bucket}/run" in said
    assert unzipped(f"{bucket}/run") == whole
    names = [f"parts/{part:05d}.zip" for part in range(PARTS)]
    objects = contents(f"{bucket}/run")
    assert sorted(objects) == [*names, "run.json", "summary.csv"]
    # The same command has nothing to do.
    again = finish(start([*command, f"{bucket}/run"]))
    assert again.splitlines()[:-1] == said.splitlines()[:-1]
    assert contents(f"{bucket}/run") == objects


@pytest.mark.kills
def test_killed_many_times_a_run_ends_the_same(command, whole, bucket) -> None:
    url, moments, kills, lived = f"{bucket}/run", random.Random(0), 0, set()
    objects = Objects(url)
    while kills < KILLS:
        process = start([*command, url], **READ_ONLY)
        early = moments.random() < 0.2
        before, wanted = len(objects.names("parts")), moments.randint(0, 3)
        while process.poll() is None and not early and len(objects.names("parts")) < before + wanted:
            time.sleep(0.005)
        time.sleep(moments.uniform(0.0, 8.0 if early else 0.3))
        if process.poll() is not None:
            finish(process)
            break
        process.kill()
        process.communicate()
        kills += 1
        there = objects.names("parts")
        lived.add(len(there))
        print(f"kill {kills}: {len(there)} parts")
        assert unzipped(url).items() <= whole.items()  # each is whole
    finish(start([*command, url]))
    assert kills >= KILLS / 2
    assert len(lived) > 1 or KILLS < 2
    assert unzipped(url) == whole


def test_two_jobs_at_once(command, whole, bucket) -> None:
    jobs = [start([*command, f"{bucket}/run", "--shard", f"{index}/2"]) for index in (1, 2)]
    said = [finish(job) for job in jobs]
    assert all(f"{COUNT} crystals: " in text for text in said)
    assert not all("the last of the other jobs writes summary.csv" in text for text in said)
    assert unzipped(f"{bucket}/run") == whole


def test_model_and_structures_from_a_bucket(command, bucket, tiny_model, aflow, tmp_path, capsys) -> None:
    tiny_model.save(tmp_path)
    rows = [n for n in range(len(aflow)) if aflow.space_group[n] >= 16 and aflow.num_sites[n] == 2][:3]
    aflow.select(rows).save(tmp_path / "three.npz")
    for path in tmp_path.iterdir():
        Objects(bucket).upload(path.name, path)
    arguments = [
        "sample",
        "--letters",
        "given",
        "--count",
        "3",
        "--steps-per-level",
        "2",
        "--batch-size",
        "4",
    ]
    here = ["--like", str(tmp_path / "three.npz"), "--model", str(tmp_path)]
    there = ["--like", f"{bucket}/three.npz", "--model", bucket]
    assert cli.main([*arguments, *here, "--out", str(tmp_path / "run")]) == 0
    assert cli.main([*arguments, *there, "--out", f"{bucket}/run"]) == 0
    run = tmp_path / "run"
    on_disk = {str(p.relative_to(run)): p.read_bytes() for p in run.rglob("*") if p.is_file()}
    assert unzipped(f"{bucket}/run") == on_disk


@pytest.fixture
def run(samples, bucket):
    """A run of two parts in a bucket, whose structures are known."""
    url = f"{bucket}/known"
    folder = RunFolder(url, {"seed": 0})
    folder.write(0, samples[:2], ("cif", "json"))
    folder.write(1, samples[2:], ("cif", "json"))
    folder.finish(2)
    return url


def test_a_run_in_a_bucket_is_read(run, samples, tmp_path, monkeypatch, capsys) -> None:
    names = [sample.name for sample in samples]
    entries = load_entries(run)
    assert [entry.name for entry in entries] == names
    assert all(entry.requested_group for entry in entries)  # joined with the summary

    monkeypatch.chdir(tmp_path)
    assert cli.main(["view", run, "--trajectory", names[0]]) == 0
    assert names[3] in (tmp_path / "known.html").read_text()
    assert cli.main(["screen", run]) == 2
    assert capsys.readouterr().err.endswith("is a URL: say with --out where screening.csv shall go\n")
    assert cli.main(["screen", run, "--rank", "--out", "kept", "--novel-against", run]) == 0
    assert len((tmp_path / "kept" / "screening.csv").read_text().splitlines()) == 5


def test_a_copy_of_a_bucket_is_read(run, samples, tmp_path, capsys) -> None:
    """As other programs copy it: with archives in it."""
    Objects(run).download(tmp_path / "copy")
    assert [entry.name for entry in load_entries(tmp_path / "copy")] == [sample.name for sample in samples]
    assert cli.main(["view", str(tmp_path / "copy")]) == 0
    assert samples[3].name in (tmp_path / "copy" / "gallery.html").read_text()
    assert cli.main(["screen", str(tmp_path / "copy")]) == 2
    assert "say with --out" in capsys.readouterr().err
    assert not list((tmp_path / "copy" / "parts").glob("*/"))
    (tmp_path / "copy" / "parts" / "00001.zip").write_bytes(b"PK half")
    with pytest.raises(DataError, match=r"cannot read 00001\.zip") as error:
        load_entries(tmp_path / "copy")
    assert "\n" not in str(error.value)


def test_refusals(command, bucket, samples, capsys) -> None:
    """Each in one line, before anything is sampled."""

    def refused(*more: str) -> str:
        assert cli.main([*command, *more]) == 2
        said = capsys.readouterr()
        (line,) = [line for line in said.err.splitlines() if not line.startswith("jaxcrystal: warning")]
        return line

    assert "no-such-bucket" in refused("s3://no-such-bucket/run")
    assert "Protocol not known" in refused("nowhere://x/run")
    assert "does not exist" in refused(f"{bucket}/x", "--model", f"{bucket}/no_model")
    Objects(bucket).write("thesis/thesis.tex", b"")
    assert "thesis is not empty: choose another --out" in refused(f"{bucket}/thesis")
    RunFolder(f"{bucket}/other", {"seed": 0})
    assert "holds a run with other settings: structures" in refused(f"{bucket}/other")
    assert contents(f"{bucket}/thesis") == {"thesis.tex": b""}


def test_parts_as_another_place_has_them_are_named(tmp_path) -> None:
    """A run copied from a bucket to a disk, or back: it would be sampled again."""
    (tmp_path / "parts" / "00003").mkdir(parents=True)
    (tmp_path / "parts" / "00001.zip").write_bytes(b"")
    with pytest.raises(DataError, match=r"00001\.zip is a part as runs at a URL have it: unpack"):
        part_store(tmp_path).parts()
    Objects(f"memory://{tmp_path}/run").write("parts/00003/summary.csv", b"")
    with pytest.raises(DataError, match=r"parts/00003 is a part as runs on a disk have it: copy"):
        part_store(f"memory://{tmp_path}/run").parts()


def test_an_archive_has_the_same_bytes(tmp_path) -> None:
    """Whenever its files were written, and in whichever order."""
    archives = []
    for number, names in enumerate((["a", "b/c"], ["b/c", "a"])):
        store = part_store(f"memory://{tmp_path}/{number}")

        def fill(folder: Path, names=names) -> None:
            for name in names:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text(name)
                os.utime(folder / name, (len(archives) * 10**9,) * 2)

        store.write_part(0, fill)
        archives.append(Objects(f"memory://{tmp_path}/{number}").read("parts/00000.zip"))
    assert archives[0] == archives[1]
    assert store.read_part(0, "b/c") == b"b/c"


def test_a_part_that_cannot_be_filled_is_absent(tmp_path) -> None:
    store = part_store(f"memory://{tmp_path}/run")

    def fill(folder: Path) -> None:
        folder.mkdir()
        (folder / "half").write_text("")
        raise DataError("disk full")

    with pytest.raises(DataError, match="disk full"):
        store.write_part(0, fill)
    assert store.parts() == set()
    assert not store.others()
