"""Jobs that share a run and need nothing of each other end with the files of one run."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from jaxcrystal import cli
from jaxcrystal.errors import DataError, RequestError
from jaxcrystal.requests.candidates import make_candidates
from jaxcrystal.requests.orders import make_order
from jaxcrystal.sampling import run as module
from jaxcrystal.sampling.part_stores import part_store
from jaxcrystal.sampling.run import RunSettings, open_run, sample_to_folder
from jaxcrystal.sampling.run_folder import RunFolder, Shard, parse_shard

pytestmark = pytest.mark.optimised


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def request_(tiny_model, quick):
    """Structures of two shapes, in five parts."""
    orders = [make_order(221, {"Ba": "a", "Ti": "b", "O": "c"}), make_order(62, {"Na": 3}, "free")]
    candidates = make_candidates(orders, [9, 10], tiny_model.letters)
    config = replace(quick, steps_per_level=5, trajectory_every=0)  # that of test_run.py
    return candidates, tiny_model, RunSettings(config, batch_size=4, part_size=4)


def sample_into(out, request_, shard=None):
    candidates, model, settings = request_
    folder = open_run(candidates, model, out, settings)
    sample_to_folder(folder, candidates, model, settings, **({} if shard is None else {"shard": shard}))
    return folder


@pytest.fixture(scope="module")
def whole(request_, tmp_path_factory):
    folder = sample_into(tmp_path_factory.mktemp("whole") / "run", request_)
    assert folder.parts() == set(range(5))
    return contents(folder.path)


def test_jobs_in_any_order_end_with_the_files_of_one_run(request_, whole, tmp_path) -> None:
    for index in (3, 1, 2):
        folder = sample_into(tmp_path / "run", request_, Shard(index, 3))
        assert folder.complete == (index == 2)  # the last one finds all parts there
    assert contents(tmp_path / "run") == whole
    # A job that comes once more has nothing to do.
    sample_into(tmp_path / "run", request_, Shard(2, 3))
    assert contents(tmp_path / "run") == whole


def test_the_structures_of_a_run_of_many_windows_are_the_same(request_, whole, tmp_path, monkeypatch) -> None:
    """Batches are filled from several windows; which part a structure is in changes, and nothing else."""
    for name in ("run", "run_folder", "stream"):
        monkeypatch.setattr(f"jaxcrystal.sampling.{name}.WINDOW", 8)
    for index in (2, 1):
        folder = sample_into(tmp_path / "run", request_, Shard(index, 2))
    assert folder.complete
    found = {path.name: path.read_bytes() for path in folder.path.rglob("*.cif")}
    assert found == {name.split("/")[-1]: text for name, text in whole.items() if name.endswith(".cif")}
    assert len(found) == 19
    assert sorted(row["id"] for row in folder.summary()) == sorted(name[:-4] for name in found)


def test_a_job_samples_its_parts_only(request_, tmp_path, monkeypatch) -> None:
    stream, drawn = module.sample_stream, []

    def recorded(wanted, *arguments, **named):
        wanted = list(wanted)
        drawn.extend(candidate.place for candidate in wanted)
        return stream(wanted, *arguments, **named)

    monkeypatch.setattr(module, "sample_stream", recorded)
    folder = sample_into(tmp_path / "run", request_, Shard(2, 3))
    assert folder.parts() == {1, 4}
    assert len(drawn) == 4 + 3
    rows = list(folder.rows([1, 4]))
    assert sorted(int(row["id"].split("_")[0]) - 1 for row in rows) == sorted(drawn)
    with pytest.raises(DataError, match="it does not exist"):
        list(folder.rows([0]))


def test_more_jobs_than_parts(request_, tmp_path) -> None:
    folder = sample_into(tmp_path / "run", request_, Shard(7, 9))
    assert folder.parts() == set()
    assert not folder.complete


def test_folders_of_jobs_are_put_together(request_, whole, tmp_path) -> None:
    for index in (1, 2):
        sample_into(tmp_path / f"job{index}", request_, Shard(index, 2))
    shutil.copytree(tmp_path / "job2" / "parts", tmp_path / "job1" / "parts", dirs_exist_ok=True)
    sample_into(tmp_path / "job1", request_)
    assert contents(tmp_path / "job1") == whole


def test_several_jobs_may_finish_at_once(request_, whole, tmp_path, monkeypatch) -> None:
    """Another job ends the run, and cleans up, while this one writes the same summary."""
    for index in (1, 2):
        folder = sample_into(tmp_path / "run", request_, Shard(index, 2))
    (tmp_path / "run" / "summary.csv").unlink()
    rows = RunFolder.rows

    def slow(self, parts):
        if list(parts) == [4] and not folder.complete:
            with monkeypatch.context() as context:
                context.setattr(RunFolder, "rows", rows)
                folder.finish(5)
        return rows(self, parts)

    monkeypatch.setattr(RunFolder, "rows", slow)
    other = sample_into(tmp_path / "run", request_, Shard(1, 2))
    assert other.complete
    assert contents(tmp_path / "run") == whole


def test_one_part_written_twice_at_once(tmp_path) -> None:
    """A job that is started again while it still dies: the part of the faster one is kept."""
    store = part_store(tmp_path)

    def quick(folder: Path) -> None:
        folder.mkdir()
        (folder / "summary.csv").write_text("same")

    def slow(folder: Path) -> None:
        store.write_part(0, quick)
        quick(folder)

    store.write_part(0, slow)
    assert contents(tmp_path) == {"parts/00000/summary.csv": b"same"}
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["00000"]


def test_a_run_that_another_job_begins_at_the_same_moment(tmp_path, monkeypatch) -> None:
    """The folder is found without run.json, and then with the files of the other job."""
    store = type(part_store(tmp_path))
    others = store.others

    def late(self) -> bool:
        monkeypatch.setattr(store, "others", others)
        RunFolder(self._path, {"seed": 1})
        return others(self)

    monkeypatch.setattr(store, "others", late)
    RunFolder(tmp_path / "same", {"seed": 1})
    monkeypatch.setattr(store, "others", late)
    with pytest.raises(DataError, match=r"other settings: seed \(1, now 2\)"):
        RunFolder(tmp_path / "other", {"seed": 2})


def test_the_size_of_parts_is_a_setting_of_the_run(request_, tmp_path) -> None:
    candidates, model, settings = request_
    open_run(candidates, model, tmp_path / "run", settings)
    with pytest.raises(DataError, match=r"other settings: part_size \(4, now 8\)"):
        open_run(candidates, model, tmp_path / "run", replace(settings, part_size=8))
    # Runs of earlier versions, which do not say it, go on.
    folder = open_run(candidates, model, tmp_path / "old", RunSettings(settings.config))
    assert b"part_size" not in (folder.path / "run.json").read_bytes()


@pytest.mark.parametrize("text", ["", "3", "0/4", "5/4", "1/0", "-1/4", "1/4/2", "a/b", "1.5/3", "١/٤"])
def test_no_such_job(text) -> None:
    with pytest.raises(RequestError, match="expected I/N with I from 1 to N, such as 3/16") as error:
        parse_shard(text)
    assert "\n" not in str(error.value)


def test_jobs_by_command(tiny_model, tmp_path, capsys) -> None:
    tiny_model.save(tmp_path / "model")
    arguments = [
        *("sample", "--space-group", "221", "--wyckoff", "Ba=a,Ti=b,O=c", "--count", "6", "--part-size", "2"),
        *("--model", str(tmp_path / "model"), "--steps-per-level", "5", "--batch-size", "4"),
        *("--out", str(tmp_path / "run")),
    ]
    assert cli.main([*arguments, "--shard", "3/2"]) == 2
    assert capsys.readouterr().err == (
        "jaxcrystal: error: --shard is '3/2'; expected I/N with I from 1 to N, such as 3/16\n"
    )
    assert not (tmp_path / "run").exists()
    assert cli.main([*arguments, "--shard", "12/16"]) == 0
    assert "no part of the run falls to this job" in capsys.readouterr().out
    assert cli.main([*arguments, "--shard", "1/2"]) == 0
    said = capsys.readouterr().out
    assert "4 crystals: " in said
    assert "the last of the other jobs writes summary.csv" in said
    assert cli.main([*arguments, "--shard", "2/2"]) == 0
    said = capsys.readouterr().out
    assert "2 crystals: " in said
    assert "other jobs" not in said
    assert cli.main(arguments) == 0
    assert "6 crystals: " in capsys.readouterr().out


def test_a_job_whose_part_is_removed_does_not_wait_for_it(request_, tmp_path, monkeypatch) -> None:
    folder = sample_into(tmp_path / "run", request_, Shard(1, 2))
    removed = folder.path / "parts" / "00000"
    shutil.rmtree(removed)

    def waits(_: float) -> None:
        raise AssertionError("it waits")

    monkeypatch.setattr(module.time, "sleep", waits)
    with pytest.raises(DataError, match=r"part 0 of .* was removed while the run was on"):
        module._finish(folder, 5, Shard(1, 2))
