"""The row of a model: all figures that are taken of it after a change.

python -m benchmarks.model --targets test.npz --reference test.csv.gz --train train.csv.gz
    [--model DIR] [--count 1000] [--reconstruct 200] [--samples-per-target 20] [--given free]
    [--seed 0] [--name model]

1. `--count` structures with the groups and elements of random targets (group >= 16, at most 20
   sites), given three things, which never share a column: the number of sites given
   and sites free, as in the paper; the number of sites given and letters drawn by
   frequency; the letters given. Each is evaluated as by `jaxcrystal evaluate`.
2. `--reconstruct` random targets sampled again, as by `jaxcrystal reconstruct`, with the random
   start beside; not with letters drawn.

Fingerprints are kept in the cache of `jaxcrystal evaluate` (JAXCRYSTAL_CACHE): the first run
also pays for those of the reference and training structures.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.harness import MIN_SPACE_GROUP, save
from jaxcrystal.data.dataset import Dataset
from jaxcrystal.environment import use_all_cores
from jaxcrystal.evaluation.metrics import EvaluationSettings, evaluate
from jaxcrystal.evaluation.reconstruction import reconstruct
from jaxcrystal.evaluation.targets import MODES, Targets, choose
from jaxcrystal.model import load_model
from jaxcrystal.reports.figures import PAPER
from jaxcrystal.requests.like import draw_orders
from jaxcrystal.sampling.sample import sample_orders
from jaxcrystal.structures.entries import load_entries
from jaxcrystal.structures.writers import write_samples


def table_1(metrics: dict[str, Any]) -> dict[str, float]:
    """Returns the figures that stand in the README, of an evaluation's metrics."""
    found = metrics["coverage"]["paper"]
    return {
        "COV-P": found["precision"],
        "COV-R": found["recall"],
        "FD CrystalNN": metrics["frechet"]["crystal_nn"]["value"],
        "FD CGCNN": metrics["frechet"]["cgcnn"]["value"],
        "valid": metrics["validity"]["structure"],
        "composition valid": metrics["validity"]["composition"],
        "unique": metrics["unique"]["share"],
        "novel": metrics["novel"]["share"],
        "group as asked, 0.1 Å": metrics["symmetry"]["0.1"]["exact"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--targets", required=True, help="prepared test structures")
    parser.add_argument("--reference", required=True, help="the same, as any file that `evaluate` reads")
    parser.add_argument("--train", required=True, help="what novelty is measured against")
    parser.add_argument("--model")
    parser.add_argument("--count", type=int, default=1000, help="samples for each kind of --given; 0: none")
    parser.add_argument("--reconstruct", type=int, default=200, help="targets; 0: none")
    parser.add_argument("--given", nargs="+", choices=tuple(MODES), default=["free", "drawn", "letters"])
    parser.add_argument("--samples-per-target", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--name", default="model", help="of the file in results/")
    arguments = parser.parse_args()

    use_all_cores()
    started = time.perf_counter()
    model, dataset = load_model(arguments.model), Dataset.load(arguments.targets)
    dataset = dataset.select(dataset.space_group >= MIN_SPACE_GROUP)
    files = {key: Path(getattr(arguments, key)).name for key in ("targets", "reference", "train")}
    results: dict[str, Any] = {
        "arguments": vars(arguments) | files,
        "model": model.info,
        "paper": PAPER,
        "like_test_structures": {},
        "reconstruction": {},
    }

    def keep() -> None:
        results["seconds"] = time.perf_counter() - started
        save(arguments.name, results)

    if arguments.count:
        reference = load_entries(arguments.reference, arguments.processes)
        train = load_entries(arguments.train, arguments.processes)
        print(f"read the structures: {time.perf_counter() - started:.0f} s", flush=True)
        settings = EvaluationSettings(min_space_group=MIN_SPACE_GROUP)
        for given in arguments.given:
            begun = time.perf_counter()
            orders, counts = draw_orders(dataset, arguments.count, MODES[given], arguments.seed)
            samples = sample_orders(orders, counts, model, arguments.seed, progress=True)
            sampled = time.perf_counter()
            with tempfile.TemporaryDirectory() as folder:
                write_samples(samples, Path(folder) / "samples", ("json",))
                entries = load_entries(Path(folder) / "samples", arguments.processes)
            metrics = evaluate(entries, reference, train, settings, processes=arguments.processes).metrics
            metrics["seconds"] = {
                "sampling": sampled - begun,
                "evaluation": time.perf_counter() - sampled,
            }
            results["like_test_structures"][given] = metrics
            figures = ", ".join(f"{name} {value:.3f}" for name, value in table_1(metrics).items())
            print(f"{given}: {figures}; {metrics['seconds']}", flush=True)
            keep()
    if arguments.reconstruct:
        targets = Targets.from_dataset(choose(dataset, arguments.reconstruct, seed=arguments.seed))
        for given in (c for c in arguments.given if c != "drawn"):
            for random_start in (True, False):
                found = reconstruct(
                    targets,
                    given,
                    arguments.samples_per_target,
                    model,
                    arguments.seed,
                    random_start=random_start,
                    processes=arguments.processes,
                    progress=True,
                )
                figures = results["reconstruction"][found.name] = found.figures()
                rates = ", ".join(f"k = {m['k']}: {m['rate']:.1%}" for m in figures["match"])
                print(f"{found.name}: {rates}; valid {figures['valid']:.1%}; {found.seconds}", flush=True)
                keep()
    keep()
    print(f"{results['seconds']:.0f} s in all")


if __name__ == "__main__":
    main()
