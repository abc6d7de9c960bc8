"""Writes the logs of a run: CSV files that a resumed run continues, and TensorBoard."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxcrystal.errors import DataError, one_line
from jaxcrystal.files import write_text
from jaxcrystal.text import csv_text
from jaxcrystal.training.validation import LevelLosses

LOG_COLUMNS = (
    "step",
    "structures",
    "seconds",
    "learning_rate",
    "coords",
    "lattice",
    "gradient_norm",
    "cut_share",
)
VALIDATION_COLUMNS = ("step", "sites", "level", "sigma_coords", "sigma_lattice", "coords", "lattice")
_FILES = {"log.csv": LOG_COLUMNS, "validation.csv": VALIDATION_COLUMNS}


class Logs:
    """What a run reports: log.csv, validation.csv and, if asked for, TensorBoard's events.

    Args:
      folder: of the run.
      step: updates done; rows beyond them, of a run that was killed, are cut off.
      tensorboard: write events below `folder`/tensorboard too.
      enabled: False writes nothing (all processes of a run but one).

    Raises:
      DataError: tensorboardX is asked for and not installed.
    """

    def __init__(self, folder: Path, step: int, tensorboard: bool = False, enabled: bool = True) -> None:
        self._folder, self._enabled, self._writer = folder, enabled, None
        if not enabled:
            return
        for name in _FILES:
            cut_rows_after(folder / name, step)
        if tensorboard:
            require_tensorboard()
            from tensorboardX import SummaryWriter

            self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def update(self, values: Sequence[Any]) -> None:
        """Writes a row of log.csv: the values of `LOG_COLUMNS`."""
        self._append("log.csv", [values])
        step, *rest = values
        self._events(step, {f"training/{n}": v for n, v in zip(LOG_COLUMNS[1:], rest, strict=True)})

    def validation(self, step: int, losses: list[LevelLosses]) -> None:
        """Writes the losses of every level."""
        rows = [(step, *row) for result in losses for row in result.rows()]
        self._append("validation.csv", rows)
        for _, sites, level, *_, coords, lattice in rows:
            for name, value in (("coords", coords), ("lattice", lattice)):
                self._events(step, {f"validation_{sites}_{name}/level_{level:02d}": value})

    def close(self) -> None:
        """Ends the events file."""
        if self._writer is not None:
            self._writer.close()

    def _append(self, name: str, rows: Sequence[Sequence[Any]]) -> None:
        if self._enabled:
            append_rows(self._folder / name, _FILES[name], rows)

    def _events(self, step: int, values: dict[str, Any]) -> None:
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)


def require_tensorboard() -> None:
    """Raises DataError where TensorBoard's events cannot be written."""
    try:
        import tensorboardX  # noqa: F401
    except ImportError as error:
        fix = "pip install 'jaxcrystal[tensorboard]'"
        raise DataError(f"log.tensorboard needs tensorboardX: {fix}") from error


def append_rows(path: Path, columns: tuple[str, ...], rows: Sequence[Sequence[Any]]) -> None:
    """Adds rows to a CSV file, the header first if it is new; on the disk when this returns.

    Numbers have nine digits, which tell any two of single precision apart.

    Raises:
      DataError: the file cannot be written.
    """
    head = [] if path.exists() else [columns]
    numbers = ([f"{x:.9g}" if isinstance(x, float) else x for x in row] for row in rows)
    try:
        with path.open("a", newline="", encoding="utf-8") as file:
            file.write(csv_text([*head, *numbers]))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error


def cut_rows_after(path: Path, step: int) -> None:
    """Cuts the rows that a resumed run will write again, and a line that a kill tore.

    Raises:
      DataError: it is no log.
    """
    if not path.exists():
        return
    # A line is whole if its newline is there; what stands after the last one is torn.
    try:
        header, *rows = path.read_text(encoding="utf-8").split("\n")[:-1] or [""]
        kept = [row for row in rows if int(row.split(",")[0]) <= step]
    except ValueError as error:
        raise DataError(f"cannot read {path}: {one_line(error)}; a run can go on without it") from error
    if not header:
        path.unlink()
        return
    write_text(path, "\n".join([header, *kept]) + "\n")


def read_rows(path: Path) -> list[dict[str, str]]:
    """Returns the rows of a log, none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
