"""The training run on a handful of real prototypes: it learns, starts from others and refuses."""

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcrystal import cli
from jaxcrystal.data.batches import to_crystals
from jaxcrystal.data.dataset import Dataset
from jaxcrystal.data.prepare import load_or_prepare
from jaxcrystal.errors import DataError
from jaxcrystal.graph.neighbors import ImageCapacity
from jaxcrystal.model import load_model
from jaxcrystal.score import MAX_SIGMA
from jaxcrystal.training.export import first_params
from jaxcrystal.training.inputs import Inputs
from jaxcrystal.training.logs import read_rows
from jaxcrystal.training.loop import train, usable
from jaxcrystal.training.validation import validate
from tests.crystals import score_of
from tests.training.runs import small_config, without_seconds


@pytest.fixture(scope="module")
def trained(tmp_path_factory, prototypes):
    """A run of six updates, with a validation every third, and its settings."""
    config = small_config(
        tmp_path_factory.mktemp("whole") / "run",
        prototypes,
        data={"validation": prototypes},
        log={"validate_every": 3, "validation_structures": 8},
    )
    return config, train(config, progress=False)


def test_a_run_folder_holds_what_people_look_for(trained):
    out = trained[1]
    names = {path.name for path in out.iterdir()}
    assert {"config.toml", "log.csv", "validation.csv", "losses.png", "best", "checkpoints"} <= names
    assert [row["step"] for row in without_seconds(out)] == ["2", "4", "6"]
    model, best = load_model(out), load_model(out / "best")
    assert model.info["steps"] == 6
    assert best.info["steps"] in (3, 6)
    # The best has the least loss in validation.csv, of the kind of sites that is trained.
    rows = [row for row in read_rows(out / "validation.csv") if row["sites"] == "constrained"]
    losses = {
        step: np.mean([float(row[k]) for row in rows for k in ("coords", "lattice") if row["step"] == step])
        for step in ("3", "6")
    }
    assert str(best.info["steps"]) == min(losses, key=losses.get)


def test_where_the_cut_at_the_nearest_neighbours_acts_is_reported(trained, capsys):
    """In the log, by the validation, in the model, and by `info`: eight of more neighbours stay."""
    out = trained[1]
    assert {float(row["cut_share"]) for row in read_rows(out / "log.csv")} == {1.0}
    info = load_model(out).info
    assert info["constrained_cut_share"] == 1.0
    assert info["free_cut_share"] > 0.9
    assert cli.main(["info", str(out)]) == 0
    assert "constrained_cut_share: 1.0\n" in capsys.readouterr().out


def test_batches_made_on_the_host_train_the_same(trained, tmp_path):
    config, out = trained
    data = replace(config.data, device_gib=0.0)
    other = train(replace(config, out=str(tmp_path / "host"), data=data), progress=False)
    one, two = load_model(out), load_model(other)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), one.params, two.params)


def test_a_run_starts_from_the_weights_of_another(trained, tmp_path):
    """With next to no learning rate they stay what they were; what they lack is fresh."""
    config, first = trained
    model = load_model(first)
    older = jax.tree.map(lambda leaf: leaf, model.params)
    del older["EmbeddingBlock_0"]["free_sites"]
    replace(model, params=older).save(tmp_path / "older")

    # The paper's two terms, too, make a training step.
    still = replace(config.optimizer, steps=2, learning_rate=1e-12)
    merging = replace(config.network.graph, merge_distance=0.6)
    second = replace(
        config,
        out=str(tmp_path / "second"),
        network=replace(config.network, graph=merging),
        start_from=str(tmp_path / "older"),
        data=replace(config.data, validation=""),
        optimizer=still,
        joint=False,
    )
    trained = load_model(train(second, progress=False))
    assert trained.info["steps"] == 6 + 2
    assert trained.network.graph == merging
    params = trained.params
    assert not params["EmbeddingBlock_0"].pop("free_sites").any()
    model.params["EmbeddingBlock_0"].pop("free_sites")
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), params, model.params)

    graph = replace(config.network.graph, cutoff=4.0)
    other = replace(second, out=str(tmp_path / "third"), network=replace(config.network, graph=graph))
    with pytest.raises(DataError, match="another network"):
        train(other, progress=False)


def test_a_network_grows_without_a_change_of_what_it_says(trained, tmp_path):
    config, first = trained
    small = load_model(first)
    dimenet = replace(config.network.dimenet, blocks=config.network.dimenet.blocks + 1)
    grown = replace(config, start_from=str(first), network=replace(config.network, dimenet=dimenet))
    crystal = jax.tree.map(
        lambda a: jnp.asarray(a[0]), to_crystals(load_or_prepare(config.data.train), np.arange(1), 4, False)
    )
    params, steps = first_params(grown, crystal)
    assert steps == 6
    assert len(jax.tree.leaves(params)) > len(jax.tree.leaves(small.params))
    sigma = jnp.asarray([0.3, 1.0])
    capacity = ImageCapacity.free(4)
    one, two = (
        jax.jit(score_of(network, capacity))(weights, crystal, sigma)
        for network, weights in ((config.network, small.params), (grown.network, params))
    )
    assert np.abs(one.coords).max() > 0.0
    np.testing.assert_array_equal(one.coords, two.coords)
    np.testing.assert_array_equal(one.lattice, two.lattice)
    fewer = replace(config.network, dimenet=replace(dimenet, blocks=0))
    with pytest.raises(DataError, match="another network"):  # blocks are never thrown away
        first_params(replace(grown, network=fewer), crystal)


def test_a_run_folder_is_never_overwritten(trained):
    config, out = trained
    files = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(DataError, match="is not empty"):
        train(config, progress=False)
    with pytest.raises(DataError, match=r"differs from the configuration given: seed \(0, now 1\)"):
        train(replace(config, seed=1), resume=True, progress=False)
    assert {path: path.read_bytes() for path in files} == files


def test_a_finished_run_resumed_stays_as_it_is(trained):
    config, out = trained
    logs = (out / "log.csv").read_bytes(), (out / "validation.csv").read_bytes()
    before = load_model(out)
    (out / "model.toml").unlink()  # killed while the model was written
    train(config, resume=True, progress=False)
    after = load_model(out)
    jax.tree.map(np.testing.assert_array_equal, before.params, after.params)
    assert after.info == before.info
    assert logs == ((out / "log.csv").read_bytes(), (out / "validation.csv").read_bytes())


def test_nothing_to_resume_or_to_train_on_is_said(config, tmp_path):
    with pytest.raises(DataError, match="no run to resume"):
        train(config, resume=True, progress=False)
    with pytest.raises(DataError, match="no structure of the data set has at most 1 inequivalent sites"):
        usable(Dataset.load(config.data.train), replace(config.data, max_sites=1))
    with pytest.raises(DataError, match="holds no model"):
        load_model(tmp_path)


def test_a_wrong_name_leaves_no_folder_behind(config, tmp_path, prototypes):
    """The corrected command would be refused: there is something in the folder, and no run to resume."""
    dataset, low = Dataset.load(prototypes), tmp_path / "low.npz"
    lowest = int(dataset.space_group.min())
    dataset.select(dataset.space_group == lowest).save(low)
    higher = replace(config.data, validation=str(low), min_space_group=lowest + 1)
    for settings, message in (
        ({"data": replace(config.data, validation="vla.npz")}, "vla.npz"),
        ({"data": higher}, "no structure of .*low.npz has"),
        ({"start_from": "modle"}, "modle"),
    ):
        with pytest.raises(DataError, match=message):
            train(replace(config, **settings), progress=False)
        assert not Path(config.out).exists()


def test_other_data_are_not_resumed_on(config, tmp_path, prototypes):
    dataset, path = Dataset.load(prototypes), tmp_path / "data.npz"
    dataset.save(path)
    config = replace(config, data=replace(config.data, train=str(path)))

    at = Inputs.at

    def fails_at_four(inputs, step):
        if step == 4:
            raise InterruptedError
        return at(inputs, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Inputs, "at", fails_at_four)
        with pytest.raises(InterruptedError):
            train(config, progress=False)
    dataset.select(range(20)).save(path, overwrite=True)
    with pytest.raises(DataError, match=r"cannot resume from step 3 .* the data differs"):
        train(config, resume=True, progress=False)


def test_a_loss_that_is_not_finite_ends_the_run_with_its_last_good_state(config):
    """The rate is so high that the weights overflow after the first updates."""
    optimizer = replace(config.optimizer)
    object.__setattr__(optimizer, "learning_rate", 1e38)  # past its bounds
    log = replace(config.log, checkpoint_every=1, every=1, keep=10)
    config = replace(config, optimizer=optimizer, log=log)
    with pytest.raises(DataError, match="non-finite by step") as error:
        train(config, progress=False)
    kept = max(int(path.name) for path in Path(config.out, "checkpoints").glob("[0-9]*"))
    assert f"the last good checkpoint is step {kept}" in str(error.value)
    for leaf in jax.tree.leaves(load_model(config.out).params):
        assert np.isfinite(leaf).all()


def test_an_untrained_network_has_a_loss_of_one_wherever_it_must_guess(trained, prototypes):
    model = load_model(trained[1])
    zero = jax.tree.map(np.zeros_like, model.params)
    # Each structure eight times, with other noise: few of them have a free coordinate on constrained sites.
    dataset = Dataset.load(prototypes).select(np.tile(np.arange(24), 8))
    for losses in validate(replace(model, params=zero), model.schedule, dataset, len(dataset)):
        guessed = np.ones(len(losses.coords), bool)
        if losses.sites == "free":  # small noise across special positions is read off the images
            guessed = losses.sigmas[:, 0] >= MAX_SIGMA
            assert losses.coords[~guessed].max() < 0.5
        assert np.abs(losses.coords[guessed] - 1.0).max() < 0.35
        assert np.abs(losses.lattice - 1.0).max() < 0.6
        assert abs(losses.coords[guessed].mean() - 1.0) < 0.1
