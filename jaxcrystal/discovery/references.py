"""Energies of known structures with a potential: what others are compared with."""

import gzip
import json
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxcrystal.discovery.energies import FORMAT
from jaxcrystal.discovery.outcomes import relaxed_outcomes
from jaxcrystal.discovery.potentials import find_potential
from jaxcrystal.discovery.relaxation import RelaxSettings
from jaxcrystal.discovery.run import Work
from jaxcrystal.elements import SYMBOLS, atomic_number
from jaxcrystal.errors import DataError
from jaxcrystal.files import write_bytes
from jaxcrystal.io.convert import symbols
from jaxcrystal.structures.entries import Entry


def elements_of(system: str) -> frozenset[str]:
    """Returns the elements of a chemical system such as `Cu-Si-K`.

    Raises:
      RequestError: a word is no element.
    """
    return frozenset(SYMBOLS[atomic_number(word.strip())] for word in system.split("-"))


def within(entries: Sequence[Entry], systems: Collection[frozenset[str]]) -> list[Entry]:
    """Returns the structures that consist of elements of at least one of some systems."""
    kinds = [
        None if entry.structure is None else frozenset(symbols(entry.structure.atomic_numbers))
        for entry in entries
    ]
    kept = {kind for kind in set(kinds) if kind is not None and any(kind <= system for system in systems)}
    return [entry for entry, kind in zip(entries, kinds, strict=True) if kind in kept]


def systems_of(entries: Sequence[Entry]) -> set[frozenset[str]]:
    """Returns the elements of each structure that could be read, every combination once."""
    return {
        frozenset(symbols(entry.structure.atomic_numbers)) for entry in entries if entry.structure is not None
    }


def reference_energies(
    entries: Sequence[Entry], settings: RelaxSettings, work: Work, cache: Path | None = None
) -> tuple[dict[str, Any], Counter[str]]:
    """Returns energies of known structures as a file of references has them, and counts of failures.

    Each is kept in the user's cache: see `outcomes.relaxed_outcomes`.

    Args:
      entries: the structures.
      settings: how they are relaxed; `max_steps=0` for energies of the structures as they are.
      work: where.
      cache: folder of the cache, default the user's.

    Raises:
      JaxcrystalError: the potential or the cache cannot be used.
      DataError: no structure has an energy.
    """
    potential = find_potential(settings.potential)
    found, failures = [], Counter[str]()
    for entry, outcome in zip(entries, relaxed_outcomes(entries, settings, work, cache), strict=True):
        if outcome.failure:
            failures[outcome.failure] += 1
        else:
            found.append(_entry(entry, outcome.energy_per_atom))
            failures["not converged"] += not outcome.converged and settings.max_steps > 0
    if not found:
        raise DataError(f"none of {len(entries)} structures has an energy: {dict(failures)}")
    content = {
        "format": FORMAT,
        "potential": potential.name,
        "correction": potential.correction,
        "version": potential.version,
        "relaxed": settings.max_steps > 0,
        "entries": found,
    }
    return content, +failures


def write_references(content: dict[str, Any], path: Path) -> None:
    """Writes a file of references; compressed if its name ends in `.gz`.

    Raises:
      DataError: it exists, or cannot be written.
    """
    text = (json.dumps(content, indent=None) + "\n").encode()
    write_bytes(path, gzip.compress(text, mtime=0) if path.suffix == ".gz" else text, overwrite=False)


def _entry(entry: Entry, energy_per_atom: float) -> dict[str, Any]:
    """Returns a ComputedEntry of pymatgen as JSON has it."""
    assert entry.structure is not None
    numbers, counts = np.unique(np.array(entry.structure.atomic_numbers), return_counts=True)
    return {
        "@module": "pymatgen.entries.computed_entries",
        "@class": "ComputedEntry",
        "entry_id": entry.name,
        "composition": {symbol: int(n) for symbol, n in zip(symbols(numbers), counts, strict=True)},
        "energy": energy_per_atom * int(counts.sum()),
        "correction": 0.0,
    }
