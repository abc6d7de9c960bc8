"""Where the time of a training update goes, by part of the network, on one device.

python -m benchmarks.profile [--sites 4] [--batch 64] [--free] [--model DIR] [--name profile]

Every operation of the compiled update is timed by jax's profiler and counted to the part of
the network that it comes from, forward or on the way back.
"""

import argparse
import re
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.harness import save
from benchmarks.sampler import random_crystals
from jaxcrystal.graph.neighbors import ImageCapacity
from jaxcrystal.model import load_model
from jaxcrystal.training.config import OptimizerConfig, TrainConfig
from jaxcrystal.training.objective import make_optimizer, make_update
from jaxcrystal.training.step import init_state

#: Parts, and what the names of their operations contain; the first that fits counts.
_PARTS = {
    "triplet sums": "_triplet_sum",
    "bases": "_geometry",
    "embedding": "EmbeddingBlock",
    "interaction, dense": "InteractionBlock",
    "outputs": "OutputBlock",
}
_INSTRUCTION = re.compile(r'\s*(?:ROOT )?%?([\w.\-]+) = .*op_name="([^"]*)"')
_RUNS = 5


def main() -> None:
    """Prints the table and writes `benchmarks/results/NAME.json`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sites", type=int, default=4, help="inequivalent sites a structure")
    parser.add_argument("--batch", type=int, default=64, help="structures an update")
    parser.add_argument("--free", action="store_true", help="free instead of constrained sites")
    parser.add_argument("--model", help="model folder (default: the bundled one)")
    parser.add_argument("--name", default="profile", help="of the file in results/")
    arguments = parser.parse_args()

    model = load_model(arguments.model)
    crystals = random_crystals(arguments.batch, arguments.sites, not arguments.free)
    config = TrainConfig(
        network=model.network,
        schedule=model.schedule,
        optimizer=OptimizerConfig(batch_size=arguments.batch),
    )
    update = make_update(config, ImageCapacity.fitting(crystals, not arguments.free), donate=False)
    state = init_state(model.params, make_optimizer(config.optimizer))
    crystals = jax.tree.map(jnp.asarray, crystals)
    compiled = update.lower(state, crystals).compile()
    found = [_INSTRUCTION.match(line) for line in compiled.as_text().splitlines()]
    names = {match[1]: match[2] for match in found if match}
    seconds = _timed(lambda: compiled(state, crystals))
    parts: Counter[tuple[str, str]] = Counter()
    for operation, duration in seconds.items():
        if operation in names:
            parts[_part(names[operation])] += 1e3 * duration / arguments.batch  # type: ignore[assignment]
    total = sum(parts.values())
    print(f"{total:.2f} ms a structure in operations, batch of {arguments.batch}")
    for (part, direction), value in parts.most_common():
        print(f"  {part:20s} {direction:8s} {value:6.3f} ms  {value / total:5.1%}")
    rows = [{"part": p, "direction": d, "milliseconds": value} for (p, d), value in parts.most_common()]
    results: dict[str, Any] = {"arguments": vars(arguments), "milliseconds": total, "parts": rows}
    print(f"written to {save(arguments.name, results)}")


def _part(name: str) -> tuple[str, str]:
    """Returns the part of the network that an operation belongs to, and its direction."""
    for part, text in _PARTS.items():
        if text in name:
            # What is computed again on the way back is named after a checkpoint.
            back = "transpose(" in name or "checkpoint" in name or "rematted" in name
            return part, "back" if back else "forward"
    return "search, noise, update", ""


def _timed(run: Any) -> dict[str, float]:
    """Returns the mean seconds of a run that each operation takes, by its name in the program."""
    jax.block_until_ready(run())
    seconds: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(_RUNS):
                jax.block_until_ready(run())
        for path in Path(folder).rglob("*.xplane.pb"):
            for plane in jax.profiler.ProfileData.from_file(str(path)).planes:
                for line in plane.lines:
                    for event in line.events:
                        seconds[event.name] += 1e-9 * event.duration_ns / _RUNS  # type: ignore[assignment]
    return dict(seconds)


if __name__ == "__main__":
    main()
