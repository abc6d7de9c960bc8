"""Minimises the energy of a crystal in its free coordinates."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from ase import Atoms, units
from ase.filters import Filter
from ase.optimize import BFGS
from jaxtyping import Float

from jaxcrystal.discovery.free_coordinates import FreeCoordinates
from jaxcrystal.discovery.gates import Failure, require_crystal, require_energy
from jaxcrystal.errors import JaxcrystalError, one_line

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

#: Å; no atom moves further in a step, nor does an edge of its volume change by more.
_LONGEST_STEP = 0.2
#: eV/Å²; how stiff the first step takes every coordinate for.
_STIFFNESS = 30.0


class Minimum(NamedTuple):
    """Where a minimisation ended, on the primitive cell.

    Attributes:
      q: of the free coordinates.
      energy: eV of the cell.
      forces: [atoms, 3] eV/Å.
      stress: [3, 3] eV/Å³, the derivative of the energy by strain over the volume.
      steps: taken.
      converged: whether forces and stress are as small as was asked for.
      start_energy: eV of the cell where it began.
    """

    q: Float[np.ndarray, " n"]
    energy: float
    forces: Float[np.ndarray, "atoms 3"]
    stress: Float[np.ndarray, "3 3"]
    steps: int
    converged: bool
    start_energy: float

    @property
    def max_force(self) -> float:
        """Largest force on an atom, eV/Å."""
        return float(np.linalg.norm(self.forces, axis=1).max())

    @property
    def max_stress(self) -> float:
        """Largest component of the stress, GPa."""
        return float(np.abs(self.stress).max() / units.GPa)

    @property
    def pressure(self) -> float:
        """GPa; positive where the cell would expand."""
        return float(-np.trace(self.stress) / 3 / units.GPa)


def minimise(
    free: FreeCoordinates,
    calculator: "Calculator",
    *,
    start: Float[np.ndarray, " n"] | None = None,
    max_force: float = 0.02,
    max_stress: float = 0.1,
    max_steps: int = 500,
    energies: tuple[float, float] = (-np.inf, np.inf),
) -> Minimum:
    """Minimises the energy by BFGS steps in the free coordinates.

    Args:
      free: of the crystal.
      calculator: of the potential; what it remembers of other crystals is cleared.
      start: the point to begin at; default: the crystal itself.
      max_force: eV/Å on any atom, at which it has converged.
      max_stress: GPa in any component, likewise.
      max_steps: after which it ends without. 0: the energy at the start.
      energies: eV per atom that a crystal can have.

    Raises:
      Failure: the crystal is none, at the start or on the way, or the potential cannot compute it.
    """
    calculator.reset()
    reached = _Free(free, calculator, energies, np.zeros(len(free)) if start is None else start)
    with _Steps(reached, logfile=None) as steps:  # older versions of ASE open a file even so
        for _ in steps.irun(fmax=0.0, steps=max_steps):
            found = reached.minimum(steps.nsteps)
            if found.max_force <= max_force and found.max_stress <= max_stress:
                return found._replace(converged=True)
    return found


class _Free(Filter):
    """The free coordinates as the positions of an ASE object: rows of three, zeros at the end."""

    def __init__(
        self,
        free: FreeCoordinates,
        calculator: "Calculator",
        energies: tuple[float, float],
        start: Float[np.ndarray, " n"],
    ) -> None:
        cell = free.cell(start)
        atoms = Atoms(free.species, cell.positions, cell=cell.lattice, pbc=True)
        atoms.calc = calculator
        super().__init__(atoms, indices=[])
        self.free = free
        self._energies = energies
        self.n = -(-len(free) // 3)
        self.set_positions(np.pad(start, (0, 3 * self.n - len(free))).reshape(-1, 3))
        self._start_energy = self._computed[0]

    def get_positions(self) -> np.ndarray:
        return self._rows.copy()

    def set_positions(self, positions: np.ndarray, **_: Any) -> None:
        self._rows = np.array(positions, float).reshape(-1, 3)
        self.q = self._rows.ravel()[: len(self.free)]
        cell = self.free.cell(self.q)
        self.atoms.set_cell(cell.lattice)
        self.atoms.set_positions(cell.positions)
        require_crystal(self.atoms)
        found = computed(self.atoms)
        require_energy(found[0] / len(self.atoms), self._energies)
        self._computed = found

    def get_forces(self, *_: Any, **__: Any) -> np.ndarray:
        gradient = self.free.gradient(self.q, *self._computed[1:])
        return -np.pad(gradient, (0, 3 * self.n - len(gradient))).reshape(-1, 3)

    def get_potential_energy(self, **_: Any) -> float:
        return self._computed[0]

    def minimum(self, steps: int) -> Minimum:
        return Minimum(self.q.copy(), *self._computed, steps, False, self._start_energy)


class _Steps(BFGS):
    """BFGS whose steps are as long as atoms move, not as the coordinates change."""

    def __init__(self, reached: _Free, **settings: Any) -> None:
        super().__init__(reached, alpha=_STIFFNESS, **settings)

    def determine_step(self, dpos: np.ndarray, steplengths: Any) -> np.ndarray:
        free = self.atoms.free
        longest = free.largest_move(np.ravel(dpos)[: len(free)])
        return np.asarray(dpos * min(1.0, _LONGEST_STEP / longest) if longest > 0 else dpos)


def computed(atoms: Atoms) -> tuple[float, np.ndarray, np.ndarray]:
    """Returns energy (eV), forces [atoms, 3] (eV/Å) and stress [3, 3] (eV/Å³) by the calculator of atoms.

    Raises:
      Failure: the potential cannot compute them, or they are not finite.
    """
    try:
        energy = float(atoms.get_potential_energy())
        forces = np.array(atoms.get_forces(), float)
        stress = np.array(atoms.get_stress(voigt=False), float)
    except JaxcrystalError:
        raise
    except Exception as error:  # an element that it does not know, a cell too small for its cutoff
        raise Failure("potential", one_line(error)) from error
    if not (np.isfinite(forces).all() and np.isfinite(stress).all()):
        raise Failure("energy", "a force or the stress is not a finite number")
    return energy, forces, stress
