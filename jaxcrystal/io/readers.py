"""Structures from the files that materials scientists have.

Reading is in two steps, so that the slow one can run in other processes: `read_records`
cuts the sources into one text (or JSON object) a structure, `parse` makes a pymatgen
structure of it. What cannot be read becomes a record too, whose parsing fails: no
structure is silently lost.
"""

import csv
import gzip
import json
import os
import re
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxcrystal.errors import DataError
from jaxcrystal.io.extxyz import parse_frame, split_frames
from jaxcrystal.io.rejection import Reason, Rejected

if TYPE_CHECKING:
    from pymatgen.core import Structure

#: The word that stands for pymatgen's library of AFLOW prototypes.
AFLOW = "aflow"
PROPERTIES = ("formation_energy_per_atom", "e_above_hull")
_ID_COLUMNS = ("material_id", "entry_id", "mat_id", "id", "name")
_READ_ERRORS = (OSError, EOFError, zlib.error, csv.Error, ValueError)


@dataclass(frozen=True)
class Record:
    """One structure that has not been parsed yet.

    Attributes:
      source_id: its name: an identifier of the source, or file name and place in it.
      kind: `cif`, `poscar`, `extxyz`, `json`, `aflow`, or `error`.
      content: text, JSON object, index (`aflow`) or what is wrong (`error`).
      properties: energies in eV per atom, where the source has them.
    """

    source_id: str
    kind: str
    content: Any
    properties: dict[str, float] = field(default_factory=dict)


def read_structures(
    sources: str | Path | Iterable[str | Path],
) -> "Iterator[tuple[str, Structure | Exception]]":
    """Yields every structure of the sources with its name, or the reason it has none.

    Args:
      sources: files (CIF, CSV with a `cif` column, extxyz, POSCAR, pymatgen JSON; each
        also compressed with gzip), folders, which are searched through, or `aflow`.

    Raises:
      DataError: a source does not exist or is of no known kind.
    """
    return map(_parsed, read_records(sources))


def _parsed(record: Record) -> "tuple[str, Structure | Exception]":
    try:
        return record.source_id, parse(record)
    except Exception as error:  # a library's parser may raise anything
        return record.source_id, error


def read_records(sources: str | Path | Iterable[str | Path]) -> Iterator[Record]:
    """Returns an iterator over the unparsed structures of the sources; see `read_structures`."""
    listed: Sequence[str | Path]
    listed = [sources] if isinstance(sources, str | Path) else list(sources)
    if not listed:
        raise DataError(f"no source given: name files, folders or {AFLOW}")
    files: list[tuple[str, Path]] = []
    for source in listed:
        if str(source) == AFLOW:
            files.append((AFLOW, Path(AFLOW)))
        else:
            files.extend(_files_of(Path(source)))
    return (record for name, path in files for record in _records_of_file(name, path))


def _files_of(source: Path) -> list[tuple[str, Path]]:
    if source.is_dir():
        inside = sorted(p for p in source.rglob("*") if p.is_file() and not p.name.startswith("."))
        found = [(str(p.relative_to(source)), p) for p in inside if _kind(p) is not None]
        found = [(name, p) for name, p in found if _kind(p) != "csv" or "cif" in _csv_columns(p)]
        if not found:
            raise DataError(f"folder {source} holds no structure file ({_KNOWN})")
        return found
    if not source.exists():
        raise DataError(f"{source} does not exist")
    if _kind(source) is None:
        raise DataError(f"{source}: unknown kind of file; known are {_KNOWN}")
    if _kind(source) == "csv" and "cif" not in _csv_columns(source):
        raise DataError(f"{source} has no column named cif")
    return [(source.name, source)]


_KNOWN = ".cif, .csv, .extxyz, .xyz, POSCAR, CONTCAR, .vasp, .json, each also with .gz"
_SUFFIXES = {
    ".cif": "cif", ".csv": "csv", ".extxyz": "extxyz", ".xyz": "extxyz",
    ".vasp": "poscar", ".poscar": "poscar", ".json": "json",
}  # fmt: skip


def _kind(path: Path) -> str | None:
    name = path.name.removesuffix(".gz")
    if re.match(r"(POSCAR|CONTCAR)([^a-zA-Z]|$)", name) and not name.lower().endswith(tuple(_SUFFIXES)):
        return "poscar"
    return _SUFFIXES.get(os.path.splitext(name)[1].lower())


def _open(path: Path) -> TextIOWrapper:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", errors="replace", newline="")
    return path.open(encoding="utf-8-sig", errors="replace", newline="")


def _records_of_file(name: str, path: Path) -> Iterator[Record]:
    if name == AFLOW:
        yield from _aflow_records()
        return
    split = {
        "cif": _split_cif,
        "csv": _split_csv,
        "extxyz": _split_extxyz,
        "poscar": _one,
        "json": _split_json,
    }
    try:
        with _open(path) as file:
            yield from split[_kind(path) or ""](name, file)
    except _READ_ERRORS as error:
        yield Record(name, "error", f"reading {path} stopped: {error}")


def _one(name: str, file: TextIOWrapper) -> Iterator[Record]:
    yield Record(name, "poscar", file.read())


def _split_cif(name: str, file: TextIOWrapper) -> Iterator[Record]:
    text = file.read()
    blocks = [b for b in re.split(r"(?mi)^(?=data_)", text) if re.match(r"(?i)data_", b)]
    with_atoms = [b for b in blocks if "_atom_site_" in b.lower()]
    if not with_atoms:
        yield Record(name, "error", "no data block with atoms")
    for number, block in enumerate(with_atoms):
        label = block.split(maxsplit=1)[0][len("data_") :]
        yield Record(f"{name}:{number}:{label}" if len(with_atoms) > 1 else name, "cif", block)


def _csv_columns(path: Path) -> list[str]:
    try:
        with _open(path) as file:
            return next(csv.reader(file), [])
    except _READ_ERRORS as error:
        raise DataError(f"cannot read {path}: {error}") from error


def _split_csv(name: str, file: TextIOWrapper) -> Iterator[Record]:
    csv.field_size_limit(2**31 - 1)
    reader = csv.DictReader(file)
    identifier = next((c for c in _ID_COLUMNS if c in (reader.fieldnames or ())), None)
    for number, row in enumerate(reader, start=1):
        source_id = (row.get(identifier) if identifier else None) or f"{name}:{number}"
        content = row.get("cif")
        if not content:
            yield Record(source_id, "error", "the cif column is empty")
        else:
            yield Record(source_id, "cif", content, _properties(row))


def _split_extxyz(name: str, file: TextIOWrapper) -> Iterator[Record]:
    for number, frame in enumerate(split_frames(file)):
        yield Record(f"{name}:{number}", "extxyz", frame)


def _split_json(name: str, file: TextIOWrapper) -> Iterator[Record]:
    yield from _json_records(name, json.load(file))


def _json_records(name: str, content: Any) -> Iterator[Record]:
    if isinstance(content, dict) and "sites" in content:
        yield Record(name, "json", content, _properties(content.get("properties") or {}))
    elif isinstance(content, dict) and "structure" in content:
        data = content.get("data") or {}
        merged = {**data, **content} if isinstance(data, dict) else content
        identifier = next((str(merged[c]) for c in _ID_COLUMNS if merged.get(c)), name)
        yield Record(identifier, "json", content["structure"], _properties(merged))
    elif isinstance(content, dict) and isinstance(content.get("entries"), list):
        yield from _json_records(name, content["entries"])
    elif isinstance(content, dict) and any(isinstance(value, dict | list) for value in content.values()):
        for key, value in content.items():
            yield from _json_records(str(key), value)
    elif isinstance(content, list) and content:
        for number, value in enumerate(content):
            yield from _json_records(f"{name}:{number}", value)
    else:
        yield Record(name, "error", "no pymatgen structure in this JSON")


def _properties(row: dict[str, Any]) -> dict[str, float]:
    found = {}
    for key in PROPERTIES:
        try:
            found[key] = float(row.get(key))  # type: ignore[arg-type]
        except (TypeError, ValueError):
            continue
    return found


def _aflow_records() -> Iterator[Record]:
    for number, entry in enumerate(_aflow_library()):
        yield Record(f"{AFLOW}:{entry['tags']['aflow']}:{number}", "aflow", number)


def _aflow_library() -> list[dict[str, Any]]:
    from pymatgen.analysis.prototypes import AFLOW_PROTOTYPE_LIBRARY

    return AFLOW_PROTOTYPE_LIBRARY


def parse(record: Record) -> "Structure":
    """Returns the pymatgen structure of a record; raises whatever its parser raises."""
    from pymatgen.core import Structure

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen warns of each rounded coordinate
        if record.kind == "cif":
            return _parse_cif(record.content)
        if record.kind == "poscar":
            return _parse_poscar(record.content)
        if record.kind == "extxyz":
            lattice, symbols, cart_coords = parse_frame(record.content)
            symbols = [_element(symbol) for symbol in symbols]
            return Structure(lattice, symbols, cart_coords, coords_are_cartesian=True)
        if record.kind == "json":
            if record.content.get("sites") == []:
                raise Rejected(Reason.EMPTY, "no atoms")
            return Structure.from_dict(record.content)
        if record.kind == "aflow":
            return _aflow_library()[record.content]["snl"].structure
    raise DataError(str(record.content))


def _parse_cif(text: str) -> "Structure":
    from pymatgen.io.cif import CifParser

    parser = CifParser.from_str(text)
    (block,) = parser.as_dict().values()
    # pymatgen guesses at symbols it does not know (Vac: vanadium) or leaves the site out.
    named = {_element(symbol) for symbol in block.get("_atom_site_type_symbol") or block["_atom_site_label"]}
    structure = parser.parse_structures(primitive=False, on_error="raise")[0]
    understood = {_element(element.symbol) for element in structure.elements}
    if named != understood:
        raise DataError(f"labels of atoms are ambiguous: {sorted(named)} or {sorted(understood)}")
    if any("implicit hydrogens" in warning for warning in parser.warnings):
        raise DataError("hydrogen atoms are implied but not placed")
    return structure


def _element(symbol: str) -> str:
    """Returns the element of an atom label or type symbol such as `Fe3+`, `FE` or `O1A`."""
    from pymatgen.core import Element

    if re.match(r"OH|NO3|O-H|[Ww]at", symbol):
        raise DataError(f"{symbol} stands for a group of atoms")
    for pattern in (r"[A-Za-z]{2}(?![A-Za-z])", r"[A-Z][a-z]?(?![a-z])", r"[A-Za-z](?![A-Za-z])"):
        match = re.match(pattern, symbol)
        if match and Element.is_valid_symbol(match.group().title()):
            return {"D": "H", "T": "H"}.get(match.group().title(), match.group().title())
    raise Rejected(Reason.UNKNOWN_ELEMENT, f"{symbol} is not an element")


def _parse_poscar(text: str) -> "Structure":
    from pymatgen.io.vasp import Poscar

    poscar = Poscar.from_str(text)
    if not poscar.true_names:
        raise DataError("the POSCAR does not name its elements")
    return poscar.structure
