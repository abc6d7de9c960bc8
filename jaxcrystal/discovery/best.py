"""Chooses the best of relaxed crystals: what is worth more time than a relaxation."""

import math
from pathlib import Path
from typing import NamedTuple

from jaxcrystal.discovery.energies import read_energies
from jaxcrystal.discovery.hull import HULL_NAME
from jaxcrystal.discovery.potentials import Energies
from jaxcrystal.errors import DataError
from jaxcrystal.structures.entries import Entry, load_entries
from jaxcrystal.structures.folder import opened_source
from jaxcrystal.structures.screening_files import SCREENING_NAME, rows_by_id
from jaxcrystal.text import number_of


class Best(NamedTuple):
    """The best crystals of a folder, best first.

    Attributes:
      entries: the crystals.
      e_above_hull: eV/atom of each; NaN where the folder has no `hull.csv`, or the crystal no place in it.
      energies: of which kind the energies are.
    """

    entries: list[Entry]
    e_above_hull: list[float]
    energies: Energies


def best_relaxed(source: str | Path, count: int) -> Best:
    """Returns the best crystals of a folder that `jaxcrystal relax` wrote.

    Best is lowest above the hull where `jaxcrystal hull` has put its file there, else lowest in energy
    per atom. Where `jaxcrystal screen` has put its file there, only crystals that it keeps are chosen from.

    Args:
      source: path or URL of the folder.
      count: how many at most.

    Raises:
      DataError: it is no such folder, no crystal in it was relaxed, or a file cannot be read.
    """
    with opened_source(source) as folder:
        compounds, kind = read_energies(folder)
        column = _column(folder / HULL_NAME, "e_above_hull")
        heights = {name: number_of(text) for name, text in column.items()}
        kept = {name for name, text in _column(folder / SCREENING_NAME, "kept").items() if text == "yes"}
        screened = (folder / SCREENING_NAME).is_file()
        energies = {one.name: one.energy_per_atom for one in compounds if one.name in kept or not screened}
        if not energies:
            raise DataError(f"{source} has no relaxed crystal that `jaxcrystal screen` keeps")
        names = sorted(energies, key=lambda name: _place(heights.get(name, math.nan), energies[name], name))
        entries = {entry.name: entry for entry in load_entries(folder)}
    lacking = [name for name in names[:count] if entries[name].structure is None]
    if lacking:
        raise DataError(f"{source} has no structure of {lacking[0]}: {entries[lacking[0]].error}")
    return Best(
        [entries[name] for name in names[:count]],
        [heights.get(name, math.nan) for name in names[:count]],
        kind,
    )


def _place(height: float, energy: float, name: str) -> tuple[bool, float, str]:
    """Returns what to sort by: crystals without a place on the hull come last."""
    return (True, energy, name) if math.isnan(height) else (False, height, name)


def _column(path: Path, name: str) -> dict[str, str]:
    """Returns a column of a table by id; nothing where there is none."""
    rows = rows_by_id(path)
    if any(name not in row for row in rows.values()):
        raise DataError(f"cannot read {path}: it has no column {name}")
    return {found: row[name] for found, row in rows.items()}
