"""Relaxes the same crystals in our free coordinates and with ASE's constraints: steps, time, energy, group.

jaxcrystal sample --chemical-system Cu-Au --count 1 --seed 1 --out cu_au
python -m benchmarks.relaxing cu_au --potential emt --structures 60
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from ase import Atoms
from ase.constraints import FixSymmetry
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS, FIRE, LBFGS

from benchmarks.harness import save
from jaxcrystal.discovery.free_coordinates import FreeCoordinates
from jaxcrystal.discovery.gates import Failure, require_crystal, require_energy
from jaxcrystal.discovery.minimise import Minimum, minimise
from jaxcrystal.discovery.potentials import calculator, find_potential
from jaxcrystal.discovery.relaxation import RelaxSettings, sites_of
from jaxcrystal.structures.entries import load_entries
from jaxcrystal.symmetry.detect import STRICT_SYMPREC, SYMPREC, find_group
from jaxcrystal.workers import map_structures

SETTINGS = RelaxSettings()


class _Constrained:
    """A cell under ASE's FixSymmetry and FrechetCellFilter, which ends by the criteria of `minimise`."""

    def __init__(self, optimiser: Any) -> None:
        self._optimiser = optimiser

    def __call__(self, free: FreeCoordinates, potential: str) -> tuple[Minimum, Atoms]:
        calc, limits = calculator(potential), find_potential(potential).energies
        calc.reset()
        cell = free.cell(np.zeros(len(free)))
        atoms = Atoms(free.species, cell.positions, cell=cell.lattice, pbc=True)
        atoms.calc = calc
        start = float(atoms.get_potential_energy())
        atoms.set_constraint(FixSymmetry(atoms, symprec=STRICT_SYMPREC))
        steps = self._optimiser(FrechetCellFilter(atoms), logfile=None)
        for _ in steps.irun(fmax=0.0, steps=SETTINGS.max_steps):
            require_crystal(atoms)
            require_energy(atoms.get_potential_energy() / len(atoms), limits)
            found = Minimum(
                np.zeros(0),
                atoms.get_potential_energy(),
                atoms.get_forces(),
                atoms.get_stress(voigt=False),
                steps.nsteps,
                False,
                start,
            )
            if found.max_force <= SETTINGS.max_force and found.max_stress <= SETTINGS.max_stress:
                return found._replace(converged=True), atoms
        return found, atoms


def _ours(free: FreeCoordinates, potential: str) -> tuple[Minimum, Atoms]:
    found = minimise(free, calculator(potential), energies=find_potential(potential).energies)
    cell = free.cell(found.q)
    return found, Atoms(free.species, cell.positions, cell=cell.lattice, pbc=True)


WAYS: dict[str, Callable[[FreeCoordinates, str], tuple[Minimum, Atoms]]] = {
    "free coordinates, BFGS": _ours,
    "FixSymmetry, FrechetCellFilter, FIRE": _Constrained(FIRE),
    "FixSymmetry, FrechetCellFilter, LBFGS": _Constrained(LBFGS),
    "FixSymmetry, FrechetCellFilter, BFGS": _Constrained(BFGS),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source")
    parser.add_argument("--potential", default="emt")
    parser.add_argument("--structures", type=int, default=200)
    parser.add_argument("--name", default="relaxing")
    arguments = parser.parse_args()
    entries = load_entries(arguments.source)
    chosen = np.linspace(0, len(entries) - 1, min(len(entries), arguments.structures)).astype(int)
    tasks = [(entries[i].structure, arguments.potential) for i in np.unique(chosen)]
    rows = map_structures(_compared, tasks, chunk=1, description="relax")
    result = {way: _summary([row[way] for row in rows], rows) for way in WAYS}
    for way, figures in result.items():
        print(way, figures)
    save(arguments.name, {"potential": arguments.potential, "structures": len(tasks), "ways": result})


def _compared(task: tuple[Any, str]) -> dict[str, tuple[str, float, float, int, int, int]]:
    """Returns for each way: failure, energy per atom, CPU seconds, steps, group before and after."""
    structure, potential = task
    calculator(potential)
    found = {}
    for way, relaxed in WAYS.items():
        started = time.process_time()
        try:
            crystal, _ = sites_of(structure, STRICT_SYMPREC)
            group = int(crystal.space_group)
            minimum, atoms = relaxed(FreeCoordinates(crystal), potential)
            after = find_group(atoms.cell.array, atoms.numbers, atoms.get_scaled_positions(), SYMPREC)
            energy, word = minimum.energy / len(atoms), "" if minimum.converged else "steps"
            found[way] = (word, energy, time.process_time() - started, minimum.steps, group, after)
        except Failure as failure:
            found[way] = (failure.word, np.nan, time.process_time() - started, 0, 0, 0)
        except Exception as error:  # ASE's refuses cells of which it finds another group after a step
            found[way] = (type(error).__name__, np.nan, time.process_time() - started, 0, 0, 0)
    return found


def _summary(found: list[Any], rows: list[Any]) -> dict[str, Any]:
    fine = [not row[0] for row in found]
    best = [min((r[1] for r in row.values() if not r[0]), default=np.nan) for row in rows]
    excess = [row[1] - low for row, low in zip(found, best, strict=True) if not row[0]]
    words = [row[0] for row in found if row[0]]
    return {
        "relaxed": sum(fine),
        "failures": {word: words.count(word) for word in sorted(set(words))},
        "steps": float(np.median([row[3] for row in found if not row[0]])),
        "mean_steps": float(np.mean([row[3] for row in found if not row[0]])),
        "cpu_seconds": float(sum(row[2] for row in found)),
        "lowest": sum(e < 1e-3 for e in excess),
        "mean_excess_meV": float(1e3 * np.mean(excess)),
        "group_kept": sum(row[4] == row[5] for row in found if not row[0]),
    }


if __name__ == "__main__":
    main()
