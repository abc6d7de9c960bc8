"""One structure of a source that has not been parsed yet, and the texts that may hold several."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from jaxcrystal.io.cif_tags import has_one_block, split_blocks
from jaxcrystal.io.text import clean

#: What a source may call an energy, the usual name first; eV per atom.
_ENERGIES = {
    "formation_energy_per_atom": ("formation_energy_per_atom", "formation_energy_peratom"),
    "e_above_hull": ("e_above_hull", "energy_above_hull", "ehull"),
}
PROPERTIES = tuple(_ENERGIES)
#: Characters; a longer text is not read as a number.
_LONGEST_NUMBER = 40
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
#: Where a source may keep the name of a structure.
ID_NAMES = ("material_id", "entry_id", "mat_id", "jid", "task_id", "id", "_id", "name")


@dataclass(frozen=True)
class Record:
    """One structure that has not been parsed yet.

    Attributes:
      source_id: its name: an identifier of the source, or file name and place in it.
      kind: `cif`, `poscar`, `extxyz`, `sites`, `aflow`, one of `documents.KINDS`, or `error`.
      content: text, JSON object, arrays (`sites`), index (`aflow`) or what is wrong (`error`).
      properties: numbers that the source gives with it, by name; energies are in eV per atom.
    """

    source_id: str
    kind: str
    content: Any
    properties: dict[str, float] = field(default_factory=dict)


def cif_records(name: str, text: str, properties: dict[str, float] | None = None) -> Iterator[Record]:
    """Yields a record for each data block with atoms, or one that says that there is none."""
    text = clean(text)
    if has_one_block(text):
        yield Record(name, "cif", text, properties or {})
        return
    blocks = split_blocks(text)
    if not blocks:
        yield Record(name, "error", "no data block with atoms")
    for number, (label, block) in enumerate(blocks):
        yield Record(f"{name}:{number}:{label}" if len(blocks) > 1 else name, "cif", block, properties or {})


def known_properties(row: Mapping[str, Any]) -> dict[str, float]:
    """Returns the numbers that a row or object has, energies (eV per atom) by their usual names too."""
    found = {str(name): number for name, value in row.items() if (number := _number(value)) is not None}
    for name, aliases in _ENERGIES.items():
        number = next((found[alias] for alias in aliases if alias in found), None)
        if number is not None:
            found[name] = number
    return found


def _number(value: Any) -> float | None:
    """Returns a finite number, also one that a text writes in decimals; None for all else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str):
        value = value[: _LONGEST_NUMBER + 1].strip()  # it may be a whole structure
        if len(value) > _LONGEST_NUMBER or not _DECIMAL.fullmatch(value):
            return None
    try:
        number = float(value)
    except OverflowError:  # a whole number of hundreds of digits
        return None
    return number if math.isfinite(number) else None
