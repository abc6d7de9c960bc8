"""What a user may type, at random: it is accepted, or refused in one line with exit code 2.

A few hundred cases, the same each time; `JAXCRYSTAL_FUZZ=10000` draws as many others of each kind.
"""

import argparse
import contextlib
import io
import os
import resource
import sys
from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jaxcrystal import cli
from jaxcrystal.config import to_dict
from jaxcrystal.model import load_model
from jaxcrystal.requests.requests import Request
from jaxcrystal.training.config import TrainConfig
from tests.tiny import make_tiny_model

CASES = os.environ.get("JAXCRYSTAL_FUZZ")
fuzz = settings(
    max_examples=int(CASES or 80),
    derandomize=CASES is None,
    suppress_health_check=[*HealthCheck],
)
#: KiB that no case may add to what the process holds.
MOST_MEMORY = 2**20

WORDS = [
    *(
        "",
        " ",
        "-",
        "--",
        ",",
        ",,,",
        "=",
        "Na",
        "Na=",
        "Na=1",
        "Na=1,Na=1",
        "Na=a",
        "Na-Cl",
        "any",
        "common",
    ),
    *("nan", "inf", "-inf", "1e999", "1e39", "3.5", "1/2", "0/0", "x.y=1", "[]", "{}", "\ud800", "١", "a\0b"),
    *("9" * 30, "9" * 5000, "x" * 300, "[" * 2000, "(" * 2000, "a." * 2000 + "b=1", "0x" + "f" * 6000),
    *("/dev/null", "/dev/full", "mine.toml", "mine.toml/x", ".", "%s", "=1+1"),
]
words = st.one_of(
    st.sampled_from(WORDS),
    st.integers().map(str),
    st.integers(-2, 40).map(str),
    st.floats().map(str),
    st.text(max_size=12).filter(lambda text: "/" not in text),
)
values = st.recursive(
    st.one_of(
        st.integers(-(2**63), 2**63),
        st.integers(-2, 30),
        st.floats(),
        st.booleans(),
        st.just(date(2020, 1, 1)),
        st.sampled_from(["", "Na", "Cu2KSi", "ab", "Pm-3m", "x" * 300, "any", "1"]),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["Na", "Cl", "O", "x"]), inner, max_size=3)
    ),
    max_leaves=4,
)

NOWHERE = "/nowhere"
BASES = {
    "sample": [
        ["--space-group", "221", "--sites", "Ba=1,Ti=1,O=1"],
        ["--space-group", "62,Fm-3m", "--wyckoff", "Na=a"],
        ["--space-group", "221,225", "--formula", "Cu2KSi"],
        ["--space-group", "221,225", "--chemical-system", "Na-Cl"],
        ["--like", NOWHERE],
        ["mine.toml"],
    ],
    "discover": [
        ["Na-Cl", "--space-group", "221", "--until", "plan", "--out", "x"],
        ["Cu2KSi", "--space-group", "221,225", "--until", "plan", "--out", "x"],
        ["mine.toml", "--until", "plan", "--out", "x"],
    ],
    "screen": [[NOWHERE]],
    "relax": [[NOWHERE, "--potential", "emt", "--out", "x"]],
    "references": [[NOWHERE, "--potential", "emt", "--out", "x.json"]],
    "hull": [[NOWHERE, "--references", NOWHERE]],
    "phonons": [[NOWHERE, "--out", "x"]],
    "inputs": [[NOWHERE, "--out", "x"]],
    "view": [[NOWHERE]],
    "prepare": [[NOWHERE, "--out", "x.npz"]],
    "evaluate": [[NOWHERE, "--reference", NOWHERE, "--out", "x"]],
    "reconstruct": [["--targets", NOWHERE, "--out", "x"]],
    "info": [[NOWHERE]],
    "train": [["mine.toml"]],
}
#: They wait for other machines, or begin the work.
ALONE = ("--distributed", "--dask", "--help", "--until")


def flat(table: dict) -> list[tuple[str, ...]]:
    """Returns the names of all settings of a training, each with those of its tables before it."""
    inner = {name: flat(value) if isinstance(value, dict) else [()] for name, value in table.items()}
    return [(name, *rest) for name, names in inner.items() for rest in names]


SETTINGS = [*flat(to_dict(TrainConfig())), ("network", "settings"), ("data",), ("x",)]


@lru_cache
def options(command: str) -> list[argparse.Action]:
    parsers = next(a for a in cli.make_parser()._actions if isinstance(a, argparse._SubParsersAction))
    found = [action for action in parsers.choices[command]._actions if action.option_strings]
    return [action for action in found if action.option_strings[-1] not in ALONE]


@st.composite
def commands(draw: st.DrawFn) -> list[str]:
    """A command that could be meant, with one or a few options that need not be."""
    command = draw(st.sampled_from(sorted(BASES)))
    line = [command, *draw(st.sampled_from(BASES[command]))]
    for option in draw(st.lists(st.sampled_from(options(command)), min_size=1, max_size=3)):
        name = option.option_strings[0]
        if option.nargs == 0:
            line.append(name)
        elif option.choices and draw(st.booleans()):
            line += [name, draw(st.sampled_from([*option.choices]))]
        else:
            line.append(f"{name}={draw(words)}")
    if draw(st.integers(0, 5)) == 0:
        line.insert(draw(st.integers(0, len(line))), draw(words))
    return [*line, "--plan"] if "sample" in line else line


@st.composite
def orders(draw: st.DrawFn) -> str:
    """A file of orders."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
    kinds = {
        "sites": st.just({"Na": 1, "Cl": [1, 2]}),
        "wyckoff": st.just({"Na": "a"}),
        "formula": st.just("NaCl"),
        "chemical_system": st.just("Na-Cl"),
        "like": st.just(NOWHERE),
    }
    tables = []
    for _ in range(draw(st.integers(1, 2))):
        kind = draw(st.sampled_from(sorted(kinds)))
        table = {kind: draw(kinds[kind]), "count": 2} | (
            {} if kind == "like" else {"space_group": [221, 225]}
        )
        for name in draw(st.lists(st.sampled_from([*Request.__dataclass_fields__, "x"]), max_size=2)):
            table[name] = draw(values)
        tables.append(table)
    return tomli_w.dumps({"order": tables})


@st.composite
def trainings(draw: st.DrawFn) -> str:
    """A file of settings of a training."""

    content: dict = {}
    for *tables, name in draw(st.lists(st.sampled_from(SETTINGS), max_size=3)):
        table = content
        for outer in tables:
            table = inner if isinstance(inner := table.setdefault(outer, {}), dict) else {}
        table[name] = draw(st.one_of(values, st.floats(-2, 2), st.integers(-2, 1000)))
    return tomli_w.dumps(content)


def accepted(config: TrainConfig, resume: bool) -> Path:
    """Stands for the training: what is accepted must make sense."""
    from jaxcrystal.models.network import make_module
    from jaxcrystal.training.objective import learning_rate_schedule, make_optimizer

    del resume
    make_module(config.network)
    make_optimizer(config.optimizer)
    rate = float(learning_rate_schedule(config.optimizer)(config.optimizer.steps - 1))
    assert 0 <= rate <= config.optimizer.learning_rate * (1 + 1e-6)
    assert np.isfinite(np.asarray(config.schedule.sigmas())).all()
    return Path(config.out)


@pytest.fixture(scope="module")
def attempt(tmp_path_factory):
    """Runs a command in a folder with a file of the user's; returns its exit code."""
    tiny = make_tiny_model()

    def loaded(folder=None, module=None, **more):
        return tiny if folder is None and module is None else load_model(folder, module, **more)

    def run(arguments: Sequence[str], content: str) -> int:
        folder = tmp_path_factory.mktemp("fuzz") / "inner"
        folder.mkdir()
        mine = folder / "mine.toml"
        mine.write_bytes(content.encode("utf-8", "surrogatepass"))
        before = mine.read_bytes()
        output, errors = io.StringIO(), io.StringIO()
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with (
            contextlib.chdir(folder),
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(errors),
            mock.patch("jaxcrystal.model.load_model", loaded),
            mock.patch("jaxcrystal.sampling.run_time._product_rate", return_value=1e9),
            mock.patch("jaxcrystal.training.loop.train", accepted),
            mock.patch.object(sys, "path", [*sys.path]),
        ):
            try:
                code = cli.main(arguments)
            except SystemExit as stop:
                code = stop.code
        said = errors.getvalue()
        assert code in (0, 2), said
        if code == 2:
            last = said.splitlines()[-1]
            assert last.startswith("jaxcrystal: error: "), said
            assert len(last) <= 300, said
            assert all(line.startswith("jaxcrystal: ") for line in said.splitlines()), said
            assert len(said.splitlines()) <= 2, said
            assert output.getvalue() == ""
        assert mine.read_bytes() == before
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < MOST_MEMORY
        return code

    return run


@fuzz
@given(commands())
def test_commands(attempt, arguments) -> None:
    attempt(arguments, "[[order]]\nspace_group = 221\nsites = {Na = 1}\n")


@fuzz
@given(orders())
def test_files_of_orders(attempt, text) -> None:
    attempt(["sample", "mine.toml", "--plan"], text)


@fuzz
@given(trainings())
def test_settings_of_trainings(attempt, text) -> None:
    attempt(["train", "mine.toml"], text)


@fuzz
@given(st.sampled_from([["sample", "mine.toml", "--plan"], ["train", "mine.toml"]]), st.sampled_from(WORDS))
def test_files_of_anything(attempt, arguments, word) -> None:
    attempt(arguments, word)
