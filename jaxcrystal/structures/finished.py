"""Finished crystals: exact special positions, the full cell, and what the audit found."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from jaxtyping import Float, Int

from jaxcrystal.crystal import MAX_OPS, Crystal
from jaxcrystal.data.symmetrize import Rejected, find_letter
from jaxcrystal.elements import SYMBOLS
from jaxcrystal.errors import Status
from jaxcrystal.io import convert
from jaxcrystal.requests.candidates import Candidate, letter_indices
from jaxcrystal.requests.orders import Order
from jaxcrystal.structures.checks import MIN_DISTANCE, Audit, audit, primitive_cell
from jaxcrystal.symmetry.detect import STRICT_SYMPREC, SYMPREC, find_group
from jaxcrystal.symmetry.groups import group_tables
from jaxcrystal.symmetry.orbits import expand_crystal, project_on_special_position
from jaxcrystal.symmetry.wyckoff import wyckoff_positions

if TYPE_CHECKING:
    from ase import Atoms
    from pymatgen.core import Structure

#: How `Sample.status` calls each flag.
STATUS_WORDS = {
    Status.LATTICE_VECTORS: "lattice_vectors",
    Status.IMAGES: "images",
    Status.NON_FINITE: "non_finite",
}


@dataclass(frozen=True, eq=False)
class Sample:
    """One sampled crystal.

    Attributes:
      name: number, formula and space group, unique in one call.
      order: what was asked for.
      number: which of the order's structures it is, from 0.
      crystal: its inequivalent sites, float64, exactly on their special positions.
      letters: Wyckoff letter of each site.
      lattice: [3, 3] conventional cell, rows are vectors, Å.
      species: [atoms] atomic numbers of the conventional cell.
      frac_coords: [atoms, 3] fractional, in [0, 1).
      flags: what stopped the structure early, if anything; see `status`.
      audit: distances, volume.
      scores: root mean square of the final scores of the free coordinates (1/Å) and of the free
        lattice parameters: how far the network would still move them. NaN if not known.
      trajectory: sites on the way, every n-th step, if that was asked for.
    """

    name: str
    order: Order
    number: int
    crystal: Crystal
    letters: tuple[str, ...]
    lattice: Float[np.ndarray, "3 3"]
    species: Int[np.ndarray, " atoms"]
    frac_coords: Float[np.ndarray, "atoms 3"]
    flags: Status
    audit: Audit
    scores: tuple[float, float]
    trajectory: tuple[Crystal, ...] = field(default=(), repr=False)

    @property
    def space_group(self) -> int:
        """The space group asked for."""
        return self.order.space_group

    @cached_property
    def found_group(self) -> int:
        """The space group that spglib finds with a tolerance of 0.1 Å; 0 for none."""
        return find_group(*self._cell(primitive=True), SYMPREC)

    @cached_property
    def found_group_strict(self) -> int:
        """The same with a tolerance of 0.01 Å."""
        return find_group(*self._cell(primitive=True), STRICT_SYMPREC)

    @cached_property
    def formula(self) -> str:
        """Reduced formula, such as `BaTiO3`."""
        return convert.formula(self.species)

    @property
    def status(self) -> str:
        """`ok`, or in one word why the structure was stopped early."""
        return "+".join(word for flag, word in STATUS_WORDS.items() if self.flags & flag) or "ok"

    @property
    def valid(self) -> bool:
        """Whether it ran to the end and no two atoms are nearer than 0.5 Å."""
        return self.audit.valid and not self.flags

    @property
    def wyckoff(self) -> str:
        """Letters by element, such as `O:c Ti:b Ba:a`."""
        words: dict[int, str] = {}
        for number, letter in zip(self.crystal.species, self.letters, strict=True):
            words[int(number)] = words.get(int(number), "") + letter
        return " ".join(f"{SYMBOLS[number]}:{letters}" for number, letters in words.items())

    @property
    def lengths_angles(self) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
        """Lengths (Å) and angles (degrees) of the conventional cell."""
        lengths = np.linalg.norm(self.lattice, axis=1)
        unit = self.lattice / lengths[:, None]
        cosines = (unit[[1, 0, 0]] * unit[[2, 2, 1]]).sum(1)
        return lengths, np.degrees(np.arccos(np.clip(cosines, -1.0, 1.0)))

    def to_pymatgen(self, primitive: bool = False) -> "Structure":
        """Returns a pymatgen Structure of the conventional (or the primitive) cell."""
        return convert.to_pymatgen(*self._cell(primitive))

    def to_ase(self, primitive: bool = False) -> "Atoms":
        """Returns an ASE Atoms object of the conventional (or the primitive) cell."""
        return convert.to_ase(*self._cell(primitive))

    def _cell(self, primitive: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if not primitive:
            return self.lattice, self.species, self.frac_coords
        return primitive_cell(self.lattice, self.species, self.frac_coords, self.space_group)


class Samples(Sequence[Sample]):
    """The crystals of one call, in the order they were asked for; none is left out."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = tuple(samples)

    def __len__(self) -> int:
        return len(self._samples)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> "Samples": ...
    def __getitem__(self, index: int | slice) -> "Sample | Samples":
        return Samples(self._samples[index]) if isinstance(index, slice) else self._samples[index]

    def __iter__(self) -> Iterator[Sample]:
        return iter(self._samples)

    def __repr__(self) -> str:
        valid = sum(sample.valid for sample in self)
        return f"<{len(self)} crystals, {valid} valid>"

    def to_pymatgen(self, primitive: bool = False) -> "list[Structure]":
        """Returns a list of pymatgen Structures."""
        return [sample.to_pymatgen(primitive) for sample in self]

    def to_ase(self, primitive: bool = False) -> "list[Atoms]":
        """Returns a list of ASE Atoms objects."""
        return [sample.to_ase(primitive) for sample in self]


def finish(
    candidate: Candidate,
    frac_coords: Float[np.ndarray, "max_nodes 3"],
    lattice_params: Float[np.ndarray, "6"],
    flags: int,
    scores: Float[np.ndarray, "2"],
    merge_distance: float,
    frames: tuple[np.ndarray, np.ndarray] | None = None,
) -> Sample:
    """Makes the final crystal of a sampler's state, on the host in float64.

    A constrained site is projected exactly on its subspace; a free one on the special
    position that its nearest images surround.

    Args:
      candidate: what was asked for.
      frac_coords: [max_nodes, 3] padded sites.
      lattice_params: [6].
      flags: `Status` bits.
      scores: [2] sizes of the final scores.
      merge_distance: Å; what the network saw as one atom. Images of a free site nearer than
        this, or than two atoms can be in a valid crystal, are one.
      frames: coordinates [frames, max_nodes, 3] and lattice parameters [frames, 6].
    """
    order = candidate.order
    sites = order.num_sites
    state = _unpadded(candidate, frac_coords[:sites], lattice_params)
    crystal, letters = (
        _projected(state, candidate.letters)
        if candidate.letters is not None
        else _merged(state, max(merge_distance, MIN_DISTANCE))
    )
    lattice, species, all_coords, site_index = expand_crystal(crystal)
    first_atoms = np.searchsorted(site_index, np.arange(sites))
    checked = audit(lattice, species, all_coords, first_atoms, order.space_group)
    name = f"{candidate.place + 1:04d}_{convert.formula(species)}_{order.space_group}"
    return Sample(
        name=name,
        order=order,
        number=candidate.number,
        crystal=crystal,
        letters=letters,
        lattice=lattice,
        species=species,
        frac_coords=all_coords,
        flags=Status(flags),
        audit=checked,
        scores=(float(scores[0]), float(scores[1])),
        trajectory=()
        if frames is None
        else tuple(_unpadded(candidate, c[:sites], p) for c, p in zip(*frames, strict=True)),
    )


def _unpadded(candidate: Candidate, frac_coords: np.ndarray, lattice_params: np.ndarray) -> Crystal:
    """Returns the sites as the sampler had them: constrained, or free with all operations."""
    order = candidate.order
    sites, group = order.num_sites, order.space_group
    if candidate.letters is None:
        site_ops = np.tile(np.arange(MAX_OPS) < group_tables().num_ops[group], (sites, 1))
        projection = np.tile(np.eye(3), (sites, 1, 1))
    else:
        positions = [wyckoff_positions(group)[i] for i in letter_indices(group, candidate.letters)]
        site_ops = np.array([p.site_ops for p in positions])
        projection = np.array([p.projection for p in positions])
    arrays: dict[str, Any] = {
        "species": np.array(order.species, np.int32),
        "frac_coords": frac_coords.astype(np.float64),
        "node_mask": np.ones(sites, bool),
        "lattice_params": lattice_params.astype(np.float64),
        "space_group": np.asarray(group, np.int32),
        "site_ops": site_ops,
        "site_projection": projection,
    }
    return Crystal(**arrays)


def _projected(state: Crystal, letters: tuple[str, ...]) -> tuple[Crystal, tuple[str, ...]]:
    group = int(state.space_group)
    origins = np.array([wyckoff_positions(group)[i].origin for i in letter_indices(group, letters)])
    offset = np.asarray(state.frac_coords) - origins
    coords: Any = origins + np.einsum("nab,nb->na", state.site_projection, offset)
    return state._replace(frac_coords=coords), letters


def _merged(state: Crystal, merge_distance: float) -> tuple[Crystal, tuple[str, ...]]:
    group = int(state.space_group)
    lattice = expand_crystal(state)[0]
    tolerance = 1e-3 / float(np.linalg.norm(lattice, axis=1).min())
    coords, site_ops, projections, letters = [], [], [], []
    for site in np.asarray(state.frac_coords):
        moved, ops = project_on_special_position(site, lattice, group, merge_distance)
        multiplicity = int(ops.sum()) * int(group_tables().num_centring[group])
        try:
            index, moved = find_letter(moved, multiplicity, group, tolerance)
            position = wyckoff_positions(group)[index]
            letters.append(position.letter)
            projections.append(position.projection)
            ops = position.site_ops
        except Rejected:  # cannot be: every site lies on a position
            letters.append("?")
            projections.append(np.eye(3))
        coords.append(moved)
        site_ops.append(ops)
    arrays: dict[str, Any] = {
        "frac_coords": np.array(coords),
        "site_ops": np.array(site_ops),
        "site_projection": np.array(projections),
    }
    return state._replace(**arrays), tuple(letters)
