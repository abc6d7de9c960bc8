"""Reads a file of letter assignments, and checks that groups have the letters in it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxcrystal.crystal import BUCKETS
from jaxcrystal.errors import DataError, one_line
from jaxcrystal.files import read_text
from jaxcrystal.symmetry.wyckoff import letters_of, repeated_fixed

#: Bytes; ten million structures have less.
_LONGEST_FILE = 2**28
#: Letters of each element, and the atomic numbers of the structures that have them.
_Found = dict[tuple[tuple[str, ...], ...], list[tuple[int, ...]]]


def read_elements(path: str | Path, form: str) -> dict[int, dict[tuple[int, ...], _Found]]:
    """Returns what `LetterFrequencies.of_elements` is made of.

    Args:
      path: of a file that `LetterFrequencies.save` wrote.
      form: the format that it must name.

    Raises:
      DataError: the file cannot be read, or is something else; without its name.
    """
    try:
        content = json.loads(read_text(path, _LONGEST_FILE))
        if content["format"] != form:
            raise ValueError(f"format {content['format']!r:.40}, expected {form!r}")
        groups = ((_group(key), kinds) for key, kinds in content["elements"].items())
        return {group: _kinds(group, kinds) for group, kinds in groups}
    except (DataError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(one_line(error, 120)) from error


def _kinds(group: int, kinds: dict[str, dict[str, Any]]) -> dict[tuple[int, ...], _Found]:
    by_counts = ((_counts(key), found) for key, found in kinds.items())
    return {
        counts: {
            _letters(text, group, counts): _rows(numbers, len(counts)) for text, numbers in found.items()
        }
        for counts, found in by_counts
    }


def _group(key: str) -> int:
    if not (key.isascii() and key.isdigit() and 1 <= int(key[:4]) <= 230):
        raise ValueError(f"there is no space group {key[:10]!r}")
    return int(key)


def _counts(key: str) -> tuple[int, ...]:
    counts = tuple(map(int, key[:100].split(",")))
    if not all(0 < count <= BUCKETS[-1] for count in counts):
        raise ValueError(f"{key[:20]!r} are not numbers of sites")
    return counts


def _letters(text: str, group: int, counts: tuple[int, ...]) -> tuple[tuple[str, ...], ...]:
    letters = tuple(map(tuple, text.split(" ")))
    if tuple(map(len, letters)) != counts:
        raise ValueError(f"{text[:40]!r} are not the letters of {counts} sites")
    for letter in sorted({*text} - {" ", *letters_of(group)}):
        raise ValueError(f"group {group} has no Wyckoff position {letter!r}")
    for letter in repeated_fixed(group, text):
        raise ValueError(f"position {letter} of group {group} holds one site, and has more in {text[:40]!r}")
    return letters


def _rows(numbers: Sequence[int], width: int) -> list[tuple[int, ...]]:
    if not numbers or len(numbers) % width or not all(type(z) is int and 0 < z <= 118 for z in numbers):
        raise ValueError(f"{len(numbers)} atomic numbers of {width} elements")
    return [tuple(numbers[n : n + width]) for n in range(0, len(numbers), width)]
