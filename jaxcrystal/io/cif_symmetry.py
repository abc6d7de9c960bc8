"""The symmetry that a CIF tells, by operations, Hall symbol, name or number, and its cell."""

import re
from dataclasses import dataclass

import gemmi
import numpy as np
from jaxtyping import Float

from jaxcrystal.io.cif_tags import UNKNOWN, CifTags
from jaxcrystal.io.operations import (
    Operations,
    angles_fixed_by,
    cell_has,
    group_number,
    listed_operations,
    operations_of_hall,
    same_operations,
)
from jaxcrystal.io.rejection import Reason, Rejected
from jaxcrystal.io.text import last_digit, number
from jaxcrystal.symmetry.symbols import is_conventional, settings_of_number, settings_of_symbol, unique_axis

_OPERATIONS = ("_space_group_symop_operation_xyz", "_symmetry_equiv_pos_as_xyz")
_MAGNETIC = ("_space_group_symop_magn_operation_xyz", "_space_group_symop_magn_centering_xyz")
_NAMES = (
    "_space_group_name_h-m_alt",
    "_symmetry_space_group_name_h-m",
    "_symmetry_space_group_name_h-m_alt",
    "_space_group_name_h-m",
    "_space_group_name_h-m_full",
    "_space_group_name_h-m_ref",
)
_HALL = ("_space_group_name_hall", "_symmetry_space_group_name_hall")
_NUMBERS = ("_space_group_it_number", "_symmetry_int_tables_number")
_SETTING_CODE = ("_space_group_it_coordinate_system_code",)
_TRANSFORM = ("_space_group_transform_pp_abc", "_space_group_transform_qq_xyz")
_MODULATED = re.compile(r"_cell_modulation|_cell_wave_vector|_ssg_|_atom_site_(?:fourier|displace|occ)_")
_AXES = ("a", "b", "c")
_ANGLES = ("alpha", "beta", "gamma")


@dataclass(frozen=True)
class Cell:
    """Lengths in Å with the worth of their last digits, and angles in degrees; NaN where not given."""

    lengths: Float[np.ndarray, "3"]
    angles: Float[np.ndarray, "3"]
    last_digits: Float[np.ndarray, "3"]

    def __str__(self) -> str:
        return " ".join(f"{x:g}" for x in (*self.lengths, *self.angles))


def read_cell(tags: CifTags) -> Cell:
    """Returns the cell of a CIF; angles that are not given are NaN.

    Raises:
      Rejected: a length is missing, or the numbers make no cell.
    """
    texts = [tags.value(f"_cell_length_{axis}") for axis in _AXES]
    if not any(f"_cell_length_{axis}" in tags.names for axis in _AXES):
        raise Rejected(Reason.UNPARSABLE, "the data block with the atoms gives no cell")
    for axis, text in zip(_AXES, texts, strict=True):
        if not text:
            raise Rejected(Reason.UNPARSABLE, f"the length {axis} of the cell is not given")
    lengths = np.array(
        [number(text, f"_cell_length_{axis}") for axis, text in zip(_AXES, texts, strict=True)]
    )
    given = [tags.value(f"_cell_angle_{name}") for name in _ANGLES]
    angles = np.array(
        [
            number(text, f"_cell_angle_{name}") if text else np.nan
            for name, text in zip(_ANGLES, given, strict=True)
        ]
    )
    known = angles[~np.isnan(angles)]
    if (lengths <= 0).any() or (known <= 0).any() or (known >= 180).any():
        raise Rejected(Reason.UNPARSABLE, f"{' '.join([*texts, *given])} is no cell")
    return Cell(lengths, angles, np.array([last_digit(text) for text in texts]))


def completed(cell: Cell, operations: Operations) -> Cell:
    """Returns a cell with the angles that the group fixes in place of those that are not given.

    Raises:
      Rejected: the group leaves an angle open.
    """
    if not np.isnan(cell.angles).any():
        return cell
    fixed = angles_fixed_by(operations)
    angles = [f if np.isnan(given) else given for given, f in zip(cell.angles, fixed, strict=True)]
    for name, angle in zip(_ANGLES, angles, strict=True):
        if angle is None:
            raise Rejected(Reason.UNPARSABLE, f"the angle {name} of the cell is not given")
    return Cell(cell.lengths, np.array(angles, float), cell.last_digits)


def told_operations(tags: CifTags, cell: Cell) -> list[Operations]:
    """Returns the operations of the group, once for each way to read what a CIF tells of it.

    Listed operations come first, then the Hall symbol, then names, then the number; what else
    is told must agree with them. Empty if nothing is told.

    Raises:
      Rejected: what is told contradicts itself or the cell, or is not understood.
    """
    flat = {"_cell_modulation_dimension"} if tags.value("_cell_modulation_dimension") == "0" else set()
    if any(map(_MODULATED.search, tags.names - flat)):
        raise Rejected(Reason.DISORDERED, "a modulated structure: its atoms are not those of one cell")
    told = _told_number(tags)
    names = list(dict.fromkeys(tags.values(*_NAMES)))
    known = {name: settings_of_symbol(name) for name in names}
    numbers = {setting.number for settings in known.values() for setting in settings} | (
        {told} if told else set()
    )
    hall = tags.value(*_HALL)
    listed = _listed(tags)
    if listed is not None:
        _require_type(listed, cell, numbers, [*names, *([f"number {told}"] if told else [])])
        _require_centring(listed, [setting for settings in known.values() for setting in settings])
        _require_hall(listed, hall, cell)
        return [_fitting(listed, cell)]
    if len(numbers) > 1:
        raise Rejected(
            Reason.CONTRADICTORY, f"the file names groups {' and '.join(map(str, sorted(numbers)))}"
        )
    for tag in _TRANSFORM:
        if re.sub(r"[\s;]", "", tags.value(tag)).lower() not in ("", "a,b,c", "a,b,c0,0,0", "x,y,z"):
            raise Rejected(Reason.UNPARSABLE, f"axes transformed by {tags.value(tag)}, and no operations")
    settings = _settings(known, told, tags.value(*_SETTING_CODE).lower())
    if hall:
        from_hall = _of_hall(hall, settings, bool(numbers))
        if from_hall is not None:
            _require_type(from_hall, cell, numbers, [*names, *([f"number {told}"] if told else [])])
            return [_fitting(from_hall, cell)]
    if not settings:
        if names or hall:
            raise Rejected(
                Reason.UNPARSABLE, f"unknown space group {(names or [hall])[0]!r}, and no operations"
            )
        return []
    return _of_settings(settings, cell)


def _told_number(tags: CifTags) -> int:
    found = set()
    for text in tags.values(*_NUMBERS):
        if text == "0":  # some programs write so that they do not know it
            continue
        if not re.fullmatch(r"[0-9]+", text) or not 1 <= int(text) <= 230:
            raise Rejected(Reason.UNPARSABLE, f"space group number {text!r}, expected 1 to 230")
        found.add(int(text))
    if len(found) > 1:
        raise Rejected(Reason.CONTRADICTORY, f"the file names groups {' and '.join(map(str, sorted(found)))}")
    return found.pop() if found else 0


def _listed(tags: CifTags) -> Operations | None:
    """Returns the operations that are listed; of a magnetic group, with the reversal of time left out."""
    texts = [text for text in tags.column(*_OPERATIONS) if text.strip() not in UNKNOWN]
    if texts:
        return listed_operations(tuple(texts))
    magnetic = [[t for t in tags.column(tag) if t.strip() not in UNKNOWN] for tag in _MAGNETIC]
    if magnetic[0]:
        moves, centring = ([gemmi.Op(_without_time(t)) for t in texts] for texts in magnetic)
        shifts = centring or [gemmi.Op("x,y,z")]
        return listed_operations(tuple((shift * op).triplet() for shift in shifts for op in moves))
    if any(tag.startswith("_space_group_magn") for tag in tags.names):
        raise Rejected(Reason.UNPARSABLE, "a magnetic group without its operations")
    return None


def _without_time(text: str) -> str:
    match = re.fullmatch(r"\s*([^,]+,[^,]+,[^,]+?)\s*,\s*[+-]?1\s*", text)
    try:
        if not match or not text.isascii():
            raise ValueError
        return str(gemmi.Op(re.sub(r"\s", "", match.group(1))).triplet())
    except (RuntimeError, ValueError):
        raise Rejected(Reason.UNPARSABLE, f"{text!r} is no magnetic symmetry operation") from None


def _require_type(operations: Operations, cell: Cell, numbers: set[int], told: list[str]) -> None:
    """Compares the group of operations with the numbers that names and numbers stand for."""
    if not numbers or (numbers == {1} and len(operations) == 1):
        return
    found = group_number(operations, np.diag(cell.lengths))
    if numbers != {found}:
        raise Rejected(
            Reason.CONTRADICTORY,
            f"{operations.name} are of group {found or '?'}, but the file names {', '.join(told)}",
        )


def _require_hall(operations: Operations, hall: str, cell: Cell) -> None:
    """Compares the group of operations with that of a Hall symbol, in whatever setting.

    What is no Hall symbol is passed by, and a name that stands in its place counts as a name.
    """
    try:
        told = operations_of_hall(hall, hall) if hall else None
    except ValueError:
        return
    if told is None or same_operations(told, operations):
        return
    lattice = np.diag(cell.lengths)
    found = group_number(operations, lattice)
    if found not in {group_number(told, lattice), *(s.number for s in settings_of_symbol(hall))}:
        raise Rejected(
            Reason.CONTRADICTORY,
            f"{operations.name} are of group {found or '?'}, but the file's Hall symbol is {hall}",
        )


def _require_centring(operations: Operations, settings: list[gemmi.SpaceGroup]) -> None:
    """Compares the number of operations with that of cells that are centred for nothing, such as C 4 2 2.

    Without its centring, the list is of the same group there. Conventional symbols are not
    looked at: some programs write them beside the operations of the primitive cell.
    """
    if settings and not any(map(is_conventional, settings)):
        counts = {len(_of_setting(setting)) for setting in settings}
        if len(operations) not in counts:
            raise Rejected(
                Reason.CONTRADICTORY,
                f"{operations.name} are not all of {settings[0].xhm()}, which has {counts.pop()}",
            )


def _settings(known: dict[str, list[gemmi.SpaceGroup]], told: int, code: str) -> list[gemmi.SpaceGroup]:
    """Returns the settings that all names allow that are known, or else those of the number."""
    candidates: list[gemmi.SpaceGroup] | None = None
    for settings in known.values():
        if settings:
            halls = {setting.hall for setting in settings}
            candidates = settings if candidates is None else [s for s in candidates if s.hall in halls]
    if candidates is None:
        candidates = settings_of_number(told) if told and not known else []
    elif not candidates:
        raise Rejected(Reason.CONTRADICTORY, f"the names {', '.join(known)} are of different settings")
    return [s for s in candidates if code and code in (s.ext.lower(), s.qualifier)] or candidates


def _of_hall(hall: str, settings: list[gemmi.SpaceGroup], is_named: bool) -> Operations | None:
    """Returns the operations of a Hall symbol; None if it is none and the group is told otherwise."""
    try:
        found = operations_of_hall(hall, f"the Hall symbol {hall}")
    except ValueError:
        if is_named:
            return None
        raise Rejected(Reason.UNPARSABLE, f"unknown Hall symbol {hall!r}") from None
    if settings and not any(same_operations(found, _of_setting(setting)) for setting in settings):
        raise Rejected(
            Reason.CONTRADICTORY,
            f"the Hall symbol {hall} is not the setting that {settings[0].xhm()} stands for",
        )
    return found


def _of_settings(settings: list[gemmi.SpaceGroup], cell: Cell) -> list[Operations]:
    """Returns the operations of the settings that the cell allows; of unique axes, those of b if it does."""
    fitting = [(setting, _of_setting(setting)) for setting in settings]
    fitting = [(setting, found) for setting, found in fitting if _fits(found, cell)]
    if not fitting:
        raise Rejected(Reason.CONTRADICTORY, f"the cell {cell} is none of {settings[0].xhm()}")
    if unique_axis(fitting[0][0]) == "b":
        fitting = fitting[:1]
    return [found for _, found in fitting]


def _of_setting(setting: gemmi.SpaceGroup) -> Operations:
    return operations_of_hall(setting.hall, setting.xhm())


def _fitting(operations: Operations, cell: Cell) -> Operations:
    if not _fits(operations, cell):
        raise Rejected(
            Reason.CONTRADICTORY, f"the cell {cell} does not have the symmetry of {operations.name}"
        )
    return operations


def _fits(operations: Operations, cell: Cell) -> bool:
    if len(operations) == 1:
        return True
    try:
        whole = completed(cell, operations)
    except Rejected:
        return True  # the missing angle is the better reason, and is given where the cell is completed
    return cell_has(operations, whole.lengths, whole.angles, whole.last_digits)
