"""How figures look, and a figure as SVG."""

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Settings of matplotlib; Any, since its own type lists every setting there is.
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}
#: Of the sides that STYLE leaves open; for band structures.
BOX: Any = {"axes.spines.top": True, "axes.spines.right": True}


def svg_text(figure: "Figure") -> str:
    """Returns a figure as SVG, the same text for the same figure."""
    from matplotlib import rc_context

    text = io.StringIO()
    # Text becomes outlines, and so looks the same without the font; names inside do not vary.
    with rc_context({"svg.fonttype": "path", "svg.hashsalt": "jaxcrystal"}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()
