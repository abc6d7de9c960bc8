"""What a crystal family makes of lattice parameters and axes.

A family ties lengths together (tetragonal: b = a) and fixes angles. The free numbers of the lattice
stay in the slot of the first quantity that they drive, and the other slots hold 0:
`full = params @ TIE[family] + FIXED[family]`, in the terms of `symmetry.lattice`.
"""

import numpy as np

from jaxcrystal.symmetry.groups import FAMILIES

#: Of cotangents in the parameters of angles.
ANGLE_SCALE = 10.0
_COT_120 = ANGLE_SCALE / np.tan(np.radians(120.0))

# Slot of the parameter that drives (a, b, c, alpha, beta, gamma); None: a fixed angle. Where a length
# is not driven by its own slot, it is by that of a: `symmetry.lattice` counts on it.
_DRIVER: dict[str, tuple[int | None, ...]] = {
    "triclinic": (0, 1, 2, 3, 4, 5),
    "monoclinic": (0, 1, 2, None, 4, None),
    "orthorhombic": (0, 1, 2, None, None, None),
    "tetragonal": (0, 0, 2, None, None, None),
    "hexagonal": (0, 0, 2, None, None, None),
    "cubic": (0, 0, 0, None, None, None),
}


def _tie_matrices() -> tuple[np.ndarray, np.ndarray]:
    tie = np.zeros((len(FAMILIES), 6, 6))
    fixed = np.zeros((len(FAMILIES), 6))
    for row, family in enumerate(FAMILIES):
        for slot, driver in enumerate(_DRIVER[family]):
            if driver is not None:
                tie[row, driver, slot] = 1.0
    fixed[FAMILIES.index("hexagonal"), 5] = _COT_120
    return tie, fixed


#: [6 families, 6 params, 6 slots] and [6 families, 6]; see the module docstring.
TIE, FIXED = _tie_matrices()
#: [6 families, 6] the parameters that are free in a family.
FREE = np.asarray(TIE.any(axis=2))
#: [6 families, 3, 3] directions of the axes, of any lengths; rows are vectors.
AXES = np.stack(
    [
        [[1, 0, 0], [-0.5, np.sqrt(0.75), 0], [0, 0, 1]] if family == "hexagonal" else np.eye(3)
        for family in FAMILIES
    ]
)
