"""The training run on a handful of real prototypes: it learns, resumes and refuses."""

import csv
from dataclasses import replace

import jax
import numpy as np
import pytest

from jaxcrystal.config import from_dict
from jaxcrystal.data.dataset import Dataset
from jaxcrystal.data.prepare import load_or_prepare
from jaxcrystal.errors import DataError
from jaxcrystal.training.config import TrainConfig
from jaxcrystal.training.inputs import Inputs
from jaxcrystal.training.loop import train, usable
from jaxcrystal.training.model import load_model
from jaxcrystal.training.validation import validate


@pytest.fixture(scope="module")
def prototypes(tmp_path_factory):
    """The embedded structures of exactly two sites in groups >= 16, so that one size is compiled."""
    dataset = load_or_prepare("aflow")
    chosen = np.flatnonzero((dataset.num_sites == 2) & dataset.supported)[:24]
    path = tmp_path_factory.mktemp("data") / "two.npz"
    dataset.select(chosen).save(path)
    return str(path)


@pytest.fixture
def config(tmp_path, prototypes):
    return from_dict(
        TrainConfig,
        {
            "out": str(tmp_path / "run"),
            "data": {"train": prototypes},
            "network": {
                "graph": {"max_neighbors": 8, "lattice_vectors": 60},
                "dimenet": {"hidden": 16, "interaction": 8, "output": 16, "blocks": 1, "num_spherical": 3},
            },
            "optimizer": {
                "steps": 6,
                "batch_size": 8,
                "warmup_steps": 2,
                "constrained_share": 1.0,
            },
            "log": {"every": 2, "checkpoint_every": 3, "validate_every": 0},
        },
    )


def test_a_run_resumed_ends_where_an_unbroken_one_does(config, tmp_path):
    unbroken = train(config, progress=False)
    broken = replace(config, out=str(tmp_path / "broken"))

    class Killed(Exception):
        pass

    def killer(step):
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        at = Inputs.at
        patch.setattr(Inputs, "at", lambda self, step: killer(step) if step == 5 else at(self, step))
        with pytest.raises(Killed):
            train(broken, progress=False)
    train(broken, resume=True, progress=False)

    one, other = load_model(unbroken), load_model(tmp_path / "broken")
    jax.tree.map(np.testing.assert_array_equal, one.params, other.params)
    with (unbroken / "log.csv").open() as a, (tmp_path / "broken" / "log.csv").open() as b:
        rows = [
            [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(f)] for f in (a, b)
        ]
    assert rows[0][-1]["coords"] == rows[1][-1]["coords"]
    assert [row["step"] for row in rows[1]] == ["2", "4", "6"] or rows[1][-1]["step"] == "6"


def test_a_run_starts_from_the_weights_of_another(config, tmp_path):
    """With next to no learning rate they stay what they were; what they lack is fresh."""
    first = train(config, progress=False)
    model = load_model(first)
    older = jax.tree.map(lambda leaf: leaf, model.params)
    del older["EmbeddingBlock_0"]["free_sites"]
    replace(model, params=older).save(tmp_path / "older")

    # The paper's two terms, too, make a training step.
    still = replace(config.optimizer, steps=2, learning_rate=1e-12)
    second = replace(
        config,
        out=str(tmp_path / "second"),
        start_from=str(tmp_path / "older"),
        optimizer=still,
        joint=False,
    )
    trained = load_model(train(second, progress=False))
    assert trained.info["steps"] == 6 + 2
    params = trained.params
    assert not params["EmbeddingBlock_0"].pop("free_sites").any()
    model.params["EmbeddingBlock_0"].pop("free_sites")
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), params, model.params)

    graph = replace(config.network.graph, cutoff=4.0)
    other = replace(second, out=str(tmp_path / "third"), network=replace(config.network, graph=graph))
    with pytest.raises(DataError, match="another network"):
        train(other, progress=False)


def test_a_run_folder_is_never_overwritten(config):
    out = train(config, progress=False)
    weights = (out / "weights.npz").read_bytes()
    with pytest.raises(DataError, match="is not empty"):
        train(config, progress=False)
    with pytest.raises(DataError, match="differs from the configuration"):
        train(replace(config, seed=1), resume=True, progress=False)
    assert (out / "weights.npz").read_bytes() == weights


def test_nothing_to_resume_or_to_train_on_is_said(config, tmp_path):
    with pytest.raises(DataError, match="no run to resume"):
        train(config, resume=True, progress=False)
    with pytest.raises(DataError, match="no structure"):
        usable(Dataset.load(config.data.train), max_sites=1, min_space_group=16)
    with pytest.raises(DataError, match="holds no model"):
        load_model(tmp_path)


def test_an_untrained_network_has_a_loss_of_one_at_every_level(config, prototypes):
    model = load_model(train(config, progress=False))
    zero = jax.tree.map(np.zeros_like, model.params)
    for losses in validate(model.network, model.schedule, zero, Dataset.load(prototypes), 24):
        assert np.abs(losses.coords - 1.0).max() < 0.35  # 24 structures, a few numbers each
        assert np.abs(losses.lattice - 1.0).max() < 0.6
        assert abs(losses.coords.mean() - 1.0) < 0.1
