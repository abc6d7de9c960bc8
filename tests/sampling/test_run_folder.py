"""Run folders: parts that are whole or absent, and whose run it is."""

import json
import os

import pytest

from jaxcrystal.errors import DataError
from jaxcrystal.requests.candidates import make_candidates
from jaxcrystal.requests.orders import make_order
from jaxcrystal.sampling.batches import shape_of
from jaxcrystal.sampling.run_folder import PART_SIZE, RunFolder, digest
from jaxcrystal.sampling.sample import sample
from jaxcrystal.structures.finished import Samples
from jaxcrystal.structures.folder import part_folders, summary_rows
from jaxcrystal.structures.summary import summary_row
from tests.tiny import cut_in_parts

SETTINGS = {"seed": 0, "sampler": {"steps_per_level": 2}, "formats": ["cif"]}


@pytest.fixture(scope="module")
def crystals(tiny_model, quick) -> Samples:
    return sample(
        [62, 227], {"Na": "a", "Cl": "c", "O": "b"}, 2, model=tiny_model, config=quick, batch_size=4
    )


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_parts_and_summary(crystals, tmp_path) -> None:
    folder = RunFolder(tmp_path / "run", SETTINGS)
    assert not folder.complete
    folder.write(1, crystals[2:], ("cif", "json"))
    assert folder.parts() == {1}
    folder.write(0, crystals[:2], ("cif", "json"))
    assert [path.name for path in part_folders(folder.path)] == ["00000", "00001"]
    assert not folder.complete
    rows = list(summary_rows(folder.path))
    folder.finish(2)
    assert folder.complete
    assert [row["id"] for row in rows] == [crystal.name for crystal in crystals]
    assert rows == list(map(summary_row, crystals))
    lines = (folder.path / "summary.csv").read_text().splitlines()
    assert len(lines) == 5
    assert lines[0].startswith("id,formula")
    # What was not done is not done by opening it again.
    assert RunFolder(tmp_path / "run", SETTINGS).complete


def test_a_part_that_cannot_be_written_is_absent(crystals, tmp_path, monkeypatch) -> None:
    folder = RunFolder(tmp_path / "run", SETTINGS)
    folder.write(0, crystals[:2], ("cif",))
    before = names(folder.path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as context:
        context.setattr(os, "fsync", full)
        with pytest.raises(DataError, match="No space left on device") as error:
            folder.write(1, crystals[2:], ("cif",))
        assert "\n" not in str(error.value)
    assert names(folder.path) == before
    assert 1 not in folder.parts()


def test_what_a_kill_left_does_no_harm(crystals, tmp_path) -> None:
    folder = RunFolder(tmp_path / "run", SETTINGS)
    left = folder.path / "parts" / ".00000.part"
    left.mkdir(parents=True)
    (left / "0001_half.cif").write_text("half")
    (folder.path / ".run.json.x.part").write_text("half")
    folder = RunFolder(tmp_path / "run", SETTINGS)
    assert part_folders(folder.path) == []
    folder.write(0, crystals, ("cif",))
    folder.finish(1)
    assert not [name for name in names(folder.path) if "half" in name or name.startswith(".")]


def test_other_settings_are_refused(tmp_path) -> None:
    RunFolder(tmp_path / "run", SETTINGS)
    before = names(tmp_path)
    with pytest.raises(DataError, match=r"other settings: seed \(0, now 1\); choose another --out") as error:
        RunFolder(tmp_path / "run", SETTINGS | {"seed": 1})
    assert "\n" not in str(error.value)
    assert names(tmp_path) == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not of a run of jaxcrystal"),
        ("[]", "is not of a run of jaxcrystal"),
        (json.dumps({"format": "jaxcrystal-run-9", "settings": {}}), "is of format 'jaxcrystal-run-9'"),
    ],
)
def test_other_files_are_refused(tmp_path, text, message) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(DataError, match=message):
        RunFolder(tmp_path, SETTINGS)
    assert (tmp_path / "run.json").read_text() == text


def test_folders_that_are_not_ours(tmp_path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(DataError, match="is not empty: choose another --out"):
        RunFolder(tmp_path, SETTINGS)
    with pytest.raises(DataError, match="cannot write to"):
        RunFolder(tmp_path / "thesis.tex", SETTINGS)
    assert names(tmp_path) == ["thesis.tex"]
    assert list(summary_rows(tmp_path)) == []


def test_parts_hold_every_structure_once(tiny_model) -> None:
    orders = [make_order(62, {"Na": 2}, "free"), make_order(221, {"Ba": "a", "Ti": "b", "O": "c"})]
    candidates = make_candidates(orders, [3 * PART_SIZE + 1, 5], tiny_model.letters)
    parts = cut_in_parts(candidates)
    assert [len(part) for part in parts] == [PART_SIZE] * 3 + [6]
    assert sorted(c.place for part in parts for c in part) == list(range(3 * PART_SIZE + 6))
    assert len({shape_of(c) for c in parts[0]}) == 1


def test_digest_tells_requests_apart(tiny_model) -> None:
    order = make_order(221, {"Ba": 1, "Ti": 1, "O": 1})
    same, more, other = (
        digest(make_candidates([order], [count], tiny_model.letters, seed))
        for count, seed in ((20, 0), (21, 0), (20, 1))
    )
    assert same == digest(make_candidates([order], [20], tiny_model.letters, 0))
    assert len({same, more, other}) == 3  # another seed draws other letters
