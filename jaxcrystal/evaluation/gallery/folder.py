"""What a folder of the sampler holds beside structures: summary rows, screening, trajectories.

Both kinds of folder: a flat one, and one whose results lie in `parts/*/`.
"""

import csv
from pathlib import Path

from jaxcrystal.errors import DataError
from jaxcrystal.sampling.writers import SUMMARY_NAME

SCREENING_NAME = "screening.csv"
TRAJECTORIES = "trajectories"
#: Columns by which a summary of the sampler is known.
_OURS = {"id", "requested_group", "status"}


def summary_rows(folder: Path) -> dict[str, dict[str, str]]:
    """Returns the rows of the sampler's summary by id; none for any other source.

    While a run is under way its folder has no summary yet, but its parts do.

    Raises:
      DataError: a summary cannot be read.
    """
    whole = folder / SUMMARY_NAME
    paths = [whole] if whole.is_file() else sorted(folder.glob(f"parts/*/{SUMMARY_NAME}"))
    return {row["id"]: row for path in paths for row in _read(path, _OURS)}


def screening_rows(folder: Path) -> dict[str, dict[str, str]]:
    """Returns the rows of `screening.csv` by id; none where there is no such file.

    Raises:
      DataError: it cannot be read.
    """
    path = folder / SCREENING_NAME
    return {row["id"]: row for row in _read(path, {"id"})} if path.is_file() else {}


def trajectory_files(folder: Path) -> dict[str, Path]:
    """Returns the file of frames of each structure that has one, by id."""
    places = [folder / TRAJECTORIES, *sorted(folder.glob(f"parts/*/{TRAJECTORIES}"))]
    return {
        path.name.removesuffix(".extxyz"): path for place in places for path in sorted(place.glob("*.extxyz"))
    }


def _read(path: Path, expected: set[str]) -> list[dict[str, str]]:
    """Returns the rows of a table, all texts; none if columns are not as expected."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, restkey="", restval="")
            if not set(reader.fieldnames or ()) >= expected:
                return []
            return [{key: value for key, value in row.items() if key} for row in reader]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"cannot read {path}: {error}") from error
