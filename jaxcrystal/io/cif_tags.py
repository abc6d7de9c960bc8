"""CIF as text: its data blocks, and the tags and loops of one of them."""

import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import gemmi

from jaxcrystal.errors import DataError
from jaxcrystal.io.rejection import Reason, Rejected

#: A value that says that there is none.
UNKNOWN = ("?", ".", "")
_HEADER = re.compile(r"[ \t]*data_", re.IGNORECASE)
_COORDINATES = re.compile(r"[ \t]*_atom_site[._](?:fract|cartn)_x\b", re.IGNORECASE)
#: A tag with several words behind it that should have been in quotes, such as `P 21/c` or `O2 Si`.
_UNQUOTED = re.compile(
    r"(?m)^([ \t]*_\S+[ \t]+)(?!.*[ \t]_)([^\s'\"#;][^\s'\"#]*(?:[ \t]+[^\s'\"#]+)+)[ \t]*$"
)


def split_blocks(text: str) -> list[tuple[str, str]]:
    """Returns name and text of each data block that lists atoms.

    Args:
      text: clean. A CIF without any `data_` line is one block.
    """
    blocks: list[tuple[str, list[str], bool]] = []
    in_text_field = False
    for line in text.splitlines(keepends=True):
        if line.startswith(";"):
            in_text_field = not in_text_field
        elif not in_text_field and _HEADER.match(line):
            blocks.append((line.split(maxsplit=1)[0][len("data_") :], [], False))
        if not blocks:
            if line.startswith(";") or not line.lstrip().lower().startswith(("_", "loop_")):
                continue  # comments and other words before the first block
            blocks.append(("", ["data_\n"], False))
        name, lines, has_atoms = blocks[-1]
        lines.append(line)
        if not in_text_field and not has_atoms and _COORDINATES.match(line):
            blocks[-1] = (name, lines, True)
    found = [(name, "".join(lines)) for name, lines, has_atoms in blocks if has_atoms]
    return found if len(found) == 1 else [(name, block) for name, block in found if _has_places(block)]


def _has_places(block: str) -> bool:
    """Returns whether a block places an atom, or cannot be read: some files have blocks of blanks."""
    try:
        tags = CifTags(block)
        columns = [tags.column(f"_atom_site_{axis}_x") for axis in ("fract", "cartn")]
    except (DataError, Rejected):
        return True
    return any(value.strip() not in UNKNOWN for column in columns for value in column)


def has_one_block(text: str) -> bool:
    """Returns whether a text is one data block with atoms beyond doubt, without going through its lines."""
    lower = text.lower()
    return (
        lower.count("data_") == 1
        and "_atom_site_fract_x" in lower
        and _HEADER.match(_first_line(text)) is not None
    )


def _first_line(text: str) -> str:
    return next(
        (line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")), ""
    )


class CifTags:
    """The tags of a data block in lower case, with `_` for the dots of newer dictionaries.

    Attributes:
      single: values of tags outside loops, and of loops of one row.
      loops: each loop as tag -> column.
    """

    def __init__(self, text: str) -> None:
        """Reads the one block of a text.

        Raises:
          DataError: it is not CIF.
          Rejected: it has several blocks, or a tag has two values.
        """
        self.single: dict[str, str] = {}
        self.loops: list[dict[str, list[str]]] = []
        items: Any = _block(text)  # gemmi's annotations leave open what an item holds
        for item in items:
            if item.pair is not None:
                self._add(*item.pair)
            elif item.loop is not None:
                self._add_loop(item.loop)

    def _add(self, tag: str, value: str) -> None:
        tag, value = _plain(tag), _value(value)
        before = self.single.setdefault(tag, value)
        if before != value:
            if before in UNKNOWN or value in UNKNOWN:
                self.single[tag] = value if before in UNKNOWN else before
                return
            raise Rejected(Reason.CONTRADICTORY, f"{tag} is given twice: {before} and {value}")

    def _add_loop(self, loop: gemmi.cif.Loop) -> None:
        tags, width = [_plain(tag) for tag in loop.tags], len(loop.tags)
        values = [_value(value) for value in loop.values]
        if len(set(tags)) < width:
            raise Rejected(Reason.CONTRADICTORY, f"{max(tags, key=tags.count)} is twice in one loop")
        self.loops.append({tag: values[place::width] for place, tag in enumerate(tags)})

    @cached_property
    def names(self) -> frozenset[str]:
        """All tags of the block."""
        return frozenset(self.single).union(*self.loops)

    def value(self, *tags: str) -> str:
        """Returns the value of the first of some tags that has one; nothing if none has."""
        return next(iter(self.values(*tags)), "")

    def values(self, *tags: str) -> Iterator[str]:
        """Yields the values of those of some tags that have one, in loops of one row too."""
        for tag in tags:
            value = self.single.get(tag, "")
            if value in UNKNOWN:
                rows = [loop[tag] for loop in self.loops if tag in loop]
                value = rows[0][0] if len(rows) == 1 and len(rows[0]) == 1 else ""
            if value.strip() not in UNKNOWN:
                yield value.strip()

    def column(self, *tags: str) -> list[str]:
        """Returns the column of the first of some tags that is in a loop, or its single value.

        Raises:
          Rejected: two loops have it, with different values.
        """
        for tag in tags:
            found = [loop[tag] for loop in self.loops if loop.get(tag)]
            if any(column != found[0] for column in found):
                raise Rejected(Reason.CONTRADICTORY, f"{tag} is in two loops")
            if found:
                return found[0]
            if tag in self.single:
                return [self.single[tag]]
        return []


def _plain(tag: str) -> str:
    return tag.lower().replace(".", "_")


def _value(raw: str) -> str:
    """Returns a value without its quotes; `?` and `.`, which are not the same, stay."""
    return raw if raw in UNKNOWN else gemmi.cif.as_string(raw)


def _block(text: str) -> gemmi.cif.Block:
    try:
        blocks = _read(text)
    except ValueError as error:
        # gemmi takes other characters than ASCII in quotes only.
        mended = _UNQUOTED.sub(r'\1"\2"', text).encode("ascii", "backslashreplace").decode()
        try:
            if mended == text:
                raise error
            blocks = _read(mended)
        except ValueError as still:
            raise DataError(f"not CIF: {_readable(still)}") from None
    with_atoms = [
        block for block in blocks if any(_plain(tag).startswith("_atom_site_") for tag in _tags(block))
    ]
    if len(with_atoms) != 1:
        raise DataError(f"{len(with_atoms) or 'no'} data blocks with atoms, expected one")
    return with_atoms[0]


def _read(text: str) -> gemmi.cif.Document:
    try:
        return gemmi.cif.read_string(text, 0)
    except RuntimeError as error:
        raise ValueError(str(error)) from None


def _tags(block: Any) -> Iterator[str]:
    for item in block:
        if item.pair is not None:
            yield item.pair[0]
        elif item.loop is not None:
            yield from item.loop.tags


def _readable(error: ValueError) -> str:
    """Returns gemmi's message with the line first: `string:12:0(345): ...`."""
    match = re.match(r"string:(\d+)(?::\d+\(\d+\))?(?: in [^:]*)?: ?(.*)", " ".join(str(error).split()))
    return f"line {match.group(1)}: {match.group(2)}" if match else " ".join(str(error).split())
