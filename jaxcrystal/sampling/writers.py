"""Samples as files, a summary table, and the same in a few lines for the terminal."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from jaxcrystal.data.files import write_text
from jaxcrystal.data.writers import write_cif, write_extxyz, write_json, write_poscar
from jaxcrystal.errors import DataError, RequestError, Status
from jaxcrystal.sampling.samples import Sample, Samples

FORMATS = ("cif", "extxyz", "json", "poscar")
SUMMARY_NAME = "summary.csv"
_COLUMNS = (
    "id",
    "formula",
    "letters",
    "requested_group",
    "found_group",
    "found_group_strict",
    "a",
    "b",
    "c",
    "alpha",
    "beta",
    "gamma",
    "volume_per_atom",
    "shortest_distance",
    "valid",
    "status",
)


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


def claim_folder(out: str | Path) -> Path:
    """Makes the folder that results will be written to.

    Raises:
      DataError: it holds something already, or cannot be made.
    """
    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise DataError(f"{out} is not empty: choose another --out, nothing is overwritten")
    except OSError as error:
        raise DataError(f"cannot write to {out}: {error.strerror or error}") from error
    return out


def write_samples(samples: Samples, out: str | Path, formats: Sequence[str] = ("cif",)) -> Path:
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
    write_text(out / SUMMARY_NAME, summary_csv(samples))
    return out


def summary_csv(samples: Samples) -> str:
    """Returns one row a structure; lengths in Å, angles in degrees, volume in Å³ an atom."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for sample in samples:
        lengths, angles = sample.lengths_angles
        writer.writerow(
            [
                sample.name,
                sample.formula,
                sample.wyckoff,
                sample.space_group,
                sample.found_group,
                sample.found_group_strict,
                *(f"{x:.4f}" for x in lengths),
                *(f"{x:.3f}" for x in angles),
                f"{sample.audit.volume_per_atom:.3f}",
                f"{sample.audit.shortest_distance:.3f}",
                sample.valid,
                sample.status,
            ]
        )
    return text.getvalue()


def table(samples: Samples, max_rows: int = 16) -> str:
    """Returns the first rows as a table for the terminal, and a line about all of them."""
    head = ("id", "letters", "group", "found", "a", "b", "c", "Å³/atom", "shortest", "valid")
    rows = [head, *(_row(sample) for sample in samples[:max_rows])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [
        "  ".join(
            word.ljust(width) if column < 2 else word.rjust(width)
            for column, (word, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    if len(samples) > max_rows:
        lines.append(f"... and {len(samples) - max_rows} more in {SUMMARY_NAME}")
    valid = sum(sample.valid for sample in samples)
    exact = sum(sample.found_group == sample.space_group for sample in samples)
    formulas = Counter(sample.formula for sample in samples).most_common(4)
    lines.append("")
    lines.append(
        f"{len(samples)} crystals: {valid} valid (no atoms nearer than 0.5 Å), {exact} in the group asked "
        f"for; commonest {', '.join(f'{name} ({count})' for name, count in formulas)}"
    )
    return "\n".join(lines)


def describe_flags(samples: Samples) -> list[str]:
    """Returns a line for each reason why structures were stopped early."""
    counts = Counter(sample.flags for sample in samples if sample.flags)
    return [
        f"{count} of {len(samples)} crystals stopped early and count as not valid: {Status(flags).describe()}"
        for flags, count in counts.items()
    ]


def _row(sample: Sample) -> tuple[str, ...]:
    lengths, _ = sample.lengths_angles
    return (
        sample.name,
        sample.wyckoff,
        str(sample.space_group),
        str(sample.found_group or "none"),
        *(f"{x:.2f}" for x in lengths),
        f"{sample.audit.volume_per_atom:.1f}",
        f"{sample.audit.shortest_distance:.2f}",
        "yes" if sample.valid else "no" if sample.status == "ok" else sample.status,
    )
