"""The command line: what it writes, and every mistake in one line with exit code 2."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from jaxcrystal import cli
from tests.tiny import make_tiny_model

COMMAND = Path(sys.executable).with_name("jaxcrystal")
COMMANDS = (
    "sample",
    "screen",
    "relax",
    "references",
    "hull",
    "phonons",
    "inputs",
    "discover",
    "view",
    "prepare",
    "train",
    "evaluate",
    "reconstruct",
    "info",
)
SAMPLE = ["sample", "--space-group", "221", "--wyckoff", "Ba=a,Ti=b,O=c", "--count", "3", "--batch-size", "4"]
EVALUATE = ["evaluate", "{}/salt.cif", "--reference", "{}/salt.cif", "--out", "{}/x"]
SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.6), ["Na", "Cl"], [[0] * 3, [0.5] * 3])


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    make_tiny_model().save(folder)
    return folder


@pytest.fixture
def sample_arguments(model_folder, tmp_path):
    """Arguments of a request that works; others replace or follow them."""

    def make(*more: str, sites: tuple[str, ...] = ("--sites", "Ba=1,Ti=1,O=1"), group: str = "221"):
        return [
            *("sample", "--space-group", group, *sites, "--count", "3", "--steps-per-level", "2"),
            *("--model", str(model_folder), "--out", str(tmp_path / "out"), "--batch-size", "4", *more),
        ]

    return make


def run(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    command = [str(COMMAND)] if COMMAND.exists() else [sys.executable, "-m", "jaxcrystal.cli"]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=300, **options)


def read_summary(folder: Path) -> list[dict[str, str]]:
    with (folder / "summary.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.cli
def test_installed_command_samples(sample_arguments, tmp_path, capsys) -> None:
    done = run(*sample_arguments("--format", "cif,extxyz"))
    assert done.returncode == 0, done.stderr
    assert "3 crystals: " in done.stdout
    assert "3 crystals: 1 order in 1 space group, " in done.stderr  # the plan comes first
    assert len(read_summary(tmp_path / "out")) == 3
    assert len(list((tmp_path / "out" / "parts" / "00000").glob("*.cif"))) == 3
    assert (tmp_path / "out" / "parts" / "00000" / "structures.extxyz").exists()
    # the second time nothing is left to do; other settings are another run
    assert cli.main(sample_arguments("--format", "cif,extxyz")) == 0
    assert capsys.readouterr().out.splitlines()[:-1] == done.stdout.splitlines()[:-1]
    assert cli.main(sample_arguments()) == 2
    other = capsys.readouterr()
    assert other.out == ""
    assert other.err == (
        f"jaxcrystal: error: {tmp_path / 'out'} holds a run with other settings: formats "
        "(['cif', 'extxyz'], now ['cif']); choose another --out, or the same settings to go on with it\n"
    )


@pytest.mark.cli
def test_help_is_quick_and_complete() -> None:
    done = run("--help", env={**os.environ, "PYTHONPROFILEIMPORTTIME": "1"})
    assert done.returncode == 0
    for command in COMMANDS:
        assert command in done.stdout
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    heavy = {"jax.numpy", "pymatgen.core", "spglib", "flax", "orbax.checkpoint", "matplotlib", "matminer"}
    assert not imported & heavy


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_commands(command, capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "--help"])
    assert stop.value.code == 0
    text = " ".join(capsys.readouterr().out.split())  # whichever way the lines are broken
    if command != "info":
        assert "examples:" in text
    if command == "sample":
        for default in ("(default: 16)", "(default: 20)", "(default: cif)", "auto (default)"):
            assert default in text
    if command == "reconstruct":
        for words in ("(default: 20)", "(default: ['letters', 'free'])", "--dask ADDRESS"):
            assert words in text


def test_sample_of_two_groups(sample_arguments, tmp_path, capsys) -> None:
    sites = ("--wyckoff", "Ba=a,Ti=b,O=c")
    assert cli.main(sample_arguments("--tau", "0.1", sites=sites, group="221,Fm-3m")) == 0
    rows = read_summary(tmp_path / "out")
    assert [row["requested_group"] for row in rows] == ["221"] * 3 + ["225"] * 3
    assert capsys.readouterr().out.count("_225") == 3


def test_sample_where_angles_are_free(sample_arguments, tmp_path) -> None:
    """Of `--space-group 14 --sites` and the like: one angle is free, or all three."""
    assert cli.main(sample_arguments(sites=("--sites", "Ba=2,O=3"), group="14,P-1")) == 0
    rows = read_summary(tmp_path / "out")
    assert [row["requested_group"] for row in rows] == ["14"] * 3 + ["2"] * 3
    assert {row["status"] for row in rows} == {"ok"}
    angles = {}
    for row in rows:
        (path,) = (tmp_path / "out").rglob(f"{row['id']}.cif")
        lines = (line.split() for line in path.read_text().splitlines() if line.startswith("_cell_angle_"))
        angles[row["id"]] = [float(value) for _, value in lines]
    monoclinic, triclinic = ([angles[row["id"]] for row in some] for some in (rows[:3], rows[3:]))
    assert all(alpha == gamma == 90.0 for alpha, _, gamma in monoclinic)
    free = [beta for _, beta, _ in monoclinic] + [angle for cell in triclinic for angle in cell]
    assert len(set(free)) == 12
    assert all(18.0 < angle < 162.0 and angle != 90.0 for angle in free)


def stop_before_sampling(monkeypatch, error) -> None:
    """Everything up to the sampling is done, which then fails."""

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("jaxcrystal.sampling.run.sample_stream", fail)


def test_elements_never_seen_are_a_warning(sample_arguments, caplog, monkeypatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("jaxcrystal.sampling.stream.Programs", stop)
    assert cli.main(sample_arguments(sites=("--sites", "U=1,O=2"))) == 130
    assert "jaxcrystal: warning: the model has never seen U:" in caplog.text
    caplog.clear()
    assert cli.main(sample_arguments("--plan", sites=("--sites", "U=1,O=2"))) == 0
    assert "jaxcrystal: warning: the model has never seen U:" in caplog.text


@pytest.mark.parametrize(
    ("more", "changes", "message"),
    [
        ([], {"group": "0"}, "space group 0 does not exist"),
        ([], {"group": "231"}, "space group 231 does not exist"),
        ([], {"group": "Pm-9m"}, "unknown space group 'Pm-9m'"),
        ([], {"sites": ("--sites", "Xx=1")}, "unknown element 'Xx'"),
        ([], {"sites": ("--sites", "Ba=0")}, "Ba has 0 sites"),
        ([], {"sites": ("--sites", "Ba=-2")}, "Ba has -2 sites"),
        ([], {"sites": ("--sites", "Ba=21")}, "at most 20 are supported"),
        ([], {"sites": ("--sites", "Ba=a")}, "for letters use --wyckoff"),
        ([], {"sites": ("--wyckoff", "Ba=z")}, "has no Wyckoff position 'z'"),
        ([], {"sites": ("--wyckoff", "Ba=a,O=a")}, "is given 2 times"),
        (["--letters", "free"], {"sites": ("--wyckoff", "Ba=a")}, "--letters free goes with --sites"),
        ([], {"sites": ()}, "give one of sites, wyckoff, formula, chemical-system, like; got none"),
        (["--count", "0"], {}, "--count is 0; it must be at least 1"),
        (["--count", "-5"], {}, "--count is -5; it must be at least 1"),
        (["--formula-units", "1,x"], {"sites": ("--formula", "NaCl")}, "--formula-units is '1,x'"),
        (["--processes", "2"], {}, "need --distributed"),
        (["--steps-per-level", "0"], {}, "--steps-per-level is 0"),
        (["--best-of", "0"], {}, "--best-of is 0"),
        (["--batch-size", "-1"], {}, "--batch-size is -1"),
        (["--tau", "-1"], {}, "--tau is -1.0"),
        (["--seed", "-1"], {}, "seed is -1"),
        (["--format", "pdb"], {}, "unknown format 'pdb'"),
        (["--trajectory", "3"], {}, "must divide the 4 steps"),
        (["--model", "/nowhere"], {}, "/nowhere holds no model"),
        (["--out", "/proc/nowhere/out"], {}, "cannot write to /proc/nowhere/out"),
    ],
)
def test_wrong_requests(sample_arguments, capsys, more, changes, message) -> None:
    assert cli.main(sample_arguments(*more, **changes)) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("jaxcrystal: error: ")
    assert message in printed.err
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["smaple"], "invalid choice: 'smaple'"),
        ([*SAMPLE, "--sites", "Ba=1", "--out", "x"], "not allowed with argument"),
        ([*SAMPLE, "--out", "x", "--count", "many"], "invalid int value: 'many'"),
        ([*SAMPLE, "--out", "x", "--letters", "loose"], "invalid choice: 'loose'"),
    ],
)
def test_wrong_arguments(capsys, arguments, message) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("jaxcrystal: error: ")
    assert message in error
    assert error.count("\n") == 1


_INTERRUPTED_IMPORT = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background process ignores it
from jaxcrystal.commands.interruption import end_soon_when_interrupted
end_soon_when_interrupted()
import slow
"""


def test_an_interrupted_import_ends_at_once(tmp_path) -> None:
    """No exception goes through it: extension modules abort then."""
    (tmp_path / "slow.py").write_text(
        "import os, signal, time\n"
        "try:\n    os.kill(os.getpid(), signal.SIGINT)\n    time.sleep(600)\n"
        "except KeyboardInterrupt:\n    os._exit(7)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.getcwd(), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED_IMPORT], env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (130, "jaxcrystal: interrupted\n")


def test_interruption(sample_arguments, capsys, monkeypatch) -> None:
    stop_before_sampling(monkeypatch, KeyboardInterrupt())
    assert cli.main(sample_arguments()) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "jaxcrystal: interrupted"


def test_full_disk(sample_arguments, capsys, monkeypatch) -> None:
    stop_before_sampling(monkeypatch, OSError(28, "No space left on device", "/out/summary.csv"))
    assert cli.main(sample_arguments()) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == "jaxcrystal: error: No space left on device (/out/summary.csv)"


def test_plan_samples_nothing(sample_arguments, tmp_path, capsys, monkeypatch) -> None:
    stop_before_sampling(monkeypatch, AssertionError())
    assert cli.main(sample_arguments("--plan", group="221,225")) == 0
    said = capsys.readouterr().out
    assert "       3  221 O=1,Ti=1,Ba=1 auto" in said
    assert "6 crystals: 2 orders in 2 space groups, " in said
    assert not (tmp_path / "out").exists()


def test_sample_from_a_file_of_orders(model_folder, tmp_path, capsys) -> None:
    orders = tmp_path / "orders.toml"
    orders.write_text(
        '[[order]]\nspace_group = [221, 225]\nwyckoff = {Ba = "a", Ti = "b", O = "c"}\ncount = 2\n'
    )
    command = ["sample", str(orders), "--model", str(model_folder), "--out", str(tmp_path / "out")]
    command += ["--steps-per-level", "2", "--batch-size", "4", "--tau", "0.1"]
    assert cli.main(command) == 0
    assert [row["requested_group"] for row in read_summary(tmp_path / "out")] == ["221"] * 2 + ["225"] * 2
    capsys.readouterr()
    assert cli.main([*command, "--count", "3"]) == 2
    assert "--count does not go with a file of orders" in capsys.readouterr().err


@pytest.mark.cli
def test_output_into_a_closed_pipe(model_folder) -> None:
    """`jaxcrystal info MODEL | true`."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "jaxcrystal.cli", "info", str(model_folder)],
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (done.returncode, done.stderr) == (0, "")


def test_prepare(tmp_path, capsys) -> None:
    (tmp_path / "files").mkdir()
    SALT.to(str(tmp_path / "files" / "salt.cif"))
    (tmp_path / "files" / "broken.cif").write_text("data_nothing\n")
    arguments = ["prepare", str(tmp_path / "files"), "--out", str(tmp_path / "data.npz"), "--processes", "1"]
    assert cli.main(arguments) == 0
    assert "2 structures read, 1 accepted" in capsys.readouterr().out
    assert "broken.cif" in (tmp_path / "rejected.csv").read_text()

    assert cli.main(["info", str(tmp_path / "data.npz")]) == 0
    text = capsys.readouterr().out
    assert "structures: 1, 0 with a formation energy" in text
    assert "225 Fm-3m (1)" in text
    assert "Na Cl" in text

    assert cli.main(arguments) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prepare", "/nowhere.cif", "--out", "{}/x.npz"], "/nowhere.cif"),
        (["prepare", "aflow", "--out", "{}/x.npz", "--max-sites", "0"], "--max-sites is 0"),
        (["train", "/nowhere.toml"], "cannot read /nowhere.toml"),
        (["train", "{}/run.toml", "--set", "optimizer.speed=3"], "unknown setting 'optimizer.speed'"),
        (["train", "{}/run.toml", "--set", "optimizer.steps"], "expected key=value"),
        (["train", "{}/run.toml", "--set", "data.train=/nowhere.npz"], "/nowhere.npz does not exist"),
        (["evaluate", "/nowhere", "--reference", "aflow", "--out", "{}/x"], "/nowhere"),
        (["evaluate", "{}/salt.cif", "--reference", "/nowhere", "--out", "{}/x"], "/nowhere"),
        (["evaluate", "{}/salt.cif", "--reference", "{}/salt.cif", "--out", "{}"], "is not empty"),
        ([*EVALUATE, "--min-space-group", "0"], "--min-space-group is 0; it must be at least 1"),
        ([*EVALUATE, "--dask", "tcp://127.0.0.1:1"], "no dask scheduler at tcp://127.0.0.1:1 ("),
        ([*EVALUATE, "--min-space-group", "231"], "--min-space-group is 231; it must be at most 230"),
        ([*EVALUATE, "--processes", "0"], "--processes is 0"),
        (["reconstruct", "--targets", "/nowhere", "--out", "{}/x"], "/nowhere does not exist"),
        (
            ["reconstruct", "--targets", "/nowhere", "--out", "{}/x", "--min-space-group", "231"],
            "--min-space-group is 231; it must be at most 230",
        ),
        (["reconstruct", "--targets", "{}/no.npz", "--out", "{}/x"], "is not a prepared data set"),
        (["reconstruct", "--targets", "{}/run.toml", "--out", "{}/x"], "run.toml"),
        (["info", "/nowhere"], "/nowhere holds no model"),
        (["info", "{}/run.toml"], "is not a prepared data set"),
    ],
)
def test_wrong_files(tmp_path, capsys, arguments, message) -> None:
    (tmp_path / "run.toml").write_text('out = "nowhere"\n')
    (tmp_path / "no.npz").write_text("no archive")
    SALT.to(str(tmp_path / "salt.cif"))
    assert cli.main([word.format(tmp_path) for word in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("jaxcrystal: error: ")
    assert message in error
    assert error.count("\n") == 1


@pytest.fixture
def crystals(tmp_path) -> tuple[Path, Path]:
    """Folders of small AFLOW prototypes: samples (moved a little, one collapsed, one damaged), known ones."""
    from jaxcrystal.io.readers import read_structures

    samples, known = tmp_path / "samples", tmp_path / "known"
    samples.mkdir()
    known.mkdir()
    small = [structure for _, structure in read_structures("aflow") if len(structure) <= 3]
    for number, structure in enumerate(small[:6]):
        structure.to(str(known / f"known-{number}.cif"))
        moved = structure.copy().apply_strain(0.02)
        moved.to(str(samples / f"sample-{number}.cif"))
    Structure(Lattice.cubic(4.0), ["Na", "Cl"], [[0] * 3, [0.1, 0, 0]]).to(str(samples / "close.cif"))
    (samples / "damaged.cif").write_text("data_nothing\n")
    return samples, known


def test_evaluate(crystals, tmp_path, capsys, monkeypatch) -> None:
    samples, known = crystals
    monkeypatch.setenv("JAXCRYSTAL_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "out"
    arguments = ["evaluate", str(samples), "--reference", str(known), "--processes", "1"]
    assert cli.main([*arguments, "--train", str(known), "--out", str(out)]) == 0

    metrics = json.loads((out / "metrics.json").read_text())
    counts = metrics["counts"]
    assert (counts["samples"], counts["parsed"], counts["valid"]) == (8, 7, 6)
    assert (counts["reference"], counts["train"]) == (6, 6)
    covered = metrics["coverage"]["cdvae"]
    assert (covered["precision"], covered["recall"]) == (0.75, 1.0)
    assert (covered["samples"], covered["reference"]) == (8, 6)
    assert 0 < covered["structure_distance"] < 0.4
    assert metrics["coverage"]["paper"]["precision"] == 1.0
    assert metrics["frechet"]["cgcnn"]["samples"] == 7
    assert metrics["frechet"]["cgcnn"]["value"] >= 0.0
    assert metrics["failures"]["unparsable"] == 1
    assert metrics["sources"]["reference"] == str(known)
    assert metrics["paper"]["model"]["COV-P"] == 0.972
    assert metrics["not_like_for_like"]

    with (out / "per_structure.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    assert sum(row["valid"] == "True" for row in rows) == 6
    by_name = {Path(row["id"]).stem: row for row in rows}
    assert by_name["damaged"]["reason"].startswith("unparsable: ")
    assert by_name["damaged"]["shortest_distance"] == ""
    assert float(by_name["close"]["shortest_distance"]) == pytest.approx(0.4, abs=1e-3)
    assert by_name["sample-0"]["novel"] == "False"

    page = (out / "report.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert page.count("<img ") > 15
    printed = capsys.readouterr().out
    assert "COV-P, the paper's protocol" in printed
    assert "8 samples: 7 read, 0 stopped by the sampler, 6 of valid structure" in printed
    assert f"written to {out}" in printed

    # Without report and training set; what was computed is kept.
    again = tmp_path / "again"
    assert cli.main([*arguments, "--out", str(again), "--no-html", "--min-space-group", "16"]) == 0
    assert sorted(path.name for path in again.iterdir()) == ["metrics.json", "per_structure.csv"]
    assert json.loads((again / "metrics.json").read_text())["novel"] is None
    assert cli.main([*arguments, "--out", str(again)]) == 2
    assert "is not empty" in capsys.readouterr().err


def test_evaluate_without_its_extra(tmp_path, capsys, monkeypatch) -> None:
    from importlib import metadata

    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("jaxcrystal.evaluation.fingerprints.metadata.version", version)
    assert cli.main([word.format(tmp_path) for word in EVALUATE]) == 2
    expected = "jaxcrystal: error: evaluate needs matminer: pip install 'jaxcrystal[eval]'\n"
    assert capsys.readouterr().err == expected
    assert not (tmp_path / "x").exists()


@pytest.mark.cli
def test_installed_command_reconstructs(model_folder, tmp_path) -> None:
    """Three crystals without free coordinates, of one size and so one compilation."""
    known = {
        "salt": SALT,
        "like-caesium-chloride": Structure(Lattice.cubic(3.9), ["Li", "Cl"], [[0] * 3, [0.5] * 3]),
        "like-zincblende": Structure.from_spacegroup(
            "F-43m", Lattice.cubic(6.1), ["Ba", "O"], [[0] * 3, [0.25] * 3]
        ),
    }
    (tmp_path / "known").mkdir()
    for name, structure in known.items():
        structure.to(str(tmp_path / "known" / f"{name}.cif"))
    out = tmp_path / "found"
    arguments = ["reconstruct", "--targets", str(tmp_path / "known"), "--model", str(model_folder)]
    arguments += ["--samples-per-target", "2", "--steps-per-level", "2", "--batch-size", "8"]
    done = run(*arguments, "--given", "letters", "--out", str(out))
    assert done.returncode == 0, done.stderr

    def read(name: str, of: str) -> list[dict[str, str]]:
        with (out / name).open(newline="") as file:
            return [row for row in csv.DictReader(file) if row["run"] == of]

    metrics = json.loads((out / "metrics.json").read_text())
    assert (metrics["targets"]["used"], metrics["targets"]["in_file"]) == (3, 3)
    assert list(metrics["runs"]) == ["letters, random start", "letters"]
    for name, figures in metrics["runs"].items():
        targets, samples = read("per_target.csv", name), read("per_sample.csv", name)
        assert (len(targets), len(samples)) == (3, 6)
        matched = {row["target"] for row in samples if row["outcome"] == "match"}
        assert matched == {row["target"] for row in targets if row["outcome"] == "match"}
        last = figures["match"][-1]
        assert (last["k"], last["matched"], last["rate"]) == (2, len(matched), len(matched) / 3)
        assert f"{last['rate']:.1%}" in done.stdout
        if name == "letters":
            rows = read("table2.csv", name)
            assert {row["target"] for row in rows} == matched
    # Without free coordinates any lattice matches.
    assert rows
    lengths = {row["sample"]: row["a"] for row in read("per_sample.csv", "letters")}
    for row in rows:
        assert row["a_sampled"] == lengths[row["best_sample"]]
        length = known[row["target"].removesuffix(".cif")].lattice.a
        assert float(row["a_reference"]) == pytest.approx(length, abs=1e-4)
    assert f"written to {out}" in done.stdout

    wrong = run("reconstruct", "--targets", str(tmp_path / "none.npz"), "--out", str(tmp_path / "other"))
    assert wrong.returncode == 2
    assert wrong.stdout == ""
    assert wrong.stderr.startswith(f"jaxcrystal: error: {tmp_path / 'none.npz'} does not exist")
    assert wrong.stderr.count("\n") == 1
    assert not (tmp_path / "other" / "metrics.json").exists()


def test_train_passes_on_what_was_set(tmp_path, capsys, monkeypatch) -> None:
    seen = {}

    def train(config, resume):
        seen.update(config=config, resume=resume)
        return config.out

    monkeypatch.setattr("jaxcrystal.training.loop.train", train)
    (tmp_path / "run.toml").write_text("[optimizer]\nsteps = 5\nbatch_size = 2\n")
    more = ["--set", "optimizer.steps=7", f"out={tmp_path}/run", "--set", "seed=3", "--resume"]
    assert cli.main(["train", str(tmp_path / "run.toml"), *more]) == 0
    config = seen["config"]
    assert (config.optimizer.steps, config.optimizer.batch_size, config.seed) == (7, 2, 3)
    assert seen["resume"]
    assert f"--model {tmp_path}/run" in capsys.readouterr().out


def test_info_of_a_model(model_folder, capsys) -> None:
    assert cli.main(["info", str(model_folder)]) == 0
    text = capsys.readouterr().out
    assert f"model: {model_folder}" in text
    assert "elements seen (6): Li O Na Cl Ti Ba" in text
    assert "1 blocks, 16 wide" in text


def test_info_of_the_installation(capsys) -> None:
    from jaxcrystal.reports.info import describe_installation

    text = describe_installation()
    assert "jax " in text
    assert "devices: " in text
