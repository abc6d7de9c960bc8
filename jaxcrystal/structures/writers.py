"""Writes samples as files, with their summary."""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from jaxcrystal.errors import RequestError
from jaxcrystal.files import claim_folder
from jaxcrystal.io.arrays import ARRAYS_NAME
from jaxcrystal.io.together import write_together
from jaxcrystal.io.writers import cif_text, conventional_poscar_text, extxyz_text, json_text
from jaxcrystal.structures.arrays import sampled_dataset
from jaxcrystal.structures.finished import Sample
from jaxcrystal.structures.summary import SUMMARY_NAME, GroupCheck, summary_csv, summary_row

FORMATS = ("cif", "extxyz", "json", "npz", "poscar")


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


def write_samples(
    samples: Sequence[Sample],
    out: str | Path,
    formats: Sequence[str] = ("cif",),
    check: GroupCheck = "usual",
) -> Path:
    """Writes structures and `summary.csv`, which comes last, so that it marks a complete folder.

    CIF and POSCAR are one file a structure, extxyz, JSON and NPZ one file in all; trajectories,
    where there are any, are one extxyz file a structure in `trajectories/`.

    Args:
      samples: what to write.
      out: folder; must be empty or not exist.
      formats: some of `FORMATS`.
      check: which groups of the structures are looked for, which takes the most time.
    Returns:
      The folder.
    Raises:
      DataError: the folder is not empty, or cannot be written.
    """
    out = claim_folder(out)
    rows = [summary_row(sample, check) for sample in samples]
    if "npz" in formats:
        sampled_dataset(samples, check).save(out / ARRAYS_NAME)
    write_together(out, chain(_texts(samples, formats), [(SUMMARY_NAME, summary_csv(rows))]))
    return out


def _texts(samples: Sequence[Sample], formats: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yields name and text of each file of structures."""
    names = [sample.name for sample in samples]
    crystals = [sample.crystal for sample in samples]
    cells = [sample.cell for sample in samples]
    if "extxyz" in formats:
        yield "structures.extxyz", extxyz_text(crystals, names, cells)
    if "json" in formats:
        yield "structures.json", json_text(crystals, names, cells)
    for sample in samples:
        if "cif" in formats:
            yield f"{sample.name}.cif", cif_text(sample.crystal, sample.letters, sample.name, sample.cell)
        if "poscar" in formats:
            yield f"{sample.name}.vasp", conventional_poscar_text(sample.crystal, sample.name, sample.cell)
        if sample.trajectory:
            yield f"trajectories/{sample.name}.extxyz", extxyz_text(sample.trajectory)
