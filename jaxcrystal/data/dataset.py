"""Stores prepared structures as one compact file of arrays."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxcrystal.crystal import Crystal
from jaxcrystal.errors import DataError
from jaxcrystal.files import write_atomically
from jaxcrystal.io.arrays import COLUMN, FORMAT, VERSION, load_arrays
from jaxcrystal.remote import local_copy
from jaxcrystal.symmetry.crystals import build_crystal
from jaxcrystal.symmetry.lattice import has_free_angles

_ENERGIES = ("formation_energy_per_atom", "e_above_hull")
_PER_STRUCTURE = (
    "ids",
    "space_group",
    "lattice_params",
    "num_sites",
    "formation_energy_per_atom",
    "e_above_hull",
)
_PER_SITE = ("species", "frac_coords", "letters")
#: In `info`: structures of groups 1-15 are in the cells of `symmetry.canonical`.
CANONICAL = "canonical"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Crystals as inequivalent sites; the sites of all structures stand in one row.

    The sites of structure n are the slice `offsets[n]:offsets[n + 1]` of the arrays
    of sites.

    Attributes:
      ids: [structures] the name each structure had in its source.
      space_group: [structures] 1-230.
      lattice_params: [structures, 6] see `symmetry.lattice`.
      num_sites: [structures] symmetry-inequivalent sites.
      species: [sites] atomic numbers.
      frac_coords: [sites, 3] in the conventional cell, exactly on the representative
        subspace of the site's Wyckoff position.
      letters: [sites] index into `wyckoff_positions(space_group)`, 0 for a.
      formation_energy_per_atom: [structures] eV, NaN where not known.
      e_above_hull: [structures] eV per atom, NaN where not known.
      columns: name -> [structures] further numbers that `prepare --keep` took from the source, NaN
        where not known.
      info: how the file was made (sources, settings); `canonical` where structures of groups 1-15 are
        in the cells that `symmetry.canonical` chooses.
    """

    ids: np.ndarray
    space_group: Int[np.ndarray, " structures"]
    lattice_params: Float[np.ndarray, "structures 6"]
    num_sites: Int[np.ndarray, " structures"]
    species: Int[np.ndarray, " sites"]
    frac_coords: Float[np.ndarray, "sites 3"]
    letters: Int[np.ndarray, " sites"]
    formation_energy_per_atom: Float[np.ndarray, " structures"]
    e_above_hull: Float[np.ndarray, " structures"]
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for names, length in ((_PER_STRUCTURE, len(self.ids)), (_PER_SITE, int(self.num_sites.sum()))):
            for name in names:
                if len(getattr(self, name)) != length:
                    raise DataError(f"{name} has {len(getattr(self, name))} rows, expected {length}")
        for name, column in self.columns.items():
            if column.shape != (len(self.ids),):
                raise DataError(f"column {name} has the shape {column.shape}, expected ({len(self.ids)},)")

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def offsets(self) -> Int[np.ndarray, " structures_plus_1"]:
        """[structures + 1] where the sites of each structure begin."""
        return np.concatenate([[0], np.cumsum(self.num_sites)])

    def sites(self, index: int | np.integer) -> slice:
        """Returns the slice of the arrays of sites that belongs to a structure."""
        return slice(int(self.offsets[index]), int(self.offsets[index + 1]))

    def crystal(self, index: int, constrained: bool = True) -> Crystal:
        """Returns one structure as numpy arrays in float64, without padding.

        Args:
          index: which structure.
          constrained: keep every site on its Wyckoff position; False frees all.
        """
        rows = self.sites(index)
        return build_crystal(
            int(self.space_group[index]),
            self.species[rows],
            self.letters[rows] if constrained else None,
            self.frac_coords[rows],
            self.lattice_params[index],
        )

    def select(
        self, indices: Sequence[int | np.integer] | Int[np.ndarray, " n"] | Bool[np.ndarray, " n"]
    ) -> "Dataset":
        """Returns the structures at `indices` (or where a mask is True), in that order."""
        chosen = np.asarray(indices)
        chosen = np.flatnonzero(chosen) if chosen.dtype == bool else chosen.astype(np.int64)
        starts, counts = self.offsets[chosen], self.num_sites[chosen].astype(np.int64)
        first = np.cumsum(counts) - counts
        rows = np.arange(counts.sum()) + np.repeat(starts - first, counts)
        picked = {name: getattr(self, name)[chosen] for name in _PER_STRUCTURE}
        picked |= {name: getattr(self, name)[rows] for name in _PER_SITE}
        columns = {name: column[chosen] for name, column in self.columns.items()}
        return Dataset(**picked, columns=columns, info=self.info)

    def conditions(self, names: Sequence[str]) -> dict[str, Float[np.ndarray, " structures"]]:
        """Returns columns by name, NaN where a structure has no number: the conditions of a network.

        Raises:
          DataError: there is no such column.
        """
        known = {name: getattr(self, name) for name in _ENERGIES} | self.columns
        for name in names:
            if name not in known:
                raise DataError(
                    f"the data set has no column {name!r}: `jaxcrystal prepare --keep {name}` keeps it; "
                    f"it has {', '.join(known)}"
                )
        return {name: known[name] for name in names}

    def save(self, path: str | Path, overwrite: bool = False) -> None:
        """Writes one `.npz` file, complete or not at all.

        Raises:
          DataError: the file exists (unless `overwrite`), or cannot be written.
        """
        arrays = {name: getattr(self, name) for name in (*_PER_STRUCTURE, *_PER_SITE)}
        arrays["species"] = self.species.astype(np.uint8)
        arrays["letters"] = self.letters.astype(np.uint8)
        arrays |= {COLUMN + name: column for name, column in self.columns.items()}
        arrays["format"] = np.array([FORMAT, str(VERSION), json.dumps(self.info)])
        write_atomically(path, lambda file: np.savez_compressed(file, **arrays), overwrite)

    @classmethod
    def load(cls, path: str | Path, any_cell: bool = False) -> "Dataset":
        """Reads a file that `save` wrote, by path or URL.

        Args:
          path: of the file.
          any_cell: accept structures of groups 1-15 in other cells than the canonical ones, as samples
            are and as earlier versions prepared them. They are the same crystals, but a network that
            learns, or is compared with, lattice parameters and letters must not see one crystal in many
            cells.

        Raises:
          DataError: see `io.arrays.load_arrays`; or one with such structures.
        """
        with local_copy(path) as here:
            arrays, info = load_arrays(here, called=path)
        columns = {
            name.removeprefix(COLUMN): arrays.pop(name) for name in list(arrays) if name.startswith(COLUMN)
        }
        others = 0 if info.get(CANONICAL) else sum(map(has_free_angles, arrays["space_group"].tolist()))
        if others and not any_cell:
            raise DataError(
                f"{path} has {others} structures of groups 1 to 15 that are not in their canonical cells (it "
                "is of samples or of an earlier version): `jaxcrystal prepare` it, or its sources, again"
            )
        return cls(**arrays, columns=columns, info=info)


@dataclass(frozen=True, eq=False)
class PreparedSites:
    """One symmetrised structure, a row of a `Dataset`.

    Attributes:
      space_group: 1-230.
      lattice_params: [6].
      species: [sites] atomic numbers.
      frac_coords: [sites, 3] on the representative subspaces.
      letters: [sites] index into `wyckoff_positions(space_group)`.
    """

    space_group: int
    lattice_params: Float[np.ndarray, "6"]
    species: Int[np.ndarray, " sites"]
    frac_coords: Float[np.ndarray, "sites 3"]
    letters: Int[np.ndarray, " sites"]


def stack(
    ids: Sequence[str],
    structures: Sequence[PreparedSites],
    properties: Sequence[dict[str, float]] | None = None,
    info: dict[str, Any] | None = None,
    keep: Sequence[str] = (),
) -> Dataset:
    """Puts structures into one data set.

    Args:
      ids: names.
      structures: as many.
      properties: of each: energies, in eV per atom, and what is kept, as far as they are known.
      info: how the data set was made.
      keep: further properties that become columns.
    """
    properties = [{}] * len(structures) if properties is None else properties

    def joined(name: str, empty: tuple[int, ...], dtype: type) -> np.ndarray:
        rows: list[Any] = [np.asarray(getattr(s, name), dtype) for s in structures]
        return np.concatenate(rows) if rows else np.zeros(empty, dtype)

    def known(name: str) -> np.ndarray:
        return np.array([p.get(name, np.nan) for p in properties], np.float64)

    return Dataset(
        ids=np.array(list(ids), dtype=np.str_),
        space_group=np.array([s.space_group for s in structures], np.int32),
        lattice_params=np.array([s.lattice_params for s in structures], np.float64).reshape(-1, 6),
        num_sites=np.array([len(s.species) for s in structures], np.int32),
        species=joined("species", (0,), np.int32),
        frac_coords=joined("frac_coords", (0, 3), np.float64),
        letters=joined("letters", (0,), np.int32),
        formation_energy_per_atom=known("formation_energy_per_atom"),
        e_above_hull=known("e_above_hull"),
        columns={name: known(name) for name in keep},
        info=info or {},
    )
