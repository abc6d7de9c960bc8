"""Reads crystals with known formation energies, which the CGCNN is trained and tested on."""

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from jaxcrystal.cgcnn.graph import CgcnnConfig, ShellGraph, build_graph
from jaxcrystal.data.dataset import Dataset
from jaxcrystal.errors import DataError
from jaxcrystal.io.readers import Record, read, read_records
from jaxcrystal.symmetry.orbits import expand_crystal

#: What the crystals' sources call the energy; eV per atom.
ENERGY = "formation_energy_per_atom"

#: lattice [3, 3] (Å), species [atoms] and frac_coords [atoms, 3].
Cell = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class EnergyData:
    """Graphs of crystals and their formation energies.

    Attributes:
      graphs: of `build_graph`.
      energies: [crystals] eV per atom.
      left_out: crystals of the source without an energy, or that cannot be read.
    """

    graphs: list[ShellGraph]
    energies: Float[np.ndarray, " crystals"]
    left_out: int = 0


def read_energies(
    source: str | Path, config: CgcnnConfig, processes: int = 1, progress: bool = True
) -> EnergyData:
    """Reads the crystals of a file that have a formation energy, and makes their graphs.

    Args:
      source: whatever `io.readers` reads that names formation_energy_per_atom, or a
        prepared data set (.npz).
      config: of the graphs.
      processes: worker processes; 1 works in this one.
      progress: show a bar.

    Raises:
      DataError: no such file, or no crystal in it has an energy.
    """
    items, energies, total = _known(Path(source))
    make = partial(_graph_of, config=config)
    bar: dict[str, Any] = {"total": len(items), "desc": Path(source).name, "disable": not progress}
    if processes <= 1:
        graphs = list(tqdm(map(make, items), file=sys.stderr, **bar))
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, mp_context=context) as pool:
            graphs = list(tqdm(pool.map(make, items, chunksize=64), file=sys.stderr, **bar))
    usable = np.array([graph is not None for graph in graphs], bool)
    if not usable.any():
        raise DataError(f"{source}: no crystal that can be used has a {ENERGY}")
    chosen = [graph for graph in graphs if graph is not None]
    return EnergyData(chosen, energies[usable].astype(np.float32), total - len(chosen))


def _known(source: Path) -> tuple[list[Record | Cell], np.ndarray, int]:
    """Returns the crystals with an energy, the energies, and how many crystals there are."""
    if source.suffix == ".npz":
        dataset = Dataset.load(source, any_cell=True)
        chosen = np.flatnonzero(np.isfinite(dataset.formation_energy_per_atom))
        cells: list[Record | Cell] = [_cell(dataset, int(index)) for index in chosen]
        return cells, dataset.formation_energy_per_atom[chosen], len(dataset)
    records = list(read_records(source))
    known = [record for record in records if np.isfinite(record.properties.get(ENERGY, np.nan))]
    return [*known], np.array([record.properties[ENERGY] for record in known]), len(records)


def _cell(dataset: Dataset, index: int) -> Cell:
    return expand_crystal(dataset.crystal(index))[:3]


def _graph_of(item: Record | Cell, config: CgcnnConfig) -> ShellGraph | None:
    try:
        if isinstance(item, Record):
            structure = read(item)
            species, frac_coords = np.array(structure.atomic_numbers), np.array(structure.frac_coords)
            item = (np.array(structure.lattice.matrix), species, frac_coords)
        return build_graph(*item, config)
    except Exception:  # a library's parser may raise anything
        return None
