"""Crystals per second that are finished, checked and written after sampling, by worker processes.

python -m benchmarks.writing [--count 1024] [--workers 1 2]

States are random ones (what sampling starts from), since what comes after sampling does not depend on
how good they are. Worker processes have started, and have the tables of the group, when the clock
starts; it stops when the last part is in its place.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import save
from jaxcrystal.model import Model, load_model
from jaxcrystal.requests.candidates import Candidate, make_candidates
from jaxcrystal.requests.orders import Order, make_order
from jaxcrystal.sampling.parts import Part, without_padding, write_part
from jaxcrystal.sampling.run import LARGE_PART_SIZE
from jaxcrystal.sampling.run_folder import PART_SIZE, RunFolder
from jaxcrystal.sampling.stream import sample_stream
from jaxcrystal.structures.finished import Drawn
from jaxcrystal.structures.summary import GroupCheck
from jaxcrystal.workers import Workers

ORDERS = {
    "NaCl, Fm-3m, letters": make_order(225, {"Na": "a", "Cl": "b"}),
    "CaTiO3, Pnma, letters": make_order(62, {"Ca": "c", "Ti": "b", "O": "cd"}),
    "NaCl, Fm-3m, free": make_order(225, {"Na": 1, "Cl": 1}, "free"),
}
#: Format, check of groups, structures of a part.
WAYS: dict[str, tuple[str, GroupCheck, int]] = {
    "CIF and groups": ("cif", "usual", PART_SIZE),
    "CIF": ("cif", "none", PART_SIZE),
    "arrays": ("npz", "none", LARGE_PART_SIZE // 4),
}
#: Structures of the parts with which each process warms up.
_WARM_UP = 4


def main() -> None:
    """Prints a row for each kind of crystal and way of writing; writes `results/writing.json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=1024, help="crystals of each measurement")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="worker processes")
    parser.add_argument("--name", default="writing", help="of the file in results/")
    arguments = parser.parse_args()
    model = load_model()
    rates: dict[str, dict[str, dict[int, float]]] = {}
    for kind, order in ORDERS.items():
        drawn = random_states(order, arguments.count, model)
        rates[kind] = {}
        for way, settings in WAYS.items():
            rates[kind][way] = {n: round(rate(drawn, model, n, *settings), 1) for n in arguments.workers}
            told = ", ".join(f"{r:,.0f} with {n}" for n, r in rates[kind][way].items())
            print(f"{kind:<22} {way:<15} crystals/s: {told}", flush=True)
    save(arguments.name, {"arguments": vars(arguments), "crystals_per_second": rates})


def random_states(order: Order, count: int, model: Model) -> list[tuple[Candidate, Drawn]]:
    """Returns structures of an order with states that sampling would start from."""
    candidates = make_candidates([order], [count], model.letters)
    return list(sample_stream(candidates, model, random_start=True, finished=without_padding))


def rate(
    drawn: Sequence[tuple[Candidate, Drawn]],
    model: Model,
    workers: int,
    kind: str,
    check: GroupCheck,
    part_size: int,
) -> float:
    """Returns crystals per second of one way of writing."""
    with tempfile.TemporaryDirectory() as place:
        folder = RunFolder(Path(place) / "run", {})
        warm_up = [drawn[:_WARM_UP]] * (2 * workers)
        cut = [drawn[first : first + part_size] for first in range(0, len(drawn), part_size)]
        parts = [
            Part(
                folder,
                n,
                [c for c, _ in rows],
                [d for _, d in rows],
                model.graph.merge_distance,
                (kind,),
                check,
            )
            for n, rows in enumerate([*warm_up, *cut])
        ]
        with Workers(write_part, workers) as pool:
            for part in parts[: len(warm_up)]:
                pool.give(part)
            _wait(folder, range(len(warm_up)))
            started = time.perf_counter()
            for part in parts[len(warm_up) :]:
                pool.give(part)
            _wait(folder, range(len(parts)))
            seconds = time.perf_counter() - started
    return len(drawn) / seconds


def _wait(folder: RunFolder, parts: range) -> None:
    while not folder.parts().issuperset(parts):
        time.sleep(0.001)


if __name__ == "__main__":
    main()
