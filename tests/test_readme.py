"""Every snippet of the documents: run with small numbers, or at least read by the command's own parser.

The README's snippets run in one folder, in their order, with small numbers: one crystal, one step a
level, two updates, one target. Only 1,000 crystals of a formula, which have many sizes, are planned.
"""

import re
import shlex
import shutil
import tomllib
from pathlib import Path
from typing import Any

import jax
import pytest
from pymatgen.core import Lattice, Structure

import jaxcrystal
from jaxcrystal import cli
from jaxcrystal.requests.requests import read_requests

ROOT = Path(__file__).parents[1]
DOCUMENTS = (
    *("README.md", "docs/guide.md", "docs/discovery.md", "docs/scale.md"),
    *("benchmarks/README.md", "CONTRIBUTING.md"),
)
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: What a shell line of the documents may begin with, beside `jaxcrystal`.
OTHERS = ("git", "make", "pip", "bash", "python", "pytest", "sbatch", "configs/launch/")
#: A word that stands for what the reader puts there.
PLACEHOLDER = re.compile(r"\b(COMMAND|NAME|FOLDER)\b")


def text_of(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def blocks(document: str, language: str) -> list[str]:
    return [body for kind, body in BLOCK.findall(text_of(document)) if kind == language]


def commands(document: str) -> list[list[str]]:
    """The words of every shell line, without comments and settings of the environment."""
    lines = "".join(blocks(document, "")).replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    return [without_environment(line) for line in words if line]


def inline(document: str) -> list[str]:
    """What stands between backquotes in the running text, over the ends of lines too."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", BLOCK.sub("", text_of(document)))]


def without_environment(words: list[str]) -> list[str]:
    while "=" in words[0] and words[0].split("=")[0].isupper():
        words = words[1:]
    return words


def parse(words: list[str]) -> object:
    try:
        return cli.make_parser().parse_args(words[1:])
    except SystemExit as stop:
        raise AssertionError(f"not a command: {shlex.join(words)}") from stop


def check(words: list[str]) -> None:
    """Fails where a command names an option, a module, a target, an extra or a file that is not there."""
    first = words[0]
    if first == "jaxcrystal":
        parse(words)
    elif first == "make":
        targets = (ROOT / "Makefile").read_text()
        assert re.search(rf"^{words[1]}:", targets, re.MULTILINE), words
    elif first == "pip":
        extras = re.search(r"\[(.*)\]", words[2])
        known = tomllib.loads(text_of("pyproject.toml"))["project"]["optional-dependencies"]
        assert set(extras[1].split(",") if extras else []) <= set(known), words
    elif first == "python":
        assert words[1] == "-m"
        source = (ROOT / f"{words[2].replace('.', '/')}.py").read_text()
        options = [word for word in words[3:] if word.startswith("--")]
        assert all(f'"{option}"' in source for option in options), words
    else:
        assert first.startswith(OTHERS), words
        named = [word for word in words if word.startswith(("tests/", "configs/", ".ci/"))]
        assert first == "git" or named, words
        assert all((ROOT / name).exists() for name in named), words


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_exist(document) -> None:
    for words in commands(document):
        check(words)
    spans = [span for span in inline(document) if not PLACEHOLDER.search(span)]
    for span in spans:
        # A command's name alone is no command.
        if re.match(r"([A-Z_]+=\S+ )*(jaxcrystal \w+ .*(--|\.toml)|python -m|pytest |make )", span):
            check(without_environment(shlex.split(span)))
        elif re.match(r"(docs|benchmarks|configs|tests|jaxcrystal)/|[A-Z]+\.(md|cff)$", span):
            assert (ROOT / span).exists(), span


def test_front_page() -> None:
    """Short, with one picture, and with figures that stand in the full account too."""
    text = text_of("README.md")
    assert len(text.split()) <= 900
    (picture,) = re.findall(r"!\[.*?\]\((.*?)\)", text)
    assert (ROOT / picture).stat().st_size < 250_000
    (table,) = re.findall(r"^\| \|.*?\n\n", text, re.MULTILINE | re.DOTALL)
    figures = re.findall(r"\d\.\d{3}|\d+\.\d(?: ± \d\.\d)? %", table)
    assert len(figures) > 8
    assert not [figure for figure in figures if figure not in text_of("benchmarks/README.md")]


def test_citation_is_of_this_version() -> None:
    assert re.search(r"^version: (.*)$", text_of("CITATION.cff"), re.MULTILINE)[1] == jaxcrystal.__version__


def test_orders_of_the_guide(tmp_path) -> None:
    (orders,) = blocks("docs/guide.md", "toml")
    (tmp_path / "orders.toml").write_text(orders)
    requests = read_requests(tmp_path / "orders.toml")
    assert [request.count for request in requests] == [20, 1000]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The README's commands, run in a folder with the user's structures in it."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "my_structures").mkdir()
    for number, element in enumerate(["Li", "Na", "K", "Rb", "Cs", "Ag", "Mg", "Ca"]):
        salt = Structure.from_spacegroup(
            "Fm-3m", Lattice.cubic(5.2 + 0.1 * number), [element, "Cl"], [[0] * 3, [0.5] * 3]
        )
        salt.to(str(folder / "my_structures" / f"{element}.cif"))
    shutil.copytree(ROOT / "configs", folder / "configs")
    jax.devices()  # one, before a command asks for more
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for words in commands("README.md"):
            if words[0] == "jaxcrystal" and not needs_test_set(words):
                assert run_small(words) == 0, words
    return folder


def needs_test_set(words: list[str]) -> bool:
    """Whether a command is one of the section of figures: its data are not in the checkout."""
    return any(word.startswith(("test.", "train.")) for word in words)


def run_small(words: list[str]) -> int:
    """Runs a command with small numbers."""
    name, arguments = words[1], words[1:]
    if name == "train":
        arguments += ["--set", "optimizer.steps=2", "network.dimenet.blocks=1"]
    if name == "sample" and "--formula" in words:
        return cli.main([*arguments, "--plan"])
    if name == "sample":
        arguments[arguments.index("--count") + 1] = "1"
        arguments += ["--steps-per-level", "1"]
    if name == "reconstruct":
        arguments[arguments.index("--samples-per-target") + 1] = "1"
        arguments += ["--max-targets", "1", "--given", "letters", "--steps-per-level", "1"]
        arguments += ["--model", "runs/mine"]  # whose programs are quicker to make
    return cli.main(arguments)


def test_commands_of_the_readme_run(folder) -> None:
    assert len(list((folder / "perovskites" / "parts" / "00000").glob("*.cif"))) == 1
    assert len(list((folder / "letters_drawn" / "parts" / "00000").glob("*.cif"))) == 1
    assert (folder / "perovskites_kept" / "screening.csv").exists()
    assert (folder / "perovskites" / "gallery.html").exists()
    assert not (folder / "cu2ksi").exists()  # it was planned
    assert len(list((folder / "salt" / "parts" / "00000").glob("*.cif"))) == 1
    assert (folder / "evaluation" / "report.html").exists()
    assert (folder / "reconstruction" / "metrics.json").exists()


def test_python_of_the_readme_runs(folder, monkeypatch) -> None:
    script = "\n".join(blocks("README.md", "python"))
    assert script.count("count=64") == 1
    script = script.replace("count=64", "count=1, steps_per_level=1")
    monkeypatch.chdir(folder)
    found: dict[str, Any] = {}
    exec(script, found)
    assert len(found["structures"]) == 1
    assert found["states"].status.tolist() == [0] * 8
