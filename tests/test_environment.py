"""The installed jax computes rightly where jax 0.10.2 and 0.11.0 do not."""

import os
import subprocess
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from jaxcrystal import environment
from tests.precision import double_precision


@pytest.mark.parametrize("num_rows", [32_768, 32_769, 100_000])
def test_matvec_then_sum_over_many_rows(num_rows: int) -> None:
    """Jax issue 39103: jitted, rows beyond 32,768 came out wrong in float32 with jax 0.10.2."""
    rows = np.zeros((num_rows, 3), np.float32)
    rows[:, 0] = np.arange(num_rows)

    def squared_length(row: Array) -> Array:
        return jnp.sum((jnp.eye(3, dtype=jnp.float32) @ row) ** 2)

    found = jax.jit(jax.vmap(squared_length))(rows)
    np.testing.assert_allclose(found, rows[:, 0] ** 2, rtol=1e-6)


_HIGH_RANK_REDUCTIONS = """
import jax, jax.numpy as jnp, numpy as np

for shape, axes in [
    ((3, 1, 2, 2, 8, 8, 8), (3,)),
    ((3, 1, 2, 2, 8, 8, 8), (4, 6)),
    ((2, 3, 2, 3, 2, 3, 4), (1, 3)),
    ((2, 2, 2, 2, 1, 3, 4, 8), (5,)),
    ((2, 3, 2, 2, 2, 3, 4, 2), (0, 2, 4)),
]:
    rng = np.random.default_rng(0)
    left = rng.normal(size=shape).astype(np.float32)
    right = rng.normal(size=shape).astype(np.float32)
    found = jax.jit(lambda x, y: jnp.sum(x * y, axis=axes))(left, right)
    np.testing.assert_allclose(found, (left * right).sum(axes), rtol=1e-4, atol=1e-4)

    row = right[:1, :, :1]
    found = jax.jit(lambda x, y: jnp.sum(x * y, axis=axes))(left, row)
    np.testing.assert_allclose(found, (left * row).sum(axes), rtol=1e-4, atol=1e-4)
print("done")
"""


def test_reductions_of_rank_seven_and_more() -> None:
    """Jax issues 39257 and 40412: a crash or hang with 0.10.2 and 0.11.0, so not in this process."""
    run = subprocess.run(
        [sys.executable, "-c", _HIGH_RANK_REDUCTIONS], capture_output=True, text=True, timeout=600
    )
    assert (run.returncode, run.stdout.strip()) == (0, "done"), run.stderr


def test_the_installed_release_is_not_a_broken_one() -> None:
    assert environment.broken_release() is None


@pytest.mark.parametrize("package", ["jax", "jaxlib"])
@pytest.mark.parametrize("release", ["0.10.2", "0.11.0", "0.11.0+cuda"])
def test_import_warns_of_a_broken_release(
    package: str, release: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = {"jax": "0.10.1", "jaxlib": "0.10.1", package: release}
    monkeypatch.setattr(environment, "version", installed.__getitem__)
    with pytest.warns(RuntimeWarning, match=f"{package} {release.replace('+', '.')} gives wrong results"):
        environment.warn_if_broken()


@pytest.mark.parametrize("release", ["0.7.0", "0.10.1", "0.11.1", "0.12.0.1"])
def test_no_warning_of_a_sound_release(release: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "version", lambda package: release)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        environment.warn_if_broken()


@pytest.mark.parametrize(
    ("cores", "batch_size", "count"),
    [(2, 64, 2), (64, 64, 8), (6, 64, 4), (7, 60, 6), (4, 8, 1), (2, 7, 1), (1, 64, 1), (5, None, 5)],
)
def test_cores_have_equal_parts_of_a_batch(cores: int, batch_size: int | None, count: int) -> None:
    """Of at least eight structures; without a batch to share, every core is a device."""
    assert environment.num_devices(cores, batch_size) == count


def test_training_has_threads_to_spare(monkeypatch) -> None:
    """Devices that wait for one another must not be all that XLA has threads for."""
    for name in ("PJRT_NPROC", "XLA_FLAGS"):  # set first, so that they are as before at the end
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(jax.config, "update", lambda *_: None)
    environment.use_all_cores()
    assert "PJRT_NPROC" not in os.environ
    environment.use_all_cores(64)
    devices = environment.num_devices(environment.num_cpus(), 64)
    assert os.environ["PJRT_NPROC"] == str(3 * devices)
    monkeypatch.setenv("PJRT_NPROC", "5")  # what the user has set is left alone
    environment.use_all_cores(64)
    assert os.environ["PJRT_NPROC"] == "5"


def test_as_many_devices_as_are_asked_for_have_threads_to_spare() -> None:
    """A training on them would come to a halt otherwise: all threads would wait for one another."""
    script = (
        "import os\nfrom jaxcrystal import environment\nenvironment.use_all_cores(8)\n"
        "import jax\nprint(jax.device_count(), os.environ['PJRT_NPROC'])"
    )
    told = {name: value for name, value in os.environ.items() if name not in ("PJRT_NPROC", "XLA_FLAGS")}
    told |= {"JAX_NUM_CPU_DEVICES": "5", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=told, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["5", "15"]


def test_double_precision_holds_inside_only() -> None:
    with double_precision():
        assert jax.jit(jnp.sum)(np.ones(3)).dtype == jnp.float64
    assert jax.jit(jnp.sum)(np.ones(3)).dtype == jnp.float32


def test_fixture_gives_double_precision(x64: None) -> None:
    assert jnp.zeros(1).dtype == jnp.float64
