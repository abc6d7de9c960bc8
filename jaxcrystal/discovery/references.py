"""Energies of known structures with a potential: what others are compared with."""

import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from jaxcrystal.cache import Store
from jaxcrystal.discovery.energies import FORMAT
from jaxcrystal.discovery.gates import Failure
from jaxcrystal.discovery.potentials import find_potential
from jaxcrystal.discovery.relaxation import RelaxSettings
from jaxcrystal.discovery.run import Work
from jaxcrystal.elements import SYMBOLS, atomic_number
from jaxcrystal.errors import DataError
from jaxcrystal.files import write_atomically
from jaxcrystal.io.convert import symbols
from jaxcrystal.structures.entries import Entry, structure_bytes

#: Increase when an energy of the cache is computed in another way.
_VERSION = 1


def elements_of(system: str) -> frozenset[str]:
    """Returns the elements of a chemical system such as `Cu-Si-K`.

    Raises:
      RequestError: a word is no element.
    """
    return frozenset(SYMBOLS[atomic_number(word.strip())] for word in system.split("-"))


def within(entries: Sequence[Entry], elements: frozenset[str]) -> list[Entry]:
    """Returns the structures that consist of some elements only."""
    return [
        entry
        for entry in entries
        if entry.structure is not None and elements.issuperset(symbols(entry.structure.atomic_numbers))
    ]


def reference_energies(
    entries: Sequence[Entry], settings: RelaxSettings, work: Work, cache: Path | None = None
) -> tuple[dict[str, Any], Counter[str]]:
    """Returns energies of known structures as a file of references has them, and counts of failures.

    Each energy is kept in the user's cache as soon as it is there, under the structure, the
    potential and the settings.

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
    start = hashlib.sha256(repr((_VERSION, potential.version, settings)).encode())
    keys = [_key(start, entry) for entry in entries]
    with Store("energies", cache) as store:
        known = store.read(set(keys))
        todo = {key: entry for key, entry in zip(keys, entries, strict=True) if key not in known}
        outcomes = work.relax(list(todo.values()), settings)
        for key, outcome in zip(todo, outcomes, strict=True):
            known[key] = json.dumps(
                {"failure": outcome.word}
                if isinstance(outcome, Failure)
                else {"energy_per_atom": outcome.energy_per_atom, "converged": outcome.converged}
            ).encode()
            store.write(key, known[key])
            store.commit()
    found, failures = [], Counter[str]()
    for key, entry in zip(keys, entries, strict=True):
        outcome = json.loads(known[key])
        if "failure" in outcome:
            failures[outcome["failure"]] += 1
        else:
            found.append(_entry(entry, outcome["energy_per_atom"]))
            failures["not converged"] += not outcome["converged"] and settings.max_steps > 0
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

    def write(file: BinaryIO) -> None:
        file.write(gzip.compress(text, mtime=0) if path.suffix == ".gz" else text)

    write_atomically(path, write, overwrite=False)


def _key(start: Any, entry: Entry) -> str:
    digest = start.copy()
    digest.update(f"{entry.error} {entry.flag}".encode())
    if entry.structure is not None:
        digest.update(structure_bytes(entry.structure))
    return str(digest.hexdigest())


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
