"""Time and memory for each crystal of the plan of a run, which every job of the run makes.

python -m benchmarks.planning [--count 100000]
"""

import argparse
import json
import time
import tracemalloc

from benchmarks.harness import save
from jaxcrystal.model import Model, load_model
from jaxcrystal.requests.candidates import Candidate, Candidates, make_candidates
from jaxcrystal.requests.orders import Order, make_order
from jaxcrystal.sampling.run_folder import PART_SIZE, digest, parts_of

ORDERS = {
    "letters given": make_order(62, {"Ca": "c", "Ti": "b", "O": "cd"}),
    "letters drawn": make_order(62, {"Ca": 1, "Ti": 1, "O": 2}),
    "free": make_order(62, {"Ca": 1, "Ti": 1, "O": 2}, "free"),
}


def main() -> None:
    """Prints a row for each kind of order; writes `results/planning.json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=100_000, help="crystals of each plan")
    arguments = parser.parse_args()
    model = load_model()
    results = {kind: plan(order, arguments.count, model) for kind, order in ORDERS.items()}
    for kind, costs in results.items():
        print(f"{kind:<14} {json.dumps(costs)}")
    save("planning", {"arguments": vars(arguments), "for_each_crystal": results})


def all_parts(candidates: Candidates) -> list[list[Candidate]]:
    """Returns the structures of every part of a run."""
    return [members for _, members in parts_of(candidates, range(-(-len(candidates) // PART_SIZE)))]


def plan(order: Order, count: int, model: Model) -> dict[str, float]:
    """Returns µs for each step, and bytes of memory, a crystal."""
    make_candidates([order], [100], model.letters)  # tables are loaded
    clock = [time.perf_counter()]
    candidates = make_candidates([order], [count], model.letters)
    for _ in candidates:  # each is made when it is asked for
        pass
    clock.append(time.perf_counter())
    parts = all_parts(candidates)
    clock.append(time.perf_counter())
    digest(candidates)
    clock.append(time.perf_counter())
    steps = zip(("candidates_us", "parts_us", "digest_us"), clock, clock[1:], strict=False)
    costs = {name: round((end - start) / count * 1e6, 2) for name, start, end in steps}
    del candidates, parts
    tracemalloc.start()  # which makes all of it slower
    candidates = make_candidates([order], [count // 10], model.letters)
    parts = all_parts(candidates)
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    del candidates, parts
    return costs | {"bytes": round(size / (count // 10))}


if __name__ == "__main__":
    main()
