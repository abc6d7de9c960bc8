"""Collects what the gallery shows: a table with a row for every structure, and its cell."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from jaxcrystal.errors import DataError
from jaxcrystal.reports.gallery.cells import compact_cell, conventional_cell, element_table
from jaxcrystal.structures.cells import is_valid, nearest_distance
from jaxcrystal.structures.entries import Entry
from jaxcrystal.symmetry.detect import SYMPREC, find_group
from jaxcrystal.symmetry.groups import hermann_mauguin
from jaxcrystal.workers import map_structures

Row = Mapping[str, str]


@dataclass(frozen=True)
class Column:
    """A column of the table.

    Attributes:
      key: name, that of the file it comes from.
      label: heading.
      kind: `text`, `formula`, `group`, `number`, `bool` or `id` (of another structure).
      title: what it is, in a sentence, with the unit.
      digits: decimals of a number.
    """

    key: str
    label: str
    kind: str
    title: str
    digits: int = 0


COLUMNS = (
    Column("id", "id", "text", "name of the structure in its folder or file"),
    Column("formula", "formula", "formula", "reduced formula"),
    Column("requested_group", "group asked", "group", "space group that was asked for"),
    Column("found_group", "group found", "group", "space group that spglib finds, tolerance 0.1 Å"),
    Column("letters", "letters", "text", "Wyckoff letters of the inequivalent sites, by element"),
    Column("e_above_hull", "above hull", "number", "energy above the hull of the references, eV/atom", 4),
    Column("formation_energy", "formation", "number", "formation energy, eV/atom", 4),
    Column(
        "lowest_frequency", "lowest, THz", "number", "lowest phonon frequency, THz; imaginary: negative", 2
    ),
    Column("valid", "valid", "bool", "ran to the end, no two atoms nearer than 0.5 Å"),
    Column("shortest_distance", "shortest, Å", "number", "shortest distance between two atoms, Å", 3),
    Column("volume_per_atom", "Å³/atom", "number", "volume per atom, Å³", 3),
    Column("density", "g/cm³", "number", "density, g/cm³", 2),
    Column("atoms", "atoms", "number", "atoms in the conventional cell"),
    Column("score_coords", "score, coords", "number", "size of the final score of the coordinates", 3),
    Column("score_lattice", "score, lattice", "number", "size of the final score of the lattice", 3),
    Column("kept", "kept", "bool", "passed the screening"),
    Column("duplicate_of", "duplicate of", "id", "earlier structure that is the same crystal"),
    Column("known_as", "known as", "text", "known crystal that it is the same as"),
    Column("flags", "flags", "text", "what the screening remarks"),
    Column("status", "status", "text", "why the sampler stopped it early, if it did"),
)
#: From so many structures on, several processes look at them; one takes a second to start.
_MANY = 1000
#: Columns of the files that are shown otherwise: the lattice with the cell.
_ELSEWHERE = {column.key for column in COLUMNS} | {"a", "b", "c", "alpha", "beta", "gamma"}

#: What other columns of the files are called.
_LABELS = {"found_group_strict": "group, 0.01 Å"}


def gallery_content(
    entries: Sequence[Entry],
    summary: Mapping[str, Row] | None = None,
    screening: Mapping[str, Row] | None = None,
    frames: Mapping[str, list[dict[str, Any]]] | None = None,
    *,
    title: str,
    left_out: int = 0,
) -> dict[str, Any]:
    """Returns all that the page shows, as JSON values; equal for equal input.

    Args:
      entries: what is shown, in this order.
      summary: rows by id; figures of the sampler are shown as they are. Structures without a row, or
        with one of `relax`, which has other figures, are looked at here, in their conventional cell.
      screening: rows of the screening by id.
      frames: denoising by id, as `load_frames` gives it.
      title: of the page.
      left_out: structures of the source that are not among `entries`.
    """
    summary, screening, frames = summary or {}, screening or {}, frames or {}
    known = ["shortest_distance" in summary.get(entry.name, {}) for entry in entries]
    pairs = list(zip(entries, known, strict=True))
    looks = map_structures(
        _look,
        pairs,
        processes=None if len(known) - sum(known) >= _MANY else 1,
        description="look",
        progress=len(pairs) >= _MANY,
    )
    values = [
        look["values"] | _of_files(entry, summary.get(entry.name), screening.get(entry.name))
        for entry, look in zip(entries, looks, strict=True)
    ]
    columns = [
        column
        for column in COLUMNS
        if any(row.get(column.key) is not None for row in values)
        and (column.key != "status" or any(row.get("status") not in (None, "ok") for row in values))
    ]
    groups = {row.get(key) for row in values for key in ("requested_group", "found_group")}
    cells = [look["cell"] for look in looks]
    every_cell = [cell for cell in cells if cell] + [cell for several in frames.values() for cell in several]
    return {
        "title": title,
        "leftOut": left_out,
        "columns": [asdict(column) for column in columns],
        "rows": [[row.get(column.key) for column in columns] for row in values],
        "cells": cells,
        "errors": [entry.error for entry in entries],
        "more": [_more(summary.get(entry.name), screening.get(entry.name)) for entry in entries],
        "frames": dict(frames),
        "elements": element_table({symbol for cell in every_cell for symbol, _ in cell["elements"]}),
        "groups": {str(group): hermann_mauguin(group) for group in sorted(groups - {None, 0})},
    }


def _look(pair: tuple[Entry, bool]) -> dict[str, Any]:
    """Returns the cell to draw and the figures of a structure; a known one is not looked at twice."""
    entry, known = pair
    structure = entry.structure
    if structure is None:
        return {"cell": None, "values": {"valid": False}}
    values: dict[str, Any] = {"formula": structure.reduced_formula, "density": float(structure.density)}
    if not known:
        group = find_group(
            np.array(structure.lattice.matrix),
            np.array(structure.atomic_numbers),
            np.array(structure.frac_coords),
            SYMPREC,
        )
        values |= {
            "found_group": group,
            "valid": is_valid(structure) and not entry.failed,
            "shortest_distance": nearest_distance(structure),
            "volume_per_atom": float(structure.volume) / len(structure),
        }
        if group:
            structure = conventional_cell(structure)
    values = {key: round(x, 4) if isinstance(x, float) else x for key, x in values.items()}
    lattice, species = np.array(structure.lattice.matrix), np.array(structure.atomic_numbers)
    cell = compact_cell(lattice, species, np.array(structure.frac_coords))
    return {"cell": cell, "values": values | {"atoms": len(structure)}}


def _of_files(entry: Entry, summary: Row | None, screening: Row | None) -> dict[str, Any]:
    """Returns the figures that the files give, those that are there."""
    # The density is computed, for all alike.
    texts = {"id": entry.name, **(screening or {}), **(summary or {})} | {"density": ""}
    values = {column.key: _value(column, texts.get(column.key) or "") for column in COLUMNS}
    return {key: value for key, value in values.items() if value is not None}


def _value(column: Column, text: str) -> str | int | float | bool | None:
    text = text.strip()
    if not text:
        return None
    if column.kind == "bool":
        return text.lower() in ("true", "yes", "1")
    if column.kind not in ("number", "group"):
        return text
    try:
        number = float(text)
    except ValueError:
        raise DataError(f"{column.key} is {text!r:.40} in a row of the summary, expected a number") from None
    if not math.isfinite(number):
        return None
    if column.kind == "group" and not 0 <= number <= 230:
        raise DataError(f"{column.key} is {text!r:.40} in a row of the summary, expected a space group")
    return int(number) if column.kind == "group" else number


def _more(summary: Row | None, screening: Row | None) -> dict[str, str]:
    """Returns what else the files say of a structure."""
    both = {**(screening or {}), **(summary or {})}
    return {
        _LABELS.get(key, key.replace("_", " ")): text
        for key, text in both.items()
        if text and key not in _ELSEWHERE
    }
