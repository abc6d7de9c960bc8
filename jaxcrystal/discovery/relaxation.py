"""Relaxes one crystal, first in its space group and then, if asked for, without."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxcrystal.crystal import Crystal
from jaxcrystal.data.symmetrize import params_of_lattice, symmetrize
from jaxcrystal.discovery.free_coordinates import FreeCoordinates
from jaxcrystal.discovery.gates import Failure, require_crystal
from jaxcrystal.discovery.minimise import Minimum, minimise
from jaxcrystal.discovery.potentials import DEFAULT, calculator, find_potential
from jaxcrystal.errors import RequestError
from jaxcrystal.io.convert import to_ase
from jaxcrystal.io.rejection import Reason, Rejected
from jaxcrystal.structures.entries import Entry
from jaxcrystal.symmetry.crystals import build_crystal
from jaxcrystal.symmetry.detect import STRICT_SYMPREC, SYMPREC, find_group
from jaxcrystal.symmetry.orbits import centring_translations, expand_crystal
from jaxcrystal.symmetry.wyckoff import wyckoff_positions

if TYPE_CHECKING:
    from pymatgen.core import Structure

#: Sites of the largest crystal that is relaxed; a limit of patience only.
_MAX_SITES = 1000
#: Å in each direction and share of each length, by which a crystal is disturbed before it is let go.
_DISTURBED = (0.03, 0.005)
#: eV/Å; less than otherwise, since soft modes would stay where the disturbance left them.
_RELEASED_FORCE = 0.005
#: eV per atom; a crystal that gains more once it is let go was not stable.
_SAME_ENERGY = 0.002


@dataclass(frozen=True)
class RelaxSettings:
    """How crystals are relaxed.

    Attributes:
      potential: name, or `module:factory`.
      free: whether the symmetry is let go at the end.
      max_force: eV/Å on any atom, at which a crystal has relaxed.
      max_stress: GPa in any component, likewise.
      max_steps: after which it has not.
      symprec: Å; tolerance with which the group that is kept is found.
    """

    potential: str = DEFAULT
    free: bool = False
    max_force: float = 0.02
    max_stress: float = 0.1
    max_steps: int = 500
    symprec: float = STRICT_SYMPREC

    def __post_init__(self) -> None:
        for name in ("max_force", "max_stress", "symprec"):
            if not 0 < getattr(self, name) < float("inf"):
                raise RequestError(f"{name} is {getattr(self, name)}; it must be a positive number")
        if self.max_steps < 0:
            raise RequestError(f"max_steps is {self.max_steps}; it must not be negative")


@dataclass(frozen=True, eq=False)
class Ground:
    """A relaxed crystal.

    Attributes:
      crystal: its sites; in group 1 if it did not keep its group.
      letters: Wyckoff letter of each site.
      energy_per_atom: eV.
      forces: [atoms, 3] eV/Å, on the atoms of the conventional cell as `expand_crystal` lists them.
      stress: [3, 3] eV/Å³, in the frame of that cell.
      steps: in all.
      converged: whether forces and stress became as small as was asked for.
      max_force: largest force on an atom, eV/Å.
      pressure: GPa.
      moved: Å; how far an atom moved at most within the cell, while the group held.
      rms_moved: Å; how far its atoms moved, root mean square, while the group held.
      energy_before: eV per atom, where the relaxation began.
      volume_ratio: volume after over volume before.
      group_before: the group that was kept.
      group_after: the one that spglib finds afterwards with a tolerance of 0.1 Å.
      released: what became of it without symmetry, if that was asked for.
    """

    crystal: Crystal
    letters: tuple[str, ...]
    energy_per_atom: float
    forces: Float[np.ndarray, "atoms 3"]
    stress: Float[np.ndarray, "3 3"]
    steps: int
    converged: bool
    max_force: float
    pressure: float
    moved: float
    rms_moved: float
    energy_before: float
    volume_ratio: float
    group_before: int
    group_after: int
    released: "Released | None" = None


class Released(NamedTuple):
    """What a crystal became that was disturbed and relaxed without symmetry.

    Attributes:
      stays: whether it gained no energy to speak of (2 meV an atom).
      group: that spglib finds with a tolerance of 0.1 Å.
      energy_per_atom: eV.
    """

    stays: bool
    group: int
    energy_per_atom: float


def relax_entry(entry: Entry, settings: RelaxSettings) -> Ground | Failure:
    """Relaxes one structure, or says why it could not be.

    Raises:
      JaxcrystalError: the potential cannot be used at all.
    """
    try:
        if entry.structure is None:
            raise Failure("unreadable", entry.error)
        if entry.flag != "ok":
            raise Failure(entry.flag, "the sampler stopped it early")
        crystal, letters = sites_of(entry.structure, settings.symprec)
        found = relax_in_group(crystal, letters, settings)
        return _let_go(found, settings) if settings.free else found
    except Failure as failure:
        return failure


def sites_of(structure: "Structure", symprec: float) -> tuple[Crystal, tuple[str, ...]]:
    """Returns the sites of a structure and their letters, in the group that spglib finds.

    Raises:
      Failure: it is no crystal, or has no group.
    """
    require_crystal(
        to_ase(structure.lattice.matrix, np.array(structure.atomic_numbers), structure.frac_coords)
    )
    try:
        sites = symmetrize(structure, _MAX_SITES, symprec)
    except Rejected as error:
        word = "overlap" if error.reason == Reason.OVERLAPPING else str(error.reason)
        raise Failure(word, error.detail) from error
    positions = wyckoff_positions(sites.space_group)
    crystal = build_crystal(
        *(sites.space_group, sites.species, sites.letters, sites.frac_coords, sites.lattice_params)
    )
    return crystal, tuple(positions[index].letter for index in sites.letters)


def relax_in_group(crystal: Crystal, letters: tuple[str, ...], settings: RelaxSettings) -> Ground:
    """Relaxes a crystal in the group that it has, which `settings.symprec` does not look for again.

    Args:
      crystal: see `FreeCoordinates`.
      letters: of its sites.
      settings: of them, all but `free` and `symprec`.

    Raises:
      Failure: it is no crystal, or was led astray.
    """
    free = FreeCoordinates(crystal)
    found = _minimum(free, settings)
    group, atoms = int(crystal.space_group), len(free.species)
    relaxed = free.at(found.q)
    shifts = free.displacement(found.q)
    lengths = np.linalg.norm(shifts - shifts.mean(0), axis=1)
    before, after = free.cell(np.zeros(len(free))).lattice, free.cell(found.q).lattice
    return Ground(
        crystal=relaxed,
        letters=letters,
        energy_per_atom=found.energy / atoms,
        forces=np.repeat(found.forces @ free.turn(found.q), len(centring_translations(group)), axis=0),
        stress=free.turn(found.q).T @ found.stress @ free.turn(found.q),
        steps=found.steps,
        converged=found.converged,
        max_force=found.max_force,
        pressure=found.pressure,
        moved=float(lengths.max()),
        rms_moved=float(np.sqrt((lengths**2).mean())),
        energy_before=found.start_energy / atoms,
        volume_ratio=float(np.linalg.det(after) / np.linalg.det(before)),
        group_before=group,
        group_after=find_group(*expand_crystal(relaxed).primitive(group), SYMPREC),
    )


def _let_go(held: Ground, settings: RelaxSettings) -> Ground:
    """Returns a crystal with what became of it without symmetry; that itself, if it does not stay."""
    lattice, species, frac_coords = expand_crystal(held.crystal).primitive(held.group_before)
    free = FreeCoordinates(in_group_1(lattice, species, frac_coords))
    finer = replace(settings, max_force=min(settings.max_force, _RELEASED_FORCE))
    found = _minimum(free, finer, start=free.disturbed(*_DISTURBED, np.random.default_rng(0)))
    crystal = free.at(found.q)
    group = find_group(*expand_crystal(crystal)[:3], SYMPREC)
    energy = found.energy / len(species)
    stays = held.energy_per_atom - energy < _SAME_ENERGY
    changed: dict[str, Any] = {
        "released": Released(stays, group, energy),
        "steps": held.steps + found.steps,
        "converged": held.converged and found.converged,
    }
    if not stays:
        turn = free.turn(found.q)
        ratio = np.linalg.det(free.cell(found.q).lattice) / np.linalg.det(lattice)
        changed |= {
            "crystal": crystal,
            "letters": ("a",) * len(species),
            "energy_per_atom": energy,
            "forces": found.forces @ turn,
            "stress": turn.T @ found.stress @ turn,
            "converged": found.converged,
            "max_force": found.max_force,
            "pressure": found.pressure,
            "volume_ratio": held.volume_ratio * float(ratio),
            "group_after": group,
        }
    return Ground(**vars(held) | changed)


def in_group_1(
    lattice: Float[np.ndarray, "3 3"], species: Any, frac_coords: Float[np.ndarray, "atoms 3"]
) -> Crystal:
    """Returns a cell of atoms [atoms] as a crystal in which each is a site of its own."""
    return build_crystal(1, species, [0] * len(species), frac_coords, params_of_lattice(lattice, 1))


def _minimum(free: FreeCoordinates, settings: RelaxSettings, start: Any = None) -> Minimum:
    return minimise(
        free,
        calculator(settings.potential),
        start=start,
        max_force=settings.max_force,
        max_stress=settings.max_stress,
        max_steps=settings.max_steps,
        energies=find_potential(settings.potential).energies,
    )
