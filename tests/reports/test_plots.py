"""The figures show the numbers they are given."""

import numpy as np
import pytest
from ase.data import chemical_symbols
from matplotlib.patches import Rectangle
from pymatgen.core import Lattice, Structure

from jaxcrystal.reports import plots
from jaxcrystal.reports.drawings import MAX_ATOMS, drawing


def rocksalt() -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.6), ["Na", "Cl"], [[0] * 3, [0.5] * 3])


def legend_of(figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def stairs_of(figure) -> list[np.ndarray]:
    """Heights of the steps of samples and reference; every series is drawn filled and as a line."""
    return [patch.get_data().values for patch in figure.axes[0].patches[::2]]


def test_histogram_loses_nothing() -> None:
    samples = np.array([1.0, 1.1, 2.9, 1e6, np.nan, np.inf])
    reference = np.linspace(1.0, 3.0, 101)
    figure = plots.histogram(samples, reference, "length (Å)", bins=4)
    ours, theirs = stairs_of(figure)
    assert ours.sum() == pytest.approx(1.0)  # what is far out stands in the last bin
    assert ours[-1] >= 0.25
    assert theirs.sum() == pytest.approx(1.0)
    assert legend_of(figure) == ["samples (4 of 6)", "reference (101)"]
    # One sample gone astray does not press the others into one bin.
    assert figure.axes[0].get_xlim()[1] < 10.0


def test_histogram_marks_the_cutoff() -> None:
    figure = plots.histogram(np.array([0.1, 0.2]), None, "distance", cutoff=0.4)
    assert len(stairs_of(figure)) == 1
    assert figure.axes[0].get_xlim()[1] > 0.4
    assert [line.get_xdata()[0] for line in figure.axes[0].lines] == [0.4]


@pytest.mark.parametrize("values", [[], [np.nan], [2.0, 2.0]])
def test_histogram_of_little(values) -> None:
    for figure in (
        plots.histogram(np.array(values, float), np.array(values, float), "x"),
        plots.counts(np.array(values, float), np.array(values, float), "x"),
    ):
        figure.savefig("/dev/null", format="svg")
        assert stairs_of(figure)[0].sum() == pytest.approx(1.0 if np.isfinite(values).any() else 0.0)


def test_counts() -> None:
    figure = plots.counts(np.array([1.0, 2.0, 2.0, np.nan]), np.array([3.0]), "number of elements")
    np.testing.assert_allclose(stairs_of(figure), [[1 / 3, 2 / 3, 0], [0, 0, 1]])


def bars_of(figure) -> dict[float, list[float]]:
    bars: dict[float, list[float]] = {}
    for container in figure.axes[0].containers:
        for bar in container:
            bars.setdefault(round(bar.get_x() + bar.get_width() / 2), []).append(bar.get_height())
    return bars


def test_groups_up_and_down() -> None:
    bars = bars_of(plots.group_distribution([225, 225, 0, 62], [225, 1]))
    assert bars[225] == [0.5, -0.5]
    assert bars[62] == [0.25, 0.0]
    assert bars[1] == [0.0, -0.5]
    assert bars[0] == [0.25, 0.0]
    assert len(bars) == 231


def test_elements_up_and_down() -> None:
    figure = plots.element_distribution([[11, 17], [11]], [[17], [17], [8], []], chemical_symbols)
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["O", "Na", "Cl"]
    assert list(bars_of(figure).values()) == [[0.0, -0.25], [1.0, 0.0], [0.5, -0.5]]
    assert legend_of(figure) == ["samples (2)", "reference (4)"]


def test_periodic_table() -> None:
    figure = plots.periodic_table({11: (1, 4), 26: (3, 3)}, chemical_symbols)
    axes = figure.axes[0]
    cells = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    places = {(cell.get_x(), cell.get_y()) for cell in cells}
    assert len(cells) == len(places) == 103
    # sodium, iron, helium, lutetium, hafnium: period and group
    for number, place in {11: (1, 3), 26: (8, 4), 2: (18, 1), 71: (17, 8.3), 72: (4, 6)}.items():
        assert cells[number - 1].get_xy() == place
    texts = [text.get_text() for text in axes.texts]
    assert "1/4" in texts
    assert "3/3" in texts
    assert len(texts) == 103 + 2
    colors = {cell.get_facecolor() for cell in cells}
    assert len(colors) == 3  # two shares, and the grey of the others
    assert cells[25].get_facecolor() == plots.colormaps["viridis"](1.0)


def test_drawing_shows_the_conventional_cell_with_its_faces() -> None:
    figure = drawing(rocksalt().get_primitive_structure())
    balls = [patch for patch in figure.axes[0].patches if hasattr(patch, "get_radius")]
    assert len(balls) == 27  # 14 of one kind and 13 of the other, as in textbooks
    assert legend_of(figure) == ["Na", "Cl"]


def test_drawing_of_a_collapsed_crystal() -> None:
    """spglib refuses it; it is drawn as it is."""
    crystal = Structure(Lattice.cubic(3.0), ["Na", "Na"], [[0.3, 0.3, 0.3], [0.3, 0.3, 0.3]])
    figure = drawing(crystal)
    assert len([patch for patch in figure.axes[0].patches if hasattr(patch, "get_radius")]) == 2


def test_drawing_of_too_many_atoms() -> None:
    rng = np.random.default_rng(0)
    crystal = Structure(Lattice.cubic(30.0), ["Na"] * (MAX_ATOMS + 1), rng.random((MAX_ATOMS + 1, 3)))
    assert drawing(crystal) is None
