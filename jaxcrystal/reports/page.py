"""Makes pieces of an HTML page that stands alone: no script, no network, figures inside."""

import base64
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from jaxcrystal.plotting import svg_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CSS = """\
body { font: 15px/1.5 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; color: #1c2430;
  max-width: 1060px; margin: 2em auto; padding: 0 1.2em; background: #fff; }
h1 { font-size: 1.7em; margin-bottom: 0.1em; }
h2 { font-size: 1.2em; margin: 2em 0 0.4em; padding-bottom: 0.2em; border-bottom: 1px solid #d8dde4; }
h3 { font-size: 1em; margin: 1.2em 0 0.3em; }
p, ul { max-width: 52em; }
p.note, figcaption { color: #56606d; font-size: 0.88em; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 0.6em 0; }
th { text-align: left; font-weight: 600; color: #56606d; font-size: 0.88em; }
th, td { padding: 0.22em 1em 0.22em 0; border-bottom: 1px solid #e8ebef; vertical-align: top; }
td.number, th.number { text-align: right; }
figure { margin: 0.8em 0; }
img { width: 100%; height: auto; }
.pair { display: flex; flex-wrap: wrap; gap: 0.5em 1.5em; }
.pair figure { width: 490px; max-width: 100%; }
.cards { display: flex; flex-wrap: wrap; gap: 0.4em 1em; }
.cards figure { width: 158px; margin: 0; text-align: center; }
.samples { color: #2468a8; font-weight: 600; } .reference { color: #b5640f; font-weight: 600; }
"""


def page(title: str, body: Sequence[str]) -> str:
    """Returns a whole HTML document.

    Args:
      title: plain text.
      body: pieces of HTML.
    """
    parts = "\n".join(body)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{_CSS}</style>\n</head>\n<body>\n{parts}\n</body>\n</html>\n"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[object]], numbers: Sequence[int] = ()) -> str:
    """Returns an HTML table of plain texts.

    Args:
      head: names of the columns.
      rows: cells, as many a row as there are columns.
      numbers: indices of the columns that are set flush right.
    """

    def line(cells: Sequence[object], tag: str) -> str:
        marks = [' class="number"' if place in numbers else "" for place in range(len(cells))]
        inside = (
            f"<{tag}{mark}>{escape(str(cell))}</{tag}>" for cell, mark in zip(cells, marks, strict=True)
        )
        return f"<tr>{''.join(inside)}</tr>"

    body = "\n".join(line(row, "td") for row in rows)
    return f"<table>\n<thead>{line(head, 'th')}</thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def paragraph(text: str, note: bool = False) -> str:
    """Returns a paragraph of plain text; notes are set smaller."""
    mark = ' class="note"' if note else ""
    return f"<p{mark}>{escape(text)}</p>"


def bullets(texts: Sequence[str]) -> str:
    """Returns a list of plain texts."""
    return "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in texts) + "</ul>"


def picture(figure: "Figure", words: str, caption: str = "") -> str:
    """Returns a figure as an SVG image inside the page, the same bytes for the same figure.

    Args:
      figure: what to show.
      words: what it shows, for those who do not see it.
      caption: plain text below it; lines are kept.
    """
    return image(svg_text(figure).encode(), words, caption)


def image(svg: bytes, words: str, caption: str = "") -> str:
    """Returns an SVG image inside the page; see `picture`."""
    code = base64.b64encode(svg).decode()
    below = f"<figcaption>{escape(caption).replace(chr(10), '<br>')}</figcaption>" if caption else ""
    return f'<figure><img alt="{escape(words)}" src="data:image/svg+xml;base64,{code}">{below}</figure>'
