"""Renders the gallery as one HTML document: no network, no library, the same bytes for the same content."""

import json
import re
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from jaxcrystal import __version__
from jaxcrystal.errors import DataError
from jaxcrystal.files import write_text

#: By which our own pages are known; they may be written again.
MARKER = '<meta name="generator" content="jaxcrystal view">'
#: In the order in which they need one another.
_SCRIPTS = ("geometry.js", "painter.js", "viewer.js", "rows.js", "text.js", "cards.js", "table.js",
            "large.js", "main.js")  # fmt: skip


def render(content: Mapping[str, Any], report: str = "") -> str:
    """Returns the document.

    Args:
      content: as `gallery_content` gives it.
      report: HTML that stands before the crystals.
    """
    # A script element ends at the first `</script`, whatever stands around it.
    data = json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    parts = {
        "marker": MARKER,
        "title": escape(str(content["title"])).encode("ascii", "xmlcharrefreplace").decode(),
        "version": __version__,
        "style": _asset("gallery.css"),
        "data": data,
        "report": f'<section class="report">\n{report}\n</section>\n' if report else "",
        "script": "\n".join(_asset(name) for name in _SCRIPTS),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], _asset("gallery.html"))


def write_gallery(content: Mapping[str, Any], path: str | Path, report: str = "") -> None:
    """Writes the document, see `render`; one that was written before is replaced.

    Raises:
      DataError: the file exists and is no gallery, or cannot be written.
    """
    require_ours(path)
    write_text(path, render(content, report))


def require_ours(path: str | Path) -> None:
    """Raises DataError if there is something at `path` other than a gallery."""
    path = Path(path)
    if path.is_dir():
        raise DataError(f"{path} is a folder: --out names the HTML file")
    if not path.exists():
        return
    try:
        with path.open("rb") as file:
            ours = MARKER.encode() in file.read(1024)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    if not ours:
        raise DataError(f"{path} exists and is not a gallery of `jaxcrystal view`: choose another --out")


def _asset(name: str) -> str:
    return files("jaxcrystal.reports.gallery").joinpath("assets", name).read_text(encoding="utf-8")
