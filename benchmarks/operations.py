"""Counts the operations of one Langevin step: of its program as written and as XLA has optimised it.

    python -m benchmarks.operations

Small operations are what a step costs on an accelerator, where each is started by itself. Products
that do not ask for full precision are listed too: accelerators round their operands.
"""

import argparse
import re
from collections import Counter
from functools import partial
from typing import Any

import jax

from benchmarks.harness import save
from benchmarks.rounding import is_exact
from jaxcrystal.crystal import pad_and_stack
from jaxcrystal.diffusion.langevin import LangevinConfig, LangevinState, init, step
from jaxcrystal.graph.neighbors import ImageCapacity
from jaxcrystal.model import Model, load_model
from jaxcrystal.score import make_score
from jaxcrystal.symmetry.crystals import build_crystal

_OPERATION = re.compile(r"= (?:\([^)]*\)|\S+) ([a-z\-]+)\(")
_KINDS = {"fusions": "fusion", "products": "dot", "custom_calls": "custom-call", "loops": "while"}


def step_of(model: Model, free: bool, rows: int) -> tuple[Any, tuple[Any, ...]]:
    """Returns one step of a batch of perovskites of four sites, and its arguments."""
    crystal = build_crystal(62, [20, 22, 8, 8], None if free else [2, 1, 2, 3])
    templates = pad_and_stack([crystal] * rows, 4)
    capacity = ImageCapacity.fitting(templates, constrained=not free)
    score = make_score(model.module, model.graph, capacity)
    config = LangevinConfig(model.sampling_schedule)
    keys = jax.random.split(jax.random.key(0), rows)

    def one(params: Any, key: jax.Array, state: LangevinState) -> LangevinState:
        sigma = jax.numpy.array([0.3, 1.0])
        return step(key, state, partial(score, params), sigma, config)

    return jax.vmap(one, (None, 0, 0)), (model.params, keys, jax.vmap(init)(keys, templates))


def count(function: Any, arguments: tuple[Any, ...]) -> dict[str, int]:
    """Returns how many operations of each kind a function has when it is compiled."""
    jaxpr = jax.make_jaxpr(function)(*arguments)
    exact = [is_exact(product) for product in products(jaxpr.jaxpr)]
    text = jax.jit(function).lower(*arguments).compile().as_text()
    assert text is not None
    found = Counter(re.findall(_OPERATION, text))
    counts = {name: found[kind] for name, kind in _KINDS.items()}
    entry = text[text.index("\nENTRY") :]
    started = re.findall(_OPERATION, entry)
    idle = ("parameter", "constant", "get-tuple-element", "tuple", "bitcast")
    return counts | {
        "started": sum(kind not in idle for kind in started),
        "products_as_written": len(exact),
        "products_not_exact": len(exact) - sum(exact),
    }


def products(jaxpr: Any) -> list[Any]:
    """Returns all matrix products of a jaxpr, those of functions inside of it too."""
    found = []
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            found.append(equation)
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    found += products(inner)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=8)
    arguments = parser.parse_args()
    model = load_model()
    results: dict[str, Any] = {}
    for kind in ("constrained", "free"):
        results[kind] = count(*step_of(model, kind == "free", arguments.rows))
        print(f"{kind:12}", "  ".join(f"{name} {value}" for name, value in results[kind].items()))
    save("operations", results | {"rows": arguments.rows, "sites": 4, "group": 62})


if __name__ == "__main__":
    main()
