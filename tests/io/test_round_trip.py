"""What is written in each format is read by pymatgen, ASE, gemmi and this package as the same crystal."""

import functools
import json
import warnings

import ase.io
import gemmi
import numpy as np
import pytest
import spglib
from pymatgen.core import Structure

from jaxcrystal.data.symmetrize import symmetrize
from jaxcrystal.io.readers import read_structures
from jaxcrystal.io.writers import write_cif, write_extxyz, write_json, write_poscar
from jaxcrystal.symmetry.orbits import expand_crystal
from jaxcrystal.symmetry.wyckoff import wyckoff_positions
from tests.crystals import random_crystal

#: Every family and centring, both origins, rhombohedral groups and enantiomorphs.
GROUPS = (
    *(2, 14, 15, 19, 41, 43, 48, 62, 64, 68, 70, 74, 82, 88, 98, 122, 129, 141, 142),
    *(152, 154, 146, 155, 160, 161, 166, 167, 178, 179, 194),
    *(198, 199, 203, 206, 212, 216, 220, 221, 224, 225, 227, 228, 229, 230),
)
pytestmark = pytest.mark.filterwarnings("ignore:No Pauling electronegativity")


def _letters(crystal) -> list[str]:
    positions = wyckoff_positions(int(crystal.space_group))
    return [
        next(
            p.letter
            for p in positions
            if np.array_equal(p.site_ops, ops) and np.allclose(p.projection, projection)
            and np.allclose(p.projection @ (coords - p.origin), coords - p.origin, atol=1e-6)
        )
        for ops, projection, coords in zip(
            crystal.site_ops, crystal.site_projection, crystal.frac_coords, strict=True
        )
    ]  # fmt: skip


@functools.cache
def _crystals() -> list:
    """Returns a crystal of each group, none of them near a higher symmetry."""
    crystals = []
    for group in GROUPS:
        rng = np.random.default_rng(group)
        while True:
            crystal = random_crystal(rng, group, num_sites=2, special=True, constrained=True)
            lattice, species, frac_coords, _ = expand_crystal(crystal)
            found = spglib.get_symmetry_dataset((lattice, frac_coords, species), symprec=0.1)
            if found.number == group:
                break
        crystals.append(crystal)
    return crystals


def _check(crystal, lattice, species, frac_coords) -> None:
    """The atoms are the crystal's, and their group is."""
    ours = expand_crystal(crystal)
    assert np.allclose(lattice @ lattice.T, ours[0] @ ours[0].T, atol=1e-4)
    offsets = np.asarray(frac_coords)[:, None] - ours[2][None]
    distances = np.linalg.norm((offsets - np.rint(offsets)) @ ours[0], axis=-1)
    distances[np.asarray(species)[:, None] != ours[1][None]] = np.inf
    nearest = distances.argmin(1)
    # pymatgen takes what is within 1e-4 of a third for the third.
    assert distances.min(1).max() < 2e-3
    assert sorted(nearest.tolist()) == list(range(len(ours[1])))
    found = spglib.get_symmetry_dataset((lattice, frac_coords, species), symprec=0.01)
    assert found.number == int(crystal.space_group)


def _by_gemmi(path):
    """Returns lattice, species, coordinates, and letters and multiplicities as gemmi reads them."""
    block = gemmi.cif.read(str(path)).sole_block()
    structure = gemmi.make_small_structure_from_block(block)
    structure.determine_and_set_spacegroup("s")
    sites = structure.get_all_unit_cell_sites()
    table = block.find("_atom_site_", ["label", "Wyckoff_symbol", "symmetry_multiplicity"])
    told = {row.str(0): (row.str(1), int(row.str(2))) for row in table}
    counts = {label: sum(site.label == label for site in sites) for label in told}
    cell = structure.cell.orth.mat.tolist()
    return (
        np.array(cell).T,
        [site.element.atomic_number for site in sites],
        [site.fract.tolist() for site in sites],
        told,
        counts,
        structure.spacegroup.number,
    )


@pytest.mark.parity
def test_cif_is_read_by_all(tmp_path):
    for crystal in _crystals():
        path, letters = tmp_path / "a.cif", _letters(crystal)
        write_cif(path, crystal, letters)
        lattice, species, coords, told, counts, group = _by_gemmi(path)
        _check(crystal, lattice, species, coords)
        assert group == int(crystal.space_group)
        assert [letter for letter, _ in told.values()] == letters
        assert {label: count for label, (_, count) in told.items()} == counts
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pymatgen warns of each rounded coordinate
            structure = Structure.from_file(path)
        _check(crystal, structure.lattice.matrix, structure.atomic_numbers, structure.frac_coords)
        atoms = ase.io.read(path)
        _check(crystal, atoms.cell.array, atoms.numbers, atoms.get_scaled_positions())
        ((_, ours),) = read_structures(path)
        assert isinstance(ours, Structure), ours
        _check(crystal, ours.lattice.matrix, ours.atomic_numbers, ours.frac_coords)


@pytest.mark.parity
def test_other_formats_are_read_by_all(tmp_path):
    crystals = _crystals()
    names = [f"group{int(crystal.space_group)}" for crystal in crystals]
    write_extxyz(tmp_path / "a.extxyz", crystals, names)
    write_json(tmp_path / "a.json", crystals, names)
    frames = ase.io.read(tmp_path / "a.extxyz", ":")
    assert [frame.info["name"] for frame in frames] == names
    objects = json.loads((tmp_path / "a.json").read_text())
    ours = [dict(read_structures(tmp_path / "a.json")), dict(read_structures(tmp_path / "a.extxyz"))]
    for number, crystal in enumerate(crystals):
        frame, known = frames[number], Structure.from_dict(objects[names[number]])
        assert frame.info["space_group"] == int(crystal.space_group)
        _check(crystal, frame.cell.array, frame.numbers, frame.get_scaled_positions())
        _check(crystal, known.lattice.matrix, known.atomic_numbers, known.frac_coords)
        write_poscar(tmp_path / "POSCAR", crystal)
        atoms, poscar = ase.io.read(tmp_path / "POSCAR"), Structure.from_file(tmp_path / "POSCAR")
        _check(crystal, atoms.cell.array, atoms.numbers, atoms.get_scaled_positions())
        _check(crystal, poscar.lattice.matrix, poscar.atomic_numbers, poscar.frac_coords)
        ((_, read),) = read_structures(tmp_path / "POSCAR")
        for structure in (read, ours[0][names[number]], ours[1][f"a.extxyz:{number}"]):
            assert isinstance(structure, Structure), structure
            _check(crystal, structure.lattice.matrix, structure.atomic_numbers, structure.frac_coords)


@pytest.mark.parity
def test_a_written_crystal_is_prepared_to_its_group_and_letters(tmp_path):
    """Up to another choice of the origin, which can exchange letters of one multiplicity."""
    for crystal in _crystals():
        write_cif(tmp_path / "a.cif", crystal, _letters(crystal))
        ((_, structure),) = read_structures(tmp_path / "a.cif")
        sites = symmetrize(structure)
        assert sites.space_group == int(crystal.space_group)
        positions = wyckoff_positions(sites.space_group)
        multiplicity = {p.letter: p.multiplicity for p in positions}
        found = sorted(zip(sites.species, (positions[i].multiplicity for i in sites.letters), strict=True))
        given = zip(crystal.species, (multiplicity[letter] for letter in _letters(crystal)), strict=True)
        assert found == sorted((int(z), m) for z, m in given)
