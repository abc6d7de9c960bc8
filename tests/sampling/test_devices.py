"""A batch shared among devices: the same crystals, to the last bit, on one and on four."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.optimised

_SCRIPT = """
import hashlib, json, sys
import jax
from jaxcrystal.diffusion.langevin import LangevinConfig
from jaxcrystal.environment import num_cpus, use_all_cores
from jaxcrystal.requests.orders import make_order
from jaxcrystal.sampling.sample import sample_orders
from tests.tiny import make_tiny_model

if sys.argv[1] == "cores":
    use_all_cores()
    print(json.dumps([jax.device_count(), num_cpus()]))
    sys.exit()
model = make_tiny_model()
config = LangevinConfig(model.schedule, steps_per_level=2, trajectory_every=1)
orders = [make_order(221, {"Ba": "a", "Ti": "b", "O": "c"}), make_order(62, {"Na": 2, "Cl": 1}, "free")]
crystals = sample_orders(orders, 7, model, config=config, batch_size=3)
digest = hashlib.sha256()
for crystal in crystals:
    for array in (crystal.lattice, crystal.frac_coords, *crystal.trajectory[0][1:4]):
        digest.update(array.tobytes())
config = LangevinConfig(model.schedule, steps_per_level=2)
arrays = sample_orders(orders[1:], 7, model, config=config, batch_size=3, arrays=True)
for array in jax.tree.leaves(arrays.to_host()):
    digest.update(array.tobytes())
print(json.dumps([jax.device_count(), digest.hexdigest()]))
"""


def run(argument: str = "", **variables: str) -> list:
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", _SCRIPT, argument],
        capture_output=True,
        text=True,
        env={**os.environ, **variables},
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.compile
def test_crystals_do_not_depend_on_the_number_of_devices() -> None:
    (one, expected), (four, found) = (run(JAX_NUM_CPU_DEVICES=count) for count in ("1", "4"))
    assert (one, four) == (1, 4)
    assert found == expected


@pytest.mark.compile
def test_every_core_is_a_device_where_that_is_asked_for() -> None:
    count, cores = run("cores")
    assert count == cores
    # What the user has set is left alone.
    assert run("cores", XLA_FLAGS="--xla_force_host_platform_device_count=3")[0] == 3
    assert run("cores", JAX_NUM_CPU_DEVICES="2")[0] == 2
