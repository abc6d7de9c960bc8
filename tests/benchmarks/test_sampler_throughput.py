"""Runs the notebook on throughput with tiny sizes and a tiny network, and checks its baseline."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.plain_multigraph import plain_multigraph
from jaxcrystal.crystal import pad_and_stack
from jaxcrystal.graph.neighbors import GraphConfig, ImageCapacity, find_neighbors
from tests.crystals import random_crystal

NOTEBOOK = Path(__file__).parents[2] / "benchmarks" / "sampler_throughput.ipynb"


def test_it_runs(tmp_path, tiny_model) -> None:
    tiny_model.save(tmp_path / "tiny")
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    script = tmp_path / "throughput.py"
    code = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    assert code.count("load_model()") == 1
    script.write_text(code.replace("load_model()", f"load_model({str(tmp_path / 'tiny')!r})"), "utf-8")
    root = str(NOTEBOOK.parents[1])
    environment = os.environ | {"JAXCRYSTAL_TOUR": "tiny", "MPLBACKEND": "agg", "PYTHONPATH": root}
    command = [sys.executable, "-W", "ignore::UserWarning", str(script)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for title in (
        "constrained sites",
        "free sites",
        "group, free",
        "T, chains",
        "compilation",
        "NumPy on the host",
    ):
        assert title in done.stdout


@pytest.mark.parity
def test_the_plain_multigraph_has_the_same_edges() -> None:
    rng = np.random.default_rng(4)
    crystals = [random_crystal(rng, group, 2, constrained=True) for group in (16, 62, 166, 194, 225)]
    config = GraphConfig(cutoff=5.0, max_neighbors=16)
    batch = pad_and_stack(crystals, 2)
    capacity = ImageCapacity.fitting(batch, constrained=True)
    run = jax.jit(jax.vmap(lambda crystal: find_neighbors(crystal, config, capacity)))
    found = run(jax.tree.map(jnp.asarray, batch))
    for row, crystal in enumerate(crystals):
        plain = plain_multigraph(crystal, config.cutoff, config.max_neighbors)
        for site in range(2):
            distance = np.asarray(found.distance[row, site])[np.asarray(found.mask[row, site])]
            assert len(distance) > 0
            np.testing.assert_allclose(distance, plain.distance[plain.receivers == site], atol=1e-4)
