"""The free coordinates of a crystal: what may change while its space group stays.

A vector `q` of few numbers stands for all atoms and the cell. Its first part moves atoms along
directions that are orthonormal in the space of all atoms of the primitive cell, its second part
strains the cell by symmetric strains that the point group leaves alone:

    lattice(q) = lattice(0) (1 + strain),    positions(q) = (positions(0) + displacement) (1 + strain)

with rows as vectors. The derivative of the energy by `q` is then a projection of the forces and the
stress, and all that a symmetric crystal can do is in it.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxcrystal.crystal import Crystal
from jaxcrystal.data.symmetrize import params_of_lattice
from jaxcrystal.symmetry.groups import group_tables
from jaxcrystal.symmetry.lattice import host_lattice
from jaxcrystal.symmetry.orbits import expand_crystal
from jaxcrystal.symmetry.wyckoff import group_operations

#: Of the edge of an atom's volume: what a strain of one counts for, in Å. So weighed, a cell is about
#: as stiff as its atoms.
_STRAIN_SHARE = 0.5


class Cell(NamedTuple):
    """The primitive cell at a point `q`.

    Attributes:
      lattice: [3, 3] rows are vectors, Å.
      positions: [atoms, 3] Cartesian, Å.
    """

    lattice: Float[np.ndarray, "3 3"]
    positions: Float[np.ndarray, "atoms 3"]


class FreeCoordinates:
    """The free coordinates of one crystal, of which it is the origin.

    Attributes:
      crystal: at `q = 0`; of numpy arrays in float64, without padding, sites on their positions.
      species: [atoms] atomic numbers of the primitive cell.
      moves: [num_moves, atoms, 3] orthonormal displacements of its atoms, Å in the unstrained cell.
      strains: [num_strains, 3, 3] symmetric; of a length that makes them as stiff as the moves.
    """

    def __init__(self, crystal: Crystal) -> None:
        self.crystal = crystal
        self._group = int(crystal.space_group)
        self._lattice = host_lattice(np.asarray(crystal.lattice_params, np.float64), self._group)
        lattice, self.species, frac_coords = expand_crystal(crystal).primitive(self._group)
        self._primitive = group_operations(self._group)[2]
        self._positions = frac_coords @ lattice
        self._first_atoms, self.moves = _moves(crystal, self._lattice)
        atoms = len(self.species)
        edge = np.cbrt(abs(np.linalg.det(lattice)) / atoms)
        self.strains = invariant_strains(self._group) / (_STRAIN_SHARE * edge * np.sqrt(atoms))

    def __len__(self) -> int:
        return len(self.moves) + len(self.strains)

    def cell(self, q: Float[np.ndarray, " n"]) -> Cell:
        """Returns the primitive cell at a point."""
        deformation = self._deformation(q)
        return Cell(
            self._primitive @ self._lattice @ deformation,
            (self._positions + self.displacement(q)) @ deformation,
        )

    def gradient(
        self,
        q: Float[np.ndarray, " n"],
        forces: Float[np.ndarray, "atoms 3"],
        stress: Float[np.ndarray, "3 3"],
    ) -> Float[np.ndarray, " n"]:
        """Returns the derivative of the energy of the primitive cell, eV a unit of `q`.

        Args:
          q: the point.
          forces: there, eV/Å.
          stress: there, eV/Å³: the derivative of the energy by a strain, over the volume.
        """
        deformation = self._deformation(q)
        volume = abs(np.linalg.det(self._primitive @ self._lattice @ deformation))
        # A strain e of the first cell is one of inv(deformation) e of the cell at q.
        by_strain = volume * np.linalg.inv(deformation) @ stress
        return np.concatenate(
            [
                -np.einsum("nai,ai->n", self.moves, forces @ deformation),
                np.einsum("nij,ij->n", self.strains, by_strain),
            ]
        )

    def displacement(self, q: Float[np.ndarray, " n"]) -> Float[np.ndarray, "atoms 3"]:
        """Returns how far the atoms of the primitive cell are moved, Å in the unstrained cell."""
        return np.asarray(np.tensordot(q[: len(self.moves)], self.moves, 1))

    def turn(self, q: Float[np.ndarray, " n"]) -> Float[np.ndarray, "3 3"]:
        """Returns the rotation, of row vectors, from the strained cell to that of `at(q)`.

        They differ in monoclinic and triclinic groups, since the latter has a along x and b in the xy plane.
        """
        strained = self._lattice @ self._deformation(q)
        params = params_of_lattice(strained, self._group)
        return np.asarray(np.linalg.inv(strained) @ host_lattice(params, self._group))

    def disturbed(
        self, displacement: float, strain: float, rng: np.random.Generator
    ) -> Float[np.ndarray, " n"]:
        """Returns a random point near the origin.

        Args:
          displacement: Å, of the atoms along each of the moves, standard deviation.
          strain: likewise of the strains.
          rng: draws it.
        """
        sizes = np.linalg.norm(self.strains, axis=(1, 2))
        return rng.standard_normal(len(self)) * np.concatenate(
            [np.full(len(self.moves), displacement), strain / sizes]
        )

    def largest_move(self, step: Float[np.ndarray, " n"]) -> float:
        """Returns how far a step moves an atom or lengthens an edge of its volume, at most, Å."""
        split = len(self.moves)
        moved = np.linalg.norm(np.tensordot(step[:split], self.moves, 1), axis=-1)
        strain = np.tensordot(step[split:], self.strains, 1)
        edge = np.cbrt(abs(np.linalg.det(self._primitive @ self._lattice)) / len(self.species))
        return float(max(moved.max(initial=0.0), edge * np.linalg.norm(strain, 2)))

    def at(self, q: Float[np.ndarray, " n"]) -> Crystal:
        """Returns the crystal at a point, of the same group."""
        moved = self.displacement(q)[self._first_atoms] @ np.linalg.inv(self._lattice)
        arrays: dict[str, Any] = {
            "frac_coords": np.asarray(self.crystal.frac_coords, np.float64) + moved,
            "lattice_params": params_of_lattice(self._lattice @ self._deformation(q), self._group),
        }
        return self.crystal._replace(**arrays)

    def _deformation(self, q: np.ndarray) -> Float[np.ndarray, "3 3"]:
        return np.asarray(np.eye(3) + np.tensordot(q[len(self.moves) :], self.strains, 1))


@cache
def invariant_strains(space_group: int) -> Float[np.ndarray, "n 3 3"]:
    """Returns orthonormal symmetric strains that the point group leaves alone: 1 (cubic) to 6 (triclinic).

    Cartesian, of a cell with a along x and b in the xy plane.
    """
    tables = group_tables()
    turns = tables.cart_rotations[space_group, : tables.num_ops[space_group]]
    upper = np.triu_indices(3)
    symmetric = np.zeros((6, 3, 3))
    symmetric[np.arange(6), upper[0], upper[1]] = symmetric[np.arange(6), upper[1], upper[0]] = 1.0
    mean = np.einsum("gij,njk,glk->nil", turns, symmetric, turns) / len(turns)
    return _row_space(mean.reshape(6, 9)).reshape(-1, 3, 3)


def _moves(
    crystal: Crystal, lattice: Float[np.ndarray, "3 3"]
) -> tuple[Int[np.ndarray, " sites"], Float[np.ndarray, "n atoms 3"]]:
    """Returns the atom of the primitive cell that each site is, and how the atoms may move."""
    turns = group_tables().cart_rotations[int(crystal.space_group)]
    site_ops = np.asarray(crystal.site_ops, bool)
    counts = site_ops.sum(1)
    first = np.cumsum(counts) - counts
    found = [np.zeros((0, int(counts.sum()), 3))]
    for place, ops, projection in zip(first, site_ops, crystal.site_projection, strict=True):
        along = _row_space(np.asarray(projection, np.float64).T @ lattice)
        moves = np.zeros((len(along), int(counts.sum()), 3))
        images = np.einsum("gij,nj->ngi", turns[ops], along)
        moves[:, place : place + ops.sum()] = images / np.sqrt(ops.sum())
        found.append(moves)
    return first, np.concatenate(found)


def _row_space(rows: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "m k"]:
    """Returns orthonormal rows that span the same space."""
    _, sizes, directions = np.linalg.svd(rows)
    return np.asarray(directions[: int((sizes > 1e-8 * max(1.0, sizes.max(initial=0.0))).sum())])
