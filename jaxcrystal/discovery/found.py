"""What a discovery found, stage by stage: crystals, energies, and how many were set aside and why."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from jaxcrystal.discovery.energies import Compound
from jaxcrystal.discovery.hull import Placed
from jaxcrystal.discovery.phonons import BETWEEN, describe, verdict
from jaxcrystal.discovery.potentials import Energies
from jaxcrystal.discovery.rounds import Round
from jaxcrystal.discovery.vibrations import PhononSettings
from jaxcrystal.requests.pool import PATIENCE, Pool
from jaxcrystal.structures.entries import Entry
from jaxcrystal.structures.screening import Screening


class Count(NamedTuple):
    """What became of the crystals in a stage.

    Attributes:
      stage: in words.
      given: crystals.
      kept: that went on.
      lost: reason -> crystals that did not.
      notes: what there is to know of some that went on -> crystals.
    """

    stage: str
    given: int
    kept: int
    lost: dict[str, int]
    notes: dict[str, int] = {}  # noqa: RUF012 (of a tuple; nobody adds to it)


@dataclass(eq=False)
class Discovery:
    """What was found so far: what later stages would have made is empty.

    Attributes:
      path: the folder.
      pool: assignments that could be sampled.
      kind: of which kind the energies are.
      references: known crystals with their energies.
      rounds: of the sampler.
      first: rows of `relaxed.csv` after a few steps, where only the lowest are relaxed.
      relaxed: rows of `relaxed.csv`.
      again: screening of the relaxed crystals, the lowest energy first.
      placed: those that it keeps, on the hull, the lowest first.
      phonons: rows of `phonons.csv`.
      phonon_plots: the figure of each; None where there is none.
      inputs: names of the crystals that inputs for DFT were written of.
    """

    path: Path
    pool: Pool
    kind: Energies
    references: list[Compound]
    rounds: list[Round] = field(default_factory=list)
    first: list[dict[str, str]] = field(default_factory=list)
    relaxed: list[dict[str, str]] = field(default_factory=list)
    again: Screening | None = None
    placed: list[Placed] = field(default_factory=list)
    phonons: list[dict[str, str]] = field(default_factory=list)
    phonon_plots: list[Path | None] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)

    @property
    def different(self) -> list[Entry]:
        """The different crystals that were sampled."""
        return [row.entry for one in self.rounds for row in one.screening.rows if row.kept]

    def counts(self) -> list[Count]:
        """Returns what became of the crystals, a row for each stage that has been."""
        rows = [row for one in self.rounds for row in one.screening.rows]
        found = [_count("sampled", Screening(tuple(rows)))] if rows else []
        if self.first:
            words = Counter(row["status"] for row in self.first)
            higher = words.pop("ok", 0) - len(self.relaxed)
            lost = dict(words.most_common()) | ({"higher than the others": higher} if higher else {})
            found.append(Count("a few steps", len(self.first), len(self.relaxed), lost))
        if self.relaxed:
            words = Counter(row["status"] for row in self.relaxed)
            good = words.pop("ok", 0)
            unfinished = sum(row["status"] == "ok" and row["converged"] == "no" for row in self.relaxed)
            notes = {"not converged": unfinished} if unfinished else {}
            found.append(Count("relaxed", len(self.relaxed), good, dict(words.most_common()), notes))
        if self.again is not None:
            good_rows = tuple(row for row in self.again.rows if row.entry.flag == "ok")
            found.append(_count("different after relaxation", Screening(good_rows)))
        if self.placed:
            words = Counter(one.status for one in self.placed)
            good = words.pop("ok", 0)
            found.append(Count("placed on the hull", len(self.placed), good, dict(words)))
        if self.phonons:
            words = Counter(verdict(row, PhononSettings.imaginary) for row in self.phonons)
            between = words.pop(BETWEEN, 0)
            good = words.pop("", 0) + between
            notes = {BETWEEN: between} if between else {}
            found.append(Count("phonons of the best", len(self.phonons), good, dict(words), notes))
        return found

    def notes(self) -> list[str]:
        """Returns a line for each thing to know about crystals that went on, and about the phonons."""
        lines = [
            f"{one.stage}: {count} {note}, among those that went on"
            for one in self.counts()
            for note, count in one.notes.items()
        ]
        return lines + describe(self.phonons, PhononSettings.imaginary)[1]

    def spending(self) -> str:
        """Returns a sentence about what was sampled of what was asked for."""
        if not self.rounds:
            return self.pool.describe()
        drawn = sum(len(one.screening.rows) for one in self.rounds)
        last = self.rounds[-1]
        return (
            f"{drawn:,} crystals were sampled in {len(self.rounds)} rounds, of {last.sampled:,} of "
            f"{len(self.pool.orders):,} assignments of letters; {last.spent:,} of them are spent (their last "
            f"{PATIENCE} crystals were duplicates or none), {len(self.different):,} crystals differ"
        )


def _count(stage: str, screening: Screening) -> Count:
    """Returns what a screening set aside, each structure under its first reason."""
    flags = Counter(row.flags[0] for row in screening.rows if row.flags)
    lost = dict(flags.most_common())
    if screening.counts["duplicates"]:
        lost["duplicate"] = screening.counts["duplicates"]
    return Count(stage, len(screening.rows), screening.counts["kept"], lost)
