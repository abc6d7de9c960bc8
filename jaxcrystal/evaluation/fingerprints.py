"""Computes the descriptors of many structures, and keeps them in a cache."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxcrystal.cache import Store
from jaxcrystal.errors import JaxcrystalError
from jaxcrystal.evaluation.descriptors import (
    COMPOSITION_LENGTH,
    OXIDATION_STATES,
    ROW_LENGTH,
    STRUCTURE_LENGTH,
    Row,
    describe,
)
from jaxcrystal.structures.entries import Entry, structure_bytes
from jaxcrystal.workers import CHUNK, stream_structures

if TYPE_CHECKING:
    from pymatgen.core import Structure

#: Increase when a row of the cache is computed in another way.
_ROW_VERSION = 1
_LIBRARIES = ("matminer", "smact", "spglib", "pymatgen")
#: What `describe` imports of the extra.
_MODULES = (
    "matminer.featurizers.composition.composite",
    "matminer.featurizers.site.fingerprint",
    "smact.screening",
)
#: What stands before the colon in the reasons of entries that failed.
UNPARSABLE, FLAGGED = "unparsable", "flagged"


@dataclass(frozen=True, eq=False)
class Features:
    """One row an entry; NaN (or 0, or False) where there is nothing to compute.

    Attributes:
      structure: [n, 61] CrystalNN "ops", mean over atoms; NaN rows where it failed, and for
        entries that the sampler flagged.
      composition: [n, 132] Magpie, not standardised; NaN rows likewise.
      shortest_distance: [n] Å between two atoms; images of one atom by a lattice vector
        count, so that it does not depend on the choice of the cell.
      volume: [n] Å³ of the cell as given.
      density: [n] g/cm³.
      num_elements: [n].
      num_atoms: [n] of the cell as given.
      valid: [n] structural validity (`structures.cells.is_valid`); False for entries that failed.
      composition_valid: [n] SMACT's charge neutrality and Pauling test; False likewise.
      found_groups: [n, 3] by spglib at 0.01, 0.1 and 0.3 Å; 0 for none.
      reasons: [n] why an entry failed or is not valid, first cause only, in words up to a
        colon and particulars after it; empty for those that pass everything.
    """

    structure: Float[np.ndarray, "n 61"]
    composition: Float[np.ndarray, "n 132"]
    shortest_distance: Float[np.ndarray, " n"]
    volume: Float[np.ndarray, " n"]
    density: Float[np.ndarray, " n"]
    num_elements: Int[np.ndarray, " n"]
    num_atoms: Int[np.ndarray, " n"]
    valid: Bool[np.ndarray, " n"]
    composition_valid: Bool[np.ndarray, " n"]
    found_groups: Int[np.ndarray, "n 3"]
    reasons: list[str]

    def __len__(self) -> int:
        return len(self.reasons)

    @property
    def complete(self) -> Bool[np.ndarray, " n"]:
        """[n] True where both fingerprints are known."""
        return ~np.isnan(self.structure).all(1) & ~np.isnan(self.composition).all(1)

    def select(self, indices: Int[np.ndarray, " k"]) -> "Features":
        """Returns the rows at `indices`, in that order."""
        arrays: dict[str, Any] = {
            name: value[indices] for name, value in vars(self).items() if isinstance(value, np.ndarray)
        }
        return Features(**arrays, reasons=[self.reasons[i] for i in indices])


def featurize(
    entries: Sequence[Entry],
    *,
    cache: Path | None = None,
    processes: int | None = None,
    dask: str | None = None,
    description: str = "fingerprints",
) -> Features:
    """Returns the features of every entry; what was computed before is read from the cache.

    Args:
      entries: what `load_entries` returns.
      cache: folder of the cache, default the user's. It is written every few
        structures, so that an interrupted run goes on where it stopped.
      processes: see `workers.stream_structures`, also for the rest.
      dask: address of a scheduler.
      description: of the progress bar.

    Raises:
      JaxcrystalError: matminer or smact is not installed.
      DataError: the cache cannot be used.
    """
    require_eval()
    keys = _keys(entries)
    with Store("fingerprints", cache) as store:
        rows = _read(store, set(keys) - {""})
        todo = {k: e.structure for k, e in zip(keys, entries, strict=True) if k and k not in rows}
        results = stream_structures(
            _row_of, list(todo.values()), processes=processes, dask=dask, description=description
        )
        for number, (key, row) in enumerate(zip(todo, results, strict=True), start=1):
            rows[key] = row
            store.write(key, row[0].tobytes() + row[1].encode())
            if number % CHUNK == 0:
                store.commit()
        store.commit()
    return _assemble(entries, [rows.get(key) for key in keys])


def _row_of(structure: "Structure") -> Row:
    """Returns what `describe` does, once its libraries are known to work here.

    The error of such an installation would stand in the cache as a failure of the structure.

    Raises:
      JaxcrystalError: matminer or smact cannot be imported.
    """
    try:
        for module in _MODULES:
            import_module(module)
    except ImportError as error:
        raise JaxcrystalError(
            f"matminer or smact is there but cannot be imported ({error}): "
            "pip install --upgrade 'jaxcrystal[eval]'"
        ) from error
    return describe(structure)


def require_eval() -> None:
    """Raises JaxcrystalError, with what to install, where an extra is missing."""
    for name in ("matminer", "smact"):
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            raise JaxcrystalError(f"evaluate needs {name}: pip install 'jaxcrystal[eval]'") from None


def library_versions() -> dict[str, str]:
    """Returns the versions of the libraries that decide the figures."""
    return {name: metadata.version(name) for name in _LIBRARIES}


def _assemble(entries: Sequence[Entry], rows: Sequence[Row | None]) -> Features:
    table = np.full((len(entries), ROW_LENGTH), np.nan)
    reasons = []
    for number, (entry, row) in enumerate(zip(entries, rows, strict=True)):
        if row is not None:
            table[number] = row[0]
        if entry.structure is None:
            reasons.append(f"{UNPARSABLE}: {entry.error}")
        elif entry.flag != "ok":
            reasons.append(f"{FLAGGED}: {entry.flag}")
        else:
            reasons.append("" if row is None else row[1])
    failed = np.array([entry.failed for entry in entries], bool)
    fingerprints, scalars = np.split(table, [STRUCTURE_LENGTH + COMPOSITION_LENGTH], axis=1)
    fingerprints[failed] = np.nan
    known = np.nan_to_num(scalars)
    return Features(
        structure=fingerprints[:, :STRUCTURE_LENGTH],
        composition=fingerprints[:, STRUCTURE_LENGTH:],
        shortest_distance=scalars[:, 0],
        volume=scalars[:, 1],
        density=scalars[:, 2],
        num_elements=known[:, 3].astype(np.int64),
        num_atoms=known[:, 4].astype(np.int64),
        valid=(known[:, 5] == 1) & ~failed,
        composition_valid=(known[:, 6] == 1) & ~failed,
        found_groups=known[:, 7:].astype(np.int64),
        reasons=reasons,
    )


def _keys(entries: Sequence[Entry]) -> list[str]:
    """Returns what each entry's row is kept under; empty without a structure."""
    # Once: to look the versions up takes as long as everything else of a hundred keys.
    start = hashlib.sha256(repr((_ROW_VERSION, OXIDATION_STATES, library_versions())).encode())
    keys = []
    for entry in entries:
        if entry.structure is None:
            keys.append("")
            continue
        digest = start.copy()
        digest.update(structure_bytes(entry.structure))
        keys.append(digest.hexdigest())
    return keys


def _read(store: Store, keys: set[str]) -> dict[str, Row]:
    size = 8 * ROW_LENGTH
    found = store.read(keys)
    return {
        key: (np.frombuffer(value[:size]), value[size:].decode())
        for key, value in found.items()
        if len(value) >= size
    }
