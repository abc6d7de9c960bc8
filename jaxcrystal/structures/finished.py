"""Finishes sampled crystals: exact special positions, the full cell, and checks of both."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np
from jaxtyping import Float, Int

from jaxcrystal.crystal import Crystal
from jaxcrystal.data.symmetrize import Rejected, find_letter
from jaxcrystal.elements import SYMBOLS
from jaxcrystal.errors import Status
from jaxcrystal.io import convert
from jaxcrystal.requests.candidates import Candidate
from jaxcrystal.requests.orders import Order
from jaxcrystal.structures.checks import MIN_DISTANCE, Audit, audit
from jaxcrystal.symmetry.detect import STRICT_SYMPREC, SYMPREC, find_group
from jaxcrystal.symmetry.groups import group_tables
from jaxcrystal.symmetry.lattice import cell_lengths_angles, host_lattice
from jaxcrystal.symmetry.orbits import FullCell, expand_crystal, project_on_special_position
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


class Drawn(NamedTuple):
    """What the sampler leaves of a crystal, or of a batch with a leading axis.

    Attributes:
      frac_coords: [max_nodes, 3] padded sites.
      lattice_params: [6].
      status: [] `Status` bits.
      scores: [2] root mean square of the final scores, see `Sample.scores`.
      frames: [steps, max_nodes, 3] and [steps, 6], coordinates and lattice parameters on the
        way; None where they are not kept.
    """

    frac_coords: Any
    lattice_params: Any
    status: Any
    scores: Any
    frames: tuple[Any, Any] | None

    def row(self, index: int) -> "Drawn":
        """Returns one crystal of a batch."""
        frames = None if self.frames is None else (self.frames[0][:, index], self.frames[1][:, index])
        return Drawn(
            *(self.frac_coords[index], self.lattice_params[index]),
            *(self.status[index], self.scores[index]),
            frames=frames,
        )


@dataclass(frozen=True, eq=False)
class Sample:
    """One sampled crystal.

    Attributes:
      name: number, formula and space group, unique in one call.
      order: what was asked for.
      number: which of the order's structures it is, from 0.
      crystal: its inequivalent sites, float64, exactly on their special positions.
      letters: Wyckoff letter of each site.
      cell: its conventional cell with all atoms.
      flags: what stopped the structure early, if anything; see `status`.
      audit: distances, volume.
      scores: root mean square of the final scores of the free coordinates (1/Å) and of the free
        lattice parameters: how far the network would still move them. NaN if not known.
      trajectory: sites on the way, every n-th step, if that was asked for.
      cond: what the network was told about it, by name.
    """

    name: str
    order: Order
    number: int
    crystal: Crystal
    letters: tuple[str, ...]
    cell: FullCell
    flags: Status
    audit: Audit
    scores: tuple[float, float]
    trajectory: tuple[Crystal, ...] = field(default=(), repr=False)
    cond: Mapping[str, float] = field(default_factory=dict)

    @property
    def lattice(self) -> Float[np.ndarray, "3 3"]:
        """[3, 3] conventional cell, rows are vectors, Å."""
        return self.cell.lattice

    @property
    def species(self) -> Int[np.ndarray, " atoms"]:
        """[atoms] atomic numbers of the conventional cell."""
        return self.cell.species

    @property
    def frac_coords(self) -> Float[np.ndarray, "atoms 3"]:
        """[atoms, 3] fractional in the conventional cell, in [0, 1)."""
        return self.cell.frac_coords

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
        return letters_by_element(self.crystal.species, self.letters)

    @property
    def lengths_angles(self) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
        """Lengths (Å) and angles (degrees) of the conventional cell."""
        return cell_lengths_angles(self.lattice)

    def to_pymatgen(self, primitive: bool = False) -> "Structure":
        """Returns a pymatgen Structure of the conventional (or the primitive) cell."""
        return convert.to_pymatgen(*self._cell(primitive))

    def to_ase(self, primitive: bool = False) -> "Atoms":
        """Returns an ASE Atoms object of the conventional (or the primitive) cell."""
        return convert.to_ase(*self._cell(primitive))

    def _cell(self, primitive: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.cell.primitive(self.space_group) if primitive else self.cell[:3]


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


def letters_by_element(species: Any, letters: Sequence[str]) -> str:
    """Returns the letters of sites [sites] by element, such as `O:c Ti:b Ba:a`."""
    words: dict[int, str] = {}
    for number, letter in zip(species, letters, strict=True):
        words[int(number)] = words.get(int(number), "") + letter
    return " ".join(f"{SYMBOLS[number]}:{found}" for number, found in words.items())


def finish(candidate: Candidate, template: Crystal, drawn: Drawn, merge_distance: float) -> Sample:
    """Makes the final crystal of a sampler's state, on the host in float64.

    A constrained site is projected exactly on its subspace; a free one on the special
    position that its nearest images surround.

    Args:
      candidate: what was asked for.
      template: of the candidate, in float64 and without padding: constrained sites, or free ones
        with all operations.
      drawn: its row of the sampler's results, on the host.
      merge_distance: Å; what the network saw as one atom. Images of a free site nearer than
        this, or than two atoms can be in a valid crystal, are one.
    """
    order = candidate.order
    state = _with_state(template, drawn.frac_coords, drawn.lattice_params)
    crystal, letters = (
        _projected(state, template.frac_coords, candidate.letters)
        if candidate.letters is not None
        else _merged(state, max(merge_distance, MIN_DISTANCE))
    )
    cell = expand_crystal(crystal)
    name = f"{candidate.place + 1:04d}_{convert.formula(cell.species)}_{order.space_group}"
    frames = () if drawn.frames is None else zip(*drawn.frames, strict=True)
    return Sample(
        name=name,
        order=order,
        number=candidate.number,
        crystal=crystal,
        letters=letters,
        cell=cell,
        flags=Status(int(drawn.status)),
        audit=audit(cell, order.space_group),
        scores=(float(drawn.scores[0]), float(drawn.scores[1])),
        trajectory=tuple(_with_state(template, coords, params) for coords, params in frames),
        cond=dict(candidate.cond),
    )


def _with_state(template: Crystal, frac_coords: np.ndarray, lattice_params: np.ndarray) -> Crystal:
    """Returns the template with coordinates and lattice of the sampler, without padding."""
    coords: Any = frac_coords[: len(template.species)].astype(np.float64)
    params: Any = lattice_params.astype(np.float64)
    return template._replace(frac_coords=coords, lattice_params=params)


def _projected(state: Crystal, origins: Any, letters: tuple[str, ...]) -> tuple[Crystal, tuple[str, ...]]:
    """Returns sites projected on the subspaces that pass through the origins [sites, 3]."""
    offset = np.asarray(state.frac_coords) - origins
    coords: Any = origins + np.einsum("nab,nb->na", state.site_projection, offset)
    return state._replace(frac_coords=coords), letters


def _merged(state: Crystal, merge_distance: float) -> tuple[Crystal, tuple[str, ...]]:
    """Returns free sites on the special positions that their images surround, and the letters."""
    group = int(state.space_group)
    lattice = host_lattice(np.asarray(state.lattice_params), group)
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
