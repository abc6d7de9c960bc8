"""A batch shared among devices: the same crystals, to the last bit, on one and on four."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from jaxcrystal.diffusion.langevin import LangevinConfig
from jaxcrystal.requests.orders import make_order
from jaxcrystal.sampling.sample import sample_orders
from tests.tiny import make_tiny_model

pytestmark = pytest.mark.optimised

_SCRIPT = """
import json, sys
import jax
from jaxcrystal.environment import num_cpus, use_all_cores

if sys.argv[1] == "cores":
    use_all_cores()
    print(json.dumps([jax.device_count(), num_cpus()]))
    sys.exit()
from tests.sampling.test_devices import digest
print(json.dumps([jax.device_count(), digest()]))
"""


def digest() -> str:
    """Of constrained crystals on all their way and of free ones as arrays, on the devices of this process."""
    model, found = make_tiny_model(), hashlib.sha256()
    config = LangevinConfig(model.schedule, steps_per_level=2, trajectory_every=1)
    orders = [make_order(221, {"Ba": "a", "Ti": "b", "O": "c"}), make_order(62, {"Na": 2, "Cl": 1}, "free")]
    for crystal in sample_orders(orders[:1], 7, model, config=config, batch_size=4):
        for array in (crystal.lattice, crystal.frac_coords, *crystal.trajectory[0][1:4]):
            found.update(array.tobytes())
    config = LangevinConfig(model.schedule, steps_per_level=5)  # a program of test_run.py, on one device
    arrays = sample_orders(orders[1:], 7, model, config=config, batch_size=4, arrays=True)
    for array in jax.tree.leaves(arrays.to_host()):
        found.update(array.tobytes())
    return found.hexdigest()


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
    assert jax.device_count() == 1
    assert run(JAX_NUM_CPU_DEVICES="4") == [4, digest()]


@pytest.mark.compile
def test_every_core_is_a_device_where_that_is_asked_for() -> None:
    count, cores = run("cores")
    assert count == cores
    # What the user has set is left alone.
    assert run("cores", XLA_FLAGS="--xla_force_host_platform_device_count=3")[0] == 3
    assert run("cores", JAX_NUM_CPU_DEVICES="2")[0] == 2
