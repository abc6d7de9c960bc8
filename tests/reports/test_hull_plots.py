"""Plots of hulls: what is drawn where, and for which systems."""

import numpy as np
import pytest
from pymatgen.core import Composition

from jaxcrystal.discovery.energies import Compound
from jaxcrystal.discovery.hull import place_on_hull
from jaxcrystal.reports.hull_plots import hull_plot


def compound(formula: str, energy: float) -> Compound:
    return Compound(formula, Composition(formula), energy)


BINARY = [compound("Cu", -4.0), compound("Au", -3.0), compound("CuAu", -3.6), compound("CuAu3", -3.2)]
TERNARY = [*BINARY, compound("Ni", -5.0), compound("NiCu", -4.8)]


def test_binary() -> None:
    """The hull's corners are joined; what lies too high is counted, not drawn."""
    placed = place_on_hull([compound("Cu3Au", -3.75), compound("CuAu3", -2.0)], BINARY)
    (axes,) = hull_plot(["Au", "Cu"], placed, BINARY).axes
    lines = {line.get_label(): line.get_xydata() for line in axes.lines}
    np.testing.assert_allclose(lines["hull of the references"], [[0, 0], [0.5, -0.1], [1, 0]], atol=1e-9)
    np.testing.assert_allclose(lines["other references"], [[0.25, 0.05]], atol=1e-9)
    np.testing.assert_allclose(lines["candidates"], [[0.75, 0.0], [0.25, 1.25]], atol=1e-9)
    assert axes.get_xlabel() == "share of Cu; 1 candidates lie higher"
    assert [text.get_text() for text in axes.texts] == ["Cu3Au"]
    assert axes.get_ylim()[0] < -0.1


def test_ternary() -> None:
    """The lowest crystal of each composition, by its energy above the hull."""
    ours = [compound("CuAuNi", -3.9), compound("CuAuNi", -3.8), compound("Cu2AuNi", -3.9)]
    placed = place_on_hull(ours, TERNARY)
    axes = hull_plot(["Au", "Cu", "Ni"], placed, TERNARY).axes[0]
    (dots,) = (one for one in axes.collections if len(one.get_offsets()) == 2)
    heights = {one.compound.name: one.e_above_hull for one in placed[::-1]}
    assert sorted(dots.get_array()) == pytest.approx(sorted(heights.values()))
    places = {tuple(np.round(place, 6)) for place in dots.get_offsets()}
    assert (0.5, round(np.sqrt(0.75) / 3, 6)) in places  # the middle of the triangle
    # Tie lines: the sides, of which two have a phase between, and what joins the phases.
    ends = {
        tuple(np.round(line.get_xydata(), 6).ravel()) for line in axes.lines if len(line.get_xdata()) == 2
    }
    assert len({tuple(sorted([end[:2], end[2:]])) for end in ends}) == 7
    assert {"Au", "Cu", "Ni"} <= {text.get_text() for text in axes.texts}


def test_other_systems_have_none() -> None:
    assert hull_plot(["Cu"], [], BINARY) is None
    assert hull_plot(["Au", "Cu", "Ni", "Pd"], [], TERNARY) is None
