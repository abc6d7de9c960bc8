"""All atoms of a cell as a file lists them."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxcrystal.elements import SYMBOLS
from jaxcrystal.io.rejection import Reason, Rejected

if TYPE_CHECKING:
    from pymatgen.core import Structure


class Atoms(NamedTuple):
    """All atoms of a cell.

    Attributes:
      lattice: [3, 3] rows are vectors, Å.
      species: atomic number of each atom.
      frac_coords: [atoms, 3], any branch.
    """

    lattice: Float[np.ndarray, "3 3"]
    species: list[int]
    frac_coords: Float[np.ndarray, "atoms 3"]

    def to_pymatgen(self) -> "Structure":
        """Returns them as a pymatgen Structure.

        Raises:
          Rejected: there are none.
        """
        from pymatgen.core import Structure

        if not self.species:
            raise Rejected(Reason.EMPTY, "no atoms")
        return Structure(self.lattice, [SYMBOLS[number] for number in self.species], self.frac_coords)
