"""Models, data sets and runs that are changed at random: refused in one line, or read.

JAXCRYSTAL_FUZZ=10000 tries as many of each kind; otherwise they are few, and always the same.
"""

import io
import os
import tempfile
import warnings
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jaxcrystal import cli, model
from jaxcrystal.errors import DataError
from jaxcrystal.npz import MOST_ARRAYS
from tests.files import LONGEST, MOST_LINES, write_dataset, write_run
from tests.tiny import make_tiny_model

CASES = 60
# Examples are whole files, which hypothesis would print.
pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")
FUZZ = int(os.environ.get("JAXCRYSTAL_FUZZ", CASES))
fuzz = settings(
    max_examples=FUZZ,
    derandomize=FUZZ == CASES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
#: Numbers that crystals and networks have not, and a few that they have.
NUMBERS = st.sampled_from(
    [
        np.nan,
        np.inf,
        -np.inf,
        1e300,
        -1e300,
        1e-300,
        2.0**63,
        -(2.0**63),
        2.0**31,
        231,
        119,
        27,
        -1,
        0,
        1,
        0.5,
    ]
)
TYPES = st.sampled_from(["f8", "f4", "f2", "i8", "i1", "u8", "?", "c16", "U3", "S3", "M8[s]"])
TOKENS = st.sampled_from(
    [
        "",
        "-1",
        "0",
        "1e18",
        "nan",
        "inf",
        "9" * 5000,
        '"',
        "[",
        "{" * 99,
        "]",
        ",",
        "\n",
        "\x00",
        "\x1b[31m",
        "=1+1",
    ]
)
#: What is done to bytes: place (as a share of them), bytes that go, bytes that come.
CUTS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 40), st.binary(max_size=8)), min_size=1, max_size=4)


@st.composite
def changed_arrays(draw: st.DrawFn, content: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A file of arrays with one or two that are others."""
    arrays = dict(content)
    for _ in range(draw(st.integers(1, 2))):
        name = draw(st.sampled_from(sorted(arrays)))
        array = arrays[name]
        match draw(st.integers(0, 6)):
            case 0:
                del arrays[name]
                if not arrays:
                    arrays["x"] = array
            case 1 if array.size and array.dtype.kind in "iuf":
                place = draw(st.integers(0, array.size - 1))
                with np.errstate(all="ignore"):
                    array = array.astype(float) if array.dtype.kind == "f" else array.astype(np.int64)
                    number = draw(NUMBERS)
                    array.flat[place] = number if array.dtype.kind == "f" else np.float64(number).astype("i8")
                arrays[name] = array
            case 2:
                with np.errstate(all="ignore"), warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # the imaginary part of what was made complex before
                    try:
                        arrays[name] = array.astype(draw(TYPES))
                    except (ValueError, TypeError, RuntimeError, OverflowError):  # of texts and dates
                        arrays[name] = np.zeros(array.shape, bool)
            case 3:
                arrays[name] = array[:-1] if array.ndim else array[None]
            case 4:
                arrays[name] = array[..., None]
            case 5:
                arrays[name] = np.array(draw(NUMBERS))
            case _:
                arrays[draw(st.sampled_from(["x", "column/x", "../x", "a/b/c", "format"]))] = array
    return arrays


def cut(content: bytes, cuts: list[tuple[float, int, bytes]]) -> bytes:
    """Some bytes in place of others."""
    for share, size, new in cuts:
        place = int(share * len(content))
        content = content[:place] + new + content[place + size :]
    return content


@st.composite
def changed_text(draw: st.DrawFn, text: str) -> bytes:
    """A text in which a word, or a few bytes, are others."""
    if draw(st.booleans()):
        return cut(text.encode(), draw(CUTS))
    words = text.split(" ")
    words[draw(st.integers(0, len(words) - 1))] = draw(TOKENS)
    return " ".join(words).encode()


def saved(arrays: dict[str, np.ndarray]) -> bytes:
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


def loaded(content: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(content)) as archive:
        return dict(archive)


def try_commands(folder: Path, *commands: list[str]) -> None:
    """Runs commands, which read the folder and may only say no."""
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for command in commands:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            code = cli.main(command)
        said = err.getvalue()
        assert code in (0, 2), said
        assert "Traceback" not in said
        if code:
            lines = [line for line in said.splitlines() if "jaxcrystal: " in line]
            assert 1 <= len(lines) <= MOST_LINES, said
            assert all(len(line) <= LONGEST for line in lines), said
            assert not out.getvalue()
    assert before == {path: path.read_bytes() for path in before}


@cache
def contents(kind: str) -> dict[str, bytes]:
    """The files of a small valid data set, model or run, by name."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / kind
        folder.mkdir()
        if kind == "data":
            write_dataset(folder / "data.npz")
        elif kind == "model":
            make_tiny_model().save(folder)
        else:
            write_run(folder)
        return {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }


@st.composite
def changed(draw: st.DrawFn, kind: str) -> dict[str, bytes]:
    """The files with one that is another, or not there."""
    files = dict(contents(kind))
    name = draw(st.sampled_from(sorted(files)))
    if draw(st.integers(0, 19)) == 7:
        del files[name]
    elif name.endswith(".npz"):
        how = draw(st.integers(0, 3))
        files[name] = (
            cut(files[name], draw(CUTS)) if how == 0 else saved(draw(changed_arrays(loaded(files[name]))))
        )
    else:
        files[name] = draw(changed_text(files[name].decode()))
    return files


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


@fuzz
@given(changed("data"))
def test_data_sets(files) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write(folder, files)
        data = str(folder / "data.npz")
        try_commands(folder, ["info", data], ["view", data, "--out", f"{place}/page.html"])


@pytest.fixture(scope="module", autouse=True)
def one_network():
    """Traces the network once: another one is refused, as its weights would be."""
    with pytest.MonkeyPatch.context() as patch:
        whole, known = model._schema, {}

        def schema(root, module, graph, info, complete):
            if module != make_tiny_model().module or graph != make_tiny_model().graph or info.get("cond"):
                raise DataError(f"{root}: the weights are of another network")
            if not known:
                known.update(whole(root, module, graph, info, complete))
            return known

        tiny = make_tiny_model()
        patch.setitem(globals(), "make_tiny_model", lambda: tiny)
        patch.setattr(model, "_schema", schema)
        for kind in ("data", "model", "run"):
            contents(kind)  # not within a strategy: names of temporary folders are random
        yield


@fuzz
@given(changed("model"))
def test_models(files) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write(folder, files)
        try_commands(folder, ["info", place])


@fuzz
@given(changed("run"))
def test_runs(files) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "run"
        write(folder, files)
        folder.mkdir(exist_ok=True)
        try_commands(folder, ["view", str(folder), "--out", f"{place}/page.html"])


def test_thousands_of_arrays(tmp_path, capsys) -> None:
    np.savez(tmp_path / "many.npz", **{f"x{n}": np.zeros(1) for n in range(MOST_ARRAYS + 1)})
    assert cli.main(["info", str(tmp_path / "many.npz")]) == 2
    assert f"expected at most {MOST_ARRAYS}" in capsys.readouterr().err
