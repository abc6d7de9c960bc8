"""Computes the phonons of one crystal: phonopy's displaced supercells with the forces of a potential."""

import importlib.util
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from ase import Atoms
from jaxtyping import Float

from jaxcrystal.discovery.gates import Failure
from jaxcrystal.discovery.minimise import computed
from jaxcrystal.discovery.phonon_plot import plot_svg
from jaxcrystal.discovery.potentials import calculator
from jaxcrystal.discovery.relaxation import Ground, RelaxSettings, relax_entry
from jaxcrystal.errors import JaxcrystalError, RequestError, one_line
from jaxcrystal.structures.entries import Entry
from jaxcrystal.symmetry.detect import STRICT_SYMPREC
from jaxcrystal.symmetry.orbits import expand_crystal
from jaxcrystal.symmetry.wyckoff import group_operations

if TYPE_CHECKING:
    from phonopy import Phonopy

#: eV/Å and GPa. Phonons are those of a minimum: crystals are relaxed further than usual before.
_MAX_FORCE, _MAX_STRESS, MAX_STEPS = 0.001, 0.05, 200
#: Å; phonopy's measure of how fine the mesh is that densities of states are taken from.
_MESH = 50.0
#: 1/Å between two points of the band structure.
_SPACING = 0.04
#: Names of phonopy's own files, and of the figure.
PARAMS_NAME, BANDS_NAME, DOS_NAME = "phonopy_params.yaml", "band.yaml", "total_dos.dat"
PLOT_NAME = "phonons.svg"


@dataclass(frozen=True)
class PhononSettings:
    """How phonons are computed.

    Attributes:
      potential: name, or `module:factory`.
      min_length: Å; least distance of two opposite faces of the supercell.
      displacement: Å, by which atoms are displaced.
      imaginary: THz; a frequency below minus this is an imaginary mode.
      symprec: Å; tolerance with which the group is found.
    """

    potential: str
    min_length: float = 10.0
    displacement: float = 0.01
    imaginary: float = 0.1
    symprec: float = STRICT_SYMPREC

    def __post_init__(self) -> None:
        for name in ("min_length", "displacement", "imaginary", "symprec"):
            if not 0 < getattr(self, name) < float("inf"):
                raise RequestError(f"{name} is {getattr(self, name)}; it must be a positive number")


@dataclass(frozen=True, eq=False)
class Phonons:
    """The phonons of a crystal. Frequencies are in THz, those of imaginary modes negative.

    Attributes:
      ground: the crystal, relaxed as far as phonons need.
      supercell: copies of the conventional cell along its axes.
      displacements: how many displaced supercells were computed.
      lowest: the lowest frequency anywhere: along the bands, on the mesh, at the points of `lowest_exact`.
      lowest_at: [3] where it is, in the reciprocal axes of the primitive cell.
      lowest_exact: the lowest at those points that the supercell holds; the others are interpolated.
      highest: the highest frequency on the mesh.
      imaginary_share: of the modes of the mesh.
      files: name and text of phonopy's files and the figure.
    """

    ground: Ground
    supercell: tuple[int, int, int]
    displacements: int
    lowest: float
    lowest_at: tuple[float, float, float]
    lowest_exact: float
    highest: float
    imaginary_share: float
    files: dict[str, str]


def require_phonopy() -> None:
    """Raises JaxcrystalError where phonopy is not installed."""
    if importlib.util.find_spec("phonopy") is None:
        raise JaxcrystalError("phonons need phonopy: pip install 'jaxcrystal[phonons]'")


def phonons_of(entry: Entry, settings: PhononSettings) -> Phonons | Failure:
    """Relaxes a crystal in its group and computes its phonons, or says why it has none.

    Raises:
      JaxcrystalError: the potential cannot be used at all.
    """
    finer = RelaxSettings(
        settings.potential,
        max_force=_MAX_FORCE,
        max_stress=_MAX_STRESS,
        max_steps=MAX_STEPS,
        symprec=settings.symprec,
    )
    ground = relax_entry(entry, finer)
    if isinstance(ground, Failure):
        return ground
    try:
        return _measured(displaced(ground, settings), ground, settings)
    except JaxcrystalError:
        raise
    except Failure as failure:
        return failure
    except Exception as error:  # of phonopy, of the way of the bands or of the figure: others go on
        return Failure("phonons", one_line(error))


def displaced(ground: Ground, settings: PhononSettings) -> "Phonopy":
    """Returns phonopy's object of a relaxed crystal, with its force constants.

    Raises:
      Failure: the potential cannot compute a supercell.
    """
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    cell = expand_crystal(ground.crystal)
    phonon = Phonopy(
        PhonopyAtoms(numbers=cell.species.tolist(), cell=cell.lattice, scaled_positions=cell.frac_coords),
        # Multiples of the conventional cell have its point group, which saves displacements.
        supercell_matrix=np.diag(multiples(cell.lattice, settings.min_length)),
        primitive_matrix=group_operations(int(ground.crystal.space_group))[2].T,
    )
    phonon.generate_displacements(distance=settings.displacement)
    rest = _forces(phonon.supercell, settings)  # of a crystal that has not relaxed to the last digit
    phonon.forces = [_forces(one, settings) - rest for one in phonon.supercells_with_displacements or ()]
    phonon.produce_force_constants(show_drift=False)
    phonon.symmetrize_force_constants(show_drift=False)
    return phonon


def multiples(lattice: Float[np.ndarray, "3 3"], min_length: float) -> tuple[int, int, int]:
    """Returns how many copies of a cell along each axis hold opposite faces so far apart, Å."""
    heights = 1.0 / np.linalg.norm(np.linalg.inv(lattice), axis=0)
    a, b, c = np.maximum(np.ceil(min_length / heights - 1e-6), 1).astype(int).tolist()
    return a, b, c


def exact_points(
    primitive: Float[np.ndarray, "3 3"], copies: tuple[int, int, int]
) -> Float[np.ndarray, "n 3"]:
    """Returns the points, each once, whose waves fit into a supercell: no forces are interpolated there.

    Args:
      primitive: rows are the primitive vectors in the conventional cell.
      copies: of the conventional cell along its axes.
    Returns:
      [n, 3] in the reciprocal axes of the primitive cell; n is how many primitive cells the supercell has.
    """
    # Centring makes the zone longer, by two or three along an axis.
    waves = np.indices([3 * 2 * n for n in copies]).reshape(3, -1).T / np.array(copies)
    return np.unique(np.round(waves @ primitive.T % 1.0, 9) % 1.0, axis=0)


def _forces(cell: Any, settings: PhononSettings) -> Float[np.ndarray, "atoms 3"]:
    atoms = Atoms(numbers=cell.numbers, cell=cell.cell, scaled_positions=cell.scaled_positions, pbc=True)
    atoms.calc = calculator(settings.potential)
    return computed(atoms)[1]


class _Path(NamedTuple):
    """The way of a band structure: names of the ends of each piece, and the points between [n, 3]."""

    ends: list[tuple[str, str]]
    pieces: list[Float[np.ndarray, "n 3"]]

    @property
    def connections(self) -> list[bool]:
        """Whether each piece goes on where the one before it ended, as phonopy wants it: with the next."""
        following = [*self.ends[1:], ("", "")]
        return [end[1] == after[0] for end, after in zip(self.ends, following, strict=True)]


def band_path(lattice: Float[np.ndarray, "3 3"]) -> _Path:
    """Returns the usual way through the Brillouin zone of a primitive cell (Setyawan and Curtarolo)."""
    from ase.cell import Cell
    from ase.dft.kpoints import parse_path_string

    found = Cell(lattice).bandpath(npoints=0, eps=1e-3)
    reciprocal = 2 * np.pi * np.linalg.inv(lattice).T
    ends, pieces = [], []
    for names in parse_path_string(found.path):
        for first, second in pairwise(names):
            start, end = found.special_points[first], found.special_points[second]
            steps = max(2, round(float(np.linalg.norm((end - start) @ reciprocal)) / _SPACING))
            ends.append((first, second))
            pieces.append(np.linspace(start, end, steps + 1))
    return _Path(ends, pieces)


def _measured(phonon: "Phonopy", ground: Ground, settings: PhononSettings) -> Phonons:
    copies = multiples(expand_crystal(ground.crystal).lattice, settings.min_length)
    path = band_path(phonon.primitive.cell)
    labels = [name for pair in path.ends for name in pair]
    bands = phonon.run_band_structure(path.pieces, path_connections=path.connections)
    phonon.run_mesh(_MESH)
    mesh: Any = phonon.mesh
    dos = phonon.run_total_dos()
    exact = exact_points(group_operations(int(ground.crystal.space_group))[2], copies)
    points = [*bands.qpoints, mesh.qpoints, exact]
    at_exact = phonon.run_qpoints(exact).frequencies
    frequencies = [*bands.frequencies, mesh.frequencies, at_exact]
    lowest = [float(values.min()) for values in frequencies]
    place = int(np.argmin(lowest))
    at = points[place][int(frequencies[place].min(1).argmin())]
    weights = np.repeat(mesh.weights[:, None], mesh.frequencies.shape[1], axis=1)
    imaginary = mesh.frequencies < -settings.imaginary
    files = _files(phonon)
    files[PLOT_NAME] = plot_svg(
        list(zip(labels[::2], labels[1::2], strict=True)),
        [np.asarray(distances) for distances in bands.distances],
        [np.asarray(values) for values in bands.frequencies],
        np.asarray(dos.frequency_points),
        np.asarray(dos.dos),
    )
    return Phonons(
        ground=ground,
        supercell=copies,
        displacements=len(phonon.forces),
        lowest=lowest[place],
        lowest_at=(float(at[0]), float(at[1]), float(at[2])),
        lowest_exact=float(at_exact.min()),
        highest=float(mesh.frequencies.max()),
        imaginary_share=float(weights[imaginary].sum() / weights.sum()),
        files=files,
    )


def _files(phonon: "Phonopy") -> dict[str, str]:
    """Returns the files that phonopy writes of itself: cells, displacements and forces; bands; states."""
    with tempfile.TemporaryDirectory(prefix="jaxcrystal-") as folder:
        place = Path(folder)
        phonon.save(place / PARAMS_NAME)
        phonon.write_yaml_band_structure(filename=place / BANDS_NAME)
        phonon.write_total_dos(place / DOS_NAME)
        return {
            name: (place / name).read_text(encoding="utf-8") for name in (PARAMS_NAME, BANDS_NAME, DOS_NAME)
        }
