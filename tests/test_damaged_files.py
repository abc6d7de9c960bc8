"""Data sets and models that no crystal or network has: refused in one line, before anything is computed."""

import shutil
import time
import tracemalloc
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from jaxcrystal.data.dataset import Dataset
from jaxcrystal.errors import DataError
from jaxcrystal.letters.frequencies import LetterFrequencies
from jaxcrystal.model import load_model
from tests.files import (
    change,
    claim_shape,
    make_bomb,
    put,
    refusal,
    set_flag,
    write_character,
    write_dataset,
)
from tests.tiny import make_tiny_model

DATASETS = {
    "coordinate-nan": ({"frac_coords": put(np.nan)}, "frac_coords holds nan"),
    "coordinate-inf": ({"frac_coords": put(np.inf)}, "frac_coords holds inf"),
    "coordinate-huge": ({"frac_coords": put(1e300)}, "frac_coords holds 1e+300"),
    "lattice-nan": ({"lattice_params": put(np.nan)}, "lattice_params holds nan"),
    "lattice-inf": ({"lattice_params": put(-np.inf)}, "lattice_params holds -inf"),
    "lattice-zero": ({"lattice_params": put(-1e9)}, "lattice_params holds -1000000000.0"),
    "letter-negative": ({"letters": put(-1)}, "letters holds -1"),
    "letter-of-no-position": ({"letters": put(12)}, "letters holds 12 for group 225"),
    "group-0": ({"space_group": put(0)}, "space_group holds 0, expected at least 1 and at most 230"),
    "group-231": ({"space_group": put(231)}, "space_group holds 231"),
    "species-negative": ({"species": put(-1)}, "species holds -1, expected at least 1 and at most 118"),
    "species-0": ({"species": put(0)}, "species holds 0"),
    "species-119": ({"species": put(119)}, "species holds 119"),
    "no-sites": ({"num_sites": put(0)}, "num_sites holds 0"),
    "other-sites": ({"num_sites": put(5)}, "7 rows of sites, expected 10"),
    "scalar": ({"species": np.array(3)}, "species has the shape (), expected"),
    "two-axes": ({"species": lambda array: array[:, None]}, "species has the shape (7, 1)"),
    "names-two-axes": ({"ids": lambda array: array[:, None]}, "ids has the shape (3, 1), expected (3,)"),
    "five-params": ({"lattice_params": lambda array: array[:, :5]}, "lattice_params has the shape (3, 5)"),
    "two-coordinates": ({"frac_coords": lambda array: array[:, :2]}, "frac_coords has the shape (7, 2)"),
    "text": ({"species": lambda array: array.astype(str)}, "species is of type <U3, expected whole numbers"),
    "complex": ({"frac_coords": lambda array: array + 1j}, "frac_coords is of type complex128"),
    "decimal-groups": ({"space_group": lambda array: array.astype(float)}, "space_group is of type float64"),
    "names-beyond-unicode": ({"ids": write_character(0x110000)}, "ids holds what is no text"),
    "names-beyond-unicode-big-endian": (
        {"ids": write_character(0x110000, ">")},
        "ids holds what is no text",
    ),
    "names-half-characters": ({"ids": write_character(0xD800)}, "ids holds what is no text"),
    "label-beyond-unicode": ({"format": write_character(2**31)}, "format holds what is no text"),
    "names-are-numbers": ({"ids": np.arange(3)}, "ids is of type int64, expected text"),
    "objects": ({"letters": np.array([{}] * 7, object)}, "letters is of type object"),
    "column-of-text": ({"column/gap": np.array(["a"] * 3)}, "column/gap is of type <U1"),
    "column-too-long": ({"column/gap": np.zeros(4)}, "column/gap has the shape (4,), expected (3,)"),
    "info-no-json": ({"format": lambda array: np.array([*array[:2], "{"])}, "JSONDecodeError"),
    "info-no-table": ({"format": lambda array: np.array([*array[:2], "[]"])}, "how it was made"),
    "info-deep": ({"format": lambda array: np.array([*array[:2], "[" * 9999])}, "RecursionError"),
    "missing": ({"letters": None}, "the file lacks letters"),
}
#: Of a whole file, changed otherwise than array by array.
FILES = {
    "empty": (lambda path: path.write_bytes(b""), "not a zip file"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:-40]), "not a zip file"),
    "encrypted": (partial(set_flag, flag=1), "an array is encrypted"),
    "shape-of-10^15": (
        partial(claim_shape, name="frac_coords", shape=(10**15, 3)),
        "frac_coords says that it has the shape (1000000000000000, 3)",
    ),
    "negative-shape": (partial(claim_shape, name="space_group", shape=(-3,)), "says that it has the shape"),
    "bomb": (partial(make_bomb, names=["format", "ids"]), "bytes would be 300000"),
}


@pytest.fixture
def dataset(tmp_path):
    return write_dataset(tmp_path / "data.npz")


@pytest.mark.parametrize("case", DATASETS)
def test_data_sets(case, dataset, capsys) -> None:
    """Group by group, so that whoever counts on them meets numbers of crystals only."""
    changes, message = DATASETS[case]
    change(dataset, **changes)
    before = dataset.read_bytes()
    for command in ("info", "view"):
        said = refusal(capsys, command, dataset)
        assert said.startswith(f"{dataset} is not a prepared data set (or is damaged): ")
        assert message in said
    assert dataset.read_bytes() == before
    assert [path.name for path in dataset.parent.iterdir()] == ["data.npz"]


@pytest.mark.parametrize("case", FILES)
def test_files_of_a_data_set(case, dataset, capsys) -> None:
    damage, message = FILES[case]
    damage(dataset)
    for command in ("info", "view"):
        assert message in refusal(capsys, command, dataset)


def test_no_command_takes_a_coordinate_that_is_no_number(dataset, tmp_path, capsys, tiny_model) -> None:
    """spglib ends the process on one."""
    tiny_model.save(tmp_path / "model")
    (tmp_path / "train.toml").write_text(f'out = "{tmp_path}/run"\n[data]\ntrain = "{dataset}"\n')
    change(dataset, frac_coords=put(np.nan))
    commands = [
        ["screen", dataset, "--out", tmp_path / "screened"],
        ["screen", dataset, "--novel-against", dataset, "--out", tmp_path / "screened"],
        ["evaluate", dataset, "--reference", dataset, "--out", tmp_path / "evaluated"],
        ["sample", "--like", dataset, "--model", tmp_path / "model", "--plan"],
        ["train", tmp_path / "train.toml"],
        [
            "reconstruct",
            "--targets",
            dataset,
            "--model",
            tmp_path / "model",
            "--out",
            tmp_path / "reconstructed",
        ],
    ]
    for command in commands:
        assert "frac_coords holds nan" in refusal(capsys, *command), command[0]
    left = {path.name for path in tmp_path.iterdir() if not (path.is_dir() and not any(path.iterdir()))}
    assert left == {"data.npz", "model", "train.toml"}


@pytest.mark.parametrize(
    "make", [partial(make_bomb, names=["format", "ids"]), partial(claim_shape, name="ids", shape=(10**15,))]
)
def test_what_a_file_claims_is_not_read(make, dataset) -> None:
    make(dataset)
    tracemalloc.start()
    started = time.process_time()
    with pytest.raises(DataError):
        Dataset.load(dataset)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 20e6
    assert time.process_time() - started < 1.0


WEIGHT = "EmbeddingBlock_0/edge/bias"
WEIGHTS = {
    "missing": ({WEIGHT: None}, f"the file lacks {WEIGHT}"),
    "shape": ({WEIGHT: np.zeros((2, 2), np.float32)}, f"{WEIGHT} has the shape (2, 2), expected (16,)"),
    "nan": ({WEIGHT: put(np.nan)}, f"{WEIGHT} holds nan"),
    "inf": ({WEIGHT: put(np.inf)}, f"{WEIGHT} holds inf"),
    "too-large-for-its-type": ({WEIGHT: lambda array: array.astype(float) + 1e300}, f"{WEIGHT} holds 1e+300"),
    "besides": ({"other/kernel": np.zeros(2)}, "the file has besides other/kernel"),
    "text": ({WEIGHT: np.array("x")}, f"{WEIGHT} is of type <U1"),
    "objects": ({WEIGHT: np.array([{}], object)}, f"{WEIGHT} is of type object"),
}
SETTINGS = {
    "empty": (lambda text: "", "its format is None"),
    "no-toml": (lambda text: "\0", "TOMLDecodeError"),
    "no-text": (lambda text: b"\xff\xfe\x00", "UnicodeDecodeError"),
    "deep": (lambda text: "x = " + "[" * 5000, "RecursionError"),
    "format": (
        lambda text: text.replace("model-1", "model-" + "9" * 5000),
        "its format is 'jaxcrystal-model-9",
    ),
    "network": (lambda text: text.replace("[network]", "network = 3\n[x]"), "TOMLDecodeError"),
    "hidden": (lambda text: text.replace("hidden = 16", "hidden = 0"), ""),
    "cutoff": (
        lambda text: text.replace("cutoff = 4.0", "cutoff = 1e18"),
        "cutoff is 1e+18; it must be at most",
    ),
    "blocks": (lambda text: text.replace("blocks = 1", "blocks = 2"), "the file lacks InteractionBlock_1"),
    "element": (lambda text: text.replace("    3,", "    300,"), "info.elements are not atomic numbers"),
    "element-text": (
        lambda text: text.replace("    3,", '    "Li",'),
        "info.elements are not atomic numbers",
    ),
    "steps": (lambda text: text + 'steps = "all"\n', "info.steps is not a number of updates"),
    "cond": (lambda text: text + "cond = 3\n", "cannot be read"),
    "cond-numbers": (lambda text: text + "cond = [3]\n", "info.cond are not names"),
    "class": (
        lambda text: text.replace('module = ""', 'module = "os:system"'),
        "give it with --module os:system",
    ),
}
LETTERS = {
    "empty": (lambda text: "", "JSONDecodeError"),
    "deep": (lambda text: "[" * 100_000, "RecursionError"),
    "number": (lambda text: "5", "TypeError"),
    "format": (lambda text: text.replace("letters-2", "letters-9"), "format 'jaxcrystal-letters-9'"),
    "no-such-letter": (lambda text: text.replace("a b c", "a b z"), "group 221 has no Wyckoff position 'z'"),
    "letters-missing": (
        lambda text: text.replace("a b c", "a b"),
        "'a b' are not the letters of (1, 1, 1) sites",
    ),
    "group": (lambda text: text.replace("221", "999"), "there is no space group '999'"),
    "counts": (lambda text: text.replace("1,1,1", "1,0,1"), "'1,0,1' are not numbers of sites"),
    "elements": (lambda text: text.replace("56", "156"), "atomic numbers of 3 elements"),
    "list": (lambda text: text.replace('{"a b c"', '["a b c"').replace("}}}}", "]}}}"), ""),
}


@pytest.fixture(scope="module")
def whole_model(tmp_path_factory):
    """A model whose letters are known by the elements that have them, as those of training are."""
    table = {
        221: {(1, 1, 1): {(("a",), ("b",), ("c",)): [(56, 22, 8)], (("a",), ("b",), ("d",)): [(20, 22, 8)]}}
    }
    folder = tmp_path_factory.mktemp("whole") / "model"
    replace(make_tiny_model(), letters=LetterFrequencies.of_elements(table)).save(folder)
    return folder


@pytest.fixture
def model(whole_model, tmp_path):
    return shutil.copytree(whole_model, tmp_path / "model")


def test_the_whole_model_is_read(model) -> None:
    assert load_model(model).letters.elements[221][1, 1, 1][(("a",), ("b",), ("c",))] == ((56, 22, 8),)


@pytest.mark.parametrize("case", WEIGHTS)
def test_weights(case, model, capsys) -> None:
    changes, message = WEIGHTS[case]
    change(model / "weights.npz", **changes)
    said = refusal(capsys, "info", model)
    assert said.startswith(f"{model}: the weights do not fit the network DimeNet: ")
    assert message in said


@pytest.mark.parametrize("case", FILES)
def test_files_of_weights(case, model, capsys) -> None:
    damage, message = FILES[case]
    if case in ("shape-of-10^15", "negative-shape"):
        damage = partial(claim_shape, name=WEIGHT, shape=damage.keywords["shape"])
        message = message.replace("frac_coords", WEIGHT)
    damage(model / "weights.npz")
    assert message in refusal(capsys, "info", model)


@pytest.mark.parametrize(
    ("name", "case"),
    [*(("model.toml", case) for case in SETTINGS), *(("letters.json", case) for case in LETTERS)],
)
def test_settings_and_letters(name, case, model, capsys) -> None:
    damage, message = (SETTINGS if name == "model.toml" else LETTERS)[case]
    before = (model / name).read_text()
    after = damage(before)
    assert after != before
    (model / name).write_bytes(after if isinstance(after, bytes) else after.encode())
    assert message in refusal(capsys, "info", model)


@pytest.mark.parametrize("name", ["model.toml", "letters.json", "weights.npz"])
def test_a_missing_file_and_a_device(name, model, capsys) -> None:
    (model / name).unlink()
    said = refusal(capsys, "info", model)
    assert "holds no model" in said if name == "model.toml" else f"{name}" in said or "letter" in said
    (model / name).symlink_to("/dev/zero")
    refusal(capsys, "info", model)


def test_a_plan_refuses_a_damaged_model(model, capsys) -> None:
    change(model / "weights.npz", **{WEIGHT: put(np.nan)})
    said = refusal(capsys, "sample", "--space-group", "221", "--sites", "O=1", "--model", model, "--plan")
    assert f"{WEIGHT} holds nan" in said
