from pathlib import Path

import pytest

from jaxcrystal.config import ConfigError, load, to_toml
from jaxcrystal.training.config import TrainConfig


def write(tmp_path, text):
    path = tmp_path / "config.toml"
    path.write_text(text)
    return path


def test_defaults_survive_a_round_trip(tmp_path):
    assert load(TrainConfig, write(tmp_path, to_toml(TrainConfig()))) == TrainConfig()


def test_overrides_reach_nested_settings(tmp_path):
    config = load(
        TrainConfig,
        write(tmp_path, "seed = 3\n[network.dimenet]\nblocks = 2\n"),
        ["network.dimenet.blocks=1", "out=runs/x", "optimizer.learning_rate=1"],
    )
    assert (config.seed, config.network.dimenet.blocks, config.out) == (3, 1, "runs/x")
    assert config.optimizer.learning_rate == 1.0


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        ("sede = 3", [], "unknown setting 'sede'"),
        ("seed = 'x'", [], "seed is 'x'; expected a whole number"),
        ("seed = true", [], "seed is True; expected a whole number"),
        ("network = 3", [], "network is 3; expected a table"),
        ("[network.graph]\ncutoff = -1.0", [], "cutoff is -1.0"),
        ("[optimizer]\nsteps = 0", [], "steps is 0"),
        ("seed = ", [], "is not TOML"),
        ("", ["seed"], "expected key=value"),
        ("", ["seed.x=1"], "seed is {'x': 1}; expected a whole number"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path, text, overrides, message):
    with pytest.raises(ConfigError) as error:
        load(TrainConfig, write(tmp_path, text), overrides)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        load(TrainConfig, tmp_path / "none.toml")


@pytest.mark.parametrize(
    "path", sorted(Path(__file__).parents[2].glob("configs/*.toml")), ids=lambda p: p.stem
)
def test_the_settings_that_come_along_can_be_read(path):
    config = load(TrainConfig, path)
    assert config.out == f"runs/{path.stem}"


@pytest.mark.parametrize(
    "setting", ["log.every=0", "log.checkpoint_every=0", "log.keep=0", "log.validate_every=-1"]
)
def test_a_log_that_would_never_come_is_refused(tmp_path, setting):
    with pytest.raises(ConfigError, match="log: "):
        load(TrainConfig, write(tmp_path, ""), [setting])
