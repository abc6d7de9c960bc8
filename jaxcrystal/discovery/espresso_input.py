"""Writes the input of pw.x for a relaxation of cell and atoms, and finds the names of pseudopotentials."""

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jaxcrystal.elements import SYMBOLS
from jaxcrystal.errors import DataError, one_line
from jaxcrystal.files import read_text

if TYPE_CHECKING:
    from ase import Atoms

#: Ry, of wave functions and of the density, where no table says what the pseudopotentials need.
_CUTOFFS = (60.0, 480.0)
#: 1/Å between k-points, 2π included: that of MPScanRelaxSet where the gap is not known.
_KSPACING = 0.22
#: What magnetic elements start with, as a share of full polarisation.
_MAGNETIC = 0.5
#: Elements that are often magnetic: 3d metals and rare earths.
_MAGNETS = frozenset(SYMBOLS[number] for number in (*range(23, 29), *range(58, 71)))


@dataclass(frozen=True)
class Pseudopotentials:
    """Names of the files, and what they need.

    Attributes:
      folder: of the files, which pw.x is told by ESPRESSO_PSEUDO; None: the user sets that.
      table: of a file as SSSP has it: element -> `filename`, `cutoff_wfc` and `cutoff_rho` (Ry).
      names: of the files in the folder.
    """

    folder: Path | None = None
    table: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    names: tuple[str, ...] = ()

    def file(self, element: str) -> str:
        """Returns the file of an element.

        Raises:
          DataError: there is none, or several, or not the one that the table names.
        """
        if self.folder is None:
            return f"{element}.upf"
        if element in self.table:
            named = str(self.table[element]["filename"])
            if named not in self.names:
                raise DataError(f"{self.folder} has no {named}, which its table names for {element}")
            return named
        pattern = re.compile(rf"{element}([._-].*)?\.upf", re.IGNORECASE)
        found = [name for name in self.names if pattern.fullmatch(name)]
        if len(found) != 1:
            listed = f"several: {', '.join(found[:4])}" if found else "none"
            raise DataError(f"{self.folder} has {listed} of the pseudopotentials for {element}; expected one")
        return found[0]

    def cutoffs(self, elements: "set[str]") -> tuple[float, float]:
        """Returns the cutoffs of wave functions and density that some elements need, Ry."""
        known = [self.table[element] for element in sorted(elements) if element in self.table]
        if not known:
            return _CUTOFFS
        wave, density = (max(float(str(row[name])) for row in known) for name in ("cutoff_wfc", "cutoff_rho"))
        if len(known) < len(elements):
            return max(wave, _CUTOFFS[0]), max(density, _CUTOFFS[1])
        return wave, density


def pseudopotentials(folder: str | Path | None) -> Pseudopotentials:
    """Returns the pseudopotentials of a folder.

    Names and cutoffs are those of a table in it such as SSSP has (SSSP_1.3.0_PBE_efficiency.json), else
    names are those of the files that begin with the element (`Si.pbe-n-rrkjus_psl.1.0.0.UPF`, `si_pbe.upf`).
    Without a folder they are `Si.upf` and so on.

    Raises:
      DataError: there is no such folder, or its table cannot be read.
    """
    if folder is None:
        return Pseudopotentials()
    place = Path(folder)
    try:
        names = tuple(sorted(path.name for path in place.iterdir()))
    except OSError as error:
        raise DataError(f"cannot read {place}: {error.strerror or error}") from error
    tables = [name for name in names if name.lower().endswith(".json")]
    table: dict[str, Mapping[str, object]] = {}
    for name in tables:
        try:
            found = json.loads(read_text(place / name))
            rows = {element: row for element, row in found.items() if "filename" in row}
            [(float(row["cutoff_wfc"]), float(row["cutoff_rho"])) for row in rows.values()]
        except (DataError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DataError(f"{place / name} is no table of pseudopotentials: {one_line(error)}") from error
        table |= rows
    return Pseudopotentials(place.resolve(), table, names)


def espresso_input(atoms: "Atoms", name: str, chosen: Pseudopotentials) -> str:
    """Returns the input of pw.x that relaxes a primitive cell by PBE.

    Raises:
      DataError: there is no pseudopotential of an element.
    """
    from ase.io.espresso import write_espresso_in

    elements = set(atoms.get_chemical_symbols())
    wave, density = chosen.cutoffs(elements)
    settings: dict[str, dict[str, object]] = {
        "control": {
            "calculation": "vc-relax",
            "prefix": name,
            "outdir": "out",
            "forc_conv_thr": 5e-4,
            "etot_conv_thr": 1e-5,
            "tprnfor": True,
            "tstress": True,
        },
        "system": {
            "ecutwfc": wave,
            "ecutrho": density,
            "occupations": "smearing",
            "smearing": "mv",
            "degauss": 0.01,
        },
        "electrons": {"conv_thr": 1e-9, "mixing_beta": 0.4},
        "ions": {},
        "cell": {"press_conv_thr": 0.5},
    }
    moments = [_MAGNETIC if symbol in _MAGNETS else 0.0 for symbol in atoms.get_chemical_symbols()]
    if any(moments):
        atoms = atoms.copy()
        atoms.set_initial_magnetic_moments(moments)
    reciprocal = 2 * np.pi * np.linalg.norm(np.linalg.inv(atoms.cell.array), axis=0)
    text = io.StringIO()
    write_espresso_in(
        text,
        atoms,
        input_data=settings,
        pseudopotentials={element: chosen.file(element) for element in sorted(elements)},
        kpts=tuple(int(n) for n in np.maximum(np.ceil(reciprocal / _KSPACING), 1)),
        crystal_coordinates=True,
    )
    return text.getvalue()
