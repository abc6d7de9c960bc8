"""Renders the report of an evaluation: one HTML file that needs no network."""

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxcrystal.evaluation.descriptors import SYMPRECS
from jaxcrystal.reports import plots
from jaxcrystal.reports.drawings import drawing
from jaxcrystal.reports.figures import differences, summary
from jaxcrystal.reports.page import bullets, page, paragraph, picture, table
from jaxcrystal.structures.checks import MIN_DISTANCE
from jaxcrystal.symmetry.detect import SYMPREC

if TYPE_CHECKING:
    from jaxcrystal.evaluation.fingerprints import Features
    from jaxcrystal.evaluation.metrics import Evaluation
    from jaxcrystal.structures.entries import Entry

_GROUP_COLUMN = SYMPRECS.index(SYMPREC)
_GROUP_NAME = f"found_group_{SYMPREC}"
#: Crystals drawn in each row, and failures that are listed by name.
_DRAWN = 6
_LISTED = 40


def render(evaluation: "Evaluation", sources: Mapping[str, str] | None = None) -> str:
    """Returns the report as one HTML document.

    Args:
      evaluation: what `evaluate` returned.
      sources: what the samples, the reference and so on were read from, by what they are.
    """
    metrics = evaluation.metrics
    counts = metrics["counts"]
    body = [
        "<h1>Evaluation of generated crystals</h1>",
        paragraph(
            f"{counts['samples']:,} samples against {counts['reference']:,} reference structures: "
            f"{counts['parsed']:,} read, {counts['flagged']:,} stopped early by the sampler, "
            f"{counts['valid']:,} of valid structure. Samples that could not be read, were stopped or are "
            "not valid are failures, and stay in every denominator of all samples."
        ),
        *([table(("", "read from"), list(sources.items()))] if sources else []),
        *_figures(metrics),
        *_failures(evaluation),
        *_symmetry(metrics),
        *_distributions(evaluation),
        *_elements(evaluation),
        *_crystals(evaluation),
        *_how(metrics),
    ]
    return page("Evaluation of generated crystals", body)


def _figures(metrics: dict[str, Any]) -> list[str]:
    rows = summary(metrics)
    arrows = {"high": "↑", "low": "↓"}
    cells = [(row.name, row.value, arrows[row.better], row.of, row.paper, row.real) for row in rows]
    head = ("", "value", "better", "of", "the paper", "real structures (the paper)")
    return [
        "<h2>Figures</h2>",
        table(head, cells, numbers=(1, 4, 5)),
        "<h3>What is not like for like with the paper's columns</h3>",
        bullets(differences(metrics)),
    ]


def _failures(evaluation: "Evaluation") -> list[str]:
    counts, columns = evaluation.metrics["counts"], evaluation.per_structure
    body = ["<h2>Failures</h2>"]
    failures = evaluation.metrics["failures"]
    if not failures:
        return [*body, paragraph("None: every sample was read and is valid in structure and composition.")]
    rows = [(reason, n, f"{100 * n / counts['samples']:.1f} %") for reason, n in failures.items()]
    body.append(table(("first reason", "samples", "of all samples"), rows, numbers=(1, 2)))
    failed = [row for row, reason in enumerate(columns["reason"]) if reason and not columns["valid"][row]]
    if failed:
        body.append("<h3>Samples without a valid structure</h3>")
        named = [(columns["id"][row], columns["formula"][row], columns["reason"][row]) for row in failed]
        body.append(table(("id", "formula", "reason"), named[:_LISTED]))
    if len(failed) > _LISTED:
        body.append(paragraph(f"... and {len(failed) - _LISTED} more in per_structure.csv", note=True))
    return body


def _symmetry(metrics: dict[str, Any]) -> list[str]:
    audit = metrics["symmetry"]
    body = ["<h2>Symmetry audit</h2>"]
    if audit is None:
        return [*body, paragraph("The space groups that were asked for are not known for these samples.")]
    rows = []
    for symprec, found in audit.items():
        other = 1.0 - found["exact"] - found["supergroup"]
        shares = (found["exact"], found["supergroup"], other)
        rows.append((f"{symprec} Å", *(f"{100 * abs(share):.1f} %" for share in shares), found["of"]))
    head = ("spglib's tolerance", "the group asked for", "a supergroup of it", "another or none", "of")
    note = "Failures count as neither the group nor a supergroup, and so as another or none."
    return [*body, table(head, rows, numbers=(1, 2, 3, 4)), paragraph(note, note=True)]


def _distributions(evaluation: "Evaluation") -> list[str]:
    ours, theirs = evaluation.sample_features, evaluation.reference_features
    covered = evaluation.coverages["cdvae"]
    settings = evaluation.metrics["settings"]
    histograms = [
        plots.histogram(
            ours.shortest_distance,
            theirs.shortest_distance,
            "shortest distance between two atoms (Å)",
            MIN_DISTANCE,
        ),
        plots.histogram(ours.density, theirs.density, "density (g/cm³)"),
        plots.histogram(_volume_per_atom(ours), _volume_per_atom(theirs), "volume (Å³ an atom)"),
        plots.counts(_num_elements(ours), _num_elements(theirs), "number of elements"),
        plots.histogram(
            covered.structure_distances,
            None,
            "structure distance to the nearest reference",
            settings["structure_cutoff"],
        ),
        plots.histogram(
            covered.composition_distances,
            None,
            "composition distance to the nearest reference",
            settings["composition_cutoff"],
        ),
    ]
    images = [picture(figure, f"Histogram: {figure.axes[0].get_xlabel()}") for figure in histograms]
    groups = plots.group_distribution(
        ours.found_groups[:, _GROUP_COLUMN].tolist(), theirs.found_groups[:, _GROUP_COLUMN].tolist()
    )
    return [
        "<h2>Distributions</h2>",
        '<p>Shares of <span class="samples">samples</span> and of '
        '<span class="reference">reference structures</span>. The outermost bins hold what lies beyond '
        "them; dashed lines are the limits of validity and coverage. Structures without the number are "
        "left out, and the legend says how many are shown.</p>",
        f'<div class="pair">{"".join(images)}</div>',
        f"<h3>Space groups found (spglib, {SYMPREC} Å)</h3>",
        picture(groups, "Share of each space group, samples upward, reference downward"),
    ]


def _volume_per_atom(features: "Features") -> np.ndarray:
    return features.volume / np.maximum(features.num_atoms, 1)


def _num_elements(features: "Features") -> np.ndarray:
    """NaN instead of 0, which stands for a structure that could not be read."""
    return np.where(features.num_elements > 0, features.num_elements, np.nan)


def _elements(evaluation: "Evaluation") -> list[str]:
    from ase.data import chemical_symbols

    ours = [_elements_of(entry) for entry in evaluation.samples]
    theirs = [_elements_of(entry) for entry in evaluation.reference]
    covered = evaluation.coverages["paper"].covered
    totals = Counter(z for elements in theirs for z in elements)
    found = Counter(z for elements, near in zip(theirs, covered, strict=True) if near for z in elements)
    shares = {z: (found[z], total) for z, total in totals.items()}
    return [
        "<h2>Elements</h2>",
        picture(
            plots.element_distribution(ours, theirs, chemical_symbols),
            "Share of structures with each element, samples upward, reference downward",
        ),
        "<h3>Coverage by element</h3>",
        picture(plots.periodic_table(shares, chemical_symbols), "Periodic table coloured by coverage"),
        paragraph(
            "Covered: a valid sample lies within the cutoffs in structure and one (perhaps another) in "
            "composition; the shares behind COV-R in the paper's protocol, by element. Grey: not in the "
            "reference.",
            note=True,
        ),
    ]


def _elements_of(entry: "Entry") -> list[int]:
    return [] if entry.structure is None else sorted({int(z) for z in entry.structure.atomic_numbers})


def _crystals(evaluation: "Evaluation") -> list[str]:
    nearest, farthest, failed = ranked(evaluation)
    body = ["<h2>Best and worst samples</h2>"]
    for title, rows in (
        ("Valid samples nearest to the reference", nearest),
        ("Valid samples farthest from the reference", farthest),
        ("Samples that are not valid, those with the nearest atoms first", failed),
    ):
        cards = _cards(evaluation, rows)
        body.append(f"<h3>{escape(title)}</h3>")
        body.append(
            f'<div class="cards">{"".join(cards)}</div>' if cards else paragraph("None can be drawn.")
        )
    note = (
        "Conventional cells. Near and far: the larger of the structure and the composition distance to the "
        "nearest reference, each divided by its cutoff (1: the limit of coverage); the two may be to "
        f"different crystals. Group: found by spglib at {SYMPREC} Å, and the one asked for where known."
    )
    return [*body, paragraph(note, note=True)]


def ranked(evaluation: "Evaluation") -> tuple[list[int], list[int], list[int]]:
    """Returns the rows of valid samples, nearest first and farthest first, and of the others.

    By the larger of both distances to the reference, each over its cutoff; the others by
    their shortest distance between atoms.
    """
    settings, covered = evaluation.metrics["settings"], evaluation.coverages["cdvae"]
    distance = np.maximum(
        covered.structure_distances / settings["structure_cutoff"],
        covered.composition_distances / settings["composition_cutoff"],
    )
    features = evaluation.sample_features
    usable = np.flatnonzero(features.valid & np.isfinite(distance))
    nearest = usable[np.argsort(distance[usable], kind="stable")].tolist()
    others = np.flatnonzero(~features.valid)
    others = others[np.argsort(features.shortest_distance[others], kind="stable")]
    drawable = [n for n in others.tolist() if evaluation.samples[n].structure is not None]
    return nearest, nearest[::-1], drawable


def _cards(evaluation: "Evaluation", rows: Sequence[int]) -> list[str]:
    columns = evaluation.per_structure
    cards: list[str] = []
    for row in rows:
        structure = evaluation.samples[row].structure
        if len(cards) == _DRAWN:
            break
        image = None if structure is None else drawing(structure)
        if image is None:
            continue
        asked = columns["requested_group"][row]
        lines = [
            columns["formula"][row],
            f"group {columns[_GROUP_NAME][row] or 'none'}" + (f" (asked: {asked})" if asked else ""),
            f"shortest {_number(columns['shortest_distance'][row])} Å",
            f"to the reference: {_number(columns['structure_distance'][row])} in structure, "
            f"{_number(columns['composition_distance'][row])} in composition"
            if columns["valid"][row]
            else columns["reason"][row],
            columns["id"][row],
        ]
        cards.append(picture(image, f"Drawing of {lines[0]}", "\n".join(lines)))
    return cards


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _how(metrics: dict[str, Any]) -> list[str]:
    rows = [(name, value) for part in ("settings", "versions") for name, value in metrics[part].items()]
    return ["<h2>Settings and versions</h2>", table(("", "value"), rows)]
