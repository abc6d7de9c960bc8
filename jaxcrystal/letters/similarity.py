"""Measures how alike chemical elements are, in what decides which Wyckoff positions they take."""

import warnings
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float, Int

_MAX_NUMBER = 118
#: Weights of the features below, each scaled to about 0 to 1.
_WEIGHTS = np.array([2.0, 1.0, 2.0, 2.0, 3.0])
#: Width of the kernel: mean squared distance of the features at which it falls to 1/e. Chosen by
#: the likelihood of held-out structures' letters (`benchmarks.letters`).
_WIDTH = 0.03


@lru_cache(maxsize=1)
def element_features() -> Float[np.ndarray, "119 5"]:
    """Returns features of every element by atomic number; row 0 is padding.

    Group and row of the periodic table, Pauling's electronegativity, atomic radius and
    Mendeleev number (D. G. Pettifor, J. Phys. C 19, 285, 1986), from pymatgen; middling values
    where one is not known.
    """
    from pymatgen.core import Element

    features = np.zeros((_MAX_NUMBER + 1, len(_WEIGHTS)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # noble gases have no electronegativity
        for number in range(1, _MAX_NUMBER + 1):
            element = Element.from_Z(number)
            features[number] = (
                element.group / 18,
                element.row / 7,
                _known(element.X, 1.5) / 4,
                _known(element.atomic_radius, 1.5) / 2.6,
                _known(element.mendeleev_no, 50.0) / 103,
            )
    return features * _WEIGHTS


def log_similarity(
    elements: Int[np.ndarray, " n"], others: Int[np.ndarray, "m n"]
) -> Float[np.ndarray, " m"]:
    """Returns the logarithm of how alike sets of elements are, one by one; 0 for equal ones.

    Args:
      elements: [n] atomic numbers.
      others: [m, n] the sets that they are compared with, in the same order.
    """
    features = element_features()
    squares = ((features[others] - features[elements]) ** 2).sum(-1)
    return -squares.mean(-1) / _WIDTH


def _known(value: Any, otherwise: float) -> float:
    return otherwise if value is None or np.isnan(value) else float(value)
