"""Crystals per second that are finished on the device, and what a call takes outside of compiled programs.

    python -m benchmarks.finishing [--rows 256] [--count 10000]

States are random ones (what sampling starts from). The call is sample(..., arrays=True, steps_per_level=1)
with everything compiled; its time outside is all but the calls of programs, until their results are there.
"""

import argparse
import time
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.harness import measure, save
from jaxcrystal.diffusion.noise import start
from jaxcrystal.environment import use_all_cores
from jaxcrystal.model import load_model
from jaxcrystal.requests.candidates import make_candidates
from jaxcrystal.requests.orders import make_order
from jaxcrystal.sampling import arrays
from jaxcrystal.sampling.batches import make_batch, shape_of
from jaxcrystal.sampling.programs import Programs
from jaxcrystal.sampling.sample import sample
from jaxcrystal.structures.finish import finish_batch
from jaxcrystal.structures.finish_tables import finish_tables

ORDERS = {
    "NaCl, Fm-3m, letters": make_order(225, {"Na": "a", "Cl": "b"}),
    "CaTiO3, Pnma, letters": make_order(62, {"Ca": "c", "Ti": "b", "O": "cd"}),
    "NaCl, Fm-3m, free": make_order(225, {"Na": 1, "Cl": 1}, "free"),
    "CaTiO3, Pnma, free": make_order(62, {"Ca": 1, "Ti": 1, "O": 2}, "free"),
}


def finishing(rows: int) -> dict[str, Any]:
    """Times one batch of each order on one device; prints a line each."""
    model, results = load_model(), {}
    for name, order in ORDERS.items():
        candidates = make_candidates([order], [rows], model.letters)
        shape = shape_of(candidates[0])
        batch = make_batch(shape, candidates, rows)
        crystals = jax.jit(jax.vmap(start))(jax.random.split(jax.random.key(0), rows), batch.templates)
        inputs = crystals, batch.letters, jnp.zeros(rows, jnp.int32), jnp.zeros((rows, 2))
        run = finish_batch(shape.capacity, model.graph.merge_distance)
        timing = measure(run, finish_tables(), *inputs)
        results[name] = {"crystals_per_second": rows / timing.median, "compile_seconds": timing.compile}
        print(f"{name:24} {rows / timing.median:9,.0f} crystals/s a device", flush=True)
    return results


def outside(count: int) -> dict[str, float]:
    """Returns the seconds of one call for many crystals, and of them those outside of programs."""
    spent = [0.0]

    def timed(function: Any) -> Any:
        def run(*inputs: Any) -> Any:
            began = time.perf_counter()
            result = jax.block_until_ready(function(*inputs))
            spent[0] += time.perf_counter() - began
            return result

        return run

    programs, finish = Programs.__getitem__, arrays._compiled
    Programs.__getitem__ = lambda self, shape: timed(programs(self, shape))  # type: ignore[method-assign]
    arrays._compiled = lambda *what: timed(finish(*what))  # type: ignore[assignment]
    try:
        for wanted in (64, count):  # the first compiles
            spent[0], began = 0.0, time.perf_counter()
            sample(225, {"Na": "a", "Cl": "b"}, wanted, steps_per_level=1, arrays=True)
            total = time.perf_counter() - began
    finally:
        Programs.__getitem__, arrays._compiled = programs, finish  # type: ignore[method-assign]
    return {"count": count, "seconds": total, "outside": total - spent[0]}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=256, help="of a batch that is finished")
    parser.add_argument("--count", type=int, default=10000, help="crystals of the call")
    arguments = parser.parse_args()
    use_all_cores()
    results: dict[str, Any] = {"arguments": vars(arguments), "finishing": finishing(arguments.rows)}
    results["call"] = call = outside(arguments.count)
    share = call["outside"] / call["seconds"]
    print(f"{call['count']:,} crystals in {call['seconds']:.1f} s; {share:.1%} of it outside of programs")
    print(f"written to {save('finishing', results | {'devices': len(jax.devices())})}")


if __name__ == "__main__":
    main()
