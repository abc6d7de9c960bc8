"""What cannot be meant is refused before anything is computed: one line of 300 characters, exit code 2."""

import pytest

from jaxcrystal import cli

SITES = ("--space-group", "221", "--wyckoff", "Ba=a,Ti=b,O=c")
FORMULA = ("--formula", "NaCl")
LONG = "x" * 300
DIGITS = "9" * 5000
NINES = "9" * 30
NESTED = "[" * 600 + "]" * 600


@pytest.fixture
def refused(capsys, monkeypatch):
    """Runs a command that must be refused; returns what it says."""

    def started(*_: object, **__: object) -> None:
        raise AssertionError("the work began")

    monkeypatch.setattr("jaxcrystal.training.loop.train", started)
    monkeypatch.setattr("jaxcrystal.sampling.run.open_run", started)

    def run(*arguments: str) -> str:
        try:
            code = cli.main(arguments)
        except SystemExit as stop:
            code = stop.code
        printed = capsys.readouterr()
        assert (code, printed.out) == (2, "")
        assert printed.err.startswith("jaxcrystal: error: ")
        assert printed.err.count("\n") <= 2
        assert len(printed.err) <= 300
        return printed.err

    return run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*SITES, "--trajectory", "-5"], "--trajectory is -5; it must be at least 0"),
        ([*SITES, "--seed", "-1"], "--seed is -1; it must be at least 0"),
        (["--like", "aflow", "--seed", "-1"], "--seed is -1; it must be at least 0"),
        ([*SITES, "--seed", "4294967296"], "--seed is 4294967296; it must be at most 4294967295"),
        ([*FORMULA, "--count", NINES], "--count is "),
        ([*SITES, "--count", NINES], "--count is "),
        ([*SITES, "--count", str(10**12)], "--count is 1000000000000; it must be at most "),
        ([*FORMULA, "--at-most", "99999999999999999999"], "--at-most is "),
        ([*FORMULA, "--max-atoms", "100000000"], "--max-atoms is 100000000; it must be at most "),
        ([*FORMULA, "--max-sites", "21"], "--max-sites is 21; it must be at most 20"),
        ([*FORMULA, "--formula-units", "0"], "--formula-units is 0; it must be at least 1"),
        ([*SITES, "--batch-size", str(10**11)], "--batch-size is 100000000000; it must be at most "),
        ([*SITES, "--part-size", str(10**11)], "--part-size is 100000000000; it must be at most "),
        ([*SITES, "--steps-per-level", str(10**11)], "--steps-per-level is "),
        ([*SITES, "--best-of", str(10**11)], "--best-of is "),
        ([*SITES, "--workers", "-1"], "--workers is -1; it must be at least 0"),
        ([*SITES, "--workers", "1000000"], "--workers is 1000000; it must be at most "),
        ([*SITES, "--tau", "inf"], "--tau is inf; it must be at most "),
        ([*SITES, "--tau", "nan"], "--tau is nan; "),
        ([*SITES, "--count=--"], "--count"),
        ([*SITES, "--count", DIGITS], "--count"),
        ([*SITES, "--model", LONG], "File name too long"),
        ([*SITES, "--model", "a\0b"], "--model"),
        ([*SITES, "--model", ""], "--model is empty"),
        ([*SITES, "--out", ""], "--out is empty"),
        ([*SITES, "--out", "a\0b"], "--out"),
        ([*SITES, "--out", "\ud800"], "--out"),
        (["reconstruct", "--targets", "x.npz", "--out", "\ud800"], "--out"),
        (["--like", ""], "--like is empty"),
        (["--like", "a\0b"], "--like"),
        (["--like", LONG], "File name too long"),
        ([LONG], "File name too long"),
        ([""], "ORDERS.toml is empty"),
        (["--space-group", DIGITS, "--sites", "Na=1"], "space group"),
        (["--space-group", "221", "--sites", f"Na={DIGITS}"], "Na="),
        (["--space-group", "221", "--sites", f"Na={NINES}"], "Na="),
        (["--chemical-system", "Na-Cl", "--sites-per-element", DIGITS], "--sites-per-element"),
        (["--chemical-system", "Na-Cl", "--sites-per-element", "21"], "--sites-per-element is 21"),
        ([*FORMULA, "--formula-units", NINES], "--formula-units"),
        ([*SITES, "--cond", f"x={DIGITS}"], "model takes no conditions"),
        ([*SITES, "--cond", "x=nan"], "x"),
        ([*SITES, "--cond", "x=1e39"], "x"),
        (["--formula", "(" * 5000], "("),
        (["--chemical-system", "Na-" * 5000 + "Cl"], "names an element twice"),
        ([*FORMULA, "--sites-per-element", "1"], "--sites-per-element goes with --chemical-system"),
        ([*SITES, "--formula-units", "1"], "--formula-units goes with --formula"),
        ([*SITES, "--max-atoms", "4"], "--max-atoms goes with --formula"),
        ([*SITES, "--at-most", "4"], "--at-most goes with --formula"),
        ([*SITES, "--max-sites", "4"], "--max-sites goes with --formula and --chemical-system"),
        ([*FORMULA, "--letters", "ranked"], "--letters ranked goes with --sites: those of --formula are"),
        ([*FORMULA, "--letters", "free"], "--letters free goes with --sites"),
        ([*FORMULA, "--letters", "given"], "--letters given goes with --like"),
    ],
)
def test_values(refused, arguments, message) -> None:
    assert message in refused("sample", *arguments, "--plan")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["screen", "/proc", "--min-distance", "nan"], "--min-distance is nan"),
        (["screen", "/proc", "--min-distance", "-1"], "--min-distance is -1.0; it must be at least 0"),
        (["screen", "/proc", "--density", "nan,3"], "--density is 'nan,3'"),
        (["screen", "/proc", "--density", "5,3"], "--density is '5,3'"),
        (["screen", "/proc", "--processes", "1000000"], "--processes is 1000000; it must be at most "),
        (["screen", LONG], "File name too long"),
        (["screen", ""], "DIR is empty"),
        (["view", "/proc", "--max", "-1"], "--max is -1; it must be at least 1"),
        (["view", LONG], "File name too long"),
        (["view", ""], "DIR is empty"),
        (["prepare", "aflow", "--out", "x.npz", "--max-sites", "-1"], "--max-sites is -1"),
        (["prepare", "", "--out", "x.npz"], "SOURCE is empty"),
        (["evaluate", LONG, "--reference", "aflow", "--out", "x"], "File name too long"),
        (["reconstruct", "--targets", "aflow", "--out", "x", "--seed", "-1"], "--seed is -1"),
        (["reconstruct", "--targets", "aflow", "--out", "x", "--tau", "inf"], "--tau is inf"),
        (["info", LONG], "File name too long"),
        (["info", "a\0b"], "MODEL|DATA"),
        (["train", ""], "CONFIG.toml is empty"),
        (["train", LONG], "File name too long"),
        (["train", "/dev/zero"], "/dev/zero"),
        (["sample", "/dev/zero"], "/dev/zero"),
        (["sample", "/"], "cannot read /: Is a directory"),
    ],
)
def test_values_of_other_commands(refused, arguments, message, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in refused(*arguments)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ("space_group = 221\nsites = {Na = 1.5}", "sites.Na is 1.5; expected a whole number"),
        ("space_group = 221\nsites = {Na = true}", "sites.Na is True; expected a whole number"),
        ("space_group = 221\nsites = {Na = 2020-01-01}", "sites.Na is 2020-01-01"),
        ('space_group = 221\nsites = {Na = "ab"}', "sites.Na is 'ab'; expected a whole number"),
        ('space_group = 221\nsites = {Na = ["a"]}', "sites.Na is ['a']; expected a whole number"),
        ("space_group = 221\nsites = {Na = [[1]]}", "sites.Na is [[1]]; expected a whole number"),
        ("space_group = 221\nsites = {Na = [1, 0]}", "Na has 0 sites"),
        ("space_group = 221\nsites = {}", "sites is empty"),
        ("space_group = 221\nsites = {Na = []}", "sites.Na is empty"),
        ("space_group = 221\nwyckoff = {Na = 1}", "wyckoff.Na is 1; expected a text"),
        ("space_group = 221\nwyckoff = {Na = []}", "wyckoff.Na is []; expected a text"),
        ('space_group = 221\nwyckoff = {Na = ""}', "wyckoff.Na is empty"),
        ("space_group = 221\nwyckoff = {}", "wyckoff is empty"),
        ("space_group = 2020-01-01\nsites = {Na = 1}", "space_group is 2020-01-01"),
        ("space_group = []\nsites = {Na = 1}", "space_group is empty"),
        ("space_group = [[1]]\nsites = {Na = 1}", "space_group is [[1]]"),
        ("space_group = [true]\nsites = {Na = 1}", "space_group is [True]"),
        ("space_group = 1.0\nsites = {Na = 1}", "space_group is 1.0"),
        ("space_group = {a = 1}\nsites = {Na = 1}", "space_group is {'a': 1}"),
        ('space_group = ""\nsites = {Na = 1}', "space_group is empty"),
        ('formula = "NaCl"\nformula_units = ["a"]', "formula_units is ['a']; expected whole numbers"),
        ('formula = "NaCl"\nformula_units = [true]', "formula_units is [True]; expected whole numbers"),
        ('formula = "NaCl"\nformula_units = [[1]]', "formula_units is [[1]]; expected whole numbers"),
        ('formula = "NaCl"\nformula_units = []', "formula_units is empty"),
        ('formula = "NaCl"\nformula_units = 1', "formula_units is 1; expected whole numbers"),
        ('formula = "NaCl"\ncount = 2020-01-01', "count is 2020-01-01; expected a whole number"),
        (f'formula = "NaCl"\ncount = {NINES}', "--count is "),
        (f'formula = "NaCl"\ncount = {DIGITS}', "cannot read"),
        ('formula = "NaCl"\nat_most = 0', "--at-most is 0; it must be at least 1"),
        ('formula = ""', "formula is empty"),
        ('like = ""', "like is empty"),
        ('like = "a\\u0000b"', "like"),
        (f'like = "{LONG}"', "File name too long"),
        (f"sites = {NESTED}", "cannot read"),
        (f"sites.{'a.' * 3000}b = 1", "sites.a is {'a': {'a'"),
        (
            'chemical_system = "Na-Cl"\nsites_per_element = [0]',
            "--sites-per-element is 0",
        ),
        ('chemical_system = "Na-Cl"\nformula_units = [1]', "--formula-units goes with --formula"),
        ('formula = "NaCl"\nsites_per_element = [1]', "--sites-per-element goes with --chemical-system"),
        (
            'space_group = 1\nwyckoff = {Na = "a"}\nletters = "auto"',
            "--letters goes with --sites, --chemical-system, --like and",
        ),
        ('like = "aflow"\nspace_group = 3', "--space-group does not go with --like"),
    ],
)
def test_orders(refused, order, message, tmp_path) -> None:
    path = tmp_path / "orders.toml"
    path.write_text(f"[[order]]\n{order}\n", encoding="utf-8")
    assert message in refused("sample", str(path), "--plan")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("seed=-1", "seed is -1; it must be at least 0"),
        ("seed=4294967296", "seed is 4294967296; it must be at most 4294967295"),
        ("out=", "out is empty"),
        ('out="a\\u0000b"', "out"),
        ("data.train=", "data: train is empty"),
        ("data.max_sites=0", "data: max_sites is 0; it must be at least 1"),
        ("data.min_space_group=231", "data: min_space_group is 231; it must be at most 230"),
        ("data.device_gib=-1", "data: device_gib is -1.0; it must be at least 0"),
        ("data.device_gib=nan", "data: device_gib is nan; it must be"),
        ("optimizer.steps=0", "optimizer: steps is 0; it must be at least 1"),
        ("optimizer.batch_size=0", "optimizer: batch_size is 0; it must be at least 1"),
        ("optimizer.batch_size=1000000000000", "optimizer: batch_size is 1000000000000; it must be at most"),
        ("optimizer.learning_rate=-1", "optimizer: learning_rate is -1.0; it must be above 0"),
        ("optimizer.learning_rate=inf", "optimizer: learning_rate is inf; it must be at most"),
        ("optimizer.learning_rate=nan", "optimizer: learning_rate is nan"),
        ("optimizer.warmup_steps=-7", "optimizer: warmup_steps is -7; it must be at least 0"),
        ("optimizer.final_fraction=-1", "optimizer: final_fraction is -1.0; it must be at least 0"),
        ("optimizer.clip_norm=0", "optimizer: clip_norm is 0.0; it must be above 0"),
        ("optimizer.ema_decay=2", "optimizer: ema_decay is 2.0; it must be below 1"),
        ("optimizer.ema_decay=-0.5", "optimizer: ema_decay is -0.5; it must be at least 0"),
        ("optimizer.constrained_share=1.5", "optimizer: constrained_share is 1.5; it must be at most 1"),
        ("network.dimenet.blocks=-1", "network.dimenet: blocks is -1; it must be at least 0"),
        ("network.dimenet.hidden=0", "network.dimenet: hidden is 0; it must be at least 1"),
        ("network.dimenet.hidden=1000000000", "network.dimenet: hidden is 1000000000; it must be at most"),
        ("network.dimenet.num_spherical=0", "network.dimenet: num_spherical is 0"),
        ("network.dimenet.num_radial=-3", "network.dimenet: num_radial is -3"),
        ("network.dimenet.noise_features=-3", "network.dimenet: noise_features is -3"),
        ("network.dimenet.num_outputs=5", "dimenet has num_outputs = 5"),
        ("network.dimenet.edge_outputs=false", "edge_outputs = false"),
        ("network.dimenet.precision=half", "precision is 'half'"),
        ("network.graph.cutoff=inf", "network.graph: cutoff is inf; it must be at most"),
        ("network.graph.cutoff=1e18", "network.graph: cutoff is 1e+18; it must be at most"),
        ("network.graph.merge_distance=nan", "network.graph: merge_distance is nan"),
        ("network.graph.merge_distance=-1", "network.graph: merge_distance is -1.0; it must be at least 0"),
        ("network.graph.max_neighbors=1000000000", "network.graph: max_neighbors is 1000000000"),
        ("network.graph.grid=1000000", "network.graph: grid is 1000000; it must be at most"),
        ("schedule.levels=1000000000", "schedule: levels is 1000000000; it must be at most"),
        ("schedule.coords_max=inf", "schedule: coords_max is inf; it must be at most"),
        ("schedule.coords_min=0", "schedule: coords_min is 0.0; it must be at least 1e-06"),
        ("schedule.coords_min=1e-83", "schedule: coords_min is 1e-83; it must be at least 1e-06"),
        ("log.every=0", "log: every is 0; it must be at least 1"),
        ("log.validation_structures=-1", "log: validation_structures is -1"),
        ("seed=" + DIGITS, "seed"),
        ("seed=" + NESTED, "seed"),
        ("a." * 3000 + "b=1", "unknown setting"),
        ("=".join(["x" * 5000] * 2), "unknown setting"),
    ],
)
def test_settings_of_a_training(refused, setting, message, tmp_path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(f'out = "{tmp_path}/run"\n')
    assert message in refused("train", str(path), "--set", setting)
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"seed = {DIGITS}", "cannot read"),
        (f"seed = {NESTED}", "cannot read"),
        ("seed = 2020-01-01", "seed is 2020-01-01; expected a whole number"),
        ("data = []", "data is []; expected a table"),
        ("\0", "cannot read"),
    ],
)
def test_files_of_settings(refused, text, message, tmp_path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(text)
    assert message.replace("cannot read", "run.toml") in refused("train", str(path))


@pytest.mark.parametrize("name", ["file", LONG])
def test_a_run_folder_that_cannot_be(refused, tmp_path, monkeypatch, name) -> None:
    """The training itself looks, and before it reads its data."""
    monkeypatch.undo()
    (tmp_path / "file").write_text("mine")
    path = tmp_path / "run.toml"
    path.write_text(f'out = "{tmp_path}/{name}"\ndata.train = "/nowhere"')
    assert "cannot write to" in refused("train", str(path))
    assert (tmp_path / "file").read_text() == "mine"
