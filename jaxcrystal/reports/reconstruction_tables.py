"""Formats the figures of a reconstruction as tables for the terminal."""

import math
from collections.abc import Sequence
from typing import Any

from jaxcrystal.evaluation.matching import SPLITS
from jaxcrystal.evaluation.reconstruction import Reconstruction, lattice_rows
from jaxcrystal.text import aligned

#: Rows of the table of lattice lengths; the others are in its file.
_MAX_ROWS = 12


def describe(metrics: dict[str, Any], done: Sequence[Reconstruction]) -> str:
    """Returns the figures as tables for the terminal.

    Args:
      metrics: `targets` and `runs` as `jaxcrystal reconstruct` writes them.
      done: what the runs are of.
    """
    by_free = [f"{name} free" for name in SPLITS]
    rates = [["given", "k", "match", "±", "RMSE", "METRe", "cRMSE", *by_free]]
    others = [
        ["given", "valid", "flagged", "formula", "group", "lengths off", "matched", "volume off", "matched"]
    ]
    for name, figures in metrics["runs"].items():
        for match in figures["match"]:
            split = match["by_free_coords"]
            rates.append(
                [name, str(match["k"])]
                + [_percent(match["rate"]), _percent(match["standard_error"]), _number(match["rmse"])]
                + [_percent(match["metre"]), _number(match["crmse"])]
                + [_percent(split[key]["rate"], 0) if key in split else "-" for key in SPLITS]
            )
        errors = figures["lattice_errors"]
        others.append(
            [name]
            + [_percent(figures[key]) for key in ("valid", "flagged", "formula_as_target", "group_as_asked")]
            + [_percent(errors[of][what]) for what in ("lengths", "volume") for of in ("all", "matched")]
        )
    counts = next(iter(metrics["runs"].values()))["match"][0]["by_free_coords"]
    classes = ", ".join(f"{of['targets']} with {name}" for name, of in counts.items())
    parts = [
        f"{metrics['targets']['used']} targets ({classes} free coordinates), all in the denominator; "
        f"matched {_when(metrics)}{_left_out(metrics['targets'])}",
        _table(rates),
        "Over all samples; of the lattice, mean absolute relative errors over all and over the matched:",
        _table(others),
    ]
    sampled = [row for found in done if not found.random_start for row in lattice_rows(found)]
    if sampled:
        lengths = [["given", "target", "formula", "group", "distance", "sampled, Å", "known, Å"]]
        for row in sampled[:_MAX_ROWS]:
            lengths.append(
                [row["run"], row["target"], row["formula"], str(row["space_group"])]
                + [f"{row['distance']:.3f}", _lengths(row, "sampled"), _lengths(row, "reference")]
            )
        parts += ["Lattice lengths of the best sample of matched targets:", _table(lengths)]
        if len(sampled) > _MAX_ROWS:
            parts[-1] += f"\n... and {len(sampled) - _MAX_ROWS} more in table2.csv"
    return "\n\n".join(parts)


def _when(metrics: dict[str, Any]) -> str:
    by = metrics.get("relaxation", "none")
    return "before any relaxation" if by == "none" else f"before and (relaxed) after relaxation with {by}"


def _left_out(counts: dict[str, Any]) -> str:
    """Returns which structures of the file are no targets, as the end of a sentence."""
    reasons = {
        "below_min_space_group": "of lower groups",
        "above_max_sites": "of more sites",
        "not_drawn": "not drawn",
    }
    parts = [f"{counts[key]} {words}" for key, words in reasons.items() if counts.get(key)]
    return f". Of {counts['in_file']} in the file left out: {', '.join(parts)}" if parts else ""


def _lengths(row: dict[str, Any], of: str) -> str:
    """Returns the lengths that the crystal family leaves free."""
    axes = {"cubic": "a", "tetragonal": "ac", "hexagonal": "ac"}.get(row["family"], "abc")
    return ", ".join(f"{row[f'{axis}_{of}']:.3f}" for axis in axes)


def _percent(value: float, digits: int = 1) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}%}"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _table(rows: list[list[str]]) -> str:
    left = [column for column, word in enumerate(rows[0]) if word in ("given", "target", "formula")]
    return "\n".join(aligned(rows, left))
