"""Writes and reads `summary.csv`, one row a crystal, and describes it for the terminal."""

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal

from jaxcrystal.errors import DataError, Status
from jaxcrystal.structures.finished import STATUS_WORDS, Sample
from jaxcrystal.symmetry.supergroups import is_supergroup
from jaxcrystal.text import aligned, cell_text, csv_text

SUMMARY_NAME = "summary.csv"
#: Of a folder that `jaxcrystal relax` wrote, in the place of a summary.
RELAXED_NAME = "relaxed.csv"
#: Likewise of a folder that `jaxcrystal phonons` wrote.
PHONONS_NAME = "phonons.csv"
COLUMNS = (
    "id",
    "formula",
    "letters",
    "requested_group",
    "found_group",
    "found_group_strict",
    "a",
    "b",
    "c",
    "alpha",
    "beta",
    "gamma",
    "volume_per_atom",
    "shortest_distance",
    "score_coords",
    "score_lattice",
    "valid",
    "status",
)
Row = Mapping[str, str]
#: Which groups are looked for: that at 0.1 Å, that at 0.01 Å too, or none.
GroupCheck = Literal["usual", "strict", "none"]


def summary_row(sample: Sample, check: GroupCheck = "usual") -> dict[str, str]:
    """Returns the row of one crystal.

    Lengths and the shortest distance are in Å, angles in degrees, volume in Å³ an atom,
    scores in 1/Å and in the inverse of a lattice parameter.

    Args:
      sample: the crystal.
      check: which groups are looked for; those that are not are empty.
    """
    lengths, angles = sample.lengths_angles
    values = (
        sample.name,
        sample.formula,
        sample.wyckoff,
        str(sample.space_group),
        "" if check == "none" else str(sample.found_group),
        str(sample.found_group_strict) if check == "strict" else "",
        *(f"{x:.4f}" for x in lengths),
        *(f"{x:.3f}" for x in angles),
        f"{sample.audit.volume_per_atom:.3f}",
        f"{sample.audit.shortest_distance:.3f}",
        *(f"{x:.4g}" for x in sample.scores),
        str(sample.valid),
        sample.status,
    )
    return dict(zip(COLUMNS, values, strict=True))


def summary_csv(rows: Iterable[Row], head: bool = True, columns: Sequence[str] = COLUMNS) -> str:
    """Returns rows as CSV."""
    return csv_text(
        [*([columns] if head else []), *([row.get(name, "") for name in columns] for row in rows)]
    )


def read_summary(path: Path) -> Iterator[dict[str, str]]:
    """Yields the rows of a summary of the sampler; none if the file has other columns.

    Raises:
      DataError: the file cannot be read.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            yield from parse_summary(file, str(path))
    except (OSError, ValueError) as error:  # a name with a NUL
        raise DataError(f"cannot read {path}: {error}") from error


def parse_summary(lines: Iterable[str], where: str) -> Iterator[dict[str, str]]:
    """Yields the rows of the lines of a summary, which may be read as they are asked for.

    Args:
      lines: of the summary.
      where: what errors call it.

    Raises:
      DataError: they are no table, or no text.
    """
    try:
        reader = csv.DictReader(lines)
        if set(reader.fieldnames or ()) >= _KNOWN_BY:
            for number, row in enumerate(reader, start=1):
                if None in row or None in row.values():
                    raise DataError(f"cannot read {where}: row {number} has not the columns of its head")
                yield {name: cell_text(value) for name, value in row.items()}
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {where}: {error}") from error


#: Columns by which a summary of the sampler is known, of earlier versions too.
_KNOWN_BY = {"id", "letters", "requested_group", "status"}


def describe(rows: Iterable[Row], max_rows: int = 16) -> tuple[str, list[str]]:
    """Returns the first rows as a table with a line about all of them, and a warning for each failure.

    Args:
      rows: of `summary.csv`; read once, and not kept.
      max_rows: of the table.
    """
    rows = iter(rows)
    first = list(islice(rows, max_rows))
    total = valid = 0
    groups: Counter[tuple[str, int]] = Counter()
    formulas: Counter[str] = Counter()
    stopped: Counter[str] = Counter()
    for row in _chained(first, rows):
        total += 1
        valid += row.get("valid") == "True"
        groups[row.get("found_group", ""), int(row["requested_group"])] += 1
        formulas[row.get("formula", "")] += 1
        stopped[row["status"]] += 1
    lines = _table(first)
    if total > len(first):
        lines.append(f"... and {total - len(first)} more in {SUMMARY_NAME}")
    lines += [
        "",
        f"{total} crystals: {valid} valid (no atoms nearer than 0.5 Å); {_groups_in_words(groups)}; "
        f"{_listed(formulas)}",
    ]
    return "\n".join(lines), describe_failures(stopped)


def describe_failures(counts: Mapping[str, int]) -> list[str]:
    """Returns a line for each reason why structures were stopped early.

    Args:
      counts: structures of each `Sample.status`.
    """
    total = sum(counts.values())
    return [
        f"{count} of {total} crystals stopped early and count as not valid: {_in_words(status)}"
        for status, count in counts.items()
        if status != "ok"
    ]


def _groups_in_words(groups: Mapping[tuple[str, int], int]) -> str:
    """Returns how many crystals are in the group asked for, of counts of groups found and asked for."""
    checked = [(int(found), asked, count) for (found, asked), count in groups.items() if found]
    unchecked = sum(groups.values()) - sum(count for _, _, count in checked)
    if not checked and unchecked:
        return "their groups were not checked"
    exact = sum(count for found, asked, count in checked if found == asked)
    higher = sum(count for found, asked, count in checked if found and is_supergroup(found, asked))
    rest = f", {unchecked} not checked" if unchecked else ""
    return f"{exact} in the group asked for, {higher} in a supergroup of it{rest}"


def _listed(formulas: Mapping[str, int]) -> str:
    if len(formulas) == 1:
        return f"all {next(iter(formulas))}"
    commonest = ", ".join(f"{name} ({count})" for name, count in Counter(formulas).most_common(4))
    return f"commonest {commonest}"


def _chained(first: list[Row], rest: Iterator[Row]) -> Iterator[Row]:
    yield from first
    yield from rest


def _table(rows: list[Row]) -> list[str]:
    head = ("id", "letters", "group", "found", "a", "b", "c", "Å³/atom", "shortest", "valid")
    return aligned([head, *(_cells(row) for row in rows)], left=(0, 1))


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row["id"],
        row["letters"],
        row["requested_group"],
        {"0": "none", "": "-"}.get(group := row.get("found_group", ""), group),
        *(_rounded(row, axis, 2) for axis in "abc"),
        _rounded(row, "volume_per_atom", 1),
        _rounded(row, "shortest_distance", 2),
        {"True": "yes", "": "-"}.get(row.get("valid", ""), "no") if row["status"] == "ok" else row["status"],
    )


def _rounded(row: Row, name: str, digits: int) -> str:
    """Returns a number; a dash where the row has none, as rows of earlier versions may."""
    return f"{float(row[name]):.{digits}f}" if row.get(name) else "-"


def _in_words(status: str) -> str:
    flags = Status.OK
    for flag, word in STATUS_WORDS.items():
        if word in status.split("+"):
            flags |= flag
    return flags.describe()
