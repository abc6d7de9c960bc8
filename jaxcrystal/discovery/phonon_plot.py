"""Draws a band structure beside its density of states."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from jaxcrystal.plotting import BOX, STYLE, svg_text

_COLOR, _IMAGINARY = "#2468a8", "#c0392b"


def plot_svg(
    ends: Sequence[tuple[str, str]],
    distances: Sequence[Float[np.ndarray, " _"]],
    frequencies: Sequence[Float[np.ndarray, "_ modes"]],
    dos_frequencies: Float[np.ndarray, " m"],
    dos: Float[np.ndarray, " m"],
) -> str:
    """Returns the figure as SVG; what is below zero, the imaginary modes, in red.

    Args:
      ends: names of the points that each piece of the way joins; G is Γ.
      distances: of its points along the way, 1/Å.
      frequencies: there, THz.
      dos_frequencies: [m] THz.
      dos: [m] states a THz and primitive cell.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE | BOX):
        figure = Figure(figsize=(6.0, 3.4))
        bands, states = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1))
        for along, values in zip(distances, frequencies, strict=True):
            bands.plot(along, values, color=_COLOR, linewidth=0.8)
            bands.plot(along, np.where(values < 0, values, np.nan), color=_IMAGINARY, linewidth=0.8)
        places, names = _ticks(ends, distances)
        for place in places:
            bands.axvline(place, color="#c8ccd2", linewidth=0.5, zorder=0)
        bands.set_xticks(places, names)
        bands.set_xlim(places[0], places[-1])
        bands.set_ylabel("frequency / THz")
        states.fill_betweenx(dos_frequencies, dos, color=_COLOR, alpha=0.35, linewidth=0)
        states.plot(dos, dos_frequencies, color=_COLOR, linewidth=0.8)
        states.set_xlim(left=0)
        states.set_xlabel("states / THz")
        for axes in (bands, states):
            axes.axhline(0, color="#56606d", linewidth=0.6)
        return svg_text(figure)


def _ticks(
    ends: Sequence[tuple[str, str]], distances: Sequence[Float[np.ndarray, " _"]]
) -> tuple[list[float], list[str]]:
    """Returns places and names of the special points; where the way jumps, both names."""
    places, names = [float(distances[0][0])], [_name(ends[0][0])]
    for number, ((_, last), along) in enumerate(zip(ends, distances, strict=True)):
        after = ends[number + 1][0] if number + 1 < len(ends) else last
        places.append(float(along[-1]))
        names.append(_name(last) if after == last else f"{_name(last)}|{_name(after)}")
    return places, names


def _name(label: str) -> str:
    return "Γ" if label == "G" else label
