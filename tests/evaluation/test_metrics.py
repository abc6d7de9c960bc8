"""All figures together: denominators, failures, the form of the results."""

import dataclasses
import json
import sys
import types

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from jaxcrystal.errors import DataError
from jaxcrystal.evaluation.metrics import EvaluationSettings, evaluate
from jaxcrystal.io.readers import read_structures
from jaxcrystal.structures.entries import Entry, ordered

WITHOUT_CGCNN = EvaluationSettings(cgcnn=False)


@pytest.fixture(scope="module")
def known() -> list[Entry]:
    """Small prototypes, all different, without californium: CrystalNN has no radius of it."""
    found = [
        (name, ordered(s)) for name, s in read_structures("aflow") if len(s) <= 4 and "Cf" not in s.formula
    ]
    return [Entry(name, structure) for name, structure in found[:16]]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def rocksalt(length: float = 5.6) -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(length), ["Na", "Cl"], [[0] * 3, [0.5] * 3])


def test_the_reference_itself(known, cache) -> None:
    """Everything is covered, nothing is new, all distances vanish."""
    result = evaluate(known, known, known, WITHOUT_CGCNN, processes=1, cache=cache)
    metrics, n = result.metrics, len(known)
    assert metrics["counts"]["samples"] == metrics["counts"]["parsed"] == n
    assert (metrics["counts"]["reference"], metrics["counts"]["train"]) == (n, n)
    expected = {"precision": 1.0, "recall": 1.0, "samples": n, "reference": n}
    expected |= {"structure_distance": 0.0, "composition_distance": 0.0}
    assert metrics["coverage"]["cdvae"] == pytest.approx(expected, abs=1e-6)
    assert metrics["coverage"]["paper"]["precision"] == 1.0
    assert metrics["frechet"]["crystal_nn"]["value"] == pytest.approx(0.0, abs=1e-7)
    assert metrics["wasserstein"]["density"]["value"] < 1.0
    assert metrics["novel"]["share"] == 0.0
    assert metrics["novel"]["valid_unique_novel"] == 0.0
    assert metrics["symmetry"] is None
    assert result.per_structure["structure_distance"] == pytest.approx([0.0] * n)
    assert result.per_structure["known_as"][0] == known[0].name
    assert [entry.name for entry in result.samples] == result.per_structure["id"]
    assert len(result.sample_features) == len(result.reference_features) == n


def test_failures_stay_in_the_denominators(known, cache) -> None:
    close = Structure(Lattice.cubic(4.0), ["Na", "Cl"], [[0, 0, 0], [0.1, 0, 0]])
    unbalanced = Structure(Lattice.cubic(4.0), ["Na", "Cl", "Cl"], [[0] * 3, [0.5] * 3, [0.5, 0.5, 0]])
    samples = [
        Entry("good", rocksalt(), requested_group=225, letters="Na:a Cl:b"),
        Entry("copy", rocksalt(5.7), requested_group=216),
        Entry("unbalanced", unbalanced, requested_group=99),
        Entry("close", close, requested_group=99),
        Entry("flagged", rocksalt(), requested_group=225, flag="images"),
        Entry("gone", None, "damaged", requested_group=225),
        Entry("foreign", known[0].structure),
    ]
    result = evaluate(samples, known, known, WITHOUT_CGCNN, processes=1, cache=cache)
    metrics, table = result.metrics, result.per_structure
    counts = metrics["counts"]
    assert (counts["samples"], counts["parsed"], counts["flagged"]) == (7, 6, 1)
    assert (counts["valid"], counts["composition_valid"], counts["both_valid"]) == (4, 4, 3)
    assert metrics["failures"] == {
        "composition not valid by SMACT": 1,
        "atoms nearer than 0.5 Å": 1,
        "flagged": 1,
        "unparsable": 1,
    }
    assert metrics["validity"] == pytest.approx({"structure": 4 / 7, "composition": 4 / 7, "both": 3 / 7})
    assert metrics["coverage"]["cdvae"]["samples"] == 7
    assert metrics["coverage"]["paper"]["samples"] == 4
    assert metrics["frechet"]["crystal_nn"]["samples"] == 5
    assert metrics["wasserstein"]["density"]["samples"] == 3
    assert metrics["unique"] == {"share": 4 / 7, "unique": 4, "of": 7}
    assert table["unique"] == [True, False, True, True, False, False, True]
    assert table["duplicate_of"] == ["", "good", "", "", "", "", ""]
    assert table["novel"][4:] == [False, False, False]
    assert metrics["novel"]["of"] == 7
    # A sample counts if it is valid, unique and novel at once.
    together = np.array(table["valid"]) & np.array(table["unique"]) & np.array(table["novel"])
    assert metrics["novel"]["valid_unique_novel"] == pytest.approx(together.sum() / 7)
    assert together.sum() >= 1
    # Of the six whose group was asked for: one exact, 216 and 99 with more symmetry than asked for.
    strict = metrics["symmetry"]["0.01"]
    assert strict["of"] == 6
    assert strict["exact"] == pytest.approx(
        sum(g == r for g, r in zip(table["found_group_0.01"][:4], table["requested_group"][:4], strict=True))
        / 6
    )
    assert strict["supergroup"] >= 1 / 6
    assert table["requested_group"][-1] is None
    assert table["reason"][4:6] == ["flagged: images", "unparsable: damaged"]
    assert table["shortest_distance"][5] is None


def test_results_are_ready_for_files(known, cache) -> None:
    result = evaluate(
        [Entry("gone", None, "damaged"), known[0]], known, None, WITHOUT_CGCNN, processes=1, cache=cache
    )
    text = json.dumps(result.metrics, allow_nan=False)
    assert json.loads(text) == result.metrics
    json.dumps(result.per_structure, allow_nan=False)
    assert {len(column) for column in result.per_structure.values()} == {2}
    assert result.metrics["novel"] is None
    assert result.metrics["counts"]["train"] is None
    assert result.per_structure["novel"] == [None, None]
    assert set(result.metrics["versions"]) == {"matminer", "smact", "spglib", "pymatgen"}
    assert result.metrics["settings"]["seed"] == 0


def test_nothing_but_failures(known, cache) -> None:
    result = evaluate([Entry("gone", None, "damaged")], known, known, WITHOUT_CGCNN, processes=1, cache=cache)
    metrics = result.metrics
    assert metrics["validity"] == {"structure": 0.0, "composition": 0.0, "both": 0.0}
    assert metrics["coverage"]["cdvae"]["precision"] == 0.0
    assert metrics["coverage"]["paper"]["precision"] is None
    assert metrics["frechet"]["crystal_nn"] == {"value": None, "samples": 0, "reference": len(known)}
    assert metrics["unique"]["share"] == 0.0
    assert metrics["novel"]["share"] == 0.0


def test_reference_of_supported_groups(known, cache) -> None:
    settings = dataclasses.replace(WITHOUT_CGCNN, min_space_group=195)
    result = evaluate(known, known, None, settings, processes=1, cache=cache)
    assert 0 < result.metrics["counts"]["reference"] < len(known)
    assert (result.reference_features.found_groups[:, 1] >= 195).all()
    assert len(result.reference) == result.metrics["coverage"]["cdvae"]["reference"]
    settings = dataclasses.replace(WITHOUT_CGCNN, min_space_group=231)
    with pytest.raises(DataError, match="no reference structure of group 231"):
        evaluate(known, known, None, settings, processes=1, cache=cache)
    with pytest.raises(DataError, match="no samples"):
        evaluate([], known)


def test_draws_are_recorded(known, cache) -> None:
    settings = dataclasses.replace(WITHOUT_CGCNN, draw=10)
    metrics = evaluate(known, known, None, settings, processes=1, cache=cache).metrics
    assert (metrics["frechet"]["crystal_nn"]["samples"], metrics["frechet"]["crystal_nn"]["reference"]) == (
        10,
        10,
    )
    assert metrics["wasserstein"]["density"]["samples"] <= 10
    assert metrics["wasserstein"]["density"]["reference"] == len(known)
    assert metrics["coverage"]["cdvae"]["samples"] == len(known)


def test_activations_that_are_missing_are_left_out(known, cache, monkeypatch) -> None:
    """The numbers used are said; both sets come from one call, samples first."""
    samples = [Entry("gone", None, "damaged"), *known[:6]]
    calls = []

    def activations(structures, processes=None):
        calls.append(structures)
        rows = np.array([[s.volume, len(s)] for s in structures], float)
        rows[0] = np.nan
        return rows

    fake = types.ModuleType("cgcnn")
    fake.activations = activations
    monkeypatch.setitem(sys.modules, "jaxcrystal.cgcnn.model", fake)
    found = evaluate(samples, known, None, processes=1, cache=cache).metrics["frechet"]["cgcnn"]
    assert [len(structures) for structures in calls] == [6 + len(known)]
    assert (found["samples"], found["reference"]) == (5, len(known))
    assert found["value"] > 0.0
