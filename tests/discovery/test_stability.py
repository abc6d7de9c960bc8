"""Samples that are stable, unique and novel, and known crystals matched after a relaxation; by EMT."""

import csv
import json

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

import jaxcrystal as jc
from jaxcrystal.cli import main
from jaxcrystal.discovery import relaxed_samples
from jaxcrystal.discovery.energies import Compound
from jaxcrystal.discovery.relaxation import RelaxSettings, sites_of
from jaxcrystal.discovery.relaxed_samples import relax_samples
from jaxcrystal.discovery.run import Work, entries_of
from jaxcrystal.discovery.stability import Known, known_compounds, stability
from jaxcrystal.errors import RequestError
from jaxcrystal.evaluation import reconstruction
from jaxcrystal.evaluation.matching import best_distances
from jaxcrystal.evaluation.reconstruction import lattice_rows, reconstruct
from jaxcrystal.evaluation.targets import Targets, load_targets
from jaxcrystal.io.convert import pymatgen_json_text
from jaxcrystal.reports.figures import _stability
from jaxcrystal.sampling.sample import sample_orders
from jaxcrystal.symmetry.orbits import expand_crystal
from tests.discovery.crystals import b2, cubic, some
from tests.tiny import make_tiny_model

EMT = RelaxSettings("emt")
QUIET = Work(processes=1, progress=False)
CU3AU = ("Cu", "Cu", "Cu", "Au")
#: Copper that is not as it crystallises, Cu3Au twice, from cells of which one is far off, a known
#: crystal, one of which EMT has no element, and one that is no crystal.
SAMPLES = [
    b2(2.9, "Cu", "Cu"),
    cubic(4.0, *CU3AU),
    cubic(3.75, *CU3AU),
    cubic(3.8, "Au", "Au", "Au", "Cu"),
    cubic(5.0, "Na"),
    b2(1.5, "Cu", "Au"),
]
KNOWN = [cubic(3.6, "Cu"), cubic(4.1, "Au"), cubic(3.9, "Au", "Au", "Au", "Cu")]


def compounds() -> list[Compound]:
    found = jc.relax(KNOWN, "emt")
    return [
        Compound(one.name, s.composition, one.energy_per_atom) for one, s in zip(found, KNOWN, strict=True)
    ]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def found(cache):
    known = Known(compounds(), ("known.json",))
    return stability(entries_of(SAMPLES), known, entries_of(KNOWN), EMT, QUIET, cache)


def test_counts(found) -> None:
    figures, columns = found.figures, found.columns
    assert (figures["samples"], figures["relaxed"]) == (6, 4)
    assert figures["relaxes"] == pytest.approx(4 / 6)
    assert figures["failures"] == {"potential": 1, "overlap": 1}
    assert (figures["potential"], figures["correction"]) == ("emt", "none")
    assert figures["references"] == {"files": ["known.json"], "compounds": 3}
    heights = np.array(columns["e_above_hull"], float)
    # Cu3Au lies below the line from copper to gold, and CuAu3 above it.
    assert heights[1] == pytest.approx(heights[2], abs=1e-4)
    assert heights[1] < -0.001
    assert 0.0 < heights[0] < 0.1
    assert 0.001 < heights[3] < 0.1
    assert np.isnan(heights[4:]).all()
    assert sum(columns["relaxed_unique"][1:3]) == 1
    assert [columns["relaxed_unique"][n] for n in (0, 3, 4, 5)] == [True, True, False, False]
    assert columns["relaxed_novel"] == [True, True, True, False, False, False]
    low, high = figures["stable"]
    assert (low["e_above_hull"], high["e_above_hull"]) == (0.0, 0.1)
    assert low["of"] == high["of"] == 6
    assert (low["stable"], low["stable_unique"], low["stable_unique_novel"]) == (2, 1, 1)
    assert (high["stable"], high["stable_unique"], high["stable_unique_novel"]) == (4, 3, 2)
    assert high["stable_unique_novel_share"] == pytest.approx(2 / 6)


def test_how_far_samples_are(found) -> None:
    """All are cubic without free coordinates: no atom moves, and the energy is that of the cell."""
    columns = found.columns
    relaxed = jc.relax(SAMPLES[:4], "emt")
    before = jc.relax(SAMPLES[:4], "emt", max_steps=0)
    for number in range(4):
        lost = before[number].energy_per_atom - relaxed[number].energy_per_atom
        assert columns["energy_lowered"][number] == pytest.approx(lost, abs=1e-9)
        assert columns["rmsd"][number] == pytest.approx(0.0, abs=1e-9)
    assert columns["energy_lowered"][1] > columns["energy_lowered"][2] > 0
    assert found.figures["energy_lowered"]["mean"] == pytest.approx(np.mean(columns["energy_lowered"][:4]))


def test_atoms_that_move(cache) -> None:
    """In the cell as it was, without what all move together."""
    entry = some(1)[0]
    held = stability([entry], Known(compounds(), ()), None, EMT, QUIET, cache)
    before = expand_crystal(sites_of(entry.structure, EMT.symprec)[0])
    after = jc.relax([entry.structure], "emt")[0].cell
    shifts = after.frac_coords - before.frac_coords
    shifts = (shifts - np.rint(shifts)) @ before.lattice
    shifts -= shifts.mean(0)
    rms = np.sqrt((shifts**2).sum(1).mean())
    assert rms > 0.01
    assert held.columns["rmsd"][0] == pytest.approx(rms, rel=1e-6)
    assert held.figures["rmsd"]["median"] == held.columns["rmsd"][0]
    assert "stable_unique_novel" not in held.figures["stable"][0]  # nothing to be new against
    assert held.columns["relaxed_novel"] == [None]


def test_a_second_run_relaxes_nothing(found, cache, monkeypatch) -> None:
    monkeypatch.setattr(Work, "relax", lambda work, entries, settings: iter([1 / 0] if entries else []))
    known = Known(compounds_again(found), ("known.json",))
    again = stability(entries_of(SAMPLES), known, entries_of(KNOWN), EMT, QUIET, cache)
    assert again.columns["relaxed_energy_per_atom"][:4] == found.columns["relaxed_energy_per_atom"][:4]


def compounds_again(found) -> list[Compound]:
    """The elements at the energies that EMT gives them, nearly 0."""
    return [Compound(name, structure.composition, 0.0) for name, structure in zip("abc", KNOWN, strict=True)]


def test_other_potentials_are_refused(tmp_path) -> None:
    path = tmp_path / "dft.csv"
    path.write_text("formula,energy_per_atom,potential\nCu,-4,PBE\n")
    with pytest.raises(RequestError, match=r"energies of emt .* and of PBE .* do not go on one hull"):
        known_compounds([path], "emt")


def test_rows_of_the_table(found) -> None:
    metrics = json.loads(json.dumps({"stability": found.figures}, default=float))
    names = {row.name: row for row in _stability(metrics["stability"])}
    assert names["relaxes, emt"].value == "0.667"
    assert names["stable, unique and novel (0.1 eV/atom, emt)"].value == "0.333"
    assert names["stable (0 eV/atom, emt)"].of == "6 samples"


@pytest.mark.cli
def test_evaluate_with_a_potential(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("JAXCRYSTAL_CACHE", str(tmp_path / "cache"))
    paths = {name: tmp_path / f"{name}.json" for name in ("samples", "known")}
    for name, structures in (("samples", SAMPLES[:3]), ("known", KNOWN)):
        paths[name].write_text(pymatgen_json_text({f"{name}{n}": s for n, s in enumerate(structures)}))
    references, out = tmp_path / "references.json", tmp_path / "out"
    emt = ["--potential", "emt", "--processes", "1"]
    assert main(["references", str(paths["known"]), *emt, "--out", str(references)]) == 0
    command = ["evaluate", str(paths["samples"]), "--reference", str(paths["known"]), "--no-html"]
    command += ["--train", str(paths["known"]), *emt]
    assert main([*command, "--references", str(references), "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert "stable, unique and novel (0.1 eV/atom, emt)" in said.out
    assert "lower bounds" in said.err
    figures = json.loads((out / "metrics.json").read_text())["stability"]
    assert figures["references"] == {"files": [str(references)], "compounds": 3}
    assert [at["stable_unique_novel"] for at in figures["stable"]] == [1, 2]
    with (out / "per_structure.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["relaxation"] for row in rows] == ["ok"] * 3
    assert float(rows[1]["e_above_hull"]) < 0
    for arguments, words in (
        ([*command, "--out", str(tmp_path / "x")], "--potential and --references go together"),
        ([*command, "--references", "none", "--out", str(tmp_path / "x")], "none does not exist"),
    ):
        assert main(arguments) == 2
        assert words in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_known_crystals_are_found_after_the_relaxation(tmp_path, monkeypatch, capsys) -> None:
    """Starting points, which have any lattice, become the crystals that the targets become."""
    monkeypatch.setenv("JAXCRYSTAL_CACHE", str(tmp_path / "cache"))
    rutile_like = Structure.from_spacegroup(
        "P4/mmm", Lattice.tetragonal(2.8, 7.4), ["Cu", "Cu", "Au"], [[0] * 3, [0.5, 0.5, 0.26], [0, 0, 0.5]]
    )
    known = {"cu3au": cubic(3.72, *CU3AU), "layers": rutile_like}
    for name, structure in known.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(structure.as_dict()))
    targets = Targets.from_dataset(load_targets(tmp_path, tmp_path / "prepared", 1))
    sampled = reconstruct(targets, "letters", 2, make_tiny_model(), random_start=True, processes=1)
    after, about = relax_samples(sampled, EMT, QUIET)
    with monkeypatch.context() as patch:  # each was kept as soon as it was there
        patch.setattr(relaxed_samples, "relax_in_group", None)
        again, told = relax_samples(sampled, EMT, QUIET)
    assert told == about
    np.testing.assert_array_equal(again.distances, after.distances)
    assert after.name == "letters, random start, relaxed"
    assert sampled.name == "letters, random start"
    assert about["samples"] == about["tried"] + sum(
        row.count("invalid") + row.count("flagged") + row.count("other formula") for row in sampled.outcomes
    )
    place = targets.ids.index("cu3au.json")
    best = jc.relax([known["cu3au"]], "emt")[0]
    rows = {row["target"]: row for row in lattice_rows(after)}
    for column in range(2):
        if not np.isnan(after.distances[place, column]):
            lengths, _ = after.sample(place, column).lengths_angles
            assert lengths == pytest.approx([best.cell.lattice[0, 0]] * 3, rel=2e-3)
    assert not np.isnan(best_distances(after.distances, 2)[place])
    assert rows["cu3au.json"]["a_sampled"] == pytest.approx(best.cell.lattice[0, 0], rel=2e-3)
    # What could not be relaxed matches nothing.
    assert np.isnan(after.distances).sum() >= about["samples"] - about["tried"] + sum(
        about["failures"].values()
    )

    def only_start(*arguments):
        return sample_orders(*arguments[:-2], random_start=True)

    monkeypatch.setattr(reconstruction, "sample_orders", only_start)  # no network to compile
    make_tiny_model().save(tmp_path / "model")
    command = ["reconstruct", "--targets", str(tmp_path / "cu3au.json"), "--samples-per-target", "2"]
    command += ["--given", "letters", "--model", str(tmp_path / "model"), "--processes", "1"]
    assert main([*command, "--relax", "emt", "--out", str(tmp_path / "out")]) == 0
    assert "matched before and (relaxed) after relaxation with emt" in capsys.readouterr().out
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["relaxation"] == "emt"
    assert list(metrics["runs"]) == ["letters, random start", "letters", "letters, relaxed"]
    assert metrics["runs"]["letters, relaxed"]["relaxation"]["tried"] <= 2
    with (tmp_path / "out" / "table2.csv").open(newline="") as file:
        lengths = {row["run"]: float(row["a_sampled"]) for row in csv.DictReader(file)}
    assert lengths["letters, relaxed"] == pytest.approx(best.cell.lattice[0, 0], rel=2e-3)
    assert lengths["letters"] != pytest.approx(lengths["letters, relaxed"], rel=2e-3)
    assert main([*command, "--relax", "none", "--out", str(tmp_path / "x")]) == 2
    assert "unknown potential 'none'" in capsys.readouterr().err
