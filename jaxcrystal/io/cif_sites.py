"""The atom sites of a CIF: their elements, coordinates and occupancies."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from jaxcrystal.io.cif_tags import UNKNOWN, CifTags
from jaxcrystal.io.labels import element_of
from jaxcrystal.io.rejection import Reason, Rejected
from jaxcrystal.io.text import last_digit, number

_AXES = ("fract_x", "fract_y", "fract_z")
_PREFIX = "_atom_site_"
_COORDINATES = tuple(_PREFIX + axis for axis in _AXES)
#: Columns that other loops may add to the sites.
_ADDED = ("type_symbol", "occupancy", "calc_flag", "disorder_group", "attached_hydrogens")
#: Occupancies up to this one count as no more than full.
OVERFULL = 1.02
#: Coordinates this near to a third or two, relative, are these; as pymatgen has it.
_THIRDS, _NEAR_THIRD = (1 / 3, 2 / 3), 1e-4


@dataclass(frozen=True, eq=False)
class Site:
    """One row of the list of atoms.

    Attributes:
      label: what the file calls it.
      element: atomic number.
      frac_coords: [3].
      last_digits: [3] worth of the last digit of each coordinate.
      occupancy: up to 1.
      multiplicity: atoms that the file counts on the site; 0 where it is not looked at.
    """

    label: str
    element: int
    frac_coords: Float[np.ndarray, "3"]
    last_digits: Float[np.ndarray, "3"]
    occupancy: float
    multiplicity: int = 0


def read_sites(tags: CifTags, known: Collection[int] | None) -> list[Site]:
    """Returns the sites of a CIF; dummy atoms and those of occupancy 0 are left out.

    Args:
      tags: of the data block.
      known: atomic numbers of the elements in the file's formula; None if it has none.

    Raises:
      Rejected: a site has no place or no element, hydrogens are not placed, or atoms are
        given in alternatives.
    """
    rows = _rows(tags)
    if len({row["disorder_group"] for row in rows} - {"", *UNKNOWN}) > 1 or any(
        row["disorder_group"].startswith("-") for row in rows
    ):
        raise Rejected(Reason.DISORDERED, "some atoms are given in alternatives (disorder groups)")
    from_icsd = "_database_code_icsd" in tags.names
    sites = []
    for row in rows:
        label, occupancy = row["label"] or row["type_symbol"], _occupancy(row)
        if row["calc_flag"].lower() == "dum" or occupancy == 0:
            continue
        hydrogens = row["attached_hydrogens"]
        if hydrogens not in UNKNOWN and number(hydrogens, "attached hydrogens") != 0:
            raise Rejected(
                Reason.CONTRADICTORY, f"{label} carries {hydrogens} hydrogen atoms that are not placed"
            )
        texts = [row[axis] for axis in _AXES]
        if label in UNKNOWN and all(text in UNKNOWN for text in texts):
            continue  # a row of blanks
        is_label = row["type_symbol"] in UNKNOWN
        element = element_of(row["label"] if is_label else row["type_symbol"], known, is_label)
        multiplicity = _multiplicity(row, element, from_icsd)
        if any(text in UNKNOWN for text in texts) and not multiplicity:
            raise Rejected(Reason.UNPARSABLE, f"{label} has no coordinates")
        texts = ["0" if text in UNKNOWN else text for text in texts]
        coords = np.array([_coordinate(text, label) for text in texts])
        digits = np.array([last_digit(text) for text in texts])
        sites.append(Site(label, element, coords, digits, occupancy, multiplicity))
    if not sites:
        raise Rejected(Reason.EMPTY, "no atoms")
    return sites


def _rows(tags: CifTags) -> list[dict[str, str]]:
    """Returns the rows of the loop with coordinates, with what other loops say of the same labels."""
    loops = [loop for loop in tags.loops if _COORDINATES[0] in loop]
    if len(loops) > 1:
        raise Rejected(Reason.CONTRADICTORY, f"{len(loops)} lists of atoms in one data block")
    if not loops and _COORDINATES[0] in tags.single:
        loops = [{tag: [value] for tag, value in tags.single.items() if tag.startswith(_PREFIX)}]
    if not loops or not all(tag in loops[0] for tag in _COORDINATES):
        if any(tag.startswith("_atom_site_cartn_") for tag in tags.names):
            raise Rejected(Reason.UNPARSABLE, "Cartesian coordinates: fractional ones are needed")
        raise Rejected(Reason.UNPARSABLE, "the atoms have no fractional coordinates")
    main = {tag.removeprefix(_PREFIX): column for tag, column in loops[0].items()}
    if not {"label", "type_symbol"} & set(main):
        raise Rejected(Reason.UNPARSABLE, "the atoms have neither labels nor symbols")
    length = len(main["fract_x"])
    for name in _ADDED:
        if name not in main:
            main[name] = _joined(tags, name, main.get("label", []), length)
    main.setdefault("label", [""] * length)
    return [{name: column[row].strip() for name, column in main.items()} for row in range(length)]


def _joined(tags: CifTags, name: str, labels: list[str], length: int) -> list[str]:
    """Returns a column of another loop in the order of the labels of the sites; blanks if there is none."""
    tag = _PREFIX + name
    others = [loop for loop in tags.loops if tag in loop]
    if not others:
        return [""] * length
    label = _PREFIX + "label"
    if len(others) > 1 or label not in others[0]:
        raise Rejected(Reason.CONTRADICTORY, f"{tag} is in another loop than the coordinates, without labels")
    found = dict(zip(others[0][label], others[0][tag], strict=True))
    if len(found) < len(others[0][label]) or len(set(labels)) < length or not set(found) <= set(labels):
        raise Rejected(
            Reason.CONTRADICTORY, f"the labels of the loops with {tag} and coordinates do not match"
        )
    return [found.get(site, "") for site in labels]


def _multiplicity(row: dict[str, str], element: int, from_icsd: bool) -> int:
    """Returns the multiplicity of a site whose dots stand for coordinates 0, otherwise 0.

    Older files of the ICSD write so. Since a dot is `not known` elsewhere, and hydrogen is what
    is not known most often, the atoms of the site must be as many as the file says.
    """
    texts = [row[axis] for axis in _AXES]
    told = row.get("symmetry_multiplicity", "")
    if not (from_icsd and "." in texts and "?" not in texts and told.isdigit()):
        return 0
    return 0 if element == 1 and texts == ["."] * 3 else int(told)


def _occupancy(row: dict[str, str]) -> float:
    text = row["occupancy"]
    if text in UNKNOWN:
        return 1.0
    value = number(text, f"the occupancy of {row['label']}")
    if not 0 <= value <= OVERFULL:
        raise Rejected(Reason.UNPARSABLE, f"the occupancy of {row['label']} is {text}, expected 0 to 1")
    return value


def _coordinate(text: str, label: str) -> float:
    value = number(text, f"a coordinate of {label}")
    for third in _THIRDS:
        if abs(value / third - 1) <= _NEAR_THIRD:
            return third
    return value
