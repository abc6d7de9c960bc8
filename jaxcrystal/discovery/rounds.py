"""Samples in rounds, each of which is screened before the next is planned, so that crystals differ.

sample/00/              the first round: a run folder of the sampler
sample/00/screening.csv which of its crystals are new; ...

What a round samples follows from the rounds before it, and these from the seed: a run that was killed
goes on with the round that it was at.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from jaxcrystal.errors import DataError
from jaxcrystal.model import Model
from jaxcrystal.requests.candidates import make_candidates
from jaxcrystal.requests.pool import FIRST, PATIENCE, Pool, next_round, steps
from jaxcrystal.sampling.run import RunSettings, open_run, sample_to_folder
from jaxcrystal.structures.entries import Entry, load_entries
from jaxcrystal.structures.screening import Screened, Screening, screen_entries
from jaxcrystal.structures.screening_files import SCREENING_NAME, read_screening, write_screening


@dataclass(frozen=True, eq=False)
class Round:
    """One round.

    Attributes:
      folder: of the sampler's run.
      screening: of its crystals, in the order of their places.
      assignments: that it sampled.
      sampled: assignments that were sampled so far.
      spent: of these, those that get no more.
    """

    folder: Path
    screening: Screening
    assignments: int
    sampled: int
    spent: int


class _Drawn:
    """What the rounds have drawn so far, by assignment.

    Attributes:
      counts: [n] crystals.
      in_vain: [n] how many of the last ones, in a row, were not new.
    """

    def __init__(self, assignments: int) -> None:
        self.counts: Int[np.ndarray, " n"] = np.zeros(assignments, int)
        self.in_vain: Int[np.ndarray, " n"] = np.zeros(assignments, int)

    @property
    def spent(self) -> Bool[np.ndarray, " n"]:
        """[n] the assignments that get no more."""
        return self.in_vain >= PATIENCE

    def add(self, counts: Int[np.ndarray, " n"], screening: Screening) -> None:
        """Adds a round, whose crystals stand in the order of the assignments."""
        which = np.repeat(np.arange(len(counts)), counts)
        for assignment, row in zip(which.tolist(), screening.rows, strict=True):
            self.in_vain[assignment] = 0 if row.kept else self.in_vain[assignment] + 1
        self.counts += counts


def sample_rounds(
    pool: Pool,
    model: Model,
    out: Path,
    settings: RunSettings,
    *,
    unique: int | None = None,
    processes: int | None = None,
    progress: bool = False,
) -> Iterator[Round]:
    """Yields round after round, until the crystals asked for are drawn or every assignment is spent.

    An assignment is spent when its last crystals were all equal to earlier ones, or were none.

    Args:
      pool: of the assignments.
      model: trained.
      out: folder of the rounds; those that it has are not sampled again.
      settings: of the sampler.
      unique: different crystals that are wanted, in place of those that were asked for.
      processes: that compare crystals, see `workers.stream_structures`.
      progress: show bars.

    Raises:
      DataError: a round's folder holds another run, is damaged or cannot be written.
    """
    drawn, kept = _Drawn(len(pool.orders)), list[Screened]()
    at_most = FIRST
    for number in count():
        before = drawn.counts.copy()
        step = steps(pool, unique, int(before.sum()), len(kept))
        counts = next_round(pool, before, drawn.spent, step, at_most)
        while not counts.any() and step > 0 and not drawn.spent.all():
            at_most *= 2
            counts = next_round(pool, before, drawn.spent, step, at_most)
        if not counts.any():
            return
        at_most *= 2
        candidates = make_candidates(
            pool.orders, counts.tolist(), model.letters, settings.seed, before=before.tolist()
        )
        folder = out / f"{number:02d}"
        run = open_run(candidates, model, folder, settings)
        if not run.complete:
            sample_to_folder(run, candidates, model, settings, progress)
        screening = _screened(folder, len(candidates), kept, processes)
        drawn.add(counts, screening)
        kept += [row for row in screening.rows if row.kept]
        sampled, spent = int((drawn.counts > 0).sum()), int(drawn.spent.sum())
        yield Round(folder, screening, int((counts > 0).sum()), sampled, spent)


def _screened(folder: Path, crystals: int, kept: list[Screened], processes: int | None) -> Screening:
    entries = sorted(load_entries(folder, processes), key=_place)
    if len(entries) != crystals:
        raise DataError(f"{folder} has {len(entries)} crystals, its round {crystals}: sample it anew")
    if (folder / SCREENING_NAME).is_file():
        return read_screening(folder, entries)
    rows = screen_entries(entries, earlier=kept, processes=processes).rows
    screening = Screening(tuple(replace(row, rank=_place(row.entry)) for row in rows))
    write_screening(screening, folder)
    return screening


def _place(entry: Entry) -> int:
    """Returns which crystal of all rounds an entry is, from 1: the sampler's names begin with it."""
    number = entry.name.partition("_")[0]
    return int(number) if number.isdecimal() else 0
