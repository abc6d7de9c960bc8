"""The report: complete, alone, and the same every time."""

import base64
import dataclasses
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from jaxcrystal.evaluation.coverage import coverage
from jaxcrystal.evaluation.fingerprints import Features
from jaxcrystal.evaluation.metrics import Evaluation
from jaxcrystal.reports.figures import differences, summary, text_table
from jaxcrystal.reports.report import ranked, render
from jaxcrystal.structures.entries import Entry

_EMPTY = {"meta", "img", "br", "link"}
SOURCES = {"samples": "run1", "reference": "test.csv.gz"}


def crystal(anion: str, length: float = 5.0) -> Structure:
    return Structure(Lattice.cubic(length), ["Na", anion], [[0, 0, 0], [0.5, 0.5, 0.5]])


def features_of(entries: list[Entry], valid: list[bool], structure: np.ndarray) -> Features:
    """Features with chosen structure fingerprints (first component) and equal compositions."""
    n = len(entries)
    there = np.array([entry.structure is not None for entry in entries])
    fingerprints = np.zeros((n, 61))
    fingerprints[:, 0] = structure
    fingerprints[~there] = np.nan
    composition = np.where(there[:, None], np.arange(132.0), np.nan)
    return Features(
        structure=fingerprints,
        composition=composition,
        shortest_distance=np.where(there, np.linspace(0.1, 3.0, n), np.nan),
        volume=np.where(there, 125.0, np.nan),
        density=np.where(there, np.linspace(1.0, 4.0, n), np.nan),
        num_elements=np.where(there, 2, 0),
        num_atoms=np.where(there, 2, 0),
        valid=np.array(valid),
        composition_valid=there,
        found_groups=np.where(there[:, None], [[99, 221, 221]], 0),
        reasons=["" if ok else "atoms nearer than 0.5 Å" if e.structure else "unparsable: no atoms"
                 for ok, e in zip(valid, entries, strict=True)],
    )  # fmt: skip


def make_evaluation() -> Evaluation:
    """Five samples: collapsed, unreadable (with a hostile name), and three valid ones."""
    samples = [
        Entry("collapsed", crystal("Cl"), requested_group=221),
        Entry("<script>alert(1)</script>", None, "no atoms", requested_group=221),
        *(Entry(f"valid-{n}", crystal("Br"), requested_group=221) for n in range(3)),
    ]
    reference = [Entry(f"known-{n}", crystal("I" if n else "Br")) for n in range(4)]
    ours = features_of(samples, [False, False, True, True, True], np.array([9.0, 0.0, 0.7, 0.1, 0.3]))
    theirs = features_of(reference, [True] * 4, np.array([0.0, 0.0, 0.0, 5.0]))
    coverages = {name: coverage(ours, theirs, name) for name in ("cdvae", "paper")}
    n = len(samples)
    columns = {
        "id": [entry.name for entry in samples],
        "formula": ["" if entry.structure is None else entry.structure.reduced_formula for entry in samples],
        "requested_group": [221] * n,
        "found_group_0.1": ours.found_groups[:, 1].tolist(),
        "valid": ours.valid.tolist(),
        "reason": ours.reasons,
        "shortest_distance": [None if np.isnan(x) else float(x) for x in ours.shortest_distance],
        "structure_distance": [None if np.isnan(x) else x for x in coverages["cdvae"].structure_distances],
        "composition_distance": [None if x is None else 0.0 for x in ours.volume.tolist()],
    }
    metrics = {
        "counts": {
            "samples": 5, "parsed": 4, "flagged": 0, "valid": 3, "composition_valid": 4, "both_valid": 3,
            "reference": 4, "train": 7,
        },
        "failures": {"atoms nearer than 0.5 Å": 1, "unparsable": 1},
        "validity": {"structure": 0.6, "composition": 0.8, "both": 0.6},
        "coverage": {
            name: {key: getattr(c, key) for key in ("precision", "recall", "samples", "reference")}
            for name, c in coverages.items()
        },
        "frechet": {
            "crystal_nn": {"value": 0.123, "samples": 4, "reference": 4},
            "cgcnn": {"value": None, "samples": 0, "reference": 0},
        },
        "wasserstein": {
            "density": {"value": 0.456, "samples": 3, "reference": 4},
            "num_elements": {"value": 0.0, "samples": 3, "reference": 4},
        },
        "unique": {"share": 0.4, "unique": 2, "of": 5},
        "novel": {"share": 0.2, "novel": 1, "of": 5, "valid_unique_novel": 0.2},
        "symmetry": {
            "0.01": {"exact": 0.2, "supergroup": 0.4, "of": 5},
            "0.1": {"exact": 0.6, "supergroup": 0.0, "of": 5},
            "0.3": {"exact": 0.8, "supergroup": 0.0, "of": 5},
        },
        "versions": {"smact": "4.0.2", "matminer": "0.10.1"},
        "settings": {
            "structure_cutoff": 0.4, "composition_cutoff": 10.0, "min_space_group": 16, "symprec": 0.1,
            "oxidation_states": "smact14",
        },
    }  # fmt: skip
    return Evaluation(metrics, columns, samples, ours, reference, theirs, coverages)


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return make_evaluation()


@pytest.fixture(scope="module")
def page(evaluation) -> str:
    return render(evaluation, SOURCES)


class Reader(HTMLParser):
    """Holds the nesting, and what is loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.seen: set[str] = set()
        self.text: list[str] = []
        self.described = True

    def handle_starttag(self, tag, attrs) -> None:
        self.seen.add(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href", "srcset", "action")]
        if tag == "img":
            self.described &= bool(dict(attrs).get("alt"))
        if tag not in _EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        self.text.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def test_page_stands_alone(page) -> None:
    reader = read(page)
    assert not reader.seen & {"script", "link", "iframe", "object"}
    assert reader.sources
    assert reader.described
    assert all(source.startswith("data:image/svg+xml;base64,") for source in reader.sources)
    assert "http" not in page
    assert "url(" not in page
    for source in reader.sources:
        drawn = base64.b64decode(source.split(",", 1)[1]).decode()
        ElementTree.fromstring(drawn)
        outside = re.findall(r'href="([^#][^"]*)"', drawn)
        assert [link for link in outside if not link.startswith("data:")] == []


def test_page_says_everything(evaluation, page) -> None:
    text = "\n".join(read(page).text)
    for row in summary(evaluation.metrics):
        for word in (row.name, row.value, row.of, row.paper, row.real):
            assert word in text
    for sentence in differences(evaluation.metrics):
        assert sentence in text
    assert "run1" in text
    assert "unparsable: no atoms" in text
    assert "20.0 %" in text  # one of five
    assert "smact14" in text
    # names of files are text, not tags
    assert "<script>alert(1)</script>" in text


def test_page_is_the_same_in_another_process(page) -> None:
    """Where sets and names have another order, and nothing was drawn before."""
    script = "from tests.reports.test_report import *; sys.stdout.write(render(make_evaluation(), SOURCES))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        encoding="utf-8",
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONHASHSEED": "1", "PYTHONIOENCODING": "utf-8"},
    )
    assert done.stdout == page, done.stderr[-3000:]


def test_best_and_worst(evaluation, page) -> None:
    nearest, farthest, failed = ranked(evaluation)
    assert nearest == [3, 4, 2]
    assert farthest == [2, 4, 3]
    assert failed == [0]  # what could not be read cannot be drawn; it is listed by name
    pictures = [page.index(f"<br>{name}</figcaption>") for name in ("valid-1", "valid-2", "valid-0")]
    assert pictures == sorted(pictures)
    assert "<br>collapsed</figcaption>" in page


def test_page_without_novelty_symmetry_or_anything_valid(evaluation) -> None:
    nothing = dataclasses.replace(evaluation.sample_features, valid=np.zeros(5, bool))
    coverages = {
        name: coverage(nothing, evaluation.reference_features, name) for name in evaluation.coverages
    }
    metrics = evaluation.metrics | {"novel": None, "symmetry": None, "failures": {}}
    metrics["coverage"] = {
        "cdvae": evaluation.metrics["coverage"]["cdvae"],
        "paper": {"precision": None, "recall": 0.0, "samples": 0, "reference": 4},
    }
    columns = evaluation.per_structure | {"valid": [False] * 5, "requested_group": [None] * 5}
    page = render(
        dataclasses.replace(
            evaluation,
            metrics=metrics,
            per_structure=columns,
            sample_features=nothing,
            coverages=coverages,
        )
    )
    text = "\n".join(read(page).text)
    assert "not known for these samples" in text
    assert "None can be drawn." in text
    assert "novel" not in [row.name for row in summary(metrics)]


def test_long_lists_of_failures_are_cut(evaluation) -> None:
    columns = {name: column * 20 for name, column in evaluation.per_structure.items()}
    text = "\n".join(read(render(dataclasses.replace(evaluation, per_structure=columns))).text)
    assert text.count("unparsable: no atoms") == 20
    columns = {name: column * 30 for name, column in evaluation.per_structure.items()}
    text = "\n".join(read(render(dataclasses.replace(evaluation, per_structure=columns))).text)
    assert "... and 20 more in per_structure.csv" in text


def test_figures_and_their_denominators(evaluation) -> None:
    rows = {row.name: row for row in summary(evaluation.metrics)}
    assert (rows["valid structure"].value, rows["valid structure"].of) == ("0.600", "5 samples")
    ours = rows["COV-P, the paper's protocol"]
    # two of the three valid samples are nearer than 0.4
    assert (ours.value, ours.of, ours.paper, ours.real) == ("0.667", "3 valid samples", "0.972", "0.998")
    assert rows["COV-R, the paper's protocol"].paper == "0.965"
    theirs = rows["COV-P, CDVAE's protocol"]
    assert (theirs.value, theirs.of, theirs.paper, theirs.real) == (
        "0.400",
        "5 samples, valid or not",
        "",
        "",
    )
    assert (rows["FD CrystalNN"].value, rows["FD CrystalNN"].better) == ("0.123", "low")
    assert (rows["FD CGCNN"].value, rows["FD CGCNN"].paper) == ("–", "0.682")
    assert rows["exactly the group asked for (0.1 Å)"].value == "0.600"


def test_differences_follow_what_was_done(evaluation) -> None:
    text = " ".join(differences(evaluation.metrics))
    assert "FD CrystalNN is taken over 4 structures" in text
    assert "FD CGCNN is taken" not in text  # there is none
    assert "groups below 16" in text
    many = {"value": 0.1, "samples": 1000, "reference": 1000}
    metrics = evaluation.metrics | {
        "frechet": {"crystal_nn": many, "cgcnn": many},
        "settings": evaluation.metrics["settings"] | {"min_space_group": 1},
    }
    text = " ".join(differences(metrics))
    assert "is taken over" not in text
    assert "groups below" not in text


def test_table_for_the_terminal(evaluation) -> None:
    lines = text_table(evaluation.metrics).splitlines()
    assert len(lines) == 1 + len(summary(evaluation.metrics))
    assert lines[0].split() == ["value", "of", "paper", "paper,", "real"]
    (line,) = [line for line in lines if line.startswith("COV-P, the paper's protocol")]
    assert line.split()[-5:] == ["3", "valid", "samples", "0.972", "0.998"]
    assert max(map(len, lines)) <= 110
