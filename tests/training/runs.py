"""Small runs on real prototypes, in this process or by the command."""

import subprocess
import sys

import jax
import numpy as np

from jaxcrystal.config import from_dict, to_toml
from jaxcrystal.model import load_model
from jaxcrystal.training.config import TrainConfig
from jaxcrystal.training.logs import read_rows


def small_config(out, prototypes, **settings):
    """The settings of a run of six updates; `settings` replace whole tables of it."""
    tables = {
        "out": str(out),
        "data": {"train": prototypes},
        "network": {
            "graph": {"max_neighbors": 8, "lattice_vectors": 60},
            "dimenet": {"hidden": 16, "interaction": 8, "output": 16, "blocks": 1, "num_spherical": 3},
        },
        "optimizer": {"steps": 6, "batch_size": 8, "warmup_steps": 2, "constrained_share": 1.0},
        "log": {"every": 2, "checkpoint_every": 3, "validate_every": 0},
    }
    for name, table in settings.items():
        tables[name] = tables[name] | table
    return from_dict(TrainConfig, tables)


def command(config, path, *more):
    """The command line that runs `config`, which is written to `path`."""
    path.write_text(to_toml(config))
    return [sys.executable, "-m", "jaxcrystal.cli", "train", str(path), *more]


def finish(arguments, environment):
    """Runs a command to its end and returns it; shows what it said if it failed."""
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def assert_same_run(whole, run):
    """Weights, best weights and logs (but for the seconds) are equal to the bit."""
    for folder in (".", "best"):
        assert (whole / folder / "model.toml").exists() == (run / folder / "model.toml").exists()
        if (whole / folder / "model.toml").exists():
            one, other = load_model(whole / folder), load_model(run / folder)
            jax.tree.map(np.testing.assert_array_equal, one.params, other.params)
            assert one.info == other.info
    assert read_rows(whole / "validation.csv") == read_rows(run / "validation.csv")
    assert without_seconds(whole) == without_seconds(run)
    assert not list(run.glob(".*.part"))


def without_seconds(run):
    """The rows of a run's log that do not depend on the machine."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in read_rows(run / "log.csv")]
