"""What each setting of the sampler does to reconstruction, one changed at a time.

python -m benchmarks.ablations --data test.npz [--targets 100] [--max-sites 4] [--samples 1]
    [--min-free-coords 0] [--min-space-group 16] [--only steps_per_level schedule best_of] [--chains 1 2 4 8]
    [--given letters free drawn] [--model DIR] [--seed 0] [--processes 2] [--name ablations]

T = 10, 20, 40, 80; τ = 0, 0.15, 0.3, 1; joint and alternating updates; with and without the
last denoising step; σ_X of the last level and the number of levels; the likeliest of 1, 2, 4
and 8 chains, around the sampler's defaults. For each: match rate at k = 1 (all targets are the
denominator) and of all samples, share of valid samples, errors of the lattice over all and over
the matched samples, and seconds of sampling. All settings see the same targets and starting
points, so that differences are surer than the standard errors say.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.harness import save
from jaxcrystal.data.dataset import Dataset
from jaxcrystal.diffusion.langevin import LangevinConfig
from jaxcrystal.environment import use_all_cores
from jaxcrystal.evaluation.reconstruction import Reconstruction, reconstruct
from jaxcrystal.evaluation.targets import GIVEN, Targets, choose
from jaxcrystal.model import Model, load_model
from jaxcrystal.sampling.programs import compiled

#: Settings of `LangevinConfig` that are changed.
ABLATIONS = ("steps_per_level", "lattice_temperature", "alternating", "denoise", "schedule", "best_of")


def values_of(setting: str, model: Model, chains: Sequence[int]) -> dict[str, Any]:
    """Returns the values of a setting that are tried, by the names they get in the table."""
    if setting == "schedule":
        ends = {f"down to {end:g} Å": model.schedule.down_to(end) for end in (0.02, 0.03, 0.05, 0.1)}
        return ends | {"20 levels": replace(model.sampling_schedule, levels=20)}
    values = {
        "steps_per_level": (10, 20, 40, 80),
        "lattice_temperature": (0.0, 0.15, 0.3, 1.0),
        "alternating": (False, True),
        "denoise": (False, True),
        "best_of": chains,
    }
    return {str(value): value for value in values[setting]}


class CompileClock:
    """Adds up the seconds that JAX spends on compilation."""

    def __init__(self) -> None:
        self.seconds = 0.0
        jax.monitoring.register_event_duration_secs_listener(self._listen)

    def _listen(self, event: str, duration: float, **_: Any) -> None:
        if event.endswith("backend_compile_duration"):
            self.seconds += duration


def summary(found: Reconstruction, compile_seconds: float) -> dict[str, Any]:
    """Returns the figures that the settings are compared by."""
    figures = found.figures()
    keys = ("samples", "match_of_samples", "lattice_errors", "valid", "flagged", "formula_as_target")
    return {
        "match": figures["match"][0],
        **{key: figures[key] for key in (*keys, "group_as_asked")},
        "seconds": found.seconds["sampling"],
        "compile_seconds": compile_seconds,
    }


def report(given: str, label: str, figures: dict[str, Any]) -> None:
    lengths, volumes = (
        [figures["lattice_errors"][of][what] for of in ("all", "matched")] for what in ("lengths", "volume")
    )
    match = figures["match"]
    print(
        f"{given:8s} {label:28s} match {match['rate']:6.1%} ± {match['standard_error']:.1%} "
        f"(all samples {figures['match_of_samples']:.1%}), "
        f"valid {figures['valid']:6.1%}, lengths {lengths[0]:6.1%} (matched {lengths[1]:.1%}), "
        f"volume {volumes[0]:7.1%} ({volumes[1]:.1%}), {figures['seconds']:5.0f} s "
        f"({figures['compile_seconds']:.0f} s compilation)",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True)
    parser.add_argument("--targets", type=int, default=100)
    parser.add_argument("--max-sites", type=int, default=4)
    parser.add_argument("--min-space-group", type=int, default=16, help="of the targets")
    parser.add_argument("--min-free-coords", type=int, default=0, help="of the targets, at their letters")
    parser.add_argument("--chains", nargs="+", type=int, default=(1, 2, 4, 8), help="values of best_of")
    parser.add_argument("--only", nargs="+", choices=ABLATIONS, default=ABLATIONS, help="settings")
    parser.add_argument(
        "--samples", type=int, default=1, help="of each target; the match rate is of the first"
    )
    parser.add_argument("--given", nargs="+", choices=GIVEN, default=["letters", "free"])
    parser.add_argument("--model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--name", default="ablations", help="of the file in results/")
    arguments = parser.parse_args()

    use_all_cores()
    model = load_model(arguments.model)
    dataset = choose(
        Dataset.load(arguments.data),
        None,
        arguments.max_sites,
        min_space_group=arguments.min_space_group,
    )
    hard = Targets.from_dataset(dataset).free_coords >= arguments.min_free_coords
    dataset = choose(dataset.select(np.flatnonzero(hard)), arguments.targets, None, arguments.seed)
    targets, clock = Targets.from_dataset(dataset), CompileClock()
    base = LangevinConfig(model.sampling_schedule)
    results: dict[str, Any] = {
        "arguments": vars(arguments) | {"data": Path(arguments.data).name},
        "model": model.info,
        "targets": len(targets),
        "denominator": "all targets",
        "base": asdict(base),
    }

    def run(given: Any, config: LangevinConfig, random_start: bool = False) -> dict[str, Any]:
        before = clock.seconds
        found = reconstruct(
            targets,
            given,
            arguments.samples,
            model,
            arguments.seed,
            config,
            random_start=random_start,
            processes=arguments.processes,
            progress=True,
        )
        # Another setting is another program; dozens of them fill the memory.
        compiled.cache_clear()
        jax.clear_caches()
        return summary(found, clock.seconds - before)

    for given in arguments.given:
        done: dict[LangevinConfig, dict[str, Any]] = {}
        table = results[given] = {"random start": run(given, base, random_start=True)}
        report(given, "random start", table["random start"])
        for setting in arguments.only:
            table[setting] = {}
            for label, value in values_of(setting, model, arguments.chains).items():
                config = replace(base, **{setting: value})
                if config not in done:
                    done[config] = run(given, config)
                table[setting][label] = done[config]
                report(given, f"{setting}: {label}", done[config])
                save(arguments.name, results)


if __name__ == "__main__":
    main()
