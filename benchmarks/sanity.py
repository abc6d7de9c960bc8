"""The metrics of known answers: real crystals, and the same ones shuffled.

python -m benchmarks.sanity --train train.csv.gz --reference test.csv.gz [--count 1000]

Random training structures against the test structures must come out near the last row of the
paper's Table 1; the same structures with uniformly random coordinates must be far worse. COV-P
rises with the number of reference structures, so it is also taken against parts of them.
Groups from 16 on both sides (spglib at 0.1 Å).
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import MIN_SPACE_GROUP, save
from jaxcrystal.evaluation.coverage import coverage
from jaxcrystal.evaluation.metrics import Evaluation, EvaluationSettings, evaluate
from jaxcrystal.io.convert import to_pymatgen
from jaxcrystal.structures.entries import Entry, load_entries
from jaxcrystal.symmetry.detect import SYMPREC, find_group

#: The paper's last row: 1,000 training structures.
PAPER = {"COV-P": 0.998, "COV-R": 0.968, "FD CrystalNN": 0.012, "FD CGCNN": 0.044}


def choose(entries: list[Entry], count: int, seed: int) -> list[Entry]:
    """Returns random structures of groups from 16, fewer where there are no more."""
    chosen: list[Entry] = []
    for number in np.random.default_rng(seed).permutation(len(entries)):
        structure = entries[number].structure
        if structure is None or len(chosen) == count:
            continue
        numbers = np.array(structure.atomic_numbers)
        group = find_group(structure.lattice.matrix, numbers, structure.frac_coords, SYMPREC)
        if group >= MIN_SPACE_GROUP:
            chosen.append(entries[number])
    return chosen


def shuffled(entries: list[Entry], seed: int) -> list[Entry]:
    """Returns the same cells and atoms with uniformly random fractional coordinates."""
    rng, moved = np.random.default_rng(seed), []
    for entry in entries:
        assert entry.structure is not None
        coords = rng.uniform(size=(len(entry.structure), 3))
        numbers = np.array(entry.structure.atomic_numbers)
        moved.append(Entry(entry.name, to_pymatgen(entry.structure.lattice.matrix, numbers, coords)))
    return moved


def coverage_by_reference(evaluation: Evaluation, seed: int) -> dict[int, tuple[float, float]]:
    """Returns COV-P and COV-R against random parts of the reference: both depend on its size."""
    known, found = evaluation.reference_features, {}
    order = np.random.default_rng(seed).permutation(len(known))
    for parts in (8, 4, 2, 1):
        part = known.select(order[: len(known) // parts])
        cover = coverage(evaluation.sample_features, part, "cdvae")
        found[len(part)] = (cover.precision, cover.recall)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", required=True)
    parser.add_argument("--reference", required=True)
    parser.add_argument("--count", type=int, default=1000, help="training structures")
    parser.add_argument("--max-reference", type=int, help="random ones, for a quick look")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int)
    parser.add_argument("--without-cgcnn", action="store_true")
    parser.add_argument("--name", default="sanity", help="of the file in results/")
    arguments = parser.parse_args()

    reference = load_entries(arguments.reference, arguments.processes)
    if arguments.max_reference:
        reference = choose(reference, arguments.max_reference, arguments.seed)
    real = choose(load_entries(arguments.train, arguments.processes), arguments.count, arguments.seed)
    settings = EvaluationSettings(min_space_group=MIN_SPACE_GROUP, cgcnn=not arguments.without_cgcnn)
    names = {"train": Path(arguments.train).name, "reference": Path(arguments.reference).name}
    results: dict[str, Any] = {"arguments": vars(arguments) | names, "paper": PAPER, "seconds": {}}
    for name, samples in (("training structures", real), ("shuffled", shuffled(real, arguments.seed))):
        started = time.perf_counter()
        evaluation = evaluate(samples, reference, None, settings, processes=arguments.processes)
        metrics = evaluation.metrics
        metrics["coverage_by_reference"] = coverage_by_reference(evaluation, arguments.seed)
        results["seconds"][name] = time.perf_counter() - started
        results[name] = metrics
        found, distances = metrics["coverage"], metrics["frechet"]
        print(
            f"{name} ({len(samples)}): "
            + "; ".join(f"{p}: COV-P {c['precision']:.3f}, COV-R {c['recall']:.3f}" for p, c in found.items())
            + "".join(f"; FD {which} {d['value'] or np.nan:.3f}" for which, d in distances.items())
            + f"; mean distance to the nearest structure {found['cdvae']['structure_distance']:.3f}"
            + f"; valid {metrics['validity']['structure']:.3f}"
        )
        for size, (precision, recall) in metrics["coverage_by_reference"].items():
            print(f"  against {size} reference structures: COV-P {precision:.3f}, COV-R {recall:.3f}")
    print(f"the paper's last row: {PAPER}")
    print(save(arguments.name, results))


if __name__ == "__main__":
    main()
