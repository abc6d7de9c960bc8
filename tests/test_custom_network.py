"""A network and a condition that this package never heard of: trained, saved, loaded and sampled."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

import jaxcrystal as jc
import jaxcrystal.config
from jaxcrystal import cli
from jaxcrystal.errors import DataError, RequestError
from jaxcrystal.models.network import NetworkConfig, find_module
from jaxcrystal.text import csv_text
from jaxcrystal.training.logs import read_rows
from jaxcrystal.training.loop import usable

NETWORKS = """
import flax.linen as nn
import jax.numpy as jnp

class Tiny(nn.Module):
    width: int = 4
    cutoff: float = 9.0

    @nn.compact
    def __call__(self, graph, log_sigma, cond):
        told = jnp.zeros(1) if cond is None else cond["sites"][None]
        near = jnp.exp(-graph.edges.distance / self.cutoff)[:, None]
        x = nn.Embed(119, self.width)(graph.nodes.species)[graph.senders]
        inputs = jnp.concatenate([near * x, jnp.broadcast_to(log_sigma, (len(x), 2))], axis=1)
        return nn.Dense(2)(nn.silu(nn.Dense(self.width)(inputs) + nn.Dense(self.width)(told)))

class Deeper(nn.Module):
    width: int = 4
    cutoff: float = 9.0

    @nn.compact
    def __call__(self, graph, log_sigma, cond):
        return Tiny(self.width)(graph, log_sigma, cond) + nn.Dense(2)(graph.edges.displacement)

class Checked(nn.Module):
    width: int = 4
    cutoff: float = 9.0

    @nn.compact
    def __call__(self, graph, log_sigma, cond):
        own = cond["sites"] == graph.nodes.mask.sum()
        return jnp.where(own, Tiny(self.width)(graph, log_sigma, cond), jnp.nan)

class NoModule:
    pass
"""
CONFIG = """
out = "run"
[data]
train = "data.npz"
[network.graph]
cutoff = 5.0
max_neighbors = 8
[network.settings]
width = 6
[optimizer]
steps = 2
batch_size = 4
constrained_share = 1.0
warmup_steps = 1
"""
SAMPLE = [
    "sample",
    "--space-group",
    "225",
    "--wyckoff",
    "Na=a,Cl=b",
    "--count",
    "2",
    "--steps-per-level",
    "1",
]


@pytest.fixture
def folder(tmp_path, prototypes, monkeypatch):
    """A folder with a module of networks, and data of two sites each that say how many they are."""
    name = f"networks_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(NETWORKS)
    dataset = jc.Dataset.load(prototypes)
    replace(dataset, columns={"sites": dataset.num_sites.astype(float)}).save(tmp_path / "data.npz")
    (tmp_path / "run.toml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return name


@pytest.mark.cli
def test_a_network_of_ones_own_from_the_command_line(folder, capsys) -> None:
    module = ["--module", f"{folder}:Tiny"]
    assert cli.main(["train", "run.toml", *module]) == 0
    assert cli.main([*SAMPLE, "--model", "run", *module, "--out", "salt"]) == 0
    assert "2 crystals" in capsys.readouterr().out
    assert cli.main(["info", "run", *module]) == 0
    assert "Tiny" in capsys.readouterr().out
    refused = {
        f"give it with --module {folder}:Tiny": [],
        "is no Flax module": ["--module", f"{folder}:NoModule"],
        "cannot import no.such.place": ["--module", "no.such.place:Tiny"],
        "should be named package.module:Class": ["--module", "Tiny"],
    }
    for said, given in refused.items():
        assert cli.main([*SAMPLE, "--model", "run", *given, "--out", "other"]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert len(error.splitlines()) == 1
    assert cli.main([*SAMPLE, *module, "--out", "other"]) == 2  # the bundled model has its own
    assert "it takes no other module" in capsys.readouterr().err


def test_a_network_of_ones_own_from_python(folder) -> None:
    """As an instance with its own settings; what is saved names them, and weights are checked."""
    kind = find_module(f"{folder}:Tiny")
    config = jc.config.load(jc.TrainConfig, "run.toml")
    jc.train(config, progress=False, module=kind(width=5))
    model = jc.load_model("run", module=kind)
    assert (model.module.width, model.module.cutoff) == (5, 5.0)
    assert dict(model.network.settings)["width"] == 5
    found = jc.sample(225, {"Na": "a", "Cl": "b"}, 2, model=model, steps_per_level=1)
    again = jc.sample(
        225, {"Na": "a", "Cl": "b"}, 2, model=jc.load_model("run", module=f"{folder}:Tiny"), steps_per_level=1
    )
    np.testing.assert_array_equal(found[1].lattice, again[1].lattice)
    with pytest.raises(DataError, match=r"do not fit the network Tiny: .* has the shape"):
        jc.load_model("run", module=kind(width=7))
    with pytest.raises(DataError, match=r"do not fit the network Deeper: .* (lacks|has besides)"):
        jc.load_model("run", module=find_module(f"{folder}:Deeper"))
    with pytest.raises(DataError, match="a model file holds numbers"):
        NetworkConfig().with_module(kind(width=object()))


def test_a_condition(folder) -> None:
    """It reaches the network: crystals that are told different things differ, and it must be given."""
    config = jc.config.load(jc.TrainConfig, "run.toml", ["data.cond=sites"])
    kind = find_module(f"{folder}:Tiny")
    jc.train(config, progress=False, module=kind)
    model = jc.load_model("run", module=kind)
    assert model.conditions == ("sites",)
    salt = (225, {"Na": "a", "Cl": "b"}, 2)
    one, other, each = (
        jc.sample(*salt, model=model, cond={"sites": told}, steps_per_level=1)
        for told in (2.0, 50.0, [2.0, 50.0])
    )
    assert not np.array_equal(one[0].lattice, other[0].lattice)
    np.testing.assert_array_equal(each[0].lattice, one[0].lattice)
    np.testing.assert_array_equal(each[1].lattice, other[1].lattice)
    for wrong, said in (
        (None, "takes the conditions sites"),
        ({"gap": 1.0}, "got gap"),
        ({"sites": np.nan}, "finite"),
    ):
        with pytest.raises(RequestError, match=said):
            jc.sample(*salt, model=model, cond=wrong, steps_per_level=1)
    with pytest.raises(RequestError, match="takes no conditions"):
        jc.sample(*salt, cond={"sites": 2.0}, steps_per_level=1)
    with pytest.raises(DataError, match="has no column 'gap'"):
        jc.train(jc.config.load(jc.TrainConfig, "run.toml", ["data.cond=gap", "out=other"]), module=kind)


@pytest.mark.cli
def test_a_condition_from_the_command_line(folder, capsys) -> None:
    """A column of a table, kept, trained on, sampled: each is told its own number, or its noise is NaN."""
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.6), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    titanate = Structure.from_spacegroup(
        "Pm-3m",
        Lattice.cubic(4.0),
        ["Ba", "Ti", "O"],
        [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]],
    )
    rows = [("id", "cif", "sites"), ("a", salt.to(fmt="cif"), "2"), ("b", titanate.to(fmt="cif"), "3")]
    Path("table.csv").write_text(csv_text(rows))
    assert cli.main(["prepare", "table.csv", "--keep", "sites", "--processes", "1", "--out", "kept.npz"]) == 0
    module, cond = ["--module", f"{folder}:Checked"], ["--set", "data.train=kept.npz", "data.cond=sites"]
    assert cli.main(["train", "run.toml", *module, *cond]) == 0
    losses = [float(row["lattice"]) for row in read_rows(Path("run/log.csv"))]
    assert losses
    assert np.isfinite(losses).all()
    told = [*SAMPLE, "--model", "run", *module, "--cond"]
    for number, status in (("2", {"ok"}), ("3", {"non_finite"})):  # of two sites each
        assert cli.main([*told, f"sites={number}", "--out", f"salt{number}"]) == 0
        rows = read_rows(Path(f"salt{number}/summary.csv"))
        assert (len(rows), {row["status"] for row in rows}) == (2, status)
    capsys.readouterr()
    assert cli.main([*told, "gap=2", "--out", "other"]) == 2
    assert "sites" in capsys.readouterr().err


def test_what_a_condition_is_missing_for_is_left_out(folder) -> None:
    dataset = jc.Dataset.load("data.npz")
    known = np.where(np.arange(len(dataset)) % 2, np.nan, 2.0)
    told = replace(dataset, columns={"sites": known})
    config = jc.config.load(jc.TrainConfig, "run.toml", ["data.cond=sites"]).data
    np.testing.assert_array_equal(usable(told, config), np.arange(0, len(dataset), 2))
