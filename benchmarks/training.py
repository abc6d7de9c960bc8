"""Times training updates as a run makes them: by size, over several devices, in half precision.

python -m benchmarks.training [--data train.npz] [--config configs/mp.toml] [--devices 1 2 4] [--runs 20]

On a CPU the devices are made of its cores, so that their row shows what sharing costs, not what it gains.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from benchmarks.harness import peak_memory_gib, save
from jaxcrystal.config import load, to_toml
from jaxcrystal.crystal import BUCKETS, bucket_of
from jaxcrystal.data.batches import BucketSampler
from jaxcrystal.data.dataset import Dataset
from jaxcrystal.data.prepare import load_or_prepare
from jaxcrystal.training.config import TrainConfig
from jaxcrystal.training.export import first_params
from jaxcrystal.training.inputs import Inputs
from jaxcrystal.training.loop import usable
from jaxcrystal.training.objective import make_optimizer, make_update
from jaxcrystal.training.parallel import data_mesh, place, replicated
from jaxcrystal.training.step import init_state

PRECISIONS = ("float32", "bfloat16")
_FLAG = "--xla_force_host_platform_device_count"


def main() -> None:
    """Prints the tables and writes `benchmarks/results/NAME.json`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", help="settings of the run (default: those of the package)")
    parser.add_argument("--data", default="aflow", help="prepared file (default: the embedded prototypes)")
    parser.add_argument("--set", nargs="+", default=[], dest="overrides", metavar="KEY=VALUE")
    parser.add_argument("--buckets", type=int, nargs="+", help="sizes to time (default: all of the data)")
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 2, 4], help="devices made of a CPU")
    parser.add_argument("--runs", type=int, default=20, help="updates timed of each kind")
    parser.add_argument("--name", default="training", help="of the file in results/")
    parser.add_argument("--measure", choices=PRECISIONS, help=argparse.SUPPRESS)  # one row, in a process
    arguments = parser.parse_args()
    config = _config(arguments)
    if arguments.measure:
        config = _with_precision(config, arguments.measure)
        print(json.dumps(measure(config, arguments.buckets, arguments.runs)))
        return

    dataset = load_or_prepare(config.data.train)
    indices = usable(dataset, config.data)
    sampler = BucketSampler(dataset.num_sites, config.optimizer.batch_size, config.seed, indices=indices)
    print(f"{len(indices)} structures, {100 * sampler.padding_share:.1f} % of the site slots are padding")
    rows = []
    if jax.default_backend() == "cpu":
        wanted = [(devices, "float32") for devices in arguments.devices]
        for devices, precision in [*wanted, (arguments.devices[0], "bfloat16")]:
            rows.append(_in_process(devices, precision))
            _show(rows[-1])
    else:  # this process holds the accelerators
        for precision in PRECISIONS:
            rows.append(measure(_with_precision(config, precision), arguments.buckets, arguments.runs))
            _show(rows[-1])
    data = replace(config.data, train=os.path.basename(config.data.train))
    results = {
        "data": data.train,
        "config": to_toml(replace(config, data=data)),
        "batch_size": config.optimizer.batch_size,
        "structures": len(indices),
        "padding_share": sampler.padding_share,
        "padding_share_by_bucket": _padding(dataset, indices),
        "rows": rows,
    }
    print(f"written to {save(arguments.name, results)}")


def _config(arguments: argparse.Namespace) -> TrainConfig:
    config = load(TrainConfig, arguments.config or os.devnull, arguments.overrides)
    return replace(config, data=replace(config.data, train=arguments.data))


def _with_precision(config: TrainConfig, precision: str) -> TrainConfig:
    network = config.network
    dimenet = replace(network.dimenet, precision=precision)
    return replace(config, network=replace(network, dimenet=dimenet))


def _padding(dataset: Dataset, indices: np.ndarray) -> dict[str, float]:
    """Returns the share of the site slots of each bucket that are padding."""
    sites = dataset.num_sites[indices]
    buckets = np.array([bucket_of(n) for n in sites])
    return {str(b): float(1 - sites[buckets == b].mean() / b) for b in BUCKETS if (buckets == b).any()}


def _in_process(devices: int, precision: str) -> dict[str, Any]:
    """Measures in a process of its own: devices are counted, and memory peaks, once in a process."""
    environment = os.environ | {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {_FLAG}={devices}"}
    command = [sys.executable, "-m", "benchmarks.training", *sys.argv[1:], "--measure", precision]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    row: dict[str, Any] = json.loads(done.stdout)
    return row


def measure(config: TrainConfig, buckets: list[int] | None, runs: int) -> dict[str, Any]:
    """Times updates of every size, for free and for constrained sites, and of the run's mixture."""
    mesh = data_mesh(config.optimizer.batch_size)
    dataset = load_or_prepare(config.data.train)
    indices = usable(dataset, config.data)
    size, share = config.optimizer.batch_size, config.optimizer.constrained_share
    sampler = BucketSampler(dataset.num_sites, size, config.seed, share, indices)
    inputs = Inputs(dataset, indices, sampler, config.data.device_gib, mesh)
    params, _ = first_params(config, *inputs.first())
    state = place(init_state(params, make_optimizer(config.optimizer)), replicated(mesh))

    first = {sampler.shape(step): step for step in range(8192, -1, -1)}
    wanted = sorted(shape for shape in first if buckets is None or shape[0] in buckets)
    sizes = []
    for bucket, constrained in wanted:
        batch = inputs.at(first[bucket, constrained])
        started = time.perf_counter()
        update = make_update(config, inputs.capacity(batch.shape), mesh=mesh)
        compiled = update.lower(state, batch.crystals, batch.rows, batch.cond).compile()
        compile_seconds = time.perf_counter() - started
        state, _ = jax.block_until_ready(compiled(state, batch.crystals, batch.rows, batch.cond))
        seconds = []
        for _ in range(runs):
            started = time.perf_counter()
            state, _ = jax.block_until_ready(compiled(state, batch.crystals, batch.rows, batch.cond))
            seconds.append(time.perf_counter() - started)
        median = float(np.median(seconds))
        sizes.append(
            {
                "bucket": bucket,
                "sites": "constrained" if constrained else "free",
                "compile_seconds": compile_seconds,
                "step_seconds": median,
                "step_seconds_range": [min(seconds), max(seconds)],
                "structures_per_second": size / median,
            }
        )
    inputs.close()
    # The run's own mixture: how often its plan asks for each shape.
    plan = [sampler.shape(step) for step in range(4096)]
    cost = {(row["bucket"], row["sites"] == "constrained"): row["step_seconds"] for row in sizes}
    timed = [cost[shape] for shape in plan if shape in cost]
    return {
        "devices": jax.device_count(),
        "precision": config.network.dimenet.precision,
        "peak_memory_gib": peak_memory_gib(),
        "device_peak_memory_gib": _device_peak_gib(),
        "mixture_structures_per_second": size / float(np.mean(timed)),
        "mixture_timed_share": len(timed) / len(plan),
        "sizes": sizes,
    }


def _device_peak_gib() -> float | None:
    """Returns the most memory that the first device held, where it tells."""
    stats = jax.local_devices()[0].memory_stats() or {}
    return stats["peak_bytes_in_use"] / 2**30 if "peak_bytes_in_use" in stats else None


def _show(row: dict[str, Any]) -> None:
    memory = f"peak memory of the process {row['peak_memory_gib']:.2f} GiB"
    print(f"\n{row['devices']} devices, {row['precision']}, {memory}")
    for line in row["sizes"]:
        print(
            f"  {line['bucket']:2d} sites, {line['sites']:11s} {1e3 * line['step_seconds']:8.1f} ms an update"
            f", {line['structures_per_second']:7.1f} structures/s, compiled: {line['compile_seconds']:.0f} s"
        )
    rate, share = row["mixture_structures_per_second"], 100 * row["mixture_timed_share"]
    print(f"  in a run {rate:.1f} structures/s (over {share:.0f} % of its updates)")


if __name__ == "__main__":
    main()
