"""Crystals as files, each complete or absent.

Writers take the full cell too, where it has been made before: it is made here otherwise.
"""

from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np

from jaxcrystal.crystal import Crystal
from jaxcrystal.files import write_text
from jaxcrystal.io.convert import formula, poscar_text, pymatgen_json_text, symbols, to_pymatgen
from jaxcrystal.io.extxyz import write_frame
from jaxcrystal.symmetry.groups import group_tables, hall_symbol, hermann_mauguin
from jaxcrystal.symmetry.lattice import cell_lengths_angles
from jaxcrystal.symmetry.orbits import FullCell, centring_translations, expand_crystal


def write_cif(
    path: str | Path,
    crystal: Crystal,
    letters: Sequence[str] | None = None,
    name: str = "",
    cell: FullCell | None = None,
) -> None:
    """Writes a CIF with symmetry; see `cif_text`."""
    write_text(path, cif_text(crystal, letters, name or Path(path).stem, cell))


def write_extxyz(
    path: str | Path,
    crystals: Sequence[Crystal],
    names: Sequence[str] | None = None,
    cells: Sequence[FullCell] | None = None,
) -> None:
    """Writes the full conventional cells as one extended XYZ file; see `extxyz_text`."""
    write_text(path, extxyz_text(crystals, names, cells))


def write_json(
    path: str | Path,
    crystals: Sequence[Crystal],
    names: Sequence[str] | None = None,
    cells: Sequence[FullCell] | None = None,
) -> None:
    """Writes the full conventional cells as a JSON object name -> pymatgen structure."""
    write_text(path, json_text(crystals, names, cells))


def write_poscar(path: str | Path, crystal: Crystal, name: str = "", cell: FullCell | None = None) -> None:
    """Writes the full conventional cell as a POSCAR."""
    write_text(path, conventional_poscar_text(crystal, name, cell))


def extxyz_text(
    crystals: Sequence[Crystal],
    names: Sequence[str] | None = None,
    cells: Sequence[FullCell] | None = None,
) -> str:
    """Returns the full conventional cells as extended XYZ, a frame each."""
    cells = [expand_crystal(crystal) for crystal in crystals] if cells is None else cells
    frames = []
    for number, (crystal, (lattice, species, frac_coords, _)) in enumerate(zip(crystals, cells, strict=True)):
        info: dict[str, str | int | float] = {"space_group": int(crystal.space_group)}
        if names is not None:
            info["name"] = names[number]
        frames.append(write_frame(lattice, symbols(species), frac_coords, info))
    return "".join(frames)


def json_text(
    crystals: Sequence[Crystal],
    names: Sequence[str] | None = None,
    cells: Sequence[FullCell] | None = None,
) -> str:
    """Returns the full conventional cells as a JSON object name -> pymatgen structure."""
    names = [str(number) for number in range(len(crystals))] if names is None else names
    cells = [expand_crystal(crystal) for crystal in crystals] if cells is None else cells
    return pymatgen_json_text({name: to_pymatgen(*cell[:3]) for name, cell in zip(names, cells, strict=True)})


def conventional_poscar_text(crystal: Crystal, name: str = "", cell: FullCell | None = None) -> str:
    """Returns the full conventional cell as a POSCAR."""
    lattice, species, frac_coords, _ = expand_crystal(crystal) if cell is None else cell
    comment = name or f"{formula(species)} {hermann_mauguin(int(crystal.space_group))}"
    return poscar_text(lattice, species, frac_coords, comment)


def cif_text(
    crystal: Crystal,
    letters: Sequence[str] | None = None,
    name: str = "crystal",
    cell: FullCell | None = None,
) -> str:
    """Returns a CIF that lists all operations of the group and the inequivalent sites.

    The operations are those of the tables' setting, centring included, so that a reader
    needs no knowledge of settings.

    Args:
      crystal: numpy arrays, padded or not; sites exactly on their special positions.
      letters: Wyckoff letter of each real site; unknown where not given.
      name: of the data block.
      cell: the crystal's, where it is known already.
    """
    lattice, species, _, _ = expand_crystal(crystal) if cell is None else cell
    group = int(crystal.space_group)
    mask = np.asarray(crystal.node_mask)
    site_species = np.asarray(crystal.species)[mask]
    site_coords = np.asarray(crystal.frac_coords, float)[mask] % 1.0
    multiplicities = np.asarray(crystal.site_ops)[mask].sum(1) * int(group_tables().num_centring[group])
    letters = ["?"] * len(site_species) if letters is None else letters

    lengths, angles = cell_lengths_angles(lattice)
    numbers, counts = np.unique(species, return_counts=True)
    elements = sorted(zip(symbols(numbers), counts.tolist(), strict=True))
    names_of_group, operations = _group_lines(group)
    block = "".join(c if c.isalnum() or c in "-_.+" else "_" for c in name)
    lines = [
        f"data_{block}",
        f"_chemical_formula_structural   {formula(species)}",
        f"_chemical_formula_sum   '{' '.join(f'{e}{n}' for e, n in elements)}'",
        names_of_group,
        *(f"_cell_length_{axis}   {x:.8f}" for axis, x in zip("abc", lengths, strict=True)),
        *(f"_cell_angle_{n}   {x:.8f}" for n, x in zip(("alpha", "beta", "gamma"), angles, strict=True)),
        f"_cell_volume   {abs(np.linalg.det(lattice)):.6f}",
        operations,
        "loop_",
        "  _atom_site_label",
        "  _atom_site_type_symbol",
        "  _atom_site_symmetry_multiplicity",
        "  _atom_site_Wyckoff_symbol",
        "  _atom_site_fract_x",
        "  _atom_site_fract_y",
        "  _atom_site_fract_z",
        "  _atom_site_occupancy",
    ]
    for number, (element, (x, y, z)) in enumerate(
        zip(symbols(site_species), site_coords, strict=True), start=1
    ):
        place = f"{multiplicities[number - 1]} {letters[number - 1]}"
        lines.append(f"  {element}{number} {element} {place} {x:.12f} {y:.12f} {z:.12f} 1.0")
    return "\n".join(lines) + "\n"


@cache
def _group_lines(space_group: int) -> tuple[str, str]:
    """Returns what every CIF of a group has in common: lines with its names, and with its operations."""
    names = [
        f"_space_group_IT_number   {space_group}",
        f"_space_group_name_H-M_alt   '{hermann_mauguin(space_group)}'",
        f'_space_group_name_Hall   "{hall_symbol(space_group)}"',
    ]
    operations = [
        "loop_",
        "  _space_group_symop_id",
        "  _space_group_symop_operation_xyz",
        *(f"  {n} '{xyz}'" for n, xyz in enumerate(operations_xyz(space_group), start=1)),
    ]
    return "\n".join(names), "\n".join(operations)


def operations_xyz(space_group: int) -> list[str]:
    """Returns all operations of the group in the conventional cell, such as `-y,x-y,z+1/3`."""
    tables = group_tables()
    count = int(tables.num_ops[space_group])
    return [
        _xyz(tables.rotations[space_group, op], tables.translations[space_group, op] + shift)
        for shift in centring_translations(space_group)
        for op in range(count)
    ]


def _xyz(rotation: np.ndarray, translation: np.ndarray) -> str:
    terms = []
    for row, shift in zip(np.round(rotation).astype(int), translation, strict=True):
        text = "".join({1: "+", -1: "-"}[int(c)] + axis for c, axis in zip(row, "xyz", strict=True) if c != 0)
        fraction = Fraction(float(shift)).limit_denominator(24) % 1
        terms.append(text.removeprefix("+") + (f"+{fraction}" if fraction else ""))
    return ",".join(terms)
