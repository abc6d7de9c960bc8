"""Writes the folder of a long sampling part by part, so that it can be interrupted anywhere.

    run.json        what is sampled, and with which settings
    parts/00000/    the first structures, as `writers.write_samples` writes them; ...
    summary.csv     all rows, once every part is there

Which structures a part holds follows from the request alone. A part is renamed to its place
when it is complete; one that is missing is sampled again, from the same seeds.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from jaxcrystal.errors import DataError
from jaxcrystal.files import claim_folder, is_partial, write_atomically, write_text
from jaxcrystal.requests.candidates import Candidate
from jaxcrystal.sampling.batches import by_shape
from jaxcrystal.structures.finished import Sample
from jaxcrystal.structures.folder import RUN_NAME
from jaxcrystal.structures.summary import SUMMARY_NAME, GroupCheck, read_summary, summary_csv
from jaxcrystal.structures.writers import write_samples

FORMAT = "jaxcrystal-run-1"
#: Structures of a part: what a kill can cost, against the number of folders.
PART_SIZE = 32


def cut_in_parts(candidates: Sequence[Candidate], size: int = PART_SIZE) -> list[list[Candidate]]:
    """Returns the structures of each part: of one shape as far as possible, in the order of the sampler."""
    ordered = [candidate for members in by_shape(candidates).values() for candidate in members]
    return [ordered[first : first + size] for first in range(0, len(ordered), size)]


def digest(candidates: Sequence[Candidate]) -> str:
    """Returns a short digest of what is asked for, letters included."""
    content = hashlib.sha256()
    for candidate in candidates:
        told = f" {candidate.cond}" if candidate.cond else ""
        content.update(f"{candidate.order.text} {candidate.number} {candidate.letters}{told}\n".encode())
    return content.hexdigest()[:16]


class RunFolder:
    """A run folder that is ours.

    Args:
      path: new, empty, or of the same run, which then goes on.
      settings: all that the structures depend on; values that JSON can hold.

    Raises:
      DataError: it holds something else or another run, or cannot be written.
    """

    def __init__(self, path: str | Path, settings: Mapping[str, Any]) -> None:
        self.path = Path(path)
        wanted = {"format": FORMAT, "settings": json.loads(json.dumps(settings))}
        try:
            if (self.path / RUN_NAME).exists():
                self._require_same(wanted)
            else:
                claim_folder(self.path, leftovers=True)
                write_text(self.path / RUN_NAME, json.dumps(wanted, indent=1) + "\n")
        except OSError as error:
            raise DataError(f"cannot write to {self.path}: {error.strerror or error}") from error

    @property
    def complete(self) -> bool:
        """Whether every part is there, and the summary."""
        return (self.path / SUMMARY_NAME).exists()

    def has(self, part: int) -> bool:
        """Returns whether a part is there; it is whole then."""
        return self._part(part).exists()

    def write(
        self, part: int, samples: Sequence[Sample], formats: Sequence[str], check: GroupCheck = "usual"
    ) -> None:
        """Writes a part, whole or not at all; see `writers.write_samples`.

        Raises:
          DataError: it cannot be written.
        """
        place = self._part(part)
        temporary = place.with_name(f".{place.name}.part")
        try:
            shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
            write_samples(samples, temporary, formats, check)
            os.rename(temporary, place)
        except OSError as error:
            raise DataError(f"cannot write {place}: {error.strerror or error}") from error
        except DataError:
            shutil.rmtree(temporary, ignore_errors=True)  # of a disk that is full
            raise

    def finish(self, parts: int) -> None:
        """Writes the summary of all parts.

        Raises:
          DataError: it cannot be written.
        """

        def write(file: BinaryIO) -> None:
            for part in range(parts):
                rows = read_summary(self._part(part) / SUMMARY_NAME)
                file.write(summary_csv(rows, head=part == 0).encode())

        write_atomically(self.path / SUMMARY_NAME, write)
        for place in (self.path, self.path / "parts"):
            for left in filter(is_partial, place.iterdir()):  # by processes that were killed
                shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)

    def _part(self, part: int) -> Path:
        return self.path / "parts" / f"{part:05d}"

    def _require_same(self, wanted: Mapping[str, Any]) -> None:
        path = self.path / RUN_NAME
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            form, before = found["format"], dict(found["settings"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path} is not of a run of jaxcrystal: choose another --out ({error})"
            ) from error
        if form != FORMAT:
            raise DataError(
                f"{path} is of format {form!r}, this version writes {FORMAT!r}: choose another --out"
            )
        now = wanted["settings"]
        changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        if changed:
            listed = ", ".join(f"{name} ({before.get(name)!r}, now {now.get(name)!r})" for name in changed)
            raise DataError(
                f"{self.path} holds a run with other settings: {listed[:300]}; choose another --out, or the "
                "same settings to go on with it"
            )
