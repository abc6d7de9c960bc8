"""Keeps in the user's cache what structures became when they were relaxed."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from jaxcrystal.cache import Store
from jaxcrystal.discovery.gates import Failure
from jaxcrystal.discovery.potentials import find_potential
from jaxcrystal.discovery.relaxation import Ground, RelaxSettings
from jaxcrystal.discovery.run import Work
from jaxcrystal.io.convert import to_pymatgen
from jaxcrystal.structures.entries import Entry, structure_bytes
from jaxcrystal.symmetry.orbits import expand_crystal

if TYPE_CHECKING:
    from pymatgen.core import Structure

Item = TypeVar("Item")
#: Increase when an outcome of the cache is computed in another way, or has other fields.
_VERSION = 2


@dataclass(frozen=True)
class Outcome:
    """What one structure became.

    Attributes:
      failure: in one word why there is no relaxed crystal; empty: there is one.
      energy_per_atom: eV.
      energy_before: eV per atom, of the structure as it was.
      converged: whether forces and stress became as small as was asked for.
      rms_moved: Å; root mean square of what its atoms moved in the cell.
      group: that spglib finds afterwards with a tolerance of 0.1 Å.
      lattice: rows are the vectors of its primitive cell, Å.
      species: atomic numbers.
      frac_coords: of the atoms.
    """

    failure: str = ""
    energy_per_atom: float = float("nan")
    energy_before: float = float("nan")
    converged: bool = False
    rms_moved: float = float("nan")
    group: int = 0
    lattice: list[list[float]] = field(default_factory=list)
    species: list[int] = field(default_factory=list)
    frac_coords: list[list[float]] = field(default_factory=list)

    def to_pymatgen(self) -> "Structure | None":
        """Returns a pymatgen Structure of the primitive cell; None where there is none."""
        if self.failure:
            return None
        return to_pymatgen(np.array(self.lattice), np.array(self.species), np.array(self.frac_coords))


def relaxed_outcomes(
    entries: Sequence[Entry], settings: RelaxSettings, work: Work, cache: Path | None = None
) -> list[Outcome]:
    """Returns what becomes of each structure, in order.

    Each outcome is kept as soon as it is there, under the structure, the potential and the settings:
    a run that was killed goes on, and equal structures are relaxed once.

    Args:
      entries: the structures.
      settings: how they are relaxed; `free` is not looked at.
      work: where.
      cache: folder of the cache, default the user's.

    Raises:
      JaxcrystalError: the potential or the cluster cannot be used.
      DataError: the cache cannot be used.
    """
    start = key_of(settings)
    keys = [_key(start, entry) for entry in entries]

    def compute(todo: Sequence[Entry]) -> Iterator[dict[str, Any]]:
        return (asdict(_outcome(found)) for found in work.relax(todo, settings))

    return [Outcome(**found) for found in remembered(keys, entries, compute, cache)]


def key_of(settings: RelaxSettings) -> "hashlib._Hash":
    """Returns what a key of the cache begins with: the potential, and how it is used."""
    version = find_potential(settings.potential).version
    return hashlib.sha256(repr((_VERSION, version, settings)).encode())


def remembered(
    keys: Sequence[str],
    items: Sequence[Item],
    compute: Callable[[Sequence[Item]], Iterator[dict[str, Any]]],
    cache: Path | None = None,
) -> list[dict[str, Any]]:
    """Returns what is found of each item, in order: from the cache, or computed and at once put there.

    Args:
      keys: of the items; equal ones are computed once.
      items: what is computed.
      compute: yields what is found of some items, ready for JSON.
      cache: folder of the cache, default the user's.

    Raises:
      DataError: the cache cannot be used.
    """
    with Store("energies", cache) as store:
        known = store.read(set(keys))
        todo = {key: item for key, item in zip(keys, items, strict=True) if key not in known}
        for key, found in zip(todo, compute(list(todo.values())), strict=True):
            known[key] = json.dumps(found).encode()
            store.write(key, known[key])
            store.commit()
    return [json.loads(known[key]) for key in keys]


def _outcome(found: Ground | Failure) -> Outcome:
    if isinstance(found, Failure):
        return Outcome(found.word)
    group = int(found.crystal.space_group)
    lattice, species, frac_coords = expand_crystal(found.crystal).primitive(group)
    return Outcome(
        energy_per_atom=found.energy_per_atom,
        energy_before=found.energy_before,
        converged=found.converged,
        rms_moved=found.rms_moved,
        group=found.group_after,
        lattice=lattice.tolist(),
        species=species.tolist(),
        frac_coords=frac_coords.tolist(),
    )


def _key(start: "hashlib._Hash", entry: Entry) -> str:
    digest = start.copy()
    digest.update(f"{entry.error} {entry.flag}".encode())
    if entry.structure is not None:
        digest.update(structure_bytes(entry.structure))
    return str(digest.hexdigest())
