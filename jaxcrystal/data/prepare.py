"""From files of structures to one data set, in parallel processes."""

import csv
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path

from jaxcrystal.data.dataset import CANONICAL, Dataset, PreparedSites, stack
from jaxcrystal.data.symmetrize import SYMPREC, symmetrize
from jaxcrystal.environment import num_cpus
from jaxcrystal.errors import DataError, one_line
from jaxcrystal.files import require_absent, write_text
from jaxcrystal.io.readers import AFLOW, PROPERTIES, Record, read, read_records
from jaxcrystal.io.rejection import Reason, Rejected
from jaxcrystal.io.sources import Skipped, column_names
from jaxcrystal.remote import local_copy
from jaxcrystal.text import cell_text, csv_text
from jaxcrystal.workers import in_processes

_CHUNK = 64
#: Characters of a library's message that are kept.
_DETAIL = 300
REJECTED_NAME = "rejected.csv"
_REJECTED_COLUMNS = ["data", "id", "reason", "detail"]


@dataclass(frozen=True)
class PrepareReport:
    """What became of every structure.

    Attributes:
      read: structures in the sources.
      accepted: those in the data set.
      rejected: how many were refused, by reason.
      out: the data set.
      rejected_out: the table of refused structures.
      skipped: what was passed over in folders and archives, in one line; empty if nothing was.
    """

    read: int
    accepted: int
    rejected: dict[str, int]
    out: Path
    rejected_out: Path
    skipped: str = ""

    def describe(self) -> str:
        """Returns the report in a few lines."""
        lines = [f"{self.read} structures read, {self.accepted} accepted -> {self.out}"]
        refused = ", ".join(f"{count} {reason}" for reason, count in sorted(self.rejected.items()))
        lines.append(f"{self.read - self.accepted} rejected ({refused or 'none'}) -> {self.rejected_out}")
        lines += [self.skipped] if self.skipped else []
        return "\n".join(lines)


def prepare(
    sources: str | Path | Iterable[str | Path],
    out: str | Path,
    max_sites: int = 20,
    processes: int | None = None,
    progress: bool = True,
    keep: Sequence[str] = (),
) -> PrepareReport:
    """Symmetrises every structure of the sources and writes a `Dataset`.

    Beside it, `rejected.csv` lists each refused structure with the reason; rows of
    other data sets in the same folder stay. The data set is written last, complete or
    not at all, and the result does not depend on the number of processes. In a script,
    call it under `if __name__ == "__main__":`, since the processes import the script.

    Args:
      sources: see `readers.read_structures`.
      out: the file to write, `.npz`; must not exist.
      max_sites: structures with more inequivalent sites are refused.
      processes: worker processes, default one a CPU; 1 works in this process.
      progress: show a progress bar.
      keep: names of columns (or of numbers in a JSON document) that become `Dataset.columns`, NaN
        where a structure has none.

    Raises:
      DataError: `out` exists or cannot be written, a source cannot be read, not one structure was
        accepted, or none has a number in a column that is to be kept.
    """
    listed = [sources] if isinstance(sources, str | Path) else list(sources)
    out = _new_file(Path(out))
    if max_sites < 1:
        raise DataError(f"max_sites is {max_sites}, expected 1 or more")

    tables = [column_names(source) for source in listed]
    known = [names for names in tables if names is not None]
    if len(known) == len(tables):
        _require_numbers(keep, {*PROPERTIES}.union(*known))

    rejected_out = out.with_name(REJECTED_NAME)
    of_others = _rejected_of_others(rejected_out, out.name)

    ids: list[str] = []
    accepted: list[PreparedSites] = []
    properties: list[dict[str, float]] = []
    rejected: list[tuple[str, str, str]] = []
    skipped = Skipped()
    records = _with_properties(read_records(listed, skipped), {*PROPERTIES, *keep})
    outcomes = _work(records, max_sites, processes or num_cpus())
    for record_id, values, result in _with_bar(outcomes, progress):
        if isinstance(result, Rejected):
            rejected.append((record_id, str(result.reason), result.detail))
        else:
            ids.append(record_id)
            accepted.append(result)
            properties.append(values)

    if accepted:
        _require_numbers(keep, set().union(*properties))
    named = ([out.name, *row] for row in rejected)
    write_text(rejected_out, csv_text([_REJECTED_COLUMNS, *of_others, *named]))
    if not accepted:
        passed_over = f"; {skipped.describe()}" if skipped.reasons else ""
        raise DataError(
            f"no structure could be used, {len(rejected)} rejected: see {rejected_out}{passed_over}"
        )
    info = {"sources": [str(source) for source in listed], "max_sites": max_sites, "symprec": SYMPREC}
    info[CANONICAL] = True
    info["read"], info["rejected"] = len(ids) + len(rejected), dict(Counter(r[1] for r in rejected))
    dataset = stack(ids, accepted, properties, info, keep)
    dataset.save(out)
    return PrepareReport(
        read=len(ids) + len(rejected),
        accepted=len(dataset),
        rejected=dict(Counter(reason for _, reason, _ in rejected)),
        out=out,
        rejected_out=rejected_out,
        skipped=skipped.describe(),
    )


def _new_file(out: Path) -> Path:
    """Returns the file to write, which ends in .npz and does not exist."""
    if out.is_dir():
        raise DataError(f"{out} is a folder: name the .npz file that is to be written")
    out = out if out.suffix == ".npz" else out.with_name(out.name + ".npz")
    require_absent(out)
    return out


def _require_numbers(keep: Sequence[str], known: Set[str]) -> None:
    for name in keep:
        if name not in known:
            raise DataError(f"no structure has a number named {name!r} to keep")


def _with_properties(records: Iterator[Record], wanted: Set[str]) -> Iterator[Record]:
    """Yields records without the numbers that nobody wants, which need not travel to the workers."""
    for record in records:
        kept = {name: record.properties[name] for name in wanted & record.properties.keys()}
        yield replace(record, properties=kept)


def load_or_prepare(source: str | Path) -> Dataset:
    """Returns a prepared data set (.npz), by path or URL; any other source is prepared on the spot."""
    if Path(source).suffix == ".npz":
        return Dataset.load(source)
    with tempfile.TemporaryDirectory() as folder, local_copy(source) as path:
        out = Path(folder) / "prepared.npz"
        embedded = str(source) == AFLOW
        prepare(path, out, processes=1 if embedded else None, progress=not embedded)
        return Dataset.load(out)


Outcome = tuple[str, dict[str, float], PreparedSites | Rejected]


def prepare_record(record: Record, max_sites: int) -> Outcome:
    """Parses and symmetrises one structure; a refusal is returned, never raised."""
    result: PreparedSites | Rejected
    try:
        try:
            structure = read(record)
        except Rejected:
            raise
        except Exception as error:  # a library's parser may raise anything
            raise Rejected(Reason.UNPARSABLE, one_line(error, _DETAIL)) from error
        result = symmetrize(structure, max_sites)
    except Rejected as refusal:
        result = refusal
    except Exception as error:  # one odd structure must not stop a long run
        result = Rejected(Reason.SYMMETRY_FAILED, one_line(error, _DETAIL))
    return record.source_id, record.properties, result


def _work(records: Iterator[Record], max_sites: int, processes: int) -> Iterator[Outcome]:
    """Yields the outcome of every record, in order; few structures are done right here."""
    chunks = iter(lambda: list(islice(records, _CHUNK)), [])
    first = list(islice(chunks, 2))
    if processes > 1 and len(first) == 2:
        one = partial(prepare_record, max_sites=max_sites)
        yield from chain.from_iterable(in_processes(one, chain(first, chunks), processes))
        return
    for record in chain.from_iterable(chain(first, chunks)):
        yield prepare_record(record, max_sites)


def _with_bar(outcomes: Iterator[Outcome], progress: bool) -> Iterator[Outcome]:
    from tqdm import tqdm

    return iter(tqdm(outcomes, desc="prepare", unit=" structures", disable=not progress, smoothing=0))


def _rejected_of_others(path: Path, data_name: str) -> list[list[str]]:
    """Returns the rows of other data sets of the same folder, which stay.

    Raises:
      DataError: the file cannot be read, or is another table.
    """
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            table = list(csv.reader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"cannot read {path}: {one_line(error)}") from error
    if not table or table[0] != _REJECTED_COLUMNS:
        raise DataError(f"{path} is not a table of jaxcrystal: move it away, or choose another folder")
    return [row for row in table[1:] if row and cell_text(row[0]) != data_name]
