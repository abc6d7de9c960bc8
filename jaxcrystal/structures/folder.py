"""Reads the folder of a sampling run: its parts, and the rows of their summaries."""

from collections.abc import Iterator
from pathlib import Path

from jaxcrystal.files import is_partial
from jaxcrystal.structures.summary import SUMMARY_NAME, read_summary

RUN_NAME = "run.json"


def part_folders(folder: Path) -> list[Path]:
    """Returns the parts of a run folder that are there; none if it is no run folder."""
    if not (folder / RUN_NAME).is_file():
        return []
    return sorted(path for path in (folder / "parts").glob("*") if not is_partial(path))


def summary_rows(folder: Path) -> Iterator[dict[str, str]]:
    """Yields the rows of a folder of the sampler, of all parts where it has some; none for other folders."""
    parts = part_folders(folder)
    for place in parts or [folder]:
        if parts or (place / SUMMARY_NAME).is_file():
            yield from read_summary(place / SUMMARY_NAME)
