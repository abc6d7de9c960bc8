"""What is written is read back, by pymatgen, by ASE and by this package, as the same crystal."""

import ase.io
import numpy as np
import pytest
from pymatgen.core import Structure

from jaxcrystal.data.batches import to_crystals
from jaxcrystal.data.symmetrize import symmetrize
from jaxcrystal.errors import DataError
from jaxcrystal.io.convert import formula, to_ase, to_pymatgen
from jaxcrystal.io.readers import read_structures
from jaxcrystal.io.writers import (
    cif_text,
    operations_xyz,
    write_cif,
    write_extxyz,
    write_json,
    write_poscar,
)
from jaxcrystal.symmetry.orbits import expand_crystal
from jaxcrystal.symmetry.wyckoff import wyckoff_positions


def _crystal(dataset, index):
    batch = to_crystals(dataset, [index], int(dataset.num_sites[index]), True, np.float64)
    return type(batch)(*(array[0] for array in batch))


def _one_a_group(dataset):
    """Indices of the smallest structure of each space group."""
    order = np.argsort(dataset.num_sites, kind="stable")
    _, first = np.unique(dataset.space_group[order], return_index=True)
    return order[first]


def _same(crystal, lattice, species, frac_coords):
    ours = expand_crystal(crystal)
    assert len(species) == len(ours[1])
    # Readers of lengths and angles choose the orientation.
    assert np.allclose(lattice @ lattice.T, ours[0] @ ours[0].T, atol=1e-5)
    offsets = np.asarray(frac_coords)[:, None] - ours[2][None]
    distances = np.linalg.norm((offsets - np.round(offsets)) @ ours[0], axis=-1)
    distances[np.asarray(species)[:, None] != ours[1][None]] = np.inf
    nearest = distances.argmin(1)
    assert distances.min(1).max() < 5e-3  # readers round coordinates near thirds
    assert len(set(nearest.tolist())) == len(nearest)


@pytest.mark.parity
def test_cif_is_read_back_by_pymatgen_and_ase(aflow, tmp_path):
    """One structure of every group in the library, all settings included."""
    path = tmp_path / "a.cif"
    for index in _one_a_group(aflow):
        crystal = _crystal(aflow, index)
        letters = [
            wyckoff_positions(int(crystal.space_group))[i].letter for i in aflow.letters[aflow.sites(index)]
        ]
        write_cif(path, crystal, letters)
        ((_, structure),) = read_structures(path)
        assert isinstance(structure, Structure), structure
        numbers = np.array(structure.atomic_numbers)
        _same(crystal, structure.lattice.matrix, numbers, structure.frac_coords)
        atoms = ase.io.read(path)
        _same(crystal, atoms.cell.array, atoms.numbers, atoms.get_scaled_positions())


def test_cif_keeps_the_letters_it_was_given(aflow):
    index = int(np.flatnonzero(aflow.space_group == 225)[0])
    text = cif_text(_crystal(aflow, index), ["a", "b"][: aflow.num_sites[index]] * 5, "two words")
    assert "data_two_words" in text
    assert " 4 a 0.000000000000" in text
    assert "_space_group_IT_number   225" in text
    assert len(operations_xyz(225)) == 192
    assert operations_xyz(225)[0] == "x,y,z"


@pytest.mark.parity
def test_other_formats_are_read_back(aflow, tmp_path):
    indices = _one_a_group(aflow)[::9]
    crystals = [_crystal(aflow, index) for index in indices]
    names = [f"s{n}" for n in range(len(crystals))]
    write_extxyz(tmp_path / "a.extxyz", crystals, names)
    write_json(tmp_path / "a.json", crystals, names)
    frames = ase.io.read(tmp_path / "a.extxyz", ":")
    from_json = dict(read_structures(tmp_path / "a.json"))
    ours = [structure for _, structure in read_structures(tmp_path / "a.extxyz")]
    for number, crystal in enumerate(crystals):
        assert frames[number].info["space_group"] == crystal.space_group
        _same(
            crystal, frames[number].cell.array, frames[number].numbers, frames[number].get_scaled_positions()
        )
        write_poscar(tmp_path / "POSCAR", crystal)
        ((_, poscar),) = read_structures(tmp_path / "POSCAR")
        for structure in (from_json[names[number]], ours[number], poscar):
            _same(crystal, structure.lattice.matrix, structure.atomic_numbers, structure.frac_coords)
        atoms = ase.io.read(tmp_path / "POSCAR")
        _same(crystal, atoms.cell.array, atoms.numbers, atoms.get_scaled_positions())


def test_written_crystal_is_prepared_to_itself(aflow, tmp_path):
    for index in _one_a_group(aflow)[::10]:
        write_cif(tmp_path / "a.cif", _crystal(aflow, index))
        ((_, structure),) = read_structures(tmp_path / "a.cif")
        again = symmetrize(structure)
        assert again.space_group == aflow.space_group[index]
        assert np.allclose(again.lattice_params, aflow.lattice_params[index], atol=1e-3)


def test_conversions(perovskite):
    parts = (perovskite.lattice.matrix, np.array(perovskite.atomic_numbers), perovskite.frac_coords)
    assert to_pymatgen(*parts) == perovskite
    assert to_ase(*parts).get_chemical_formula() == "BaO3Ti"
    assert formula(parts[1]) == "BaTiO3"


def test_folder_that_cannot_be_made(aflow, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write"):
        write_cif(tmp_path / "file" / "a.cif", _crystal(aflow, 0))
