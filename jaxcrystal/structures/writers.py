"""Writes samples as files, with their summary."""

from collections.abc import Sequence
from pathlib import Path

from jaxcrystal.errors import RequestError
from jaxcrystal.files import claim_folder, write_text
from jaxcrystal.io.writers import write_cif, write_extxyz, write_json, write_poscar
from jaxcrystal.structures.finished import Sample
from jaxcrystal.structures.summary import SUMMARY_NAME, summary_csv, summary_row

FORMATS = ("cif", "extxyz", "json", "poscar")


def parse_formats(text: str) -> tuple[str, ...]:
    """Returns the formats of a list such as `cif,extxyz`, each once.

    Raises:
      RequestError: a format that is not known.
    """
    formats = tuple(dict.fromkeys(word.strip().lower() for word in text.split(",")))
    for name in formats:
        if name not in FORMATS:
            raise RequestError(f"unknown format {name!r}: expected some of {', '.join(FORMATS)}")
    return formats


def write_samples(samples: Sequence[Sample], out: str | Path, formats: Sequence[str] = ("cif",)) -> Path:
    """Writes structures and `summary.csv`, which comes last, so that it marks a complete folder.

    CIF and POSCAR are one file a structure, extxyz and JSON one file in all; trajectories,
    where there are any, are one extxyz file a structure in `trajectories/`.

    Args:
      samples: what to write.
      out: folder; must be empty or not exist.
      formats: some of `FORMATS`.
    Returns:
      The folder.
    Raises:
      DataError: the folder is not empty, or cannot be written.
    """
    out = claim_folder(out)
    names = [sample.name for sample in samples]
    crystals = [sample.crystal for sample in samples]
    if "extxyz" in formats:
        write_extxyz(out / "structures.extxyz", crystals, names)
    if "json" in formats:
        write_json(out / "structures.json", crystals, names)
    for sample in samples:
        if "cif" in formats:
            write_cif(out / f"{sample.name}.cif", sample.crystal, sample.letters, sample.name)
        if "poscar" in formats:
            write_poscar(out / f"{sample.name}.vasp", sample.crystal, sample.name)
        if sample.trajectory:
            write_extxyz(out / "trajectories" / f"{sample.name}.extxyz", sample.trajectory)
    write_text(out / SUMMARY_NAME, summary_csv(map(summary_row, samples)))
    return out
