"""Times the neighbour search on the device beside libraries that search on the host, on the same cells.

    python -m benchmarks.search --data val.npz [--structures 256]

pymatgen, vesin and matscipy list all pairs of the full primitive cell within the cutoff; here, and in
`benchmarks.plain_multigraph`, neighbours of the inequivalent sites alone are sought, at most K of each:
that is the gain of the symmetric multigraph, and it is part of what is compared. Libraries that are not
installed are left out (pip install vesin matscipy).
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.harness import measure, save
from benchmarks.plain_multigraph import plain_multigraph
from jaxcrystal.crystal import Crystal, pad_and_stack
from jaxcrystal.data.dataset import Dataset
from jaxcrystal.graph.neighbors import GraphConfig, ImageCapacity, find_neighbors
from jaxcrystal.io.convert import to_ase, to_pymatgen
from jaxcrystal.model import load_model
from jaxcrystal.symmetry.orbits import expand_crystal

_RUNS = 3


def chosen(path: str, structures: int, sites: int) -> list[Crystal]:
    """Returns crystals of so many inequivalent sites, with their letters."""
    dataset = Dataset.load(path)
    rows = np.flatnonzero((dataset.num_sites == sites) & (dataset.space_group >= 16))[:structures]
    return [dataset.crystal(row) for row in rows]


def on_device(crystals: list[Crystal], graph: GraphConfig, rows: int) -> float:
    """Returns seconds a crystal, compilation left out."""
    batch = pad_and_stack(crystals[:rows], len(crystals[0].species))
    capacity = ImageCapacity.fitting(batch, constrained=True)
    run = jax.vmap(lambda crystal: find_neighbors(crystal, graph, capacity))
    return measure(run, jax.tree.map(jax.numpy.asarray, batch)).median / len(crystals[:rows])


def host_searches(cutoff: float) -> dict[str, Callable[[tuple[np.ndarray, ...]], Any]]:
    """Returns the searches of the libraries that are installed, each of one primitive cell."""
    found: dict[str, Callable[[tuple[np.ndarray, ...]], Any]] = {
        "pymatgen": lambda cell: to_pymatgen(*cell).get_neighbor_list(cutoff)
    }
    try:
        from matscipy.neighbours import neighbour_list

        found["matscipy"] = lambda cell: neighbour_list("ijd", to_ase(*cell), cutoff)
    except ImportError:
        pass
    try:
        from vesin import NeighborList

        def vesin(cell: tuple[np.ndarray, ...]) -> Any:
            lattice, _, coords = cell
            search = NeighborList(cutoff=cutoff, full_list=True)
            return search.compute(points=coords @ lattice, box=lattice, periodic=True, quantities="ijd")

        found["vesin"] = vesin
    except ImportError:
        pass
    return found


def seconds_each(function: Callable[[Any], Any], items: list[Any]) -> float:
    """Returns the median over runs of the seconds for each of some items."""
    function(items[0])
    runs = []
    for _ in range(_RUNS):
        began = time.perf_counter()
        for item in items:
            function(item)
        runs.append((time.perf_counter() - began) / len(items))
    return float(np.median(runs))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="prepared file of structures")
    parser.add_argument("--structures", type=int, default=128)
    parser.add_argument("--sites", type=int, default=4, help="inequivalent ones of each structure")
    parser.add_argument("--rows", type=int, nargs="+", default=[8, 128], help="structures searched at once")
    arguments = parser.parse_args()
    graph = load_model().graph
    crystals = chosen(arguments.data, arguments.structures, arguments.sites)
    cells = [expand_crystal(crystal).primitive(int(crystal.space_group)) for crystal in crystals]
    results: dict[str, float] = {}
    for rows in arguments.rows:
        results[f"this search, {rows} at once"] = on_device(crystals, graph, rows)
    results["plain NumPy multigraph"] = seconds_each(
        lambda crystal: plain_multigraph(crystal, graph.cutoff, graph.max_neighbors), crystals[:16]
    )
    for name, search in host_searches(graph.cutoff).items():
        results[name] = seconds_each(search, cells)
    atoms = float(np.mean([len(cell[1]) for cell in cells]))
    print(f"{len(crystals)} structures of {arguments.sites} sites, {atoms:.1f} atoms in the primitive cell")
    for name, seconds in results.items():
        print(f"{name:28} {1e3 * seconds:8.3f} ms a structure")
    settings = vars(arguments) | {
        "data": Path(arguments.data).name,
        "structures": len(crystals),
        "atoms": atoms,
    }
    print(f"written to {save('search', settings | {'seconds_a_structure': results})}")


if __name__ == "__main__":
    main()
