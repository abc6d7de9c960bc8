"""Discoveries by EMT: what is in the folder, that interrupted ones end the same, and what is refused."""

import csv
import gzip
import json
import os
import random
import re
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Composition

from jaxcrystal import cli
from jaxcrystal.commands import discover as command_module
from jaxcrystal.diffusion.langevin import LangevinConfig
from jaxcrystal.discovery import rounds, stages
from jaxcrystal.discovery.discover import STAGES
from jaxcrystal.discovery.energies import read_energies
from jaxcrystal.discovery.found import Discovery
from jaxcrystal.discovery.potentials import Energies
from jaxcrystal.discovery.references import write_references
from jaxcrystal.discovery.relaxation import RelaxSettings
from jaxcrystal.discovery.run import Work
from jaxcrystal.discovery.stages import DiscoverSettings
from jaxcrystal.io.convert import pymatgen_json_text
from jaxcrystal.model import Model
from jaxcrystal.requests.pool import Pool
from jaxcrystal.sampling.run import RunSettings
from jaxcrystal.structures.entries import Entry
from jaxcrystal.structures.screening import screen_entries
from tests.discovery.crystals import b2, cubic
from tests.programs import ENDED, INTERRUPTIBLE, READ_ONLY
from tests.test_kills import contents

KILLS = int(os.environ.get("JAXCRYSTAL_KILLS", "1"))
EMT = ("--potential", "emt", "--processes", "1", "--steps-per-level", "2", "--batch-size", "4")
COPPER_GOLD = ("Cu-Au", "--space-group", "221,225", "--sites-per-element", "1", "--count", "8")
NUMBERS = ("--phonons", "1", "--inputs", "1")


def num_files(folder: Path) -> int:
    """Counts what comes and goes meanwhile too."""
    return sum(len(names) for _, _, names in os.walk(folder))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def model(tiny_model, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    tiny_model.save(folder)
    return str(folder)


@pytest.fixture(scope="module")
def references(tmp_path_factory) -> str:
    """Copper, gold and the ordered Cu3Au, relaxed by EMT."""
    folder = tmp_path_factory.mktemp("references")
    known = {"cu": cubic(3.6, "Cu"), "au": cubic(4.1, "Au"), "cu3au": cubic(3.75, "Cu", "Cu", "Cu", "Au")}
    (folder / "known.json").write_text(pymatgen_json_text(known))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAXCRYSTAL_CACHE", str(folder / "cache"))
        words = ["references", str(folder / "known.json"), "--potential", "emt", "--processes", "1"]
        assert cli.main([*words, "--out", str(folder / "emt.json.gz")]) == 0
    return str(folder / "emt.json.gz")


@pytest.fixture(scope="module")
def command(model, references) -> list[str]:
    return ["discover", *COPPER_GOLD, *EMT, *NUMBERS, "--model", model, "--references", references, "--out"]


@pytest.fixture(scope="module")
def whole(command, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    assert cli.main([*command, str(out)]) == 0
    return out


def test_what_is_in_it(whole, references) -> None:
    entries = json.loads(gzip.decompress(Path(references).read_bytes()))["entries"]
    known = {entry["entry_id"]: entry["energy"] / sum(entry["composition"].values()) for entry in entries}
    relaxed = {row["id"]: row for row in rows(whole / "relax" / "relaxed.csv")}
    kept = {row["id"] for row in rows(whole / "relax" / "screening.csv") if row["kept"] == "yes"}
    placed = rows(whole / "relax" / "hull.csv")
    assert {row["id"] for row in placed} == kept
    assert len(placed) > 2
    for row in placed:
        energy = float(relaxed[row["id"]]["energy_per_atom"])
        gold = Composition(row["formula"]).get_atomic_fraction("Au")
        # The hull has a corner at Cu3Au.
        share = min(gold, 0.25) * 4
        hull = known["cu"] * (1 - share) + known["cu3au"] * share
        if gold > 0.25:
            share = (gold - 0.25) / 0.75
            hull = known["cu3au"] * (1 - share) + known["au"] * share
        assert float(row["e_above_hull"]) == pytest.approx(energy - hull, abs=2e-5)
    heights = [float(row["e_above_hull"]) for row in placed]
    assert heights == sorted(heights)
    # Crystals are sampled, each under a name of its own, and the different ones are relaxed.
    sampled = [row for one in sorted((whole / "sample").iterdir()) for row in rows(one / "screening.csv")]
    assert [int(row["id"].partition("_")[0]) for row in sampled] == list(range(1, len(sampled) + 1))
    different = [row["id"] for row in sampled if row["kept"] == "yes"]
    assert list(relaxed) == different
    assert {path.stem for path in (whole / "screen").glob("*.cif")} == set(different)
    assert [row["id"] for row in rows(whole / "phonons" / "phonons.csv")] == [placed[0]["id"]]
    assert [row["id"] for row in rows(whole / "inputs" / "inputs.csv")] == [placed[0]["id"]]


def test_the_report(whole) -> None:
    page = (whole / "report.html").read_text()
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page)[1])
    keys = [column["key"] for column in data["columns"]]
    shown = [dict(zip(keys, row, strict=True)) for row in data["rows"]]
    placed = rows(whole / "relax" / "hull.csv")
    assert [row["id"] for row in shown] == [row["id"] for row in placed]
    assert [row["e_above_hull"] for row in shown] == [float(row["e_above_hull"]) for row in placed]
    assert all(cell["coords"] for cell in data["cells"])
    (sound,) = rows(whole / "phonons" / "phonons.csv")
    assert shown[0]["lowest_frequency"] == float(sound["lowest_frequency"])
    assert page.count("data:image/svg+xml;base64,") == 2  # the hull, and the phonons
    # Nothing is lost without a reason.
    table = re.search(r"What was set aside.*?</table>", page, re.DOTALL)[0]
    lines = re.findall(r"<tr><td>(.*?)</td>.*?>(\d+)</td>.*?>(\d+)</td><td>(.*?)</td></tr>", table)
    assert [stage for stage, *_ in lines] == [
        *("sampled", "relaxed", "different after relaxation", "placed on the hull", "phonons of the best")
    ]
    for _, given, went_on, reasons in lines:
        assert int(given) == int(went_on) + sum(map(int, re.findall(r"(\d+) ", reasons)))
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_stage_by_stage_it_ends_the_same(command, whole, tmp_path, capsys) -> None:
    """Without references until the hull needs them."""
    out = tmp_path / "run"
    place = command.index("--references")
    bare = command[:place] + command[place + 2 :]
    for stage, there in (
        ("plan", {"plan.csv", "run.json"}),
        ("sample", {"plan.csv", "run.json", "sample"}),
        ("relax", {"plan.csv", "run.json", "sample", "screen", "relax"}),
    ):
        assert cli.main([*bare, str(out), "--until", stage]) == 0
        assert {path.name for path in out.iterdir()} == there
    assert cli.main([*command, str(out), "--until", "hull"]) == 0
    assert "crystals were sampled in" in capsys.readouterr().out
    assert not (out / "phonons").exists()
    assert cli.main([*command, str(out)]) == 0
    assert contents(out) == contents(whole)


def test_interrupted_anywhere_it_ends_the_same(command, whole, tmp_path, monkeypatch) -> None:
    """Within a round, between a round and its screening, within the relaxation, before the hull."""
    out, relax_one, drawn = tmp_path / "run", Work.relax, []

    def stop(*_, **__):
        raise KeyboardInterrupt

    def relax_a_few(work, todo, settings):
        for number, outcome in enumerate(relax_one(work, todo, settings)):
            if number == 1:
                stop()
            yield outcome

    def sample_some(run, candidates, *arguments):
        if len(drawn) == 1:
            (tmp_path / "run/sample/01/parts/.00000.x.part").mkdir(parents=True)
            stop()
        drawn.append(len(candidates))
        sample(run, candidates, *arguments)

    sample = rounds.sample_to_folder
    for owner, name, interruption in (
        (rounds, "sample_to_folder", sample_some),
        (rounds, "write_screening", stop),
        (stages, "write_kept", stop),
        (Work, "relax", relax_a_few),
        (stages, "write_screening", stop),
        (stages, "place_on_hull", stop),
        (stages, "phonons_to_folder", stop),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, interruption)
            assert cli.main([*command, str(out)]) == 130
        # It is there before phonons and inputs, which may fail.
        assert (out / "report.html").exists() == (name == "phonons_to_folder")
    assert cli.main([*command, str(out)]) == 0
    assert contents(out) == contents(whole)


def test_an_assignment_whose_crystals_are_equal_gets_no_more(model, tmp_path, capsys) -> None:
    """Both have a lattice only: after one crystal and three like it they are spent."""
    orders = tmp_path / "orders.toml"
    orders.write_text(
        '[[order]]\nspace_group = 221\nwyckoff = {Cu = "a", Au = "b"}\ncount = 60\n'
        '[[order]]\nspace_group = 221\nwyckoff = {Cu = "a", Au = "c"}\ncount = 60\n'
    )
    words = ["discover", str(orders), *EMT, "--model", model, "--until", "screen"]
    assert cli.main([*words, "--out", str(tmp_path / "run")]) == 0
    sampled = [row for one in (tmp_path / "run/sample").iterdir() for row in rows(one / "summary.csv")]
    assert len(sampled) == 8
    assert "2 of them are spent" in capsys.readouterr().out
    assert {row["kept"] for row in rows(tmp_path / "run/screen/screening.csv")} == {"yes", "no"}
    # So many different ones there are not, and one is there after the first round.
    assert cli.main([*words, "--unique", "1", "--out", str(tmp_path / "one")]) == 0
    assert len([row for one in (tmp_path / "one/sample").iterdir() for row in rows(one / "summary.csv")]) == 1


def test_only_the_lowest_are_relaxed(command, whole, tmp_path) -> None:
    """As after five steps; what they become is what all would."""
    out = tmp_path / "run"
    assert cli.main([*command, str(out), "--relax", "2", "--until", "hull"]) == 0
    first, relaxed = (rows(out / name / "relaxed.csv") for name in ("first", "relax"))
    every = rows(whole / "relax" / "relaxed.csv")
    assert [row["id"] for row in first] == [row["id"] for row in every]
    assert max(int(row["steps"]) for row in first if row["steps"]) == 5
    assert [row for row in every if row in relaxed] == relaxed
    assert len(relaxed) == 2
    assert "higher than the others" in (out / "report.html").read_text()
    place = command.index("--references")
    assert cli.main([*command[:place], "--until", "relax", "--relax", "2", "--out", str(tmp_path / "x")]) == 2


def test_names_with_brackets(references, tmp_path) -> None:
    """As K(CuSi)2 has them: the lowest is relaxed, whatever it is called as a file."""
    lowest, higher = "0001_Cu3(Au)_221", "0002_CuAu_221"
    entries = [Entry(lowest, cubic(3.75, "Cu", "Cu", "Cu", "Au")), Entry(higher, b2(3.3, "Cu", "Au"))]
    one = rounds.Round(tmp_path, screen_entries(entries, processes=1), 1, 1, 0)
    known = read_energies(references)[0]
    found = Discovery(tmp_path, Pool((), np.zeros(0), 2), Energies("emt"), known, [one])
    settings = DiscoverSettings(RunSettings(LangevinConfig()), RelaxSettings("emt"), most=1)
    stages.relax(found, settings, Work(1, progress=False), print)
    assert [row["source"] for row in found.relaxed] == [lowest]


def test_a_formula(model, tmp_path, capsys) -> None:
    words = ["discover", "CuAu3", *EMT, "--model", model, "--space-group", "221", "--count", "3"]
    assert cli.main([*words, "--until", "screen", "--out", str(tmp_path / "run")]) == 0
    found = rows(tmp_path / "run/screen/screening.csv")
    assert {row["formula"] for row in found} == {"CuAu3"}
    assert "3 crystals were sampled" in capsys.readouterr().out


@pytest.fixture
def refused(model, tmp_path, capsys):
    """Runs a discovery that must be refused, before a folder is made; returns what it says."""

    def run(*arguments: str) -> str:
        out = tmp_path / "refused"
        words = ["discover", *arguments, *EMT, "--model", model]
        assert cli.main([*words, *([] if "--out" in arguments else ["--out", str(out)])]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.count("\n") == 1
        assert not out.exists()
        return said.err

    return run


def test_refusals(refused, references, tmp_path, monkeypatch) -> None:
    known = json.loads(gzip.decompress(Path(references).read_bytes()))
    write_references(known | {"potential": "7net-0"}, tmp_path / "others.json")
    write_references({**known, "entries": known["entries"][:1]}, tmp_path / "copper.json")
    given = ("--space-group", "221", "--references", references)
    copper, others = str(tmp_path / "copper.json"), str(tmp_path / "others.json")
    assert "unknown element 'Xx'" in refused("Cu-Xx", *given)
    assert "cannot compute K" in refused("Cu-K", "--space-group", "221", "--until", "relax")
    assert "have no pure K: a hull needs every element" in refused("Cu-K", *given)
    assert "have no pure Au" in refused("Cu-Au", *given[:3], copper)
    said = refused("Cu-Au", *given[:3], others)
    assert "energies of emt (without corrections) and of 7net-0 (without corrections) do not go" in said
    assert "--references is missing" in refused("Cu-Au")
    assert "unknown element 'Aux'" in refused("Cu2Aux", *given)
    assert "cannot read nothing.toml" in refused("nothing.toml", *given[2:])
    orders = tmp_path / "orders.toml"
    orders.write_text('[[order]]\nformula = "CuAu"\n')
    assert "--count does not go with a file of orders" in refused(str(orders), *given[2:], "--count", "3")
    assert "is a URL" in refused("Cu-Au", *given, "--out", "s3://bucket/run")
    monkeypatch.setattr(Model, "conditions", ("band_gap",))
    assert "the model was trained with the conditions band_gap" in refused("Cu-Au", *given)


def test_stages_of_the_command() -> None:
    assert command_module._STAGES == STAGES


def test_another_discovery_is_refused(command, whole, tmp_path, capsys) -> None:
    before = contents(whole)
    for changed in (["--seed", "1"], ["--max-force", "0.1"], ["--count", "9"]):
        assert cli.main([*command, str(whole), *changed]) == 2
        assert "holds a run with other settings" in capsys.readouterr().err
    (tmp_path / "mine").write_text("mine")
    assert cli.main([*command, str(tmp_path)]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert contents(whole) == before
    # Which crystals are the best, the numbers and the references say.
    out = tmp_path / "run"
    for name in ("phonons", "inputs"):
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(whole, out)
        assert cli.main([*command, str(out), f"--{name}", "2"]) == 2
        assert capsys.readouterr().err.splitlines()[-1] == (
            f"jaxcrystal: error: {out / name} has other crystals, or was computed in another way: move it "
            "away, so that it is made anew"
        )


def test_damaged_rounds_are_told(command, whole, tmp_path, capsys) -> None:
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    table = out / "sample" / "00" / "screening.csv"
    lines = table.read_text().splitlines()
    for damaged in (lines[:-1], [lines[0].replace("rank", "range"), *lines[1:]]):
        table.write_text("\n".join(damaged) + "\n")
        assert cli.main([*command, str(out)]) == 2
        assert f"{table} is damaged" in capsys.readouterr().err
    part = out / "sample" / "00" / "parts" / "00000"
    shutil.copy(next(part.glob("*.cif")), part / "mine.cif")
    assert cli.main([*command, str(out)]) == 2
    assert "sample/00 has 5 crystals, its round 4" in capsys.readouterr().err


@pytest.mark.kills
@pytest.mark.skipif(KILLS < 2, reason="by hand: JAXCRYSTAL_KILLS=20")
def test_killed_many_times_it_ends_the_same(command, whole, tmp_path) -> None:
    environment = os.environ | READ_ONLY | {"JAX_NUM_CPU_DEVICES": "1"}

    def start(out: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*INTERRUPTIBLE, *command, str(out)],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    out, moments, lived, killed, ended = tmp_path / "run", random.Random(0), set(), 0, 0
    while killed < KILLS:
        kind = list(ENDED)[killed % 3]
        process = start(out)
        wanted = num_files(out) + moments.randint(0, 12)
        while process.poll() is None and num_files(out) < wanted:
            time.sleep(0.01)
        time.sleep(moments.uniform(0.0, 1.0))
        process.send_signal(kind)
        if process.wait() == 0:  # it was at its end
            assert contents(out) == contents(whole)
            shutil.rmtree(out)  # from the beginning
            ended += 1
            assert ended < KILLS
            continue
        assert process.returncode in ENDED[kind]
        killed += 1
        lived.add(num_files(out))
        print(f"kill {killed} by {kind.name}: {num_files(out)} files")
    assert start(out).wait() == 0
    assert contents(out) == contents(whole)
    assert len(lived) > KILLS / 4
