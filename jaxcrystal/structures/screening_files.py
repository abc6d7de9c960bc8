"""Writes a screening (a table for the terminal, `screening.csv`, the kept structures as CIF) and reads it."""

import csv
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jaxcrystal.errors import DataError, one_line
from jaxcrystal.files import write_bytes, write_text
from jaxcrystal.structures.entries import Entry
from jaxcrystal.structures.folder import part_folders, summary_rows
from jaxcrystal.structures.screening import SCORES, Screened, Screening, geometry_of
from jaxcrystal.symmetry.detect import is_searchable
from jaxcrystal.text import aligned, cell_text, csv_text

if TYPE_CHECKING:
    from pymatgen.core import Structure

SCREENING_NAME = "screening.csv"
_COLUMNS = (
    "id",
    "rank",
    "kept",
    "formula",
    "letters",
    "found_group",
    "shortest_distance",
    "distance_ratio",
    "density",
    "volume_per_atom",
    "volume_ratio",
    "flags",
    "duplicate_of",
    "known_as",
    *SCORES,
)
#: How a file begins that may be written anew.
_OURS = "id,rank,kept,"
#: Å; CIF files get the symmetry found at this tolerance, and coordinates moved by no more.
_CIF_SYMPREC = 0.01
_LONGEST_NAME = 100


def screening_csv(screening: Screening) -> str:
    """Returns one row a structure, best first; Å, g/cm³, Å³ an atom; empty where not known."""
    measure = [screening.measure] if screening.measure else []
    table: list[Sequence[str]] = [[*_COLUMNS, *measure]]
    for row in screening.rows:
        g = row.geometry
        measured: list[object] = [""] * 6
        if g is not None:
            numbers = (g.shortest_distance, g.distance_ratio, g.density, g.volume_per_atom, g.volume_ratio)
            measured = [g.found_group, *(f"{x:.3f}" for x in numbers)]
        cells = [
            row.entry.name,
            row.rank,
            "yes" if row.kept else "no",
            _formula(row),
            row.entry.letters,
            *measured,
            "+".join(row.flags),
            row.duplicate_of,
            row.known_as,
            *("" if math.isnan(x) else f"{x:.6g}" for x in (*row.scores, *[row.measured] * len(measure))),
        ]
        table.append([encodable(str(cell)) for cell in cells])
    return csv_text(table)


def table(screening: Screening, max_rows: int = 16) -> str:
    """Returns the best kept structures as a table for the terminal, and a line about all."""
    kept = [row for row in screening.rows if row.kept]
    head = ("rank", "id", "letters", "group", "shortest", "g/cm³", "Å³/atom", *SCORES, screening.measure)
    rows = [head, *(_row(row) for row in kept[:max_rows])]
    always = len(head) - len(SCORES) - 1
    shown = [n for n, name in enumerate(head) if n < always or any(row[n] for row in rows[1:])]
    lines = aligned([[row[n] for n in shown] for row in rows], left=(1, 2))
    if len(kept) > max_rows:
        lines.append(f"... and {len(kept) - max_rows} more in {SCREENING_NAME}")
    counts = screening.counts
    flags = ", ".join(f"{count} {_printable(name)}" for name, count in screening.flag_counts.items())
    lines += [
        "",
        f"{counts['structures']} structures: {counts['kept']} kept, {counts['duplicates']} duplicates, "
        f"{counts['flagged']} flagged{f' ({flags})' if flags else ''}, {counts['known']} known",
    ]
    return "\n".join(lines)


def require_writable(path: Path) -> None:
    """Checks a file that `write_screening` would write.

    Raises:
      DataError: there is a file of this name that is no screening, or it cannot be read.
    """
    try:
        if path.exists():
            with path.open(encoding="utf-8", errors="replace") as file:
                if not file.readline().startswith(_OURS):
                    raise DataError(f"{path} is not a file of `jaxcrystal screen`: rename it, or give --out")
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error


def write_screening(screening: Screening, folder: Path) -> Path:
    """Writes `screening.csv`, in place of an older one, and returns its path.

    Raises:
      DataError: see `require_writable`.
    """
    path = folder / SCREENING_NAME
    require_writable(path)
    write_text(path, screening_csv(screening))
    return path


def rows_by_id(path: Path) -> dict[str, dict[str, str]]:
    """Returns the rows of a table such as `screening.csv` by id; none where there is no such file.

    Raises:
      DataError: it cannot be read.
    """
    if not path.is_file():
        return {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, restkey="", restval="")
            if "id" not in (reader.fieldnames or ()):
                return {}
            rows = ({key: cell_text(value) for key, value in row.items() if key} for row in reader)
            return {row["id"]: row for row in rows}
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"cannot read {path}: {error}") from error


def read_screening(folder: Path, entries: Sequence[Entry]) -> Screening:
    """Returns what `write_screening` wrote of some structures; only those that are kept are measured again.

    Args:
      folder: that has the file.
      entries: all structures of the screening.

    Raises:
      DataError: a structure has no row, or the file cannot be read.
    """
    rows = rows_by_id(folder / SCREENING_NAME)
    try:
        found = [_screened(entry, rows[entry.name]) for entry in entries]
    except (KeyError, ValueError) as error:
        raise DataError(f"{folder / SCREENING_NAME} is damaged: {one_line(error)}") from error
    return Screening(tuple(sorted(found, key=lambda row: row.rank)))


def _screened(entry: Entry, row: dict[str, str]) -> Screened:
    numbers = [float(row[name] or "nan") for name in SCORES]
    return Screened(
        entry=entry,
        rank=int(row["rank"]),
        geometry=geometry_of(entry.structure) if row["kept"] == "yes" else None,
        flags=tuple(filter(None, row["flags"].split("+"))),
        duplicate_of=row["duplicate_of"],
        known_as=row["known_as"],
        scores=(numbers[0], numbers[1]),
    )


def write_kept(screening: Screening, source: Path, folder: Path) -> list[Path]:
    """Writes the kept structures as CIF files named by their ids, and returns their paths.

    The sampler's own CIF is copied where there is one; others are written with the symmetry
    that spglib finds at 0.01 Å.

    Args:
      screening: of `source`.
      source: what was screened.
      folder: nothing in it is overwritten.

    Raises:
      DataError: a file exists, or cannot be read or written.
    """
    kept = [row.entry for row in screening.rows if row.kept]
    cifs = _cifs(source)
    paths = []
    for entry, name in zip(kept, file_names([entry.name for entry in kept]), strict=True):
        assert entry.structure is not None
        try:
            content = cifs[entry.name].read_bytes() if entry.name in cifs else _cif(entry.structure).encode()
        except OSError as error:
            raise DataError(f"cannot read {cifs[entry.name]}: {error.strerror or error}") from error
        paths.append(folder / name)
        write_bytes(paths[-1], content, overwrite=False)
    return paths


def file_names(names: Sequence[str]) -> list[str]:
    """Returns a name of a CIF file for each name: of plain characters, and each another one."""
    found = []
    used: set[str] = set()
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9_.+-]", "_", name.removesuffix(".cif"))[:_LONGEST_NAME].lstrip(".-")
        plain = plain or "structure"
        free, number = plain, 1
        while free.lower() in used:  # some file systems do not tell cases apart
            number += 1
            free = f"{plain}_{number}"
        used.add(free.lower())
        found.append(f"{free}.cif")
    return found


def _cifs(source: Path) -> dict[str, Path]:
    """Returns the CIF files that the sampler wrote, by id."""
    names = {row["id"] for row in summary_rows(source)}
    files = (path for place in (source, *part_folders(source)) for path in place.glob("*.cif"))
    return {path.stem: path for path in files if path.stem in names}


def _cif(structure: "Structure") -> str:
    from pymatgen.io.cif import CifWriter

    if not is_searchable(structure.lattice.matrix, structure.frac_coords):
        return str(CifWriter(structure))
    try:
        return str(CifWriter(structure, symprec=_CIF_SYMPREC))
    except Exception:  # spglib finds no group, or one that its standard cell does not show
        return str(CifWriter(structure))


def _formula(row: Screened) -> str:
    return "" if row.entry.structure is None else row.entry.structure.reduced_formula


def _row(row: Screened) -> tuple[str, ...]:
    g = row.geometry
    assert g is not None  # kept structures were measured
    return (
        str(row.rank),
        _printable(row.entry.name),
        _printable(row.entry.letters or _formula(row)),
        str(g.found_group or "none"),
        f"{g.shortest_distance:.2f}",
        f"{g.density:.2f}",
        f"{g.volume_per_atom:.1f}",
        *("" if math.isnan(x) else f"{x:.4g}" for x in (*row.scores, row.measured)),
    )


def _printable(text: str) -> str:
    """Returns what a terminal can show in a column."""
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= 40 else f"{text[:37]}..."


def encodable(text: str) -> str:
    """Returns the text with question marks for halves of characters, as odd file names have."""
    return text.encode("utf-8", "replace").decode()
