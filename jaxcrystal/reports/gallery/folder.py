"""Finds the trajectories that a folder of the sampler holds beside structures and summary."""

from pathlib import Path

from jaxcrystal.structures.folder import part_folders

TRAJECTORIES = "trajectories"


def trajectory_files(folder: Path) -> dict[str, Path]:
    """Returns the file of frames of each structure that has one, by id."""
    places = [place / TRAJECTORIES for place in (folder, *part_folders(folder))]
    return {
        path.name.removesuffix(".extxyz"): path for place in places for path in sorted(place.glob("*.extxyz"))
    }
