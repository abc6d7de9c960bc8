"""Arranges the figures of an evaluation as rows of a table, beside the paper's."""

from dataclasses import dataclass
from typing import Any

from jaxcrystal.text import aligned

#: Table 1 of the paper: the model, and 1,000 real structures of its training set. Coverage in
#: the protocol called `paper` here.
PAPER = {"COV-P": 0.972, "COV-R": 0.965, "FD CrystalNN": 0.102, "FD CGCNN": 0.682}
PAPER_REAL = {"COV-P": 0.998, "COV-R": 0.968, "FD CrystalNN": 0.012, "FD CGCNN": 0.044}
#: Structures generated for the paper's row.
_PAPER_SAMPLES = 1000


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
      name: what it is.
      value: in words; a dash where there is none.
      of: the denominator.
      better: `high` or `low`: which is better.
      paper: the paper's figure of the same name, if it has one.
      real: the paper's figure for real structures.
    """

    name: str
    value: str
    of: str
    better: str
    paper: str = ""
    real: str = ""


def summary(metrics: dict[str, Any]) -> list[Row]:
    """Returns the rows of the table of figures.

    Args:
      metrics: of `metrics.evaluate`.
    """
    samples = metrics["counts"]["samples"]
    everything = f"{samples} samples"
    rows = [
        _row("valid structure", metrics["validity"]["structure"], everything),
        _row("valid composition (SMACT)", metrics["validity"]["composition"], everything),
        _row("both valid", metrics["validity"]["both"], everything),
    ]
    for protocol, title in (("paper", "the paper's protocol"), ("cdvae", "CDVAE's protocol")):
        found = metrics["coverage"][protocol]
        of = f"{found['samples']} {'valid samples' if protocol == 'paper' else 'samples, valid or not'}"
        for name, value, denominator in (
            ("COV-P", found["precision"], of),
            ("COV-R", found["recall"], f"{found['reference']} reference structures"),
        ):
            row = _row(f"{name}, {title}", value, denominator, key=name if protocol == "paper" else "")
            rows.append(row)
    for key, name in (("crystal_nn", "FD CrystalNN"), ("cgcnn", "FD CGCNN")):
        rows.append(_row(name, metrics["frechet"][key]["value"], _both(metrics["frechet"][key]), "low", name))
    for key, name in (
        ("density", "Wasserstein distance of densities (g/cm³)"),
        ("num_elements", "Wasserstein distance of numbers of elements"),
    ):
        rows.append(
            _row(name, metrics["wasserstein"][key]["value"], _both(metrics["wasserstein"][key]), "low")
        )
    rows.append(_row("unique", metrics["unique"]["share"], everything))
    novel = metrics["novel"]
    if novel is not None:
        rows.append(_row("novel", novel["share"], everything))
        rows.append(_row("valid, unique and novel", novel["valid_unique_novel"], everything))
    for symprec, audit in (metrics["symmetry"] or {}).items():
        of = f"{audit['of']} samples with a group asked for"
        rows.append(_row(f"exactly the group asked for ({symprec} Å)", audit["exact"], of))
    return rows + _stability(metrics.get("stability"))


def _stability(found: dict[str, Any] | None) -> list[Row]:
    """Returns the rows of what `discovery.stability` found, if it was asked for."""
    if found is None:
        return []
    by, relaxed = f", {found['potential']}", f"{found['relaxed']} that relax"
    rows = [
        _row(f"relaxes{by}", found["relaxes"], f"{found['samples']} samples"),
        _row("energy lost in it, median (eV/atom)", found["energy_lowered"]["median"], relaxed, "low"),
        _row("atoms moved in it, median RMSD (Å)", found["rmsd"]["median"], relaxed, "low"),
    ]
    names = {"stable": "stable", "stable_unique": "stable, unique"}
    names["stable_unique_novel"] = "stable, unique and novel"
    for at in found["stable"]:
        for key, name in names.items():
            if key in at:
                title = f"{name} ({at['e_above_hull']:g} eV/atom{by})"
                rows.append(_row(title, at[f"{key}_share"], f"{at['of']} samples"))
    return rows


def differences(metrics: dict[str, Any]) -> list[str]:
    """Returns what keeps the figures from being like for like with the paper's, in sentences."""
    settings, counts = metrics["settings"], metrics["counts"]
    notes = [
        "The paper's model was trained, and its figures taken, on its own split (60:20:20) of the MP-20 "
        f"structures that are neither triclinic nor monoclinic. The reference here has {counts['reference']} "
        "structures, and the data that the samples' model was trained on may be others too.",
        f"The paper generated {_PAPER_SAMPLES:,} structures, each with the space group and site counts of a "
        f"test structure; here there are {counts['samples']:,} samples. COV-R rises with their number, and "
        "both coverages depend on what was asked for.",
        "FD CGCNN depends on the weights of the CGCNN, which are not the paper's: compare it only with "
        "figures taken with the same weights.",
        "Magpie fingerprints are standardised with the mean and deviation of the reference set, "
        "which decides which compositions are near.",
        f"SMACT's verdict depends on its version ({metrics['versions'].get('smact', 'unknown')}) and its "
        f"oxidation states ({settings.get('oxidation_states', 'its default')}).",
    ]
    for name, key in (("FD CrystalNN", "crystal_nn"), ("FD CGCNN", "cgcnn")):
        found = metrics["frechet"][key]
        least = min(found["samples"], found["reference"])
        if 0 < least < _PAPER_SAMPLES:
            notes.append(
                f"{name} is taken over {least} structures on the smaller side, not {_PAPER_SAMPLES:,}: "
                "a Fréchet distance of fewer structures comes out larger."
            )
    if settings.get("min_space_group", 1) > 1:
        notes.append(
            f"Reference structures of groups below {settings['min_space_group']} (spglib, "
            f"{settings.get('symprec', 0.1)} Å) are left out."
        )
    return notes


def text_table(metrics: dict[str, Any]) -> str:
    """Returns the rows as a table for the terminal."""
    head = Row("", "value", "of", "", "paper", "paper, real")
    rows = [head, *summary(metrics)]
    return "\n".join(aligned([(x.name, x.value, x.of, x.paper, x.real) for x in rows], left=(0, 2)))


def _both(found: dict[str, Any]) -> str:
    return f"{found['samples']} samples, {found['reference']} reference"


def _row(name: str, value: float | None, of: str, better: str = "high", key: str = "") -> Row:
    texts = [f"{x:.3f}" if x is not None else "–" for x in (value, PAPER.get(key), PAPER_REAL.get(key))]
    return Row(name, texts[0], of, better, *(texts[1:] if key else ()))
