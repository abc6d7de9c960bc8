"""Known crystals sampled again: targets, figures, files of the command."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from jaxcrystal import cli
from jaxcrystal.data.dataset import Dataset
from jaxcrystal.errors import DataError, Status
from jaxcrystal.evaluation import reconstruction
from jaxcrystal.evaluation import targets as targets_module
from jaxcrystal.evaluation.reconstruction import (
    OUTCOMES,
    Reconstruction,
    lattice_rows,
    reconstruct,
    sample_rows,
    target_rows,
)
from jaxcrystal.evaluation.targets import GIVEN, Targets, choose, load_targets
from jaxcrystal.io.readers import read_structures
from jaxcrystal.requests.candidates import Candidate
from jaxcrystal.sampling.sample import sample_orders
from jaxcrystal.structures.finished import Drawn, Samples, finish
from jaxcrystal.symmetry.lattice import LENGTH_SCALE
from jaxcrystal.symmetry.wyckoff import wyckoff_positions
from tests.tiny import make_tiny_model


def structures() -> dict[str, Structure]:
    make = Structure.from_spacegroup
    return {
        "perovskite": make(
            "Pm-3m", Lattice.cubic(4.0), ["Ba", "Ti", "O"], [[0] * 3, [0.5] * 3, [0.5, 0.5, 0]]
        ),
        "rocksalt": make("Fm-3m", Lattice.cubic(5.6), ["Na", "Cl"], [[0] * 3, [0.5] * 3]),
        "rutile": make("P4_2/mnm", Lattice.tetragonal(4.6, 2.96), ["Ti", "O"], [[0] * 3, [0.305, 0.305, 0]]),
        "wurtzite": make(
            "P6_3mc",
            Lattice.hexagonal(3.82, 6.26),
            ["Zn", "S"],
            [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.375]],
        ),
        "marcasite": make(
            "Pnnm", Lattice.orthorhombic(4.44, 5.41, 3.38), ["Fe", "S"], [[0] * 3, [0.2, 0.378, 0]]
        ),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The structures as files, with a monoclinic one and one that cannot be read."""
    folder = tmp_path_factory.mktemp("structures")
    for name, structure in structures().items():
        (folder / f"{name}.json").write_text(json.dumps(structure.as_dict()))
    skewed = Structure.from_spacegroup(
        "P2_1/c", Lattice.monoclinic(5, 5.2, 5.4, 99), ["Zr", "O"], [[0.28, 0.04, 0.21], [0.07, 0.33, 0.34]]
    )
    (folder / "skewed.json").write_text(json.dumps(skewed.as_dict()))
    (folder / "broken.cif").write_text("data_nothing\n")
    return folder


@pytest.fixture(scope="module")
def dataset(folder, tmp_path_factory) -> Dataset:
    return load_targets(folder, tmp_path_factory.mktemp("prepared"), processes=1)


@pytest.fixture(scope="module")
def chosen(dataset) -> Dataset:
    return choose(dataset, min_space_group=16)


@pytest.fixture(scope="module")
def targets(chosen) -> Targets:
    return Targets.from_dataset(chosen)


@pytest.fixture(scope="module")
def tiny():
    return make_tiny_model()


def true_samples(dataset: Dataset, targets: Targets, count: int, change=lambda place, x, p: (x, p, 0)):
    """The targets themselves as if they had been sampled, or changed: site coordinates, lattice, flags."""
    samples = []
    for row, order in enumerate(targets.orders["letters"]):
        sites = dataset.sites(row)
        names = [p.letter for p in wyckoff_positions(order.space_group)]
        letters = np.array(names)[dataset.letters[sites]]
        by_element = np.lexsort((letters, dataset.species[sites]))
        assert tuple(dataset.species[sites][by_element]) == order.species
        for number in range(count):
            place = row * count + number
            candidate = Candidate(place, order, number, tuple(letters[by_element].tolist()))
            coords, params, flags = change(
                place, dataset.frac_coords[sites][by_element], dataset.lattice_params[row]
            )
            drawn = Drawn(coords, params, flags, np.zeros(2), None)
            samples.append(finish(candidate, candidate.template(), drawn, 0.3))
    return Samples(samples)


@pytest.fixture
def matched(targets, tiny, monkeypatch):
    def match(samples: Samples) -> Reconstruction:
        monkeypatch.setattr(reconstruction, "sample_orders", lambda *_: samples)
        return reconstruct(targets, "letters", len(samples) // len(targets), tiny, processes=1)

    return match


def test_what_is_chosen(dataset) -> None:
    assert len(dataset) == 6
    assert dataset.info["rejected"] == {"unparsable": 1}
    assert len(choose(dataset)) == 6
    high = choose(dataset, min_space_group=16)
    assert sorted(map(str, high.ids)) == sorted(f"{name}.json" for name in structures())
    assert len(choose(high, max_sites=2)) == 4
    few = choose(dataset, 3, seed=1)
    assert list(few.ids) == list(choose(dataset, 3, seed=1).ids)
    assert len(few) == 3
    with pytest.raises(DataError, match="no target of a group from 16 to 230 with at most 1 sites among 6"):
        choose(dataset, max_sites=1, min_space_group=16)


def test_targets_are_the_structures(targets) -> None:
    matcher = StructureMatcher(ltol=0.01, stol=0.01, angle_tol=0.1, scale=False)
    for row, name in enumerate(targets.ids):
        known = structures()[name.removesuffix(".json")]
        assert matcher.fit(targets.structures[row], known)
        assert targets.formulas[row] == known.reduced_formula
        assert targets.volumes[row] == pytest.approx(known.volume / len(known))
        assert sorted(targets.lengths[row]) == pytest.approx(sorted(known.lattice.abc))
    of = {name: row for row, name in enumerate(targets.ids)}
    assert targets.letters[of["perovskite.json"]].replace(" ", "") in ("O:cTi:bBa:a", "O:dTi:aBa:b")
    assert targets.free_coords[of["rocksalt.json"]] == 0
    assert targets.free_coords[of["rutile.json"]] == 1
    assert targets.free_coords[of["wurtzite.json"]] == 1  # two, less the free origin
    assert targets.families[of["wurtzite.json"]] == "hexagonal"
    assert targets.families[of["marcasite.json"]] == "orthorhombic"


def test_what_is_given(targets) -> None:
    assert GIVEN == ("letters", "free", "drawn", "ranked", "nearest")
    for row in range(len(targets)):
        letters, free, drawn, ranked, nearest = (targets.orders[given][row] for given in GIVEN)
        assert (letters.mode, free.mode, drawn.mode) == ("given", "free", "auto")
        assert (ranked.mode, nearest.mode) == ("ranked", "nearest")
        assert letters.letters
        assert not free.letters
        assert not drawn.letters
        assert letters.species == free.species == drawn.species
        assert letters.num_sites == targets.num_sites[row]


def test_true_crystals_are_all_found(chosen, targets, matched) -> None:
    found = matched(true_samples(chosen, targets, 2))
    figures = found.figures()
    assert [match["k"] for match in figures["match"]] == [1, 2]
    for match in figures["match"]:
        assert (match["rate"], match["metre"], match["matched"]) == (1.0, 1.0, 5)
        assert match["rmse"] == pytest.approx(0.0, abs=1e-6)
        assert match["crmse"] == pytest.approx(0.0, abs=1e-6)
        for split in ("by_free_coords", "by_sites", "by_family"):
            assert sum(of["targets"] for of in match[split].values()) == 5
            assert all(of["rate"] == 1.0 for of in match[split].values())
    for of in ("all", "matched"):
        assert figures["lattice_errors"][of] == {
            "lengths": pytest.approx(0.0, abs=1e-6),
            "volume": pytest.approx(0.0, abs=1e-6),
            "structures": 10,
        }
    assert figures["group_as_asked"] == figures["valid"] == figures["formula_as_target"] == 1.0


def test_failures_stay_in_the_denominator(chosen, targets, matched) -> None:
    """Of two each: the first target's are flagged, the second's collapse, of the third's one is good."""

    def change(place, coords, params):
        if place < 2:
            return coords, params, int(Status.NON_FINITE)
        if place < 4:
            return coords, np.where(np.arange(6) < 3, params - 20.0, params), 0
        if place == 4:
            return coords, params, int(Status.IMAGES)
        return coords, params, 0

    found = matched(true_samples(chosen, targets, 2, change))
    figures = found.figures()
    one, two = figures["match"]
    assert (one["rate"], two["rate"]) == (2 / 5, 3 / 5)
    assert two["crmse"] == pytest.approx(2 / 5 * 0.5, abs=1e-6)
    assert figures["flagged"] == 3 / 10
    assert figures["samples_by_outcome"]["flagged"] == 3
    assert sum(figures["samples_by_outcome"].values()) == 10
    assert figures["targets_by_outcome"]["match"] == 3
    assert figures["lattice_errors"]["all"]["structures"] == 10
    assert figures["lattice_errors"]["matched"]["structures"] == 5
    rows = target_rows(found)
    assert [row["outcome"] for row in rows[:1]] == ["flagged"]
    assert all(row["outcome"] in OUTCOMES for row in rows)
    assert len(sample_rows(found)) == 10
    assert [row["target"] for row in lattice_rows(found)] == targets.ids[2:]
    assert lattice_rows(found)[0]["samples_matched"] == 1
    # the second of the third target's samples is the best one
    assert lattice_rows(found)[0]["best_sample"] == found.sample(2, 1).name


def test_a_lattice_that_is_off_matches_and_is_told(chosen, targets, matched) -> None:
    """StructureMatcher rescales the volume: without lattice errors, nobody would see it."""
    samples = true_samples(chosen, targets, 1)
    lengths = np.array([sample.lengths_angles[0] for sample in samples])

    def widen(place, coords, params):
        wide = LENGTH_SCALE * np.log(np.expm1(1.1 * lengths[place] / LENGTH_SCALE))
        # lengths that the family ties stay tied: the parameters of those are 0
        return coords, np.where(params != 0, np.concatenate([wide, params[3:]]), 0.0), 0

    found = matched(true_samples(chosen, targets, 1, widen))
    figures = found.figures()
    assert figures["match"][0]["rate"] == 1.0
    assert figures["lattice_errors"]["matched"]["lengths"] == pytest.approx(0.1)
    assert figures["lattice_errors"]["matched"]["volume"] == pytest.approx(1.1**3 - 1)
    for row in lattice_rows(found):
        assert row["length_error"] == pytest.approx(0.1)
        assert row["a_sampled"] == pytest.approx(1.1 * row["a_reference"])


@pytest.mark.parity
def test_random_starts_match_as_in_a_direct_loop(targets, tiny) -> None:
    kept: list[Samples] = []
    found = reconstruct(targets, "letters", 3, tiny, random_start=True, processes=1, keep=kept.append)
    assert kept == [found.samples]
    matcher = StructureMatcher(stol=0.5, ltol=0.3, angle_tol=10)
    for row, target in enumerate(targets.structures):
        for column in range(3):
            sample = found.sample(row, column)
            assert sample.order == targets.orders["letters"][row]
            direct = matcher.get_rms_dist(target, sample.to_pymatgen()) if sample.valid else None
            assert np.isnan(found.distances[row, column]) == (direct is None)
            if direct is not None:
                assert found.distances[row, column] == pytest.approx(direct[0], abs=1e-4)
    assert found.name == "letters, random start"
    # all of rocksalt's sites are fixed: any lattice matches
    rocksalt = targets.ids.index("rocksalt.json")
    assert found.figures()["match"][0]["by_free_coords"]["0"]["rate"] >= 0.5
    assert not np.isnan(found.distances[rocksalt]).any()


@pytest.mark.parity
def test_rates_of_50_prototypes_are_those_of_a_direct_loop(aflow, tiny) -> None:
    """Against the library's own structures, and samples as full cells: nothing of `Targets` is used."""
    targets = Targets.from_dataset(choose(aflow, 50, max_sites=4))
    found = reconstruct(targets, "letters", 2, tiny, random_start=True, processes=1)
    known = dict(read_structures("aflow"))
    matcher = StructureMatcher(stol=0.5, ltol=0.3, angle_tol=10)
    best = []
    for row, name in enumerate(targets.ids):
        samples = [
            sample.to_pymatgen() if sample.valid else None
            for sample in (found.sample(row, n) for n in (0, 1))
        ]
        distances = [None if s is None else matcher.get_rms_dist(known[name], s) for s in samples]
        best.append([np.inf if distance is None else distance[0] for distance in distances])
    matched = np.isfinite(best)
    assert len(matched) == 50
    one, two = found.figures()["match"]
    assert one["rate"] == matched[:, 0].mean()
    assert two["rate"] == matched.any(1).mean()
    assert 0.2 < one["rate"] < two["rate"] < 1
    assert two["rmse"] == pytest.approx(np.min(best, axis=1)[matched.any(1)].mean(), abs=1e-3)
    assert sum(split["targets"] for split in two["by_free_coords"].values()) == 50


def test_targets_of_one_order_get_the_same_samples(chosen, tiny) -> None:
    twice = Targets.from_dataset(chosen.select([0, 0]))
    found = reconstruct(twice, "drawn", 2, tiny, random_start=True, processes=1)
    first, second = (np.array([found.sample(row, n).lattice for n in range(2)]) for row in range(2))
    assert np.array_equal(first, second)


@pytest.mark.cli
def test_command(folder, tiny, tmp_path, capsys, caplog) -> None:
    tiny.save(tmp_path / "model")
    out = tmp_path / "found"
    arguments = [
        *("reconstruct", "--targets", str(folder), "--out", str(out), "--model", str(tmp_path / "model")),
        *("--samples-per-target", "2", "--steps-per-level", "2", "--max-sites", "2", "--processes", "1"),
        *("--min-space-group", "16"),
        *("--given", "letters", "--batch-size", "8", "--format", "json,extxyz"),
    ]
    assert cli.main(arguments) == 0
    printed = capsys.readouterr()
    assert "4 targets (" in printed.out
    assert "Of 6 in the file left out: 1 of lower groups, 1 of more sites" in printed.out
    assert "letters, random start" in printed.out
    assert "never seen S, Fe, Zn" in caplog.text

    metrics = json.loads((out / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert metrics["targets"] == {
        "used": 4,
        "in_file": 6,
        "below_min_space_group": 1,
        "above_max_sites": 1,
        "not_drawn": 0,
        "refused_in_preparation": {"unparsable": 1},
        "same_order_as_another": 0,
    }
    assert list(metrics["runs"]) == ["letters, random start", "letters"]
    assert "broken.cif" in (out / "rejected.csv").read_text()

    def read(name: str) -> list[dict[str, str]]:
        with (out / name).open(newline="") as file:
            return list(csv.DictReader(file))

    assert len(read("per_target.csv")) == 2 * 4
    assert len(read("per_sample.csv")) == 2 * 4 * 2
    for name, figures in metrics["runs"].items():
        rows = [row for row in read("per_target.csv") if row["run"] == name]
        assert sum(row["outcome"] == "match" for row in rows) == figures["match"][-1]["matched"]
    matched_rows = [row["target"] for row in read("per_target.csv")[4:] if row["outcome"] == "match"]
    assert [row["target"] for row in read("table2.csv")] == matched_rows
    saved = json.loads((out / "samples" / "letters" / "structures.json").read_text())
    listed = [row["sample"] for row in read("per_sample.csv") if row["run"] == "letters"]
    assert list(saved) == listed
    assert (out / "samples" / "letters" / "summary.csv").exists()
    assert (out / "samples" / "letters" / "structures.extxyz").exists()

    assert cli.main(arguments) == 2
    assert "is not empty" in capsys.readouterr().err


def test_the_same_command_begins_again_what_was_ended(folder, tiny, tmp_path, monkeypatch, capsys) -> None:
    """Whatever of it is there; another command, or the same one after its end, is refused."""
    tiny.save(tmp_path / "model")
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    arguments = [
        *("reconstruct", "--targets", str(folder), "--model", str(tmp_path / "model"), "--given", "letters"),
        *("--samples-per-target", "1", "--steps-per-level", "2", "--max-sites", "2", "--processes", "1"),
        *("--min-space-group", "16", "--batch-size", "8", "--format", "json", "--out"),
    ]

    def contents(out) -> dict[str, str]:
        found = {
            str(p.relative_to(out)): p.read_text(errors="replace") for p in out.rglob("*") if p.is_file()
        }
        metrics = json.loads(found.pop("metrics.json"))
        for run in metrics["runs"].values():
            run.pop("seconds")
        metrics["settings"].pop("out")
        return found | {"metrics": json.dumps(metrics)}

    assert cli.main([*arguments, str(whole)]) == 0
    assert json.loads((whole / "metrics.json").read_text())["complete"] is True

    match, prepare = reconstruction.rms_distances, targets_module.prepare
    for place, original, which in (
        (reconstruction, match, 1),
        (targets_module, prepare, 1),
        (reconstruction, match, 2),
    ):
        calls: list[object] = []

        def ended(*given, original=original, which=which, calls=calls, **named):
            calls.append(original(*given, **named))
            if len(calls) == which:
                raise KeyboardInterrupt
            return calls[-1]

        monkeypatch.setattr(place, original.__name__, ended)
        assert cli.main([*arguments, str(broken)]) == 130
        monkeypatch.setattr(place, original.__name__, original)
    assert json.loads((broken / "metrics.json").read_text())["complete"] is False
    assert (broken / "samples").exists()
    assert cli.main([*arguments, str(broken), "--seed", "1"]) == 2
    assert cli.main([*arguments, str(broken)]) == 0
    assert contents(broken) == contents(whole)
    capsys.readouterr()
    assert cli.main([*arguments, str(broken)]) == 2
    assert "is not empty: choose another --out" in capsys.readouterr().err


def test_free_sites_stand_beside_the_baseline_with_letters(folder, tiny, tmp_path, monkeypatch) -> None:
    def only_start(*arguments) -> Samples:
        return sample_orders(*arguments[:-2], random_start=True)

    monkeypatch.setattr(reconstruction, "sample_orders", only_start)  # no network to compile
    tiny.save(tmp_path / "model")
    targets = ["--targets", str(folder), "--samples-per-target", "1", "--processes", "1"]
    some = ["--max-targets", "1", "--max-sites", "2", "--min-space-group", "16", "--seed", "3"]
    rest = ["--model", str(tmp_path / "model"), "--given", "free", "--out", str(tmp_path / "found")]
    assert cli.main(["reconstruct", *targets, *some, *rest]) == 0
    metrics = json.loads((tmp_path / "found" / "metrics.json").read_text())
    counts, runs = metrics["targets"], metrics["runs"]
    assert [counts[key] for key in ("used", "below_min_space_group", "above_max_sites", "not_drawn")] == [
        1,
        1,
        1,
        3,
    ]
    assert counts["in_file"] == 6
    assert list(runs) == ["free, random start", "free", "letters, random start"]
    assert [path.name for path in (tmp_path / "found" / "samples").iterdir()] == ["free"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--samples-per-target", "0"], "--samples-per-target is 0"),
        (["--max-targets", "0"], "--max-targets is 0"),
        (["--tau", "-1"], "--tau is -1.0"),
        (["--format", "pdb"], "unknown format 'pdb'"),
        (["--model", "/nowhere"], "/nowhere holds no model"),
        (["--targets", "/nowhere.npz"], "/nowhere.npz does not exist"),
        (["--targets", "/nowhere"], "/nowhere does not exist"),
        (["--max-sites", "1"], "no target of a group"),
        (["--dask", "tcp://127.0.0.1:1"], "no dask scheduler at tcp://127.0.0.1:1 ("),
    ],
)
def test_mistakes_are_one_line(dataset, tiny, tmp_path, capsys, monkeypatch, more, message) -> None:
    monkeypatch.setattr("jaxcrystal.workers._CLUSTER_TIMEOUT", 1.0)
    tiny.save(tmp_path / "model")
    dataset.save(tmp_path / "targets.npz")
    given = ["--targets", str(tmp_path / "targets.npz"), "--model", str(tmp_path / "model")]
    assert cli.main(["reconstruct", *given, "--out", str(tmp_path / "out"), *more]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err
    assert printed.err.count("\n") == 1
    if "--dask" in more:  # known before anything is written or sampled
        assert not (tmp_path / "out").exists()
