"""The stages of a discovery: each does what its folder lacks, and adds to what was found."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from jaxcrystal.discovery.best import best_relaxed
from jaxcrystal.discovery.dft_inputs import INPUTS_NAME, write_inputs
from jaxcrystal.discovery.energies import read_energies
from jaxcrystal.discovery.found import Discovery
from jaxcrystal.discovery.hull import (
    HULL_NAME,
    place_on_hull,
    write_hull,
)
from jaxcrystal.discovery.phonons import phonons_to_folder
from jaxcrystal.discovery.relaxation import RelaxSettings
from jaxcrystal.discovery.relaxed import names_of
from jaxcrystal.discovery.rounds import sample_rounds
from jaxcrystal.discovery.run import Work, relax_to_folder
from jaxcrystal.discovery.vibrations import PLOT_NAME, PhononSettings
from jaxcrystal.errors import DataError
from jaxcrystal.files import write_text
from jaxcrystal.folders import is_filled, results_folder
from jaxcrystal.model import Model
from jaxcrystal.sampling.run import RunSettings
from jaxcrystal.sampling.run_folder import OtherSettings
from jaxcrystal.structures.entries import Entry, load_entries
from jaxcrystal.structures.folder import part_folders, summary_rows
from jaxcrystal.structures.screening import screen_entries
from jaxcrystal.structures.screening_files import (
    SCREENING_NAME,
    read_screening,
    rows_by_id,
    write_kept,
    write_screening,
)

#: Steps of the relaxation after which crystals are compared.
FIRST_STEPS = 5
_OTHERS = "{} has other crystals, or was computed in another way: move it away, so that it is made anew"


@dataclass(frozen=True)
class DiscoverSettings:
    """How candidates are found.

    Attributes:
      sampling: of every round.
      relaxing: of every different crystal, with the potential.
      unique: different crystals that are wanted; None: those that the crystals asked for lead to.
      most: crystals that are relaxed, those that lie lowest above the hull after a few steps; None: all.
      phonons: crystals whose phonons are computed, the best ones.
      inputs: crystals that inputs for DFT are written of, the best ones.
    """

    sampling: RunSettings
    relaxing: RelaxSettings
    unique: int | None = None
    most: int | None = None
    phonons: int = 5
    inputs: int = 5


def sample(
    found: Discovery, model: Model, settings: DiscoverSettings, work: Work, say: Callable[[str], None]
) -> None:
    """Samples round after round."""
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


def screen(found: Discovery) -> None:
    """Writes the different crystals, the first of each first."""
    if not found.different:
        lost = ", ".join(f"{n} {reason}" for reason, n in found.counts()[0].lost.items())
        raise DataError(f"no sampled crystal can be used ({lost}): ask for more, or for other groups")
    folder = found.path / "screen"
    if is_filled(folder):
        return
    texts = [(one.folder / SCREENING_NAME).read_text(encoding="utf-8") for one in found.rounds]
    with results_folder(folder) as out:
        for one in found.rounds:
            write_kept(one.screening, one.folder, out)
        rows = (text.partition("\n")[2] for text in texts[1:])
        write_text(out / SCREENING_NAME, "".join([texts[0], *rows]))


def relax(found: Discovery, settings: DiscoverSettings, work: Work, say: Callable[[str], None]) -> None:
    """Relaxes the different crystals, and sets aside those that became equal to a lower one."""
    folder, entries = found.path / "relax", found.different
    if settings.most is not None:
        entries = _lowest(found, settings, work, say)
    say(f"relax: {len(entries)} crystals with {settings.relaxing.potential}")
    with _same_crystals(folder):
        relax_to_folder(entries, settings.relaxing, folder, work)
    found.relaxed = list(summary_rows(folder))
    energies = {row["id"]: float(row["energy_per_atom"] or "inf") for row in found.relaxed}
    relaxed = sorted(load_entries(folder, work.processes), key=lambda one: (energies[one.name], one.name))
    if (folder / SCREENING_NAME).is_file():
        found.again = read_screening(folder, relaxed)
    else:
        found.again = screen_entries(relaxed, processes=work.processes)
        write_screening(found.again, folder)


def _lowest(
    found: Discovery, settings: DiscoverSettings, work: Work, say: Callable[[str], None]
) -> list[Entry]:
    """Returns the crystals that lie lowest above the hull after a few steps, in their order."""
    folder, entries = found.path / "first", found.different
    say(f"first: {FIRST_STEPS} steps of {len(entries)} crystals with {settings.relaxing.potential}")
    few = replace(settings.relaxing, free=False, max_steps=FIRST_STEPS)
    with _same_crystals(folder):
        relax_to_folder(entries, few, folder, work)
    placed = place_on_hull(read_energies(folder)[0], found.references)
    chosen = {one.compound.name for one in placed[: settings.most] if one.status == "ok"}
    found.first = list(summary_rows(folder))
    names = names_of(entries)  # of the folder: a formula such as K(CuSi)2 is no name of a file everywhere
    return [entry for entry, name in zip(entries, names, strict=True) if name in chosen]


def place(found: Discovery) -> None:
    """Places the crystals that are kept on the hull of the references."""
    folder = found.path / "relax"
    kept = {row.entry.name for row in found.again.rows if row.kept} if found.again else set()
    compounds, kind = read_energies(folder)
    found.placed = place_on_hull([one for one in compounds if one.name in kept], found.references)
    write_hull(found.placed, kind, folder / HULL_NAME)


def vibrate(found: Discovery, settings: DiscoverSettings, work: Work, say: Callable[[str], None]) -> None:
    """Computes the phonons of the best."""
    if not settings.phonons:
        return
    best = best_relaxed(found.path / "relax", settings.phonons)
    say(f"phonons: {len(best.entries)} crystals")
    folder = found.path / "phonons"
    phonons = PhononSettings(settings.relaxing.potential, symprec=settings.relaxing.symprec)
    with _same_crystals(folder):
        run = phonons_to_folder(best.entries, phonons, folder, work)
    found.phonons = list(run.summary())
    plots = [part / PLOT_NAME for part in part_folders(folder)]
    found.phonon_plots = [plot if plot.is_file() else None for plot in plots]


def inputs(found: Discovery, settings: DiscoverSettings) -> None:
    """Writes inputs for DFT of the best."""
    if not settings.inputs:
        return
    best = best_relaxed(found.path / "relax", settings.inputs)
    folder = found.path / "inputs"
    if not is_filled(folder):
        write_inputs(
            best.entries,
            folder,
            e_above_hull=best.e_above_hull,
            symprec=settings.relaxing.symprec,
        )
    found.inputs = [row["id"] for row in rows_by_id(folder / INPUTS_NAME).values()]
    if found.inputs != names_of(best.entries):
        raise DataError(_OTHERS.format(folder))


@contextmanager
def _same_crystals(folder: Path) -> Iterator[None]:
    """Says what to do where a stage's folder is of others: by other references, or another number of them."""
    try:
        yield
    except OtherSettings as error:
        raise DataError(_OTHERS.format(folder)) from error
