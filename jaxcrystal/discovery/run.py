"""Relaxes many structures: to a list, or into a folder that can be killed at any moment and goes on.

run.json        what is relaxed, and how
parts/00000/    the first structures: CIF files, structures.extxyz, relaxed.csv; ...
relaxed.csv     all rows, once every part is there
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from jaxcrystal.discovery.gates import Failure
from jaxcrystal.discovery.potentials import DEFAULT, find_potential
from jaxcrystal.discovery.relaxation import Ground, RelaxSettings, relax_entry
from jaxcrystal.discovery.relaxed import COLUMNS, Relaxed, names_of, relaxed, write_relaxed
from jaxcrystal.errors import DataError
from jaxcrystal.sampling.run_folder import RunFolder
from jaxcrystal.structures.entries import Entry, load_entries, ordered, structure_bytes
from jaxcrystal.structures.finished import Sample
from jaxcrystal.structures.summary import RELAXED_NAME
from jaxcrystal.workers import require_scheduler, stream_structures

if TYPE_CHECKING:
    from ase import Atoms
    from pymatgen.core import Structure

Item = TypeVar("Item")
Result = TypeVar("Result")
#: Structures that are written together: what a kill can cost, against the number of folders.
PART_SIZE = 8


class RelaxFolder(RunFolder):
    """A folder of relaxed structures that is ours."""

    format = "jaxcrystal-relax-1"
    table = RELAXED_NAME
    columns = COLUMNS


@dataclass(frozen=True)
class Work:
    """Where structures are relaxed, or else computed with a potential.

    Attributes:
      processes: of this machine, default one a CPU.
      dask: address of a scheduler, whose workers are used instead.
      progress: show a bar.
    """

    processes: int | None = None
    dask: str | None = None
    progress: bool = True

    def relax(self, entries: Sequence[Entry], settings: RelaxSettings) -> Iterator[Ground | Failure]:
        """Yields what becomes of each structure, in order.

        Raises:
          JaxcrystalError: the potential or the cluster cannot be used.
        """
        yield from self.stream(partial(relax_entry, settings=settings), entries, "relax")

    def stream(
        self, function: Callable[[Item], Result], items: Sequence[Item], description: str
    ) -> Iterator[Result]:
        """Yields a function of each item, in order; see `workers.stream_structures`."""
        yield from stream_structures(
            function,
            items,
            processes=self.processes,
            dask=self.dask,
            description=description,
            chunk=1,
            progress=self.progress,
        )


def relax(
    source: "str | Path | Iterable[Structure | Atoms | Sample]",
    potential: str = DEFAULT,
    *,
    free: bool = False,
    max_force: float = 0.02,
    max_stress: float = 0.1,
    max_steps: int = 500,
    processes: int | None = 1,
    progress: bool = False,
) -> list[Relaxed]:
    """Relaxes crystals with a potential, each in its space group.

    Args:
      source: path or URL of a file or folder, as of `jaxcrystal relax`; or structures of pymatgen or ASE,
        or samples.
      potential: name, or `module:factory`, whose function returns an ASE calculator.
      free: disturb each crystal at the end, relax it without symmetry, and say whether it stays.
      max_force: eV/Å on any atom, at which a crystal has relaxed.
      max_stress: GPa in any component, likewise.
      max_steps: after which it has not.
      processes: worker processes; None: one a CPU. See `workers.stream_structures`.
      progress: show a bar.
    Returns:
      One `Relaxed` a structure, in order; none is left out.
    Raises:
      JaxcrystalError: the potential is not known or not installed, or the source cannot be read.
    """
    settings = RelaxSettings(potential, free, max_force, max_stress, max_steps)
    find_potential(potential)
    entries = load_entries(source, processes) if isinstance(source, str | Path) else entries_of(source)
    outcomes = Work(processes, None, progress).relax(entries, settings)
    return [relaxed(*parts) for parts in zip(entries, names_of(entries), outcomes, strict=True)]


def entries_of(structures: "Iterable[Structure | Atoms | Sample]") -> list[Entry]:
    """Returns structures of pymatgen or ASE, or samples, as entries."""
    return [_entry(number, structure) for number, structure in enumerate(structures, start=1)]


def relax_to_folder(
    entries: Sequence[Entry],
    settings: RelaxSettings,
    out: str | Path,
    work: Work = Work(),
) -> RelaxFolder:
    """Relaxes what a folder lacks, and returns it complete.

    Args:
      entries: all structures of the run.
      settings: how they are relaxed.
      out: path or URL; new, empty, or of the same run, which then goes on.
      work: where.

    Raises:
      JaxcrystalError: the folder is not ours, or holds another run; see also `Work.relax`.
    """
    potential = find_potential(settings.potential)
    if work.dask is not None:
        require_scheduler(work.dask)
    folder = RelaxFolder(
        out,
        asdict(settings)
        | {
            "correction": potential.correction,
            "version": potential.version,
            "structures": len(entries),
            "digest": digest(entries),
        },
    )
    parts = range(-(-len(entries) // PART_SIZE))
    there = folder.parts()
    missing = [part for part in parts if part not in there]
    names = names_of(entries)
    todo = [entry for part in missing for entry in _of_part(entries, part)]
    outcomes = work.relax(todo, settings)
    for part in missing:
        members, named = _of_part(entries, part), _of_part(names, part)
        done = list(islice(outcomes, len(members)))
        results = [relaxed(*parts) for parts in zip(members, named, done, strict=True)]
        folder.write_with(part, partial(write_relaxed, results))
    if not folder.complete:
        folder.finish(len(parts))
    return folder


def _of_part(items: Sequence[Any], part: int) -> Sequence[Any]:
    return items[part * PART_SIZE : (part + 1) * PART_SIZE]


def digest(entries: Sequence[Entry]) -> str:
    """Returns a short digest of what is relaxed."""
    content = hashlib.sha256()
    for entry in entries:
        content.update(f"{entry.name} {entry.error} {entry.flag} {entry.requested_group}\n".encode())
        if entry.structure is not None:
            content.update(structure_bytes(entry.structure))
    return content.hexdigest()[:16]


def _entry(number: int, structure: "Structure | Atoms | Sample") -> Entry:
    if isinstance(structure, Sample):
        return Entry(
            structure.name,
            structure.to_pymatgen(),
            requested_group=structure.space_group,
            letters=structure.wyckoff,
            flag=structure.status,
        )
    from ase import Atoms
    from pymatgen.core import Structure
    from pymatgen.io.ase import AseAtomsAdaptor

    if isinstance(structure, Atoms):
        structure = AseAtomsAdaptor.get_structure(structure)
    if not isinstance(structure, Structure):
        raise DataError(f"expected structures of pymatgen or ASE, or samples; got {type(structure).__name__}")
    return Entry(f"{number:04d}_{structure.reduced_formula}", ordered(structure))
