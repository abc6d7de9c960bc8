"""Formats tables for the terminal and for spreadsheets, and turns values into what JSON can hold."""

import csv
import io
import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np


def aligned(rows: Sequence[Sequence[str]], left: Collection[int] = ()) -> list[str]:
    """Returns rows of a table as lines, their columns below each other.

    Args:
      rows: of as many words each; the head is one of them.
      left: the columns that stand at the left of their place; the others stand at the right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            word.ljust(width) if column in left else word.rjust(width)
            for column, (word, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def counted(number: int, word: str) -> str:
    """Returns how many there are of something, such as `1 crystal` and `1,200 crystals`."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


#: With these a spreadsheet's formulas begin.
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")


def csv_text(rows: Iterable[Iterable[Any]]) -> str:
    """Returns rows as CSV; an apostrophe stands before texts that a spreadsheet would take for formulas."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([_harmless(cell) for cell in row] for row in rows)
    return text.getvalue()


def cell_text(cell: str) -> str:
    """Returns the text of a cell that `csv_text` wrote."""
    return cell[1:] if cell.startswith(tuple(f"'{first}" for first in _FORMULAS)) else cell


def number_of(cell: str | None) -> float:
    """Returns the number in a cell, NaN for anything else, infinity included."""
    try:
        value = float(cell or "nan")
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _harmless(cell: Any) -> Any:
    if not isinstance(cell, str) or not cell.startswith(_FORMULAS):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


def json_ready(value: Any) -> Any:
    """Returns a value with Python's own numbers, and None for those that are not finite."""
    if isinstance(value, dict):
        return {key: json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
