"""Parts that worker processes finish and write: the same files, one line for what goes wrong, no device."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from jaxcrystal.errors import DataError
from jaxcrystal.requests.candidates import make_candidates
from jaxcrystal.requests.orders import make_order
from jaxcrystal.sampling import run as module
from jaxcrystal.sampling.parts import Part, write_part
from jaxcrystal.sampling.run import RunSettings, open_run, sample_to_folder
from jaxcrystal.sampling.run_folder import PART_SIZE
from jaxcrystal.structures.entries import load_entries
from jaxcrystal.structures.folder import part_folders, summary_rows
from tests.tiny import cut_in_parts


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def write_or_die(part: Part) -> None:
    """What a crash in a library does to a worker, at the second part."""
    if part.number == 1:
        os._exit(3)
    write_part(part)


def write_or_be_full(part: Part) -> None:
    if part.number == 1:
        raise DataError("cannot write here: No space left on device")
    write_part(part)


@pytest.fixture(scope="module")
def request_(tiny_model, quick):
    """Structures of two shapes with their trajectories, in four parts."""
    orders = [make_order(221, {"Ba": "a", "Ti": "b", "O": "c"}), make_order(62, {"Na": 3}, "free")]
    candidates = make_candidates(orders, [PART_SIZE + 4, 2 * PART_SIZE], tiny_model.letters)
    return candidates, tiny_model, RunSettings(quick, batch_size=4, formats=("cif", "json"))


def sample_into(out, request_, **changes):
    candidates, model, settings = request_
    settings = replace(settings, **changes)
    folder = open_run(candidates, model, out, settings)
    sample_to_folder(folder, candidates, model, settings)
    return folder.path


@pytest.fixture(scope="module")
def whole(request_, tmp_path_factory):
    return sample_into(tmp_path_factory.mktemp("whole") / "run", request_, workers=0)


def test_workers_write_the_same(request_, whole, tmp_path) -> None:
    assert contents(sample_into(tmp_path / "run", request_, workers=2)) == contents(whole)


@pytest.mark.parametrize(
    ("write", "message"),
    [(write_or_die, "a worker process died"), (write_or_be_full, "No space left on device")],
)
def test_what_goes_wrong_in_a_worker(request_, whole, tmp_path, monkeypatch, write, message) -> None:
    """One line; what is complete stays, and the run goes on."""
    with monkeypatch.context() as context:
        context.setattr(module, "write_part", write)
        with pytest.raises(DataError, match=message) as error:
            sample_into(tmp_path / "run", request_, workers=1)
    assert "\n" not in str(error.value)
    kept = [path.name for path in part_folders(tmp_path / "run")]
    assert kept[0] == "00000"
    assert "00001" not in kept
    assert contents(sample_into(tmp_path / "run", request_, workers=1)) == contents(whole)


def test_few_parts_are_written_by_this_process(request_, tmp_path, monkeypatch) -> None:
    written = []

    def write(part: Part) -> None:
        written.append((part.number, os.getpid()))
        write_part(part)

    candidates, model, settings = request_
    monkeypatch.setattr(module, "write_part", write)
    sample_into(tmp_path / "run", (candidates[: 2 * PART_SIZE], model, settings), workers=2)
    assert written == [(0, os.getpid()), (1, os.getpid())]


def test_groups_are_looked_for_as_asked(request_, whole, tmp_path) -> None:
    candidates, model, settings = request_
    few = candidates[:4], model, settings
    usual = list(summary_rows(whole))
    assert {row["found_group_strict"] for row in usual} == {""}
    assert {row["found_group"] for row in usual[:4]} == {"221"}
    strict = list(summary_rows(sample_into(tmp_path / "strict", few, check="strict")))
    assert [row["found_group_strict"] for row in strict] == ["221"] * 4
    unchecked = list(summary_rows(sample_into(tmp_path / "none", few, check="none")))
    assert {(row["found_group"], row["found_group_strict"]) for row in unchecked} == {("", "")}
    for column in ("shortest_distance", "volume_per_atom", "valid"):
        assert [row[column] for row in unchecked] == [row[column] for row in strict]
    # Other files would stand in one folder.
    with pytest.raises(DataError, match="other settings: check"):
        sample_into(tmp_path / "none", few)


def test_arrays_by_themselves_are_in_large_parts(request_, whole, tmp_path) -> None:
    folder = sample_into(tmp_path / "run", request_, formats=("npz",))
    assert [path.name for path in part_folders(folder)] == ["00000"]
    assert json.loads((folder / "run.json").read_text())["settings"]["part_size"] == 1024
    assert sorted(p.name for p in (folder / "parts" / "00000").iterdir() if p.is_file()) == [
        "structures.npz",
        "summary.csv",
    ]
    assert (folder / "summary.csv").read_bytes() == (whole / "summary.csv").read_bytes()
    ours, theirs = load_entries(folder), load_entries(whole)
    assert [entry.name for entry in ours] == [entry.name for entry in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert (one.structure is None) == (other.structure is None)
        assert one.structure is None or one.structure == other.structure


_IN_A_WORKER = """
import pickle, sys
from pathlib import Path
from jaxcrystal.sampling.parts import write_part
write_part(pickle.loads(Path(sys.argv[1]).read_bytes()))
from jax._src import xla_bridge
assert not xla_bridge._backends, "XLA has been started"
assert not {"flax", "optax", "orbax"} & set(sys.modules)
"""


def test_a_worker_starts_no_device(request_, whole, tmp_path, monkeypatch) -> None:
    """What a worker gets is enough to write the part, without XLA and without the network's library."""
    import pickle

    candidates, model, settings = request_
    tasks: list[bytes] = []
    monkeypatch.setattr(module, "write_part", lambda part: tasks.append(pickle.dumps(part)))
    folder = open_run(candidates[:PART_SIZE], model, tmp_path / "run", settings)
    monkeypatch.setattr(module.RunFolder, "parts", lambda self: set(range(len(tasks))))

    def finish(folder, parts) -> None:
        (folder.path / "summary.csv").write_text("id\n")

    monkeypatch.setattr(module.RunFolder, "finish", finish)
    sample_to_folder(folder, candidates[:PART_SIZE], model, settings)
    (tmp_path / "task").write_bytes(tasks[0])
    done = subprocess.run(
        [sys.executable, "-c", _IN_A_WORKER, str(tmp_path / "task")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    name = cut_in_parts(candidates[:PART_SIZE])[0][0].place
    row = next(iter(summary_rows(whole)))["id"]
    assert name == 0
    assert (tmp_path / "run" / "parts" / "00000" / f"{row}.cif").is_file()
