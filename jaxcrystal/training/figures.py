"""Draws the curves of a run: training losses, and validation losses by noise level."""

from pathlib import Path

import numpy as np

from jaxcrystal.files import write_atomically
from jaxcrystal.training.logs import read_rows


def draw_losses(out: Path) -> Path | None:
    """Draws the logs of a run as `out`/losses.png; returns it, None without matplotlib."""
    try:
        from matplotlib import colormaps
        from matplotlib.figure import Figure
    except ImportError:
        return None
    training, validation = read_rows(out / "log.csv"), read_rows(out / "validation.csv")
    kinds = sorted({row["sites"] for row in validation})
    rows = 1 + len(kinds)
    figure = Figure(figsize=(9.0, 2.6 * rows), layout="constrained")
    grid = figure.subplots(rows, 2, squeeze=False)
    for column, term in enumerate(("coords", "lattice")):
        axes = grid[0, column]
        axes.plot(_column(training, "step"), _column(training, term), linewidth=1.0)
        axes.set_title(f"training, {term}")
        for line, kind in enumerate(kinds, start=1):
            axes = grid[line, column]
            of_kind = [row for row in validation if row["sites"] == kind]
            levels = sorted({int(row["level"]) for row in of_kind})
            for level in levels:
                chosen = [row for row in of_kind if int(row["level"]) == level]
                color = colormaps["viridis"]((level - 1) / max(len(levels) - 1, 1))
                sigma = float(chosen[0][f"sigma_{term}"])
                axes.plot(
                    _column(chosen, "step"),
                    _column(chosen, term),
                    marker=".",
                    color=color,
                    linewidth=1.0,
                    label=f"σ = {sigma:.3g}",
                )
            axes.set_title(f"validation, {term}, {kind} sites")
            axes.legend(fontsize=6, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    for axes in grid.flat:
        axes.set_xlabel("updates")
        axes.set_ylabel("mean squared error")
        axes.spines[["top", "right"]].set_visible(False)
    path = out / "losses.png"
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=150))
    return path


def _column(rows: list[dict[str, str]], name: str) -> np.ndarray:
    return np.array([float(row[name]) for row in rows])
