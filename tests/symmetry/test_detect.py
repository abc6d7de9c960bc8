"""The wrapper of spglib: what it finds, and what it keeps from spglib."""

import numpy as np
import pytest

from jaxcrystal.symmetry import detect
from jaxcrystal.symmetry.detect import (
    find_conventional_cell,
    find_group,
    find_orbits,
    find_primitive_cell,
    group_of_operations,
    standard_dataset,
)
from jaxcrystal.symmetry.groups import group_tables

SALT = (
    5.6 * np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]),
    np.array([11, 17]),
    np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]]),
)
SEARCHES = (find_primitive_cell, find_conventional_cell, standard_dataset)


def test_cells() -> None:
    lattice, species, frac_coords = find_conventional_cell(*SALT, 0.1)
    assert np.allclose(lattice @ lattice.T, 5.6**2 * np.eye(3))
    assert sorted(species.tolist()) == [11] * 4 + [17] * 4
    assert frac_coords.shape == (8, 3)
    primitive = find_primitive_cell(lattice, species, frac_coords, 1e-5)
    assert sorted(primitive[1].tolist()) == [11, 17]
    assert abs(np.linalg.det(primitive[0])) == pytest.approx(5.6**3 / 4)


def test_the_data_set_is_in_the_setting_of_the_tables() -> None:
    """Diamond, whose origin has two choices."""
    found = standard_dataset(SALT[0], np.array([6, 6]), np.array([[0.0, 0, 0], [0.25, 0.25, 0.25]]), 0.1)
    assert (found.number, found.hall_number) == (227, group_tables().hall_number[227])


def _broken(case: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    lattice, species, frac_coords = (np.array(array) for array in SALT)
    if case == "flat":
        lattice[2] = lattice[0] + lattice[1]
    elif case == "same place":
        frac_coords[1], species[1] = frac_coords[0], species[0]
    elif case == "no atoms":
        return lattice, species[:0], frac_coords[:0]
    else:
        where, value = case.split()
        (lattice if where == "lattice" else frac_coords)[1, 1] = float(value)
    return lattice, species, frac_coords


@pytest.mark.parametrize(
    "case",
    ["lattice nan", "lattice inf", "coords nan", "coords -inf", "flat", "same place", "no atoms"],
)
def test_nothing_is_found_and_nothing_is_printed(case: str, capfd: pytest.CaptureFixture[str]) -> None:
    """spglib ends the process on numbers that are not finite, and prints warnings past Python."""
    lattice, species, frac_coords = _broken(case)
    assert find_group(lattice, species, frac_coords, 0.1) == 0
    group, first = find_orbits(lattice, species, frac_coords, 0.1)
    assert (group, first.tolist()) == (0, list(range(len(species))))
    assert [search(lattice, species, frac_coords, 0.1) for search in SEARCHES] == [None] * 3
    assert capfd.readouterr() == ("", "")


def test_group_of_operations(capfd: pytest.CaptureFixture[str]) -> None:
    """That of the primitive cell of C 2, and what is no group, of which spglib would warn."""
    rotations = np.array([np.eye(3), [[-1, 0, 0], [0, -1, 0], [1, 1, 1]]], int)
    lattice = np.array([[3.0, 0, 0], [0, 4.0, 0], [-1.5, -2.0, 5.0]])
    assert group_of_operations(rotations, np.zeros((2, 3)), lattice) == 5
    no_group = np.array([np.eye(3), [[0, 1, 0], [0, 0, 1], [1, 0, 0]]], int)
    assert group_of_operations(no_group, np.zeros((2, 3)), np.eye(3)) == 0
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("seed", range(4))
def test_cells_that_differ_in_size_are_searched_few_times(seed, monkeypatch) -> None:
    """With the answers of a search of each, also where the tolerance is large for the cell."""
    rng = np.random.default_rng(seed)
    shape, species, frac_coords = SALT[0] / 5.6, SALT[1] + seed, SALT[2]
    sizes = np.exp(rng.uniform(np.log(0.2), np.log(20.0), 200))
    wanted = [find_orbits(shape * size, species, frac_coords, 0.1)[0] for size in sizes]
    calls = []
    search = detect.spglib.get_symmetry_dataset

    def counted(*arguments, **settings):
        calls.append(arguments)
        return search(*arguments, **settings)

    monkeypatch.setattr(detect.spglib, "get_symmetry_dataset", counted)
    assert [find_group(shape * size, species, frac_coords, 0.1) for size in sizes] == wanted
    assert 225 in wanted
    assert len(calls) < 100
    # Another tolerance of the same cell is another question.
    assert find_group(shape * 5.6, species, frac_coords, 100.0) == 0


def test_another_structure_is_searched_anew() -> None:
    """Of the same shape: one atom elsewhere, or the two of one element."""
    lattice, species, frac_coords = SALT
    assert find_group(lattice, species, frac_coords, 0.1) == 225
    assert find_group(lattice, np.array([11, 11]), frac_coords, 0.1) == 221
    assert find_group(lattice, species, frac_coords + [[0, 0, 0], [0.1, 0.1, 0.1]], 0.1) == 160
