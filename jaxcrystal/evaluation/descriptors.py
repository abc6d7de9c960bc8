"""Computes what the metrics need of one structure: fingerprints, validity, space groups.

Structure fingerprint: matminer's CrystalNN "ops", averaged over the atoms. Composition
fingerprint: matminer's Magpie features. Both as in CDVAE (Xie et al., ICLR 2022).
"""

import functools
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from jaxcrystal.errors import one_line
from jaxcrystal.structures.cells import is_valid, nearest_distance, translation_primitive
from jaxcrystal.structures.checks import MIN_VOLUME
from jaxcrystal.symmetry.detect import find_group

if TYPE_CHECKING:
    from pymatgen.core import Structure

#: Lengths of the fingerprints.
STRUCTURE_LENGTH, COMPOSITION_LENGTH = 61, 132
#: Å; tolerances with which spglib finds the group.
SYMPRECS = (0.01, 0.1, 0.3)
#: Oxidation states of SMACT that composition validity is decided with: those of 2014, as in
#: CDVAE and the models compared with it. Newer versions of SMACT default to another table.
OXIDATION_STATES = "smact14"
#: More combinations of oxidation states than this are not tried (12 elements, say).
_MAX_COMBINATIONS = 1_000_000
#: Å³ an atom; CrystalNN takes all atoms within 7 Å, so denser cells would take minutes each.
_MIN_VOLUME_PER_ATOM = 0.25

CLOSE_ATOMS = "atoms nearer than 0.5 Å"
SMALL_VOLUME = "volume under 0.1 Å³"
NO_FINGERPRINT = "no CrystalNN fingerprint"
NO_COMPOSITION_FEATURES = "no Magpie features"
COMPOSITION_NOT_VALID = "composition not valid by SMACT"

#: 61 + 132 fingerprints, then shortest distance, volume, density, numbers of elements and atoms,
#: the two validities, and the groups.
Row = tuple[np.ndarray, str]
_NUM_SCALARS = 7 + len(SYMPRECS)
ROW_LENGTH = STRUCTURE_LENGTH + COMPOSITION_LENGTH + _NUM_SCALARS


def describe(structure: "Structure") -> Row:
    """Returns everything about one structure as [203] numbers, and why some of it is missing."""
    reasons = []
    fingerprint = np.full(STRUCTURE_LENGTH, np.nan)
    magpie = np.full(COMPOSITION_LENGTH, np.nan)
    scalars = np.full(_NUM_SCALARS, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            valid = is_valid(structure)
            if not valid:
                reasons.append(SMALL_VOLUME if structure.volume < MIN_VOLUME else CLOSE_ATOMS)
            cell = (structure.lattice.matrix, structure.frac_coords, np.array(structure.atomic_numbers))
            groups = [find_group(cell[0], cell[2], cell[1], symprec) for symprec in SYMPRECS]
            scalars[:6] = (
                nearest_distance(structure),
                structure.volume,
                float(structure.density),
                len(structure.elements),
                len(structure),
                valid,
            )
            scalars[7:] = groups
        except Exception as error:  # an odd structure must not stop a long run
            reasons.append(f"geometry: {one_line(error)}")
        try:
            fingerprint = structure_fingerprint(structure)
        except Exception as error:
            reasons.append(f"{NO_FINGERPRINT}: {one_line(error)}")
        try:
            magpie = composition_fingerprint(structure)
        except Exception as error:
            reasons.append(f"{NO_COMPOSITION_FEATURES}: {one_line(error)}")
        try:
            scalars[6] = composition_is_valid(structure)
            why = COMPOSITION_NOT_VALID
        except Exception as error:
            scalars[6] = False
            why = f"{COMPOSITION_NOT_VALID}: {one_line(error)}"
        if not scalars[6]:
            reasons.append(why)
    return np.concatenate([fingerprint, magpie, scalars]), reasons[0] if reasons else ""


def structure_fingerprint(structure: "Structure") -> Float[np.ndarray, "61"]:
    """Returns matminer's CrystalNN "ops" fingerprint, averaged over the atoms.

    The atoms are those of the primitive cell, of which the given cell is exact copies by
    translation. Every one of them is computed, symmetry-equivalent ones too: CrystalNN
    rounds weights and counts Voronoi facets, so that in some structures equivalent atoms
    get different numbers from rounding errors alone, and one atom cannot stand for all.

    Raises:
      ValueError: the cell is too dense.
      Exception: CrystalNN's own.
    """
    cell = translation_primitive(structure)
    if cell.volume < _MIN_VOLUME_PER_ATOM * len(cell):
        raise ValueError(f"under {_MIN_VOLUME_PER_ATOM} Å³ an atom")
    sites, _ = _featurizers()
    return np.mean([sites.featurize(cell, atom) for atom in range(len(cell))], axis=0)


def composition_fingerprint(structure: "Structure") -> Float[np.ndarray, "132"]:
    """Returns matminer's Magpie features; matminer puts averages for values that are not known."""
    _, composition = _featurizers()
    return np.array(composition.featurize(structure.composition), float)


def composition_is_valid(structure: "Structure") -> bool:
    """Returns whether SMACT finds oxidation states that are neutral and pass the Pauling test.

    A single element is valid, and so is an alloy of metals.

    Raises:
      ValueError: there are too many combinations to try.
    """
    import smact
    from smact.screening import smact_validity

    names = [element.symbol for element in structure.elements]
    if len(names) > 1 and not all(name in smact.metals for name in names):
        states = [smact.Element(name).oxidation_states_smact14 or [] for name in names]
        combinations = float(np.prod([float(len(s)) for s in states]))
        if combinations > _MAX_COMBINATIONS:
            raise ValueError(f"{combinations:.0e} combinations of oxidation states are not tried")
    return bool(smact_validity(structure.composition, oxidation_states_set=OXIDATION_STATES))


@functools.cache
def _featurizers() -> tuple[Any, Any]:
    from matminer.featurizers.composition.composite import ElementProperty
    from matminer.featurizers.site.fingerprint import CrystalNNFingerprint

    return CrystalNNFingerprint.from_preset("ops"), ElementProperty.from_preset("magpie")
