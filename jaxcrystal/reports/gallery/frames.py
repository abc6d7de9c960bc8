"""Turns trajectories of the sampler, from noise to the structure, into frames to draw."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxcrystal.errors import DataError, RequestError
from jaxcrystal.io.readers import parse, read_records
from jaxcrystal.reports.gallery.cells import compact_cell
from jaxcrystal.reports.gallery.folder import trajectory_files

#: Structures whose denoising is shown if none is named.
FIRST = 6


def load_frames(folder: Path, wanted: Sequence[str], shown: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Returns the frames of structures, first to last, each as `compact_cell` gives it.

    Args:
      folder: of the sampler.
      wanted: ids of structures; empty: the first `FIRST` that have frames.
      shown: ids of the structures on the page.

    Raises:
      RequestError: there are no trajectories, or not of one that is wanted.
      DataError: a trajectory is damaged.
    """
    files = trajectory_files(folder)
    if not files:
        raise RequestError(
            f"{folder} has no trajectories: `jaxcrystal sample --trajectory N` writes every N-th step"
        )
    for name in wanted:
        if name not in shown:
            raise RequestError(f"--trajectory {name}: not among the {len(shown)} structures shown")
        if name not in files:
            raise RequestError(f"--trajectory {name}: {folder} has no trajectory of it")
    names = list(dict.fromkeys(wanted)) or [name for name in shown if name in files][:FIRST]
    if not names:
        raise RequestError(f"{folder} has trajectories of none of the structures shown")
    return {name: _frames(files[name]) for name in names}


def _frames(path: Path) -> list[dict[str, Any]]:
    frames = []
    for record in read_records(path):
        try:
            structure = parse(record)
            lattice, frac_coords = np.array(structure.lattice.matrix), np.array(structure.frac_coords)
        except Exception as error:  # a library's parser may raise anything
            raise DataError(f"cannot read {path}: {error}") from error
        if np.isfinite(lattice).all() and np.isfinite(frac_coords).all():
            frames.append(compact_cell(lattice, np.array(structure.atomic_numbers), frac_coords))
    if not frames:
        raise DataError(f"{path} holds no frames")
    return frames
