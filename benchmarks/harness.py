"""What the benchmarks share: timing with compilation apart, and the record of a run."""

import json
import platform
import resource
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

RESULTS = Path(__file__).parent / "results"
#: Neither triclinic nor monoclinic structures: as in the paper, and in the data of the bundled model.
MIN_SPACE_GROUP = 16
_CODE = ("jaxcrystal", "benchmarks/*.py")


@dataclass(frozen=True)
class Timing:
    """Seconds: compilation (with the first run's dispatch), and median and range of the runs."""

    compile: float
    median: float
    fastest: float
    slowest: float
    runs: int
    flops: float

    def per(self, count: int) -> str:
        """Returns milliseconds for each of `count` things, with the range."""
        median, fastest, slowest = (1e3 * t / count for t in (self.median, self.fastest, self.slowest))
        return f"{median:.3f} ms ({fastest:.3f}-{slowest:.3f})"


def measure(function: Callable[..., Any], *arguments: Any, runs: int = 10) -> Timing:
    """Times a function compiled for its arguments; waits for the device each time."""
    started = time.perf_counter()
    compiled = jax.jit(function).lower(*arguments).compile()
    compile_seconds = time.perf_counter() - started
    jax.block_until_ready(compiled(*arguments))
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        seconds.append(time.perf_counter() - started)
    flops = float((compiled.cost_analysis() or {}).get("flops", 0.0))
    return Timing(compile_seconds, float(np.median(seconds)), min(seconds), max(seconds), runs, flops)


def matrix_product_rate(rows: int = 4096, width: int = 1024) -> float:
    """Returns the machine's measured float32 matrix-product rate, operations/s."""
    a, b = (
        jax.random.normal(jax.random.key(n), shape) for n, shape in enumerate([(rows, width), (width, width)])
    )
    timing = measure(lambda a, b: jnp.dot(a, b), a, b)
    return 2.0 * rows * width * width / timing.median


def peak_memory_gib() -> float:
    """Returns the largest resident size of this process so far, GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _commit() -> str:
    """Returns the commit, marked where the code differs from it; results may."""
    head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", *_CODE], capture_output=True).returncode
    return head.stdout.strip() + ("-dirty" if changed else "")


# Asked for when the run starts: the checkout may have moved on when it ends.
_COMMIT = _commit()


def environment() -> dict[str, Any]:
    """Returns device, versions and commit of this run."""
    return {
        "device": str(jax.devices()[0].device_kind),
        "devices": jax.device_count(),
        "platform": jax.default_backend(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "commit": _COMMIT,
    }


def save(name: str, results: dict[str, Any]) -> Path:
    """Writes `results/<name>.json` and returns its path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    content = {"environment": environment()} | {
        key: asdict(value) if isinstance(value, Timing) else value for key, value in results.items()
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path
