"""Oblique cells in the gallery: as they were given, and drawn with their edges and atoms in place."""

import json
import shutil
import subprocess

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from jaxcrystal.reports.gallery.cells import compact_cell, element_table
from jaxcrystal.reports.gallery.content import gallery_content
from jaxcrystal.reports.gallery.page import _asset
from jaxcrystal.structures.entries import Entry

#: Lengths and angles from 40 to 140°, of which spglib would make other cells.
OBLIQUE = [
    (5.0, 6.0, 7.0, 90.0, 140.0, 90.0),
    (5.0, 6.0, 7.0, 90.0, 40.0, 90.0),
    (9.1, 3.2, 6.3, 90.0, 104.5, 90.0),
    (5.0, 6.0, 7.0, 60.0, 75.0, 110.0),
    (5.0, 5.5, 4.0, 140.0, 100.0, 95.0),
    (4.0, 9.0, 6.0, 40.0, 60.0, 50.0),
]


def oblique(parameters, left_handed=False) -> Structure:
    rng = np.random.default_rng(1)
    matrix = Lattice.from_parameters(*parameters).matrix @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    if (np.linalg.det(matrix) < 0) != left_handed:
        matrix = -matrix
    return Structure(Lattice(matrix), ["Cs", "Cl", "O", "Ti"], rng.uniform(size=(4, 3)))


def structure_of(cell: dict) -> Structure:
    """The crystal that is drawn."""
    symbols = [symbol for symbol, count in cell["elements"] for _ in range(count)]
    coords = np.reshape(cell["coords"], (-1, 3)) * 1e-4
    return Structure(Lattice.from_parameters(*cell["lattice"]), symbols, coords)


def cell_of(structure: Structure) -> dict:
    lattice, species = np.array(structure.lattice.matrix), np.array(structure.atomic_numbers)
    return compact_cell(lattice, species, np.array(structure.frac_coords))


@pytest.mark.parametrize("left_handed", [False, True])
@pytest.mark.parametrize("parameters", OBLIQUE, ids=str)
def test_an_oblique_cell_is_the_one_that_was_given(parameters, left_handed) -> None:
    """In angles, in distances and in hand: a mirror image has the same distances."""
    given = oblique(parameters, left_handed)
    drawn = structure_of(cell_of(given))
    np.testing.assert_allclose(drawn.lattice.parameters, parameters, atol=1e-3)
    np.testing.assert_allclose(drawn.distance_matrix, given.distance_matrix, atol=5e-3)
    offsets = given.frac_coords[1:] - given.frac_coords[0]
    turned = -1.0 if left_handed else 1.0
    seen = drawn.frac_coords[1:] - drawn.frac_coords[0]
    seen -= np.round(seen - turned * offsets)
    hands = np.linalg.det(seen @ drawn.lattice.matrix), np.linalg.det(offsets @ given.lattice.matrix)
    assert hands[0] == pytest.approx(hands[1], abs=0.1)
    assert abs(hands[1]) > 1.0


@pytest.mark.parametrize("parameters", OBLIQUE, ids=str)
def test_an_oblique_crystal_is_drawn_in_its_conventional_cell(parameters) -> None:
    given = oblique(parameters)
    (cell,) = gallery_content([Entry("x", given)], title="x")["cells"]
    drawn = structure_of(cell)
    assert StructureMatcher(primitive_cell=False, scale=False, stol=0.01).fit(drawn, given)


@pytest.mark.skipif(shutil.which("node") is None, reason="no node is installed")
@pytest.mark.parametrize("parameters", OBLIQUE, ids=str)
def test_edges_and_atoms_of_an_oblique_cell(parameters, tmp_path) -> None:
    """What the page's script draws: four edges along each axis, that make the cell, and the atoms in it."""
    cell = cell_of(oblique(parameters))
    elements = element_table({"Cs", "Cl", "O", "Ti"})
    script = (
        f"const data = {json.dumps({'elements': elements})}; const cell = {json.dumps(cell)};"
        f"{_asset('geometry.js')}"
        "const scene = makeScene(cell, {bonds: false});"
        "const edges = edgesOf(scene.lattice, 1), reach = reachOf(cell, 1);"
        "const atoms = scene.atoms.filter((atom) => atom.step.every((n) => n === 0)).map((a) => a.position);"
        "console.log(JSON.stringify({lattice: scene.lattice, edges, reach, atoms}));"
    )
    (tmp_path / "page.js").write_text(script, encoding="utf-8")
    done = subprocess.run(["node", tmp_path / "page.js"], capture_output=True, text=True, check=True)
    found = {name: np.array(value) for name, value in json.loads(done.stdout).items()}
    lattice = Lattice(found["lattice"])
    np.testing.assert_allclose(lattice.parameters, parameters, atol=2e-3)
    corners = np.indices((2, 2, 2)).reshape(3, -1).T @ lattice.matrix
    starts, ends = found["edges"][:, 0], found["edges"][:, 1]
    assert len(starts) == 12
    for points in (starts, ends):  # each at a corner
        assert np.linalg.norm(points[:, None] - corners, axis=-1).min(1).max() < 1e-9
    lengths = np.linalg.norm(ends - starts, axis=1)
    np.testing.assert_allclose(np.sort(lengths), np.sort(np.repeat(parameters[:3], 4)), atol=1e-3)
    assert len({tuple(np.round(edge, 6).ravel()) for edge in found["edges"]}) == 12
    middle = np.full(3, 0.5) @ lattice.matrix
    assert found["reach"] == pytest.approx(np.linalg.norm(corners - middle, axis=1).max())
    coords = np.reshape(cell["coords"], (-1, 3)) * 1e-4
    coords = np.where(coords > 0.98, coords - 1, coords)
    np.testing.assert_allclose(found["atoms"], coords @ lattice.matrix - middle, atol=1e-9)
