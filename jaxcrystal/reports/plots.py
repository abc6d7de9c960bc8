"""Draws the figures of the report: distributions side by side and the periodic table.

Each function takes plain arrays and returns a matplotlib Figure made without pyplot, so that
no window system, global state or display is involved. Samples are blue and reach up, the
reference is orange and reaches down, in every figure.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from matplotlib import colormaps, rc_context
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, PercentFormatter

from jaxcrystal.plotting import STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SAMPLES_COLOR = "#2468a8"
REFERENCE_COLOR = "#d9822b"
#: First group of each crystal system after the triclinic one, and the names of all.
_SYSTEMS = (
    (1, "triclinic"),
    (3, "monoclinic"),
    (16, "orthorhombic"),
    (75, "tetragonal"),
    (143, "trigonal"),
    (168, "hexagonal"),
    (195, "cubic"),
)
#: Bars nearer than this to a taller one with a label get none, lest the texts overlap.
_LABEL_GAP = 4


def histogram(
    samples: Float[np.ndarray, " n"],
    reference: Float[np.ndarray, " m"] | None,
    label: str,
    cutoff: float | None = None,
    bins: int = 40,
) -> Figure:
    """Returns shares by value, of samples and reference over the same bins.

    Args:
      samples: [n] values; those that are not finite are left out, and the legend says how many
        are shown.
      reference: [m] the same of the reference; None for samples alone.
      label: of the horizontal axis, with the unit.
      cutoff: value to mark with a line.
      bins: number of bins. The first and the last one hold what lies beyond them too.
    """
    limits = _limits(_finite(samples), None if reference is None else _finite(reference), cutoff)
    return _stairs(samples, reference, label, np.linspace(*limits, bins + 1), cutoff)


def counts(samples: Float[np.ndarray, " n"], reference: Float[np.ndarray, " m"], label: str) -> Figure:
    """Returns shares by a whole number from 1 on; see `histogram`."""
    highest = max(_finite(samples).max(initial=1.0), _finite(reference).max(initial=1.0))
    return _stairs(samples, reference, label, np.arange(0.5, highest + 1.0))


def _finite(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " k"]:
    values = np.asarray(values, float)
    return values[np.isfinite(values)]


def _stairs(
    samples: Float[np.ndarray, " n"],
    reference: Float[np.ndarray, " m"] | None,
    label: str,
    edges: Float[np.ndarray, " edges"],
    cutoff: float | None = None,
) -> Figure:
    with rc_context(STYLE):
        figure = Figure(figsize=(4.2, 2.5))
        axes = figure.add_subplot()
        for values, name, color in (
            (samples, "samples", SAMPLES_COLOR),
            (reference, "reference", REFERENCE_COLOR),
        ):
            if values is None:
                continue
            shown = _finite(values)
            found, _ = np.histogram(np.clip(shown, edges[0], edges[-1]), edges)
            shares = found / max(len(shown), 1)
            of = f" of {len(values)}" if len(shown) < len(values) else ""
            axes.stairs(shares, edges, fill=True, color=color, alpha=0.3)
            axes.stairs(shares, edges, color=color, linewidth=1.2, label=f"{name} ({len(shown)}{of})")
        if cutoff is not None:
            axes.axvline(cutoff, color="0.3", linewidth=0.8, linestyle="--")
            axes.annotate(
                f" {cutoff:g}", (cutoff, 0.99), xycoords=("data", "axes fraction"), va="top", color="0.3"
            )
        axes.set_xlim(edges[0], edges[-1])
        axes.set_xlabel(label)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        figure.legend(loc="outside upper right", ncols=2)
    return figure


def _limits(
    samples: Float[np.ndarray, " n"], reference: Float[np.ndarray, " m"] | None, cutoff: float | None
) -> tuple[float, float]:
    """Bounds that show the reference whole and do not follow a few samples gone astray."""
    shown = [values for values in (samples, reference) if values is not None and len(values)]
    if not shown:
        return 0.0, 1.0
    low = min(float(np.percentile(values, 0.5)) for values in shown)
    highs = [float(np.percentile(values, 99.5)) for values in shown]
    high = min(max(highs), 2.5 * highs[-1])
    if cutoff is not None:
        low, high = min(low, 0.9 * cutoff), max(high, 1.2 * cutoff)
    if low < 0.25 * high:
        low = min(low, 0.0)
    return (low, high) if high > low + 1e-9 else (low - 0.5, low + 0.5)


def group_distribution(samples: Sequence[int], reference: Sequence[int]) -> Figure:
    """Returns the share of every space group, samples upward and reference downward.

    Args:
      samples: group that spglib finds, one a structure; 0 (none found) is shown at 0.
      reference: the same of the reference.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(8.8, 3.0))
        axes = figure.add_subplot()
        _mirrored(figure, axes, samples, reference, np.arange(231), labels=10)
        bounds = [first for first, _ in _SYSTEMS] + [231]
        for place, (first, name) in enumerate(_SYSTEMS):
            last = bounds[place + 1]
            if place % 2:
                axes.axvspan(first - 0.5, last - 0.5, color="0.94", zorder=0, linewidth=0)
            if last - first > 5:
                axes.annotate(
                    name,
                    ((first + last - 1) / 2, 1.0),
                    xycoords=("data", "axes fraction"),
                    ha="center",
                    va="bottom",
                    color="0.35",
                )
        axes.set_xlim(-1.5, 231)
        axes.set_xlabel("space group")
    return figure


def element_distribution(
    samples: Sequence[Sequence[int]], reference: Sequence[Sequence[int]], symbols: Sequence[str]
) -> Figure:
    """Returns the share of structures that hold each element, samples upward, reference downward.

    Args:
      samples: atomic numbers of the elements of each structure, each once.
      reference: the same of the reference.
      symbols: element symbols by atomic number.
    """
    seen = sorted({z for sets in (samples, reference) for elements in sets for z in elements})
    place = {z: column for column, z in enumerate(seen)}
    with rc_context(STYLE):
        figure = Figure(figsize=(8.8, 3.0))
        axes = figure.add_subplot()
        _mirrored(
            figure,
            axes,
            [place[z] for elements in samples for z in elements],
            [place[z] for elements in reference for z in elements],
            np.arange(len(seen)),
            totals=(len(samples), len(reference)),
        )
        axes.set_xticks(range(len(seen)), [symbols[z] for z in seen], fontsize=6)
        for column, text in enumerate(axes.get_xticklabels()):  # two heights: 90 symbols fit no line
            text.set_y(-0.035 if column % 2 else 0.0)
        axes.set_xlim(-0.8, max(len(seen), 1) - 0.2)
        axes.set_ylabel("structures with the element")
    return figure


def _mirrored(
    figure: Figure,
    axes: "Axes",
    samples: Sequence[int],
    reference: Sequence[int],
    places: "np.ndarray",
    totals: tuple[int, int] | None = None,
    labels: int = 0,
) -> None:
    """Draws bars up and down; the tallest of each side, `labels` at most, get their place's number."""
    totals = totals or (len(samples), len(reference))
    for values, total, sign, name, color in (
        (samples, totals[0], 1, "samples", SAMPLES_COLOR),
        (reference, totals[1], -1, "reference", REFERENCE_COLOR),
    ):
        counts = np.bincount(np.asarray(values, int), minlength=len(places))
        shares = counts / max(total, 1)
        axes.bar(places, sign * shares, width=0.85, color=color, label=f"{name} ({total})", linewidth=0)
        labelled: list[int] = []
        for place in np.argsort(shares, kind="stable")[::-1].tolist():
            free = all(abs(place - other) > _LABEL_GAP for other in labelled)
            if free and shares[place] > 0 and len(labelled) < labels:
                labelled.append(place)
                axes.annotate(
                    "none" if place == 0 else str(place),
                    (place, sign * shares[place]),
                    xytext=(0, 2 * sign),
                    textcoords="offset points",
                    ha="center",
                    va="bottom" if sign > 0 else "top",
                    fontsize=6,
                )
    axes.axhline(0.0, color="0.2", linewidth=0.6)
    axes.margins(y=0.12)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{abs(100 * value):g}%"))
    figure.legend(loc="outside upper right", ncols=2)


def periodic_table(covered: Mapping[int, tuple[int, int]], symbols: Sequence[str]) -> Figure:
    """Returns the periodic table coloured by the share of reference structures covered.

    Args:
      covered: of each element's atomic number, how many of the reference structures that hold
        it are covered, and how many there are.
      symbols: element symbols by atomic number, 1 to 103 at least.
    """
    scale = colormaps["viridis"]
    style: Any = STYLE | {"axes.spines.left": False, "axes.spines.bottom": False}
    with rc_context(style):
        figure = Figure(figsize=(8.8, 4.4))
        axes = figure.add_subplot()
        for number in range(1, 104):
            row, column = _place(number)
            some, total = covered.get(number, (0, 0))
            share = some / total if total else 0.0
            color = scale(share) if total else "#f1f1f1"
            axes.add_patch(Rectangle((column, row), 0.94, 0.94, facecolor=color, linewidth=0))
            ink = "#b0b0b0" if not total else "black" if share > 0.6 else "white"
            middle = column + 0.47
            axes.text(middle, row + 0.36, symbols[number], ha="center", va="center", color=ink, fontsize=9)
            if total:
                text = f"{some}/{total}"
                size = 5.5 if len(text) < 8 else 4.6
                axes.text(middle, row + 0.74, text, ha="center", va="center", color=ink, fontsize=size)
        axes.set_xlim(1, 19)
        axes.set_ylim(10.3, 0.9)
        axes.set_aspect("equal")
        axes.set_xticks([])
        axes.set_yticks([])
        # The scale lies in the gap above the transition metals.
        legend = axes.inset_axes((3.6, 1.3, 7.5, 0.35), transform=axes.transData)
        legend.imshow(np.linspace(0, 1, 256)[None], aspect="auto", cmap=scale, extent=(0, 1, 0, 1))
        legend.set_yticks([])
        legend.xaxis.set_major_formatter(PercentFormatter(1.0))
        legend.set_title("reference structures with the element that are covered", fontsize=7)
    return figure


def _place(number: int) -> tuple[float | int, int]:
    """Row and column of an element; lanthanides and actinides below, La and Ac among them."""
    if 57 <= number <= 71:
        return 8.3, number - 57 + 3
    if 89 <= number <= 103:
        return 9.3, number - 89 + 3
    period, first = next(
        (period, first)
        for period, first in ((7, 87), (6, 55), (5, 37), (4, 19), (3, 11), (2, 3), (1, 1))
        if number >= first
    )
    inside = number - first + 1
    if period == 1:
        return period, 1 if inside == 1 else 18
    if period <= 3:
        return period, inside if inside <= 2 else inside + 10
    if period <= 5:
        return period, inside
    return period, inside if inside <= 2 else inside - 14
