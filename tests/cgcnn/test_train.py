"""Training of the CGCNN: reading, learning by heart, choosing by validation, the command."""

import csv
import gzip
import json
from dataclasses import replace

import jax
import numpy as np
import pytest
from pymatgen.analysis.prototypes import AFLOW_PROTOTYPE_LIBRARY

from jaxcrystal.cgcnn.energies import EnergyData, read_energies
from jaxcrystal.cgcnn.fit import CgcnnTraining, fit, make_predict, mean_absolute_error
from jaxcrystal.cgcnn.graph import CgcnnConfig
from jaxcrystal.cgcnn.model import formation_energies, load_cgcnn
from jaxcrystal.cgcnn.train import main, rounded, save_weights
from jaxcrystal.data.prepare import prepare
from jaxcrystal.errors import DataError

CONFIG = CgcnnConfig(width=16, convolutions=2, hidden=16)
TRAINING = CgcnnTraining(epochs=150, crystals=8, learning_rate=1e-2, ema_decay=0.9)
CHOSEN = (0, 1, 3, 10, 12, 18, 22, 38)


def structures():
    return [AFLOW_PROTOTYPE_LIBRARY[number]["snl"].structure for number in CHOSEN]


def energies() -> np.ndarray:
    return np.random.default_rng(0).uniform(-3, 0, len(CHOSEN)).round(4)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table of crystals: eight with an energy, one without, one that cannot be read."""
    path = tmp_path_factory.mktemp("cgcnn") / "crystals.csv.gz"
    rows = [
        [f"x{n}", e, s.to(fmt="cif")] for n, (s, e) in enumerate(zip(structures(), energies(), strict=True))
    ]
    rows += [["no energy", "", rows[0][2]], ["broken", "-1.0", "data_x\n_cell_length_a nonsense\n"]]
    with gzip.open(path, "wt", newline="") as file:
        csv.writer(file).writerows([["material_id", "formation_energy_per_atom", "cif"], *rows])
    return path


@pytest.fixture(scope="module")
def learnt(table):
    data = read_energies(table, CONFIG, progress=False)
    seen = []
    params, error = fit(
        data, data, CONFIG, TRAINING, lambda epoch, _, error: seen.append((epoch, error)), progress=False
    )
    return data, params, error, seen


def test_reading(table) -> None:
    data = read_energies(table, CONFIG, progress=False)
    assert data.left_out == 2
    np.testing.assert_allclose(data.energies, energies(), atol=1e-6)
    assert [len(np.unique(g.species)) for g in data.graphs] == [len(s.elements) for s in structures()]


def test_a_prepared_data_set_gives_the_same_crystals(table, tmp_path, learnt) -> None:
    data, params, *_ = learnt
    prepare(table, tmp_path / "crystals.npz", processes=1, progress=False)
    prepared = read_energies(tmp_path / "crystals.npz", CONFIG, progress=False)
    np.testing.assert_allclose(prepared.energies, data.energies, atol=1e-6)
    assert prepared.left_out == 1
    size, energy_of = TRAINING.batch_size(), make_predict(CONFIG)
    for pair in zip(data.graphs, prepared.graphs, strict=True):
        # The error against 0 is the energy: of both descriptions the same.
        one, other = (
            mean_absolute_error(energy_of, params, EnergyData([graph], np.zeros(1, np.float32)), size)
            for graph in pair
        )
        assert one == pytest.approx(other, abs=2e-2)


def test_eight_crystals_are_learnt_by_heart(learnt) -> None:
    data, params, error, _ = learnt
    assert error < 0.02
    assert mean_absolute_error(make_predict(CONFIG), params, data, TRAINING.batch_size()) == pytest.approx(
        error, abs=1e-5
    )
    # Not the mean: that is off by 0.7 eV per atom.
    assert np.abs(data.energies - data.energies.mean()).mean() > 0.5


def test_the_best_of_validation_is_kept(learnt) -> None:
    *_, error, seen = learnt
    errors = [e for _, e in seen]
    assert len(errors) > 3
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] == error
    assert seen[0][0] == 1


def test_the_same_seed_gives_the_same_weights(table) -> None:
    data = read_energies(table, CONFIG, progress=False)

    def train(seed):
        short, small = CgcnnTraining(epochs=2, crystals=4, seed=seed), replace(CONFIG, convolutions=1)
        return jax.tree.leaves(fit(data, data, small, short, progress=False)[0])

    first, again, other = train(0), train(0), train(1)
    for one, repeated in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, repeated)
    assert any(np.abs(np.asarray(a) - np.asarray(b)).max() > 1e-3 for a, b in zip(first, other, strict=True))


def test_a_diverged_training_stops(table) -> None:
    data = read_energies(table, CONFIG, progress=False)
    wrong = EnergyData(data.graphs, np.full(len(data.graphs), np.nan, np.float32))
    with pytest.raises(DataError, match="non-finite in epoch 1"):
        fit(wrong, data, CONFIG, CgcnnTraining(epochs=2, crystals=4), progress=False)


def test_saved_weights_come_back(learnt, tmp_path) -> None:
    data, params, *_ = learnt
    save_weights(tmp_path / "w.npz", params, CONFIG, {"note": "ours"})
    model = load_cgcnn(tmp_path / "w.npz")
    assert (model.config, model.info) == (CONFIG, {"note": "ours"})
    jax.tree.map(np.testing.assert_array_equal, model.params, rounded(params))
    np.testing.assert_allclose(formation_energies(structures(), model=model), data.energies, atol=0.1)


@pytest.mark.cli
def test_command(table, tmp_path, capsys) -> None:
    out = tmp_path / "weights.npz"
    command = ["--train", str(table), "--validation", str(table), "--test", str(table)]
    command += ["--out", str(out), "--epochs", "3", "--processes", "1"]
    assert main(command) == 0
    info = json.loads(capsys.readouterr().out)
    model = load_cgcnn(out)
    assert model.info == info
    assert info["data"]["test"] == {"file": "crystals.csv.gz", "crystals": 8, "left_out": 2}
    assert info["training"]["epochs"] == 3
    assert info["parameters"] == sum(leaf.size for leaf in jax.tree.leaves(model.params))
    # The error that is stated is that of the weights in the file.
    error = np.abs(formation_energies(structures(), model=model) - energies()).mean()
    assert info["test_mae"] == pytest.approx(error, abs=1e-3)

    assert main(command) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.cli
def test_command_says_what_is_wrong_in_one_line(table, tmp_path, capsys) -> None:
    bare = tmp_path / "bare.csv"
    bare.write_text("id,cif\n1,data_x\n")
    for source, words in ((tmp_path / "no.csv", "does not exist"), (bare, "no crystal that can be used")):
        files = ["--validation", str(table), "--test", str(table), "--out", str(tmp_path / "w.npz")]
        assert main(["--train", str(source), *files, "--processes", "1"]) == 2
        assert words in capsys.readouterr().err.splitlines()[-1]
