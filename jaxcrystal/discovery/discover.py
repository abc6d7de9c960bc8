"""From a chemical system to candidates: samples, screens, relaxes, places on the hull, and what follows.

run.json      what is asked for
plan.csv      the assignments of letters and their weights
sample/       rounds of the sampler
screen/       the different crystals of all rounds
relax/        these relaxed, with screening.csv (duplicates again) and hull.csv
phonons/      phonons of the best
inputs/       inputs for DFT of the best

Each stage goes on where it was when the process was killed, and ends in the same files.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from jaxcrystal.discovery.best import best_relaxed
from jaxcrystal.discovery.dft_inputs import INPUTS_NAME, write_inputs
from jaxcrystal.discovery.energies import Compound, read_energies
from jaxcrystal.discovery.found import Discovery
from jaxcrystal.discovery.gates import Failure
from jaxcrystal.discovery.hull import (
    HULL_NAME,
    place_on_hull,
    require_elements,
    require_same,
    write_hull,
)
from jaxcrystal.discovery.minimise import computed
from jaxcrystal.discovery.phonons import phonons_to_folder
from jaxcrystal.discovery.potentials import Energies, calculator, find_potential
from jaxcrystal.discovery.relaxation import RelaxSettings
from jaxcrystal.discovery.relaxed import names_of
from jaxcrystal.discovery.rounds import sample_rounds
from jaxcrystal.discovery.run import RelaxFolder, Work, relax_to_folder
from jaxcrystal.discovery.vibrations import PLOT_NAME, PhononSettings, require_phonopy
from jaxcrystal.elements import SYMBOLS, atomic_number
from jaxcrystal.errors import DataError, RequestError
from jaxcrystal.files import write_text
from jaxcrystal.folders import held, results_folder
from jaxcrystal.model import Model
from jaxcrystal.remote import is_url
from jaxcrystal.requests.pool import make_pool
from jaxcrystal.requests.requests import Request
from jaxcrystal.sampling.run import RunSettings
from jaxcrystal.sampling.run_folder import RunFolder
from jaxcrystal.structures.entries import load_entries
from jaxcrystal.structures.folder import part_folders, summary_rows
from jaxcrystal.structures.geometry import covalent_radii
from jaxcrystal.structures.screening import screen_entries
from jaxcrystal.structures.screening_files import (
    SCREENING_NAME,
    read_screening,
    rows_by_id,
    write_kept,
    write_screening,
)

#: In their order; each needs those before it.
STAGES = ("plan", "sample", "screen", "relax", "hull", "phonons", "inputs")
#: Names in the folder.
PLAN_NAME = "plan.csv"
#: Edge of a simple cubic crystal, in covalent radii of its element, that tells whether a potential knows it.
_EDGE = 2.2


class DiscoverFolder(RunFolder):
    """A folder of a discovery that is ours; its parts are folders of their own."""

    format = "jaxcrystal-discover-1"


@dataclass(frozen=True)
class DiscoverSettings:
    """How candidates are found.

    Attributes:
      sampling: of every round.
      relaxing: of every different crystal, with the potential.
      unique: different crystals that are wanted; None: those that the crystals asked for lead to.
      phonons: crystals whose phonons are computed, the best ones.
      inputs: crystals that inputs for DFT are written of, the best ones.
    """

    sampling: RunSettings
    relaxing: RelaxSettings
    unique: int | None = None
    phonons: int = 5
    inputs: int = 5


def read_references(files: Sequence[str | Path], kind: Energies) -> list[Compound]:
    """Returns the known crystals of some files.

    Raises:
      DataError: see `read_energies`.
      RequestError: their energies are not of the kind that those of candidates will be.
    """
    references = []
    for file in files:
        found, other = read_energies(file)
        require_same(kind, other)
        references += found
    return references


def discover(
    requests: Sequence[Request],
    model: Model,
    out: str | Path,
    settings: DiscoverSettings,
    references: Sequence[str | Path] = (),
    *,
    until: str = STAGES[-1],
    work: Work = Work(),  # noqa: B008 (a constant)
    say: Callable[[str], None] = lambda line: None,
) -> Discovery:
    """Finds candidates: all stages up to one, in one folder.

    Args:
      requests: what is asked for.
      model: trained.
      out: new or empty folder, or of the same discovery, which goes on.
      settings: see `DiscoverSettings`.
      references: files of energies of known crystals, by the same potential; the hull needs them.
      until: the last stage, one of `STAGES`.
      work: where crystals are relaxed.
      say: is told what begins.

    Raises:
      JaxcrystalError: a request that makes no sense, a potential or references that do not go with it, a
        folder of something else, or a stage that leaves nothing for the next one.
    """
    last = STAGES.index(until)
    if is_url(out):
        raise RequestError(f"{out} is a URL: a discovery is made on a disk")
    name = settings.relaxing.potential
    # What only samples needs no potential.
    kind = find_potential(name).kind if references or last >= STAGES.index("relax") else Energies(name)
    known = read_references(references, kind)
    if last >= STAGES.index("hull") and not known:
        raise RequestError(
            "--references is missing: the hull needs energies of known crystals "
            "(`jaxcrystal references` makes them; --until relax needs none)"
        )
    pool = make_pool(requests, model.letters, settings.sampling.seed)
    elements = sorted(SYMBOLS[z] for z in pool.elements)
    if known:
        require_elements(elements, known)
    if last >= STAGES.index("phonons") and settings.phonons:
        require_phonopy()
    found = Discovery(Path(out), pool, kind, known)
    if last >= STAGES.index("relax") and not _has(found.path / "relax" / RelaxFolder.table):
        require_computable(name, elements)
    DiscoverFolder(
        out,
        {
            "requests": [repr(request) for request in requests],
            "unique": settings.unique,
            "seed": settings.sampling.seed,
            "plan": hashlib.sha256(pool.csv().encode()).hexdigest()[:16],
            "relaxing": asdict(settings.relaxing),
        },
    )
    stages: tuple[Callable[[], None], ...] = (
        lambda: write_text(found.path / PLAN_NAME, pool.csv()),
        lambda: _sample(found, model, settings, work, say),
        lambda: _screen(found),
        lambda: _relax(found, settings, work, say),
        lambda: _place(found),
        lambda: _vibrate(found, settings, work, say),
        lambda: _write_inputs(found, settings),
    )
    with held(out):
        for stage in stages[: last + 1]:
            stage()
    return found


def require_computable(potential: str, elements: Sequence[str]) -> None:
    """Computes a crystal of each element, before hours are spent on those that the potential does not know.

    Raises:
      RequestError: the potential cannot compute one.
    """
    for element in elements:
        edge = _EDGE * float(covalent_radii(np.array([atomic_number(element)]))[0])
        atoms = Atoms(element, cell=[edge] * 3, pbc=True)
        atoms.calc = calculator(potential)
        try:
            computed(atoms)
        except Failure as failure:
            if failure.word == "potential":
                raise RequestError(
                    f"the potential {potential} cannot compute {element} ({failure.detail}): choose another "
                    "with --potential"
                ) from failure


def _sample(
    found: Discovery, model: Model, settings: DiscoverSettings, work: Work, say: Callable[[str], None]
) -> None:
    different = 0
    for one in sample_rounds(
        *(found.pool, model, found.path / "sample", settings.sampling),
        unique=settings.unique,
        processes=work.processes,
        progress=work.progress,
    ):
        found.rounds.append(one)
        counts = one.screening.counts
        different += counts["kept"]
        say(
            f"round {len(found.rounds)}: {counts['structures']} crystals of {one.assignments} assignments, "
            f"{counts['kept']} of them new; {different} different ones"
        )


def _screen(found: Discovery) -> None:
    """Writes the different crystals, the first of each first."""
    if not found.different:
        lost = ", ".join(f"{n} {reason}" for reason, n in found.counts()[0].lost.items())
        raise DataError(f"no sampled crystal can be used ({lost}): ask for more, or for other groups")
    folder = found.path / "screen"
    if _has(folder / SCREENING_NAME):
        return
    texts = [(one.folder / SCREENING_NAME).read_text(encoding="utf-8") for one in found.rounds]
    with results_folder(folder) as out:
        for one in found.rounds:
            write_kept(one.screening, one.folder, out)
        rows = (text.partition("\n")[2] for text in texts[1:])
        write_text(out / SCREENING_NAME, "".join([texts[0], *rows]))


def _relax(found: Discovery, settings: DiscoverSettings, work: Work, say: Callable[[str], None]) -> None:
    """Relaxes the different crystals, and sets aside those that became equal to a lower one."""
    folder, entries = found.path / "relax", found.different
    say(f"relax: {len(entries)} crystals with {settings.relaxing.potential}")
    relax_to_folder(entries, settings.relaxing, folder, work)
    found.relaxed = list(summary_rows(folder))
    energies = {row["id"]: float(row["energy_per_atom"] or "inf") for row in found.relaxed}
    relaxed = sorted(load_entries(folder, work.processes), key=lambda one: (energies[one.name], one.name))
    if _has(folder / SCREENING_NAME):
        found.again = read_screening(folder, relaxed)
    else:
        found.again = screen_entries(relaxed, processes=work.processes)
        write_screening(found.again, folder)


def _place(found: Discovery) -> None:
    folder = found.path / "relax"
    kept = {row.entry.name for row in found.again.rows if row.kept} if found.again else set()
    compounds, kind = read_energies(folder)
    found.placed = place_on_hull([one for one in compounds if one.name in kept], found.references)
    write_hull(found.placed, kind, folder / HULL_NAME)


def _vibrate(found: Discovery, settings: DiscoverSettings, work: Work, say: Callable[[str], None]) -> None:
    """Computes the phonons of the best."""
    if not settings.phonons:
        return
    best = best_relaxed(found.path / "relax", settings.phonons)
    say(f"phonons: {len(best.entries)} crystals")
    folder = found.path / "phonons"
    phonons = PhononSettings(settings.relaxing.potential, symprec=settings.relaxing.symprec)
    run = phonons_to_folder(best.entries, phonons, folder, work)
    found.phonons = list(run.summary())
    plots = [part / PLOT_NAME for part in part_folders(folder)]
    found.phonon_plots = [plot if _has(plot) else None for plot in plots]


def _write_inputs(found: Discovery, settings: DiscoverSettings) -> None:
    """Writes inputs for DFT of the best."""
    if not settings.inputs:
        return
    best = best_relaxed(found.path / "relax", settings.inputs)
    folder = found.path / "inputs"
    if not _has(folder / INPUTS_NAME):
        write_inputs(best.entries, folder, e_above_hull=best.e_above_hull)
    found.inputs = [row["id"] for row in rows_by_id(folder / INPUTS_NAME).values()]
    if found.inputs != names_of(best.entries):
        raise DataError(f"{folder} has inputs of other crystals: move it away, so that they are written anew")


def _has(path: Path) -> bool:
    return path.is_file()
