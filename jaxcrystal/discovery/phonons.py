"""Computes the phonons of several crystals, into a folder that can be killed at any moment and goes on.

run.json        what is computed, and how
parts/00000/    the first crystal: a CIF, phonopy's files, phonons.svg, phonons.csv; ...
phonons.csv     all rows, once every part is there
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from jaxcrystal.discovery.gates import Failure
from jaxcrystal.discovery.potentials import find_potential
from jaxcrystal.discovery.relaxed import names_of
from jaxcrystal.discovery.run import Work, digest
from jaxcrystal.discovery.vibrations import (
    MAX_STEPS,
    Phonons,
    PhononSettings,
    phonons_of,
    require_phonopy,
)
from jaxcrystal.files import claim_folder
from jaxcrystal.io.convert import formula
from jaxcrystal.io.together import write_together
from jaxcrystal.io.writers import cif_text
from jaxcrystal.sampling.run_folder import RunFolder
from jaxcrystal.structures.entries import Entry
from jaxcrystal.structures.finished import letters_by_element
from jaxcrystal.structures.screening_files import encodable
from jaxcrystal.structures.summary import PHONONS_NAME, summary_csv
from jaxcrystal.symmetry.orbits import expand_crystal
from jaxcrystal.text import aligned
from jaxcrystal.workers import require_scheduler

COLUMNS = (
    "id",
    "formula",
    "letters",
    "requested_group",
    "group",
    "status",
    "lowest_frequency",
    "lowest_at",
    "lowest_exact",
    "highest_frequency",
    "imaginary",
    "imaginary_share",
    "supercell",
    "atoms",
    "displacements",
    "energy_per_atom",
    "max_force",
    "converged",
    "detail",
)
#: Of modes that are imaginary where the potential says so, and where frequencies are interpolated only.
IMAGINARY, BETWEEN = "imaginary modes", "imaginary where interpolated only"


class PhononFolder(RunFolder):
    """A folder of phonons that is ours."""

    format = "jaxcrystal-phonons-1"
    table = PHONONS_NAME
    columns = COLUMNS


def phonons_to_folder(
    entries: Sequence[Entry], settings: PhononSettings, out: str | Path, work: Work | None = None
) -> PhononFolder:
    """Computes what a folder lacks, and returns it complete: `folder.summary()` has the rows.

    Args:
      entries: relaxed crystals, such as those of `best.best_relaxed`; each is a part of the folder.
      settings: how their phonons are computed.
      out: path or URL; new, empty, or of the same run, which then goes on.
      work: where; default: on this machine.

    Raises:
      JaxcrystalError: phonopy or the potential is not installed, the folder is not ours or holds another
        run, or the cluster cannot be used.
    """
    require_phonopy()
    work = work or Work()
    potential = find_potential(settings.potential)
    if work.dask is not None:
        require_scheduler(work.dask)
    folder = PhononFolder(
        out,
        asdict(settings)
        | {"version": potential.version, "structures": len(entries), "digest": digest(entries)},
    )
    there = folder.parts()
    missing = [part for part in range(len(entries)) if part not in there]
    names = names_of(entries)
    compute = partial(phonons_of, settings=settings)
    outcomes = work.stream(compute, [entries[part] for part in missing], "phonons")
    for part, outcome in zip(missing, outcomes, strict=True):
        fill = partial(_write, names[part], entries[part], outcome, settings)
        folder.write_with(part, fill)
    if not folder.complete:
        folder.finish(len(entries))
    return folder


def _write(name: str, entry: Entry, outcome: Phonons | Failure, settings: PhononSettings, out: Path) -> None:
    """Writes the files of a crystal; the table comes last."""
    claim_folder(out)
    files: dict[str, str] = {}
    if isinstance(outcome, Phonons):
        ground = outcome.ground
        files[f"{name}.cif"] = cif_text(ground.crystal, ground.letters, name, expand_crystal(ground.crystal))
        files |= outcome.files
    rows = summary_csv([_row(name, entry, outcome, settings)], columns=COLUMNS)
    write_together(out, [*files.items(), (PHONONS_NAME, rows)])


def _row(name: str, entry: Entry, outcome: Phonons | Failure, settings: PhononSettings) -> dict[str, str]:
    """Returns a row: THz, eV, eV/Å; empty where there is nothing."""
    found = dict.fromkeys(COLUMNS, "") | {
        "id": name,
        "formula": "" if entry.structure is None else formula(np.array(entry.structure.atomic_numbers)),
        "letters": entry.letters,
        "requested_group": str(entry.requested_group or ""),
    }
    if isinstance(outcome, Failure):
        return found | {"status": outcome.word, "detail": encodable(outcome.detail)}
    ground = outcome.ground
    copies = outcome.supercell
    return found | {
        "letters": letters_by_element(ground.crystal.species, ground.letters),
        "group": str(ground.group_after),
        "status": "ok",
        "lowest_frequency": f"{outcome.lowest + 0.0:.3f}",
        "lowest_at": " ".join(f"{x + 0.0:.4f}" for x in outcome.lowest_at),
        "lowest_exact": f"{outcome.lowest_exact + 0.0:.3f}",
        "highest_frequency": f"{outcome.highest:.3f}",
        "imaginary": "yes" if outcome.lowest < -settings.imaginary else "no",
        "imaginary_share": f"{outcome.imaginary_share:.4f}",
        "supercell": "x".join(map(str, copies)),
        "atoms": str(len(expand_crystal(ground.crystal).species) * copies[0] * copies[1] * copies[2]),
        "displacements": str(outcome.displacements),
        "energy_per_atom": f"{ground.energy_per_atom:.6f}",
        "max_force": f"{ground.max_force:.5f}",
        "converged": "yes" if ground.converged else "no",
    }


def verdict(row: Mapping[str, str], threshold: float) -> str:
    """Returns what is against a crystal with such phonons, in words; empty: nothing.

    Args:
      row: of `phonons.csv`.
      threshold: THz; `PhononSettings.imaginary`.
    """
    if row["status"] != "ok":
        return row["status"]
    if row["imaginary"] != "yes":
        return ""
    return IMAGINARY if float(row["lowest_exact"]) < -threshold else BETWEEN


def describe(rows: Iterable[Mapping[str, str]], threshold: float) -> tuple[str, list[str]]:
    """Returns the rows as a table with a line about all, and warnings.

    Args:
      rows: of `phonons.csv`.
      threshold: THz; `PhononSettings.imaginary`.
    """
    rows = list(rows)
    head = ("id", "formula", "group", "lowest", "exact", "highest", "supercell", "displaced", "imaginary")
    shown = ("id", "formula", "group", "lowest_frequency", "lowest_exact", "highest_frequency", "supercell")
    lines = aligned(
        [
            head,
            *(
                (*(row[name] for name in shown), row["displacements"], row["imaginary"] or row["status"])
                for row in rows
            ),
        ],
        left=(0, 1),
    )
    done = [row for row in rows if row["status"] == "ok"]
    soft = [row for row in done if row["imaginary"] == "yes"]
    lines += [
        "",
        f"{len(rows)} crystals: {len(done) - len(soft)} without imaginary modes (below -{threshold:g} THz), "
        f"{len(soft)} with, {len(rows) - len(done)} failed",
    ]
    warnings = [f"{row['id']} failed: {row['status']} ({row['detail']})" for row in rows if row not in done]
    unfinished = [row["id"] for row in done if row.get("converged") == "no"]
    if unfinished:
        warnings.append(
            f"{', '.join(unfinished)}: not at a minimum after {MAX_STEPS} steps, so that frequencies may be "
            "wrong"
        )
    between = [row["id"] for row in soft if verdict(row, threshold) == BETWEEN]
    if between:
        warnings.append(
            f"{', '.join(between)}: imaginary only where frequencies are interpolated; a larger --min-length "
            "may tell otherwise"
        )
    return "\n".join(lines), warnings
