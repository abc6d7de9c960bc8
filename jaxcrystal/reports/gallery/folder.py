"""Reads what a folder of the sampler holds beside structures and summary: screening and trajectories."""

import csv
from pathlib import Path

from jaxcrystal.errors import DataError
from jaxcrystal.structures.folder import part_folders
from jaxcrystal.structures.screening_files import SCREENING_NAME
from jaxcrystal.text import cell_text

TRAJECTORIES = "trajectories"


def screening_rows(folder: Path) -> dict[str, dict[str, str]]:
    """Returns the rows of `screening.csv` by id; none where there is no such file.

    Raises:
      DataError: it cannot be read.
    """
    path = folder / SCREENING_NAME
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


def trajectory_files(folder: Path) -> dict[str, Path]:
    """Returns the file of frames of each structure that has one, by id."""
    places = [place / TRAJECTORIES for place in (folder, *part_folders(folder))]
    return {
        path.name.removesuffix(".extxyz"): path for place in places for path in sorted(place.glob("*.extxyz"))
    }
