"""Finished crystals as arrays: thousands on the device, and what a user wants of one of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from jaxcrystal.crystal import Crystal
from jaxcrystal.io import convert
from jaxcrystal.symmetry.crystals import build_crystal
from jaxcrystal.symmetry.orbits import FullCell, expand_crystal
from jaxcrystal.symmetry.wyckoff import wyckoff_positions

if TYPE_CHECKING:
    from ase import Atoms
    from pymatgen.core import Structure


@jax.tree_util.register_pytree_with_keys_class
@dataclass(frozen=True, eq=False)
class CrystalArrays:
    """Finished crystals, arrays of JAX or NumPy with one row each; padded sites have species 0.

    Every site lies on the representative of a Wyckoff position: `letters` says which, and its atoms
    are the images by `site_ops`, with the centring translations of the group.

    Attributes:
      species: [crystals, max_nodes] atomic numbers, 0 on padding.
      frac_coords: [crystals, max_nodes, 3] fractional in the conventional cell, float32.
      letters: [crystals, max_nodes] index in `symmetry.wyckoff.wyckoff_positions`; -1 on padding.
      site_ops: [crystals, max_nodes, 48] one operation for each atom, up to centring.
      lattice_params: [crystals, 6], see `symmetry.lattice`.
      space_group: [crystals].
      num_atoms: [crystals] of the conventional cell.
      volume_per_atom: [crystals] Å³.
      shortest_distance: [crystals] Å, between two atoms; images of one atom by a lattice vector count.
      status: [crystals] `errors.Status` bits: what stopped the sampling early.
      valid: [crystals] it ran to the end, no two atoms are nearer than 0.5 Å, and the cell has a volume
        of at least 1 Å³ an atom.
      scores: [crystals, 2] root mean square of the final scores, see `structures.finished.Sample`.
    """

    species: Int[Any, "*crystals nodes"]
    frac_coords: Float[Any, "*crystals nodes 3"]
    letters: Int[Any, "*crystals nodes"]
    site_ops: Bool[Any, "*crystals nodes ops"]
    lattice_params: Float[Any, "*crystals 6"]
    space_group: Int[Any, "*crystals"]
    num_atoms: Int[Any, "*crystals"]
    volume_per_atom: Float[Any, "*crystals"]
    shortest_distance: Float[Any, "*crystals"]
    status: Int[Any, "*crystals"]
    valid: Bool[Any, "*crystals"]
    scores: Float[Any, "*crystals 2"]

    def tree_flatten_with_keys(self) -> tuple[list[tuple[Any, Any]], None]:
        """Returns the arrays with their names, as jax asks for them."""
        return [(jax.tree_util.GetAttrKey(name), array) for name, array in self._columns()], None

    @classmethod
    def tree_unflatten(cls, _: None, arrays: Sequence[Any]) -> "CrystalArrays":
        """Returns what jax makes of the arrays, which need not be arrays: types are not looked at."""
        made = object.__new__(cls)
        for field, array in zip(fields(cls), arrays, strict=True):
            object.__setattr__(made, field.name, array)
        return made

    def __len__(self) -> int:
        return len(self.space_group)

    def __repr__(self) -> str:
        return f"<arrays of {len(self)} crystals, {int(np.asarray(self.valid).sum())} valid>"

    def to_host(self) -> "CrystalArrays":
        """Returns the same with NumPy arrays."""
        return replace(self, **{name: np.asarray(array) for name, array in self._columns()})

    def crystal(self, index: int) -> Crystal:
        """Returns one crystal in float64 and without padding, its sites exactly on their positions."""
        species, coords = np.asarray(self.species[index]), np.asarray(self.frac_coords[index], np.float64)
        real = np.flatnonzero(species)
        group, letters = int(self.space_group[index]), np.asarray(self.letters[index])[real]
        positions = wyckoff_positions(group)
        exact = [
            positions[letter].origin + positions[letter].projection @ (x - positions[letter].origin)
            for letter, x in zip(letters, coords[real], strict=True)
        ]
        params = np.asarray(self.lattice_params[index], np.float64)
        return build_crystal(group, species[real], letters, np.array(exact), params)

    def cell(self, index: int) -> FullCell:
        """Returns the conventional cell of one crystal with all its atoms, float64."""
        return expand_crystal(self.crystal(index))

    def to_pymatgen(self, index: int, primitive: bool = False) -> "Structure":
        """Returns the conventional (or the primitive) cell of one crystal as a pymatgen Structure."""
        return convert.to_pymatgen(*self._cell(index, primitive))

    def to_ase(self, index: int, primitive: bool = False) -> "Atoms":
        """Returns the conventional (or the primitive) cell of one crystal as an ASE Atoms object."""
        return convert.to_ase(*self._cell(index, primitive))

    def _cell(self, index: int, primitive: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        cell = self.cell(index)
        return cell.primitive(int(self.space_group[index])) if primitive else cell[:3]

    def _columns(self) -> Iterator[tuple[str, Any]]:
        return ((field.name, getattr(self, field.name)) for field in fields(self))
