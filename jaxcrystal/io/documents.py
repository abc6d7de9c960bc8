"""Structures in JSON documents: those of pymatgen, OPTIMADE, JARVIS, ASE, OQMD, and tables of pandas.

A document is gone through from its root. What is a structure becomes a record; other values,
such as figures and settings, are passed by.
"""

import ast
import json
from collections.abc import Iterator
from typing import Any

from jaxcrystal.io.poscar import is_poscar
from jaxcrystal.io.records import ID_NAMES, Record, cif_records, known_properties
from jaxcrystal.io.text import clean

#: Kind of structure -> the keys that its object has.
KINDS = {
    "json": ("lattice", "sites"),
    "optimade": ("lattice_vectors", "cartesian_site_positions"),
    "jarvis": ("lattice_mat", "coords", "elements"),
    "ase": ("numbers", "positions"),
    "oqmd": ("unit_cell", "sites"),
}
#: Where an object about a crystal keeps its structure; the first that holds one counts.
_PLACES = (
    "structure", "final_structure", "relaxed_structure", "cif", "cif_string", "atoms", "attributes", "output",
)  # fmt: skip


def document_records(name: str, content: Any) -> Iterator[Record]:
    """Yields a record for every structure in a document.

    Args:
      name: of the document; structures without an identifier are named after it and their place.
      content: what the JSON reader gives.
    """
    yield from _records(name, content, {})


def _records(name: str, content: Any, properties: dict[str, float]) -> Iterator[Record]:
    if isinstance(content, str):
        yield from text_records(name, content, properties)
    elif isinstance(content, list):
        for number, value in enumerate(content):
            if isinstance(value, dict | list | str):
                yield from _records(f"{name}:{number}", value, properties)
    elif isinstance(content, dict):
        yield from _object_records(name, content, properties)


def _object_records(name: str, content: dict[str, Any], properties: dict[str, float]) -> Iterator[Record]:
    table = _rows(content)
    if table is not None:
        for key, row in table:
            yield from _records(f"{name}:{key}", row, properties)
        return
    data = content.get("data")
    merged = {**data, **content} if isinstance(data, dict) else content
    named = next((str(merged[key]) for key in ID_NAMES if isinstance(merged.get(key), str | int)), "")
    properties = {**properties, **known_properties(merged)}
    kind = _kind_of_object(content)
    if kind:
        of_structure = content.get("properties")
        inner = known_properties(of_structure) if isinstance(of_structure, dict) else {}
        yield Record(_id_of(content) or name, kind, content, {**properties, **inner})
        return
    if _has_sites_only(content):
        yield Record(named or name, "error", "sites without a lattice: a molecule, no crystal")
        return
    for place in _PLACES:
        found = list(_records(named or name, content[place], properties)) if content.get(place) else []
        if found:
            yield from found
            return
    if content.get("structure", "none") in (None, {}, [], ""):
        yield Record(named or name, "error", "its structure is null")
        return
    for key, value in content.items():
        if isinstance(value, dict | list) or (isinstance(value, str) and _kind_of_text(value)):
            yield from _records(named or (name if isinstance(value, list) else str(key)), value, properties)


def _id_of(content: dict[str, Any]) -> str:
    """Returns the identifier that stands in a structure's own object, as in ASE's and OPTIMADE's."""
    return next((str(content[key]) for key in ("entry_id", "material_id") if content.get(key)), "")


def _kind_of_object(content: dict[str, Any]) -> str:
    """Returns the kind of structure that an object is; nothing if it is none."""
    for kind, keys in KINDS.items():
        if all(isinstance(content.get(key), dict | list) for key in keys):
            return kind
    return ""


def _has_sites_only(content: dict[str, Any]) -> bool:
    sites = content.get("sites")
    return isinstance(sites, list) and bool(sites) and isinstance(sites[0], dict) and "species" in sites[0]


def _rows(content: dict[str, Any]) -> list[tuple[str, dict[str, Any]]] | None:
    """Returns names and rows of a table of pandas, split or written by columns; None for other objects."""
    columns, data = content.get("columns"), content.get("data")
    if isinstance(columns, list) and isinstance(data, list):
        rows = [row for row in data if isinstance(row, list)]
        index = content.get("index")
        names = index if isinstance(index, list) and len(index) == len(rows) else range(len(rows))
        return [
            (str(name), dict(zip(map(str, columns), row, strict=False)))
            for name, row in zip(names, rows, strict=True)
        ]
    for place in _PLACES:
        column = content.get(place)
        values = list(column.values()) if isinstance(column, dict) else column
        if not (isinstance(values, list) and values and any(map(_is_structure, values))):
            continue
        if isinstance(column, dict) and (_is_structure(column) or set(_PLACES) & set(column)):
            continue
        keys = list(column) if isinstance(column, dict) else range(len(values))
        return [
            (
                str(key),
                {
                    name: other[key] if isinstance(other, list) else other.get(key)
                    for name, other in content.items()
                    if (isinstance(other, list) and len(other) == len(values)) or isinstance(other, dict)
                },
            )
            for key in keys
        ]
    return None


def _is_structure(value: Any) -> bool:
    if isinstance(value, dict):
        return _kind_of_object(value) != ""
    return isinstance(value, str) and _kind_of_text(value) != ""


def _kind_of_text(text: str) -> str:
    lower = text.lower()
    if lower.lstrip().startswith(("{", "[")) and ("lattice" in lower or "positions" in lower):
        return "object"
    if "_atom_site" in lower:
        return "cif"
    if lower.lstrip().startswith("data_") and ("_cell_" in lower or "\n" in text.strip()):
        return "cif"  # without atoms; `data_mp20` alone is a name
    return "poscar" if is_poscar(text) else ""


def text_records(name: str, text: str, properties: dict[str, float]) -> Iterator[Record]:
    """Yields the structures of a text: CIF, POSCAR, or an object in JSON or as Python shows it.

    Args:
      name: of the text.
      text: of a document or a cell of a table; nothing is yielded for other words.
      properties: energies that go with it.
    """
    kind = _kind_of_text(text)
    if kind == "cif":
        yield from cif_records(name, _unescaped(text), properties)
    elif kind == "poscar":
        yield Record(name, "poscar", clean(text), properties)
    elif kind == "object":
        try:
            content = _parsed_object(text)
        except ValueError as error:
            yield Record(name, "error", str(error), properties)
        else:
            yield from _records(name, content, properties)


def _unescaped(text: str) -> str:
    r"""Returns a text whose ends of lines were written as the two characters `\n` with such ends."""
    return text.replace("\\r", "").replace("\\n", "\n") if "\n" not in text.strip() else text


def _parsed_object(text: str) -> Any:
    """Returns the object that a text writes in JSON, or as Python shows a dictionary.

    Raises:
      ValueError: it is neither.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("an object that is nested too deeply") from None
    except ValueError:
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise ValueError("neither JSON nor a dictionary of Python") from None
