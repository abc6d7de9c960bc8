"""Draws the convex hull of a binary or ternary system with crystals on it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from jaxcrystal.discovery.energies import Compound
from jaxcrystal.discovery.hull import Placed, by_elements, diagram
from jaxcrystal.plotting import STYLE
from jaxcrystal.reports.plots import SAMPLES_COLOR

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: eV/atom above the hull at which the colours of a ternary system end, and what a binary one shows.
_HIGHEST = 0.3
#: Crystals that get their formula beside them.
_NAMED = 6
#: Corners of a triangle of composition.
_CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(0.75)]])


def hull_plot(
    system: Sequence[str], placed: Sequence[Placed], references: Sequence[Compound]
) -> Figure | None:
    """Returns the hull of a system; None unless it has two or three elements.

    Args:
      system: elements.
      placed: crystals of the system, the lowest first; those without a place are left out.
      references: known crystals.
    """
    if len(system) not in (2, 3):
        return None
    shown = [one for one in placed if one.status == "ok"]
    with rc_context(STYLE):
        figure = Figure(figsize=(5.2, 4.2))
        axes = figure.add_subplot()
        draw = _binary if len(system) == 2 else _ternary
        draw(axes, system, shown, diagram(system, by_elements(references))[0])
    return figure


def _binary(axes: "Axes", system: Sequence[str], placed: Sequence[Placed], phases: Any) -> None:
    """Formation energies over the share of the second element."""
    of_known = [
        (entry.composition.get_atomic_fraction(system[1]), phases.get_form_energy_per_atom(entry))
        for entry in phases.all_entries
    ]
    stable = sorted(
        (entry.composition.get_atomic_fraction(system[1]), phases.get_form_energy_per_atom(entry))
        for entry in phases.stable_entries
    )
    ours = [(one.compound.composition.get_atomic_fraction(system[1]), one.formation_energy) for one in placed]
    axes.plot(
        *np.array(stable).T, "k-", linewidth=1.0, marker="o", markersize=4, label="hull of the references"
    )
    others = [point for point in of_known if point not in stable]
    if others:
        axes.plot(*np.array(others).T, ".", color="0.6", markersize=4, label="other references")
    if ours:
        axes.plot(*np.array(ours).T, "x", color=SAMPLES_COLOR, markersize=5, label="candidates")
    lowest = min(y for _, y in [*stable, *ours])
    top = max(0.0, *(y for _, y in stable)) + _HIGHEST
    axes.set_ylim(lowest - 0.05, top)
    above = sum(y > top for _, y in ours)
    for one, (x, y) in list(zip(placed, ours, strict=True))[:_NAMED]:
        if y <= top:
            formula = one.compound.composition.reduced_formula
            axes.annotate(formula, (x, y), (3, 3), textcoords="offset points", fontsize=6)
    axes.set_xlabel(f"share of {system[1]}" + (f"; {above} candidates lie higher" if above else ""))
    axes.set_ylabel("formation energy (eV/atom)")
    axes.legend(loc="upper right")


def _ternary(axes: "Axes", system: Sequence[str], placed: Sequence[Placed], phases: Any) -> None:
    """Stable phases with their tie lines, and the lowest crystal of each composition by colour."""

    def point(composition: Any) -> np.ndarray:
        return np.array([composition.get_atomic_fraction(element) for element in system]) @ _CORNERS

    corners = [point(entry.composition) for entry in phases.qhull_entries]
    for facet in phases.facets:
        for first, second in ((0, 1), (1, 2), (2, 0)):
            axes.plot(
                *np.array([corners[facet[first]], corners[facet[second]]]).T, "-", color="0.55", linewidth=0.7
            )
    for entry in phases.stable_entries:
        x, y = point(entry.composition)
        axes.plot(x, y, "ko", markersize=4)
        if len(entry.composition.elements) > 1:
            name = entry.composition.reduced_formula
            axes.annotate(name, (x, y), (4, -7), textcoords="offset points", fontsize=6, color="0.3")
    lowest: dict[str, Placed] = {}
    for one in placed:  # the lowest first
        lowest.setdefault(one.compound.composition.reduced_formula, one)
    chosen = [*lowest.values()]
    if chosen:
        places = np.array([point(one.compound.composition) for one in chosen])
        heights = np.array([one.e_above_hull for one in chosen])
        order = np.argsort(-heights, kind="stable")
        x, y = places[order].T
        dots = axes.scatter(x, y, s=26, c=heights[order], cmap="viridis", vmin=0.0, vmax=_HIGHEST, zorder=3)
        axes.figure.colorbar(dots, ax=axes, shrink=0.7, extend="both", label="above the hull (eV/atom)")
        for one, place in list(zip(chosen, places, strict=True))[:_NAMED]:
            name = one.compound.composition.reduced_formula
            axes.annotate(name, place, (4, 4), textcoords="offset points", fontsize=6, color=SAMPLES_COLOR)
    for element, (x, y), shift in zip(system, _CORNERS, ((-8, -8), (2, -8), (-4, 4)), strict=True):
        axes.annotate(element, (x, y), shift, textcoords="offset points", fontsize=9)
    axes.set_aspect("equal")
    axes.set_axis_off()
