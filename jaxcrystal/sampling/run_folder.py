"""Writes the folder of a long sampling part by part, so that it can be interrupted anywhere.

    run.json        what is sampled, and with which settings
    parts/00000/    the first structures, as `writers.write_samples` writes them; ...
    summary.csv     all rows, once every part is there

Which structures a part holds follows from the request alone. A part gets its name when it is
complete; one that is missing is sampled again, from the same seeds. At a URL a part is one
object, parts/00000.zip: see `part_stores`.
"""

import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

from jaxcrystal.errors import DataError, RequestError, one_line
from jaxcrystal.remote import is_url
from jaxcrystal.requests.candidates import Candidate, Candidates
from jaxcrystal.sampling.batches import WINDOW, by_shape
from jaxcrystal.sampling.part_stores import Fill, part_store
from jaxcrystal.structures.finished import Sample
from jaxcrystal.structures.folder import RUN_NAME, some_rows
from jaxcrystal.structures.summary import COLUMNS, SUMMARY_NAME, GroupCheck, parse_summary, summary_csv
from jaxcrystal.structures.writers import write_samples
from jaxcrystal.text import json_ready

FORMAT = "jaxcrystal-run-1"
#: Structures of a part: what a kill can cost, against the number of folders.
PART_SIZE = 32


@dataclass(frozen=True)
class Shard:
    """One of several jobs that share a run and need nothing of each other.

    Attributes:
      index: which, from 1.
      count: how many.
    """

    index: int = 1
    count: int = 1

    def parts(self, total: int) -> range:
        """Returns the parts, of so many, that this job samples."""
        return range(self.index - 1, total, self.count)


def parse_shard(text: str) -> Shard:
    """Returns the job that a text such as `3/16` names.

    Raises:
      RequestError: it names none.
    """
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    shard = Shard(int(match[1]), int(match[2])) if match else Shard(0, 0)
    if not 1 <= shard.index <= shard.count:
        raise RequestError(f"--shard is {text!r}; expected I/N with I from 1 to N, such as 3/16")
    return shard


def parts_of(
    candidates: Sequence[Candidate], parts: Iterable[int], size: int = PART_SIZE
) -> Iterator[tuple[int, list[Candidate]]]:
    """Yields some parts with their structures, of one shape as far as possible, in the order of the sampler.

    They are ordered by shape within a window of the run, so that no more than one is held.

    Args:
      candidates: of the whole run.
      parts: which, ascending.
      size: structures of a part.
    """
    in_window = max(1, WINDOW // size)
    for window, numbers in groupby(parts, lambda part: part // in_window):
        first = window * in_window
        members = by_shape(candidates[first * size : (first + in_window) * size]).values()
        ordered = [candidate for of_shape in members for candidate in of_shape]
        for part in numbers:
            yield part, ordered[(part - first) * size : (part - first + 1) * size]


def digest(candidates: Candidates) -> str:
    """Returns a short digest of what is asked for, the letters of the first window included."""
    content = hashlib.sha256()
    for candidate in candidates[:WINDOW]:
        told = f" {candidate.cond}" if candidate.cond else ""
        content.update(f"{candidate.order.text} {candidate.number} {candidate.letters}{told}\n".encode())
    if len(candidates) > WINDOW:
        content.update(f"{len(candidates)}\n".encode())
        for order, count in zip(candidates.orders, candidates.counts, strict=True):
            content.update(f"{order.text} {count}\n".encode())
        for name, column in sorted(candidates.cond.items()):
            content.update(name.encode() + (column[:1] if column.strides == (0,) else column).tobytes())
    return content.hexdigest()[:16]


class OtherSettings(DataError):
    """A run folder holds a run with other settings."""


class RunFolder:
    """A run folder that is ours.

    Args:
      path: path or URL; new, empty, or of the same run, which then goes on.
      settings: all that the structures depend on; values that JSON can hold.

    Attributes:
      format: what `run.json` says is in the folder.
      table: name of the summary, of each part and of all.
      columns: of the summary.

    Raises:
      DataError: it holds something else or another run, or cannot be written.
    """

    format = FORMAT
    table = SUMMARY_NAME
    columns: Sequence[str] = COLUMNS

    def __init__(self, path: str | Path, settings: Mapping[str, Any]) -> None:
        self.path = path if is_url(path) else Path(path)
        self._store = part_store(path)
        self._settings = json.loads(json.dumps(json_ready(settings)))
        if self._store.read(RUN_NAME) is None:
            if not self._store.others():
                text = json.dumps({"format": self.format, "settings": self._settings}, indent=1) + "\n"
                self._store.write(RUN_NAME, lambda file: _write_text(file, text))
            elif self._store.read(RUN_NAME) is None:  # else another job of the run was a moment faster
                raise DataError(f"{path} is not empty: choose another --out, nothing is overwritten")
        self._require_same()

    @property
    def complete(self) -> bool:
        """Whether every part is there, and the summary."""
        return self._store.has(self.table)

    def parts(self) -> set[int]:
        """Returns the numbers of the parts that are there; they are whole."""
        return self._store.parts()

    def write(
        self, part: int, samples: Sequence[Sample], formats: Sequence[str], check: GroupCheck = "usual"
    ) -> None:
        """Writes a part, whole or not at all; see `writers.write_samples`.

        Raises:
          DataError: it cannot be written.
        """
        self.write_with(part, lambda folder: write_samples(samples, folder, formats, check))

    def write_with(self, part: int, fill: Fill) -> None:
        """Writes a part, whole or not at all.

        Args:
          part: which.
          fill: writes its files, the summary among them, into a local folder, which it makes.

        Raises:
          DataError: it cannot be written.
        """
        self.require_ours()
        self._store.write_part(part, fill)

    def require_ours(self) -> None:
        """Checks that the folder still holds this run.

        Of two runs that were started together in a new folder, one may have written its settings over those
        of the other.

        Raises:
          DataError: it was removed while the run was on, so that nothing could go on with it, or holds
            another run.
        """
        if not self._store.has(RUN_NAME):
            raise DataError(f"{self.path} was removed, or its {RUN_NAME} was, while the run was on")
        self._require_same()

    def rows(self, parts: Iterable[int]) -> Iterator[dict[str, str]]:
        """Yields the rows of some parts.

        Raises:
          DataError: one of them is not there, cannot be read, or has no rows.
        """
        for part in parts:
            content, where = self._store.read_part(part, self.table), f"part {part} of {self.path}"
            lines = io.TextIOWrapper(io.BytesIO(content), "utf-8", newline="")
            yield from some_rows(parse_summary(lines, where), where, self.table)

    def summary(self) -> Iterator[dict[str, str]]:
        """Yields the rows of a complete run.

        Raises:
          DataError: the summary is not there, or cannot be read.
        """
        with self._store.lines(self.table) as lines:
            yield from parse_summary(lines, f"{self.path}/{self.table}")

    def finish(self, parts: int) -> None:
        """Writes the summary of all parts. Several jobs may do so at once: they write the same.

        Raises:
          DataError: it cannot be written, or a part lacks rows.
        """

        def write(file: BinaryIO) -> None:
            total = 0
            for part in range(parts):
                rows = list(self.rows([part]))
                _write_text(file, summary_csv(rows, part == 0, self.columns))
                total += len(rows)
            if total != (expected := self._settings.get("structures", total)):
                raise DataError(
                    f"the parts of {self.path} have {total} rows, expected {expected}: some are damaged; "
                    "without these, the same command makes them again"
                )

        try:
            self._store.write(self.table, write)
        except DataError:
            # Another job has finished the run, and taken the half written file for that of a killed one.
            if not self.complete:
                raise
        self._store.clean()

    def _require_same(self) -> None:
        path = f"{self.path}/{RUN_NAME}"
        try:
            found = json.loads(self._store.read(RUN_NAME) or b"")
            form, before = found["format"], dict(found["settings"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DataError(
                f"{path} is not of a run of jaxcrystal: choose another --out ({one_line(error, 80)})"
            ) from error
        if form != self.format:
            raise DataError(
                f"{path} is of format {form!r:.40}, this command writes {self.format!r}: choose another --out"
            )
        now = self._settings
        changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        if changed:
            listed = ", ".join(f"{name} ({before.get(name)!r}, now {now.get(name)!r})" for name in changed)
            raise OtherSettings(
                f"{self.path} holds a run with other settings: {listed[:150]}; choose another --out, or the "
                "same settings to go on with it"
            )


def _write_text(file: BinaryIO, text: str) -> None:
    file.write(text.encode())
