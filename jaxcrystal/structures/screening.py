"""Selects the structures to keep: not flagged, not known, no duplicates."""

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxcrystal.errors import DataError, RequestError
from jaxcrystal.io.readers import AFLOW
from jaxcrystal.remote import is_url
from jaxcrystal.structures.duplicates import novel, unique
from jaxcrystal.structures.entries import Entry, load_entries
from jaxcrystal.structures.folder import opened_source, summary_rows
from jaxcrystal.structures.geometry import Geometry, is_odd_density, is_short, measure
from jaxcrystal.structures.summary import SUMMARY_NAME
from jaxcrystal.text import number_of
from jaxcrystal.workers import map_structures

if TYPE_CHECKING:
    from pymatgen.core import Structure

#: Reasons against a structure, beside the words of the sampler's status.
SHORT_DISTANCE, DENSITY, UNREADABLE, NO_GEOMETRY = "short_distance", "density", "unreadable", "no_geometry"
#: Root mean squares of the sampler's last scores, in `summary.csv`.
SCORES = ("score_coords", "score_lattice")
#: From so many structures on, they are measured in several processes: a few ms each.
_MANY = 2000


class Measure(NamedTuple):
    """A number by which structures are ranked, beside those that the sampler gives.

    Attributes:
      column: its name in `screening.csv`.
      of: returns it for each structure, None where there is none; the least is best, NaN last.
    """

    column: str
    of: Callable[["Sequence[Structure | None]"], np.ndarray]


@dataclass(frozen=True, eq=False)
class Screened:
    """One structure and what was found.

    Attributes:
      entry: the structure as it was read.
      rank: its place, from 1.
      geometry: what was measured; None where nothing could be.
      flags: reasons against it.
      duplicate_of: name of the equal structure that is kept; empty: there is none. Looked for
        only where `flags` and `known_as` are empty.
      known_as: name of an equal structure of the reference; empty: there is none. Looked for
        only where `flags` is empty.
      scores: `SCORES`; NaN where not known.
      measured: what `Screening.measure` names; NaN where not known.
    """

    entry: Entry
    rank: int
    geometry: Geometry | None
    flags: tuple[str, ...]
    duplicate_of: str
    known_as: str
    scores: tuple[float, float]
    measured: float = math.nan

    @property
    def kept(self) -> bool:
        """Whether it has no flag, is not known and is no duplicate."""
        return not (self.flags or self.duplicate_of or self.known_as)


@dataclass(frozen=True, eq=False)
class Screening:
    """All structures of a source, best first.

    Attributes:
      rows: by rank.
      measure: column of the number that they are ranked by; empty: of none.
    """

    rows: tuple[Screened, ...]
    measure: str = ""

    @property
    def kept(self) -> "list[Structure]":
        """The structures that are kept, best first."""
        return [row.entry.structure for row in self.rows if row.kept and row.entry.structure is not None]

    @property
    def counts(self) -> dict[str, int]:
        """How many are there, kept, flagged, known and duplicates: the last four add up to the first."""
        return {
            "structures": len(self.rows),
            "kept": sum(row.kept for row in self.rows),
            "flagged": sum(bool(row.flags) for row in self.rows),
            "known": sum(bool(row.known_as) for row in self.rows),
            "duplicates": sum(bool(row.duplicate_of) for row in self.rows),
        }

    @property
    def flag_counts(self) -> dict[str, int]:
        """How many structures have each flag, the commonest first."""
        return dict(Counter(flag for row in self.rows for flag in row.flags).most_common())


def screen(
    source: str | Path,
    *,
    novel_against: str | Path | None = None,
    min_distance: float | None = None,
    density: tuple[float, float] | None = None,
    rank: bool | Measure = False,
    processes: int | None = None,
) -> Screening:
    """Screens the structures of a source.

    First those with flags are set aside, then those that a reference file has, then those
    equal to a better ranked one of the rest. Equal is what `duplicates` takes as equal, of one
    formula, space group and orbits (elements and multiplicities, that is, the Wyckoff letters
    up to the choice of origin).

    Args:
      source: path or URL of a folder of `jaxcrystal sample`, or of anything that `load_entries` reads.
      novel_against: path or URL of a file or folder of known structures.
      min_distance: Å between two atoms, images of one atom included, below which a structure
        is flagged. Default: relative to covalent radii, see `geometry.is_short`.
      density: least and greatest, g/cm³. Default: relative to the atoms' volumes, see
        `geometry.is_odd_density`.
      rank: True: rank by the sampler's last scores, the smallest first, instead of by the source's
        order; a structure's place is the mean of its places by either score. A measure: by that.
      processes: see `workers.stream_structures`.

    Raises:
      RequestError: a limit that makes no sense, or `rank` without a number of any structure.
      DataError: a source that cannot be read.
    """
    _require_limits(min_distance, density)
    for path in (source, novel_against):  # before minutes are spent on reading the other
        if path is not None and str(path) != AFLOW and not is_url(path) and not Path(path).exists():
            raise DataError(f"{path} does not exist")
    with opened_source(source) as path:
        entries = load_entries(path, processes)
        scores = _scores(entries, path)
    if rank is True and np.isnan(scores).all():
        raise RequestError(
            f"no scores to rank by: {source} has no numbers in the columns {' and '.join(SCORES)} of "
            f"{SUMMARY_NAME}"
        )
    known = None
    if novel_against is not None:
        known = load_entries(novel_against, processes)
        if all(entry.structure is None for entry in known):
            raise DataError(f"no structure of {novel_against} can be read: {known[0].error}")
    measured = np.full(len(entries), np.nan)
    if isinstance(rank, Measure):
        measured = rank.of([entry.structure for entry in entries])
        if np.isnan(measured).all():
            raise RequestError(f"nothing to rank by: no structure of {source} has a {rank.column}")
    order = np.arange(len(entries))
    if rank:
        order = ranking(measured[:, None] if isinstance(rank, Measure) else scores)
    found = screen_entries(
        [entries[i] for i in order.tolist()],
        scores[order],
        known=known,
        min_distance=min_distance,
        density=density,
        processes=processes,
    )
    if not isinstance(rank, Measure):
        return found
    values = measured[order].tolist()
    rows = (replace(row, measured=value) for row, value in zip(found.rows, values, strict=True))
    return Screening(tuple(rows), rank.column)


def screen_entries(
    entries: Sequence[Entry],
    scores: Float[np.ndarray, "n 2"] | None = None,
    *,
    known: Sequence[Entry] | None = None,
    earlier: Sequence[Screened] = (),
    min_distance: float | None = None,
    density: tuple[float, float] | None = None,
    processes: int | None = None,
) -> Screening:
    """Screens structures that have been read.

    Args:
      entries: the best first.
      scores: of the sampler; None: not known.
      known: the reference.
      earlier: rows of other screenings that are kept: what equals one of them is its duplicate.
      min_distance, density, processes: see `screen`.
    """
    scores = np.full((len(entries), 2), np.nan) if scores is None else scores
    geometries = map_structures(
        geometry_of,
        [entry.structure for entry in entries],
        processes=processes if len(entries) >= _MANY else 1,
        description="measure",
    )
    flags = [_flags(*pair, min_distance, density) for pair in zip(entries, geometries, strict=True)]
    known_as = [""] * len(entries)
    if known is not None:
        chosen = [i for i, reasons in enumerate(flags) if not reasons]
        found = novel([entries[i] for i in chosen], _groups(geometries, chosen), known, processes=processes)
        for i, place in zip(chosen, found.tolist(), strict=True):
            known_as[i] = "" if place < 0 else known[place].name or "unnamed"
    duplicate_of = [""] * len(entries)
    chosen = [i for i, reasons in enumerate(flags) if not (reasons or known_as[i])]
    keys = [_key(g) for g in (geometries[i] for i in chosen) if g is not None]
    kept = [(row.entry, _key(row.geometry)) for row in earlier if row.geometry is not None]
    before = [pair for pair in kept if pair[1] in set(keys)]
    compared = [*(entry for entry, _ in before), *(entries[i] for i in chosen)]
    found = unique(compared, [*(key for _, key in before), *keys], processes=processes)[len(before) :]
    for i, place in zip(chosen, found.tolist(), strict=True):
        duplicate_of[i] = "" if place < 0 else compared[place].name or "unnamed"
    return Screening(
        tuple(
            Screened(
                entry=entries[i],
                rank=i + 1,
                geometry=geometries[i],
                flags=flags[i],
                duplicate_of=duplicate_of[i],
                known_as=known_as[i],
                scores=(float(scores[i, 0]), float(scores[i, 1])),
            )
            for i in range(len(entries))
        )
    )


def ranking(scores: Float[np.ndarray, "n columns"]) -> Int[np.ndarray, " n"]:
    """Returns the order by the mean of the places by each score, the smallest scores first.

    They have different units, so that their sum would mean nothing. A column without a
    number is left out; a structure without a score in the others comes last. Of equal ones
    the first stays first.
    """
    from scipy.stats import rankdata

    columns = scores[:, ~np.isnan(scores).all(0)]
    missing = np.isnan(columns).any(1)
    # As the largest of all; places among each other do not matter, they are sorted last.
    places = rankdata(np.where(np.isnan(columns), np.inf, columns), axis=0)
    return np.lexsort((places.mean(1), missing))


def _require_limits(min_distance: float | None, density: tuple[float, float] | None) -> None:
    if min_distance is not None and not (math.isfinite(min_distance) and min_distance >= 0):
        raise RequestError(f"the least distance is {min_distance} Å; it must be a number of at least 0")
    if density is not None and not 0 <= density[0] < density[1]:
        raise RequestError(
            f"the densities are {density[0]} and {density[1]} g/cm³; the first must be less than the "
            "second, and neither negative"
        )


def geometry_of(structure: "Structure | None") -> Geometry | None:
    """Returns what `geometry.measure` does; None where nothing can be measured."""
    if structure is None:
        return None
    try:
        return measure(structure)
    except Exception:  # one odd cell must not stop the others
        return None


def _flags(
    entry: Entry, geometry: Geometry | None, min_distance: float | None, density: tuple[float, float] | None
) -> tuple[str, ...]:
    if entry.structure is None:
        return (UNREADABLE,)
    found = [] if entry.flag == "ok" else entry.flag.split("+")
    if geometry is None:
        found.append(NO_GEOMETRY)
    else:
        found += [SHORT_DISTANCE] * is_short(geometry, min_distance)
        found += [DENSITY] * is_odd_density(geometry, density)
    return tuple(found)


def _key(geometry: Geometry) -> tuple[Hashable, ...]:
    """Returns what equal structures have in common."""
    return geometry.found_group, geometry.orbits


def _groups(geometries: Sequence[Geometry | None], chosen: Sequence[int]) -> list[int]:
    return [g.found_group for g in (geometries[i] for i in chosen) if g is not None]


def _scores(entries: Sequence[Entry], folder: Path) -> Float[np.ndarray, "n 2"]:
    rows = {row["id"]: row for row in summary_rows(folder)}
    return np.array(
        [[number_of(rows.get(entry.name, {}).get(name)) for name in SCORES] for entry in entries], float
    )
