"""Writes `jaxcrystal/symmetry/wyckoff.json`: run `python -m tests.symmetry.derive_wyckoff`.

The positions are derived from the operations of `group_tables` alone, and the letters
are read from spglib. Every position has a generic point on a grid of 1/24, so a
position is found as the orbit of the fixed space of some grid point's stabiliser:

1. find the stabiliser of each grid point, modulo the primitive lattice;
2. take a point with the fewest free coordinates that has no position yet, and give
   its position to every grid point that is generic on the images of its fixed space;
3. put one atom kind on each position of the group, together with enough general
   atoms to bar a supergroup, and let spglib say the letters. spglib may map the
   structure onto itself by a normaliser operation, which permutes letters, so a
   letter belongs to the position where spglib's standardised coordinates lie.
"""

import json
from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import spglib
import sympy

from jaxcrystal.symmetry.groups import FAMILIES, group_tables

GRID = 24
TARGET = Path(__file__).parents[2] / "jaxcrystal" / "symmetry" / "wyckoff.json"
_LENGTHS = {
    "triclinic": (17.1, 19.3, 23.7),
    "monoclinic": (17.1, 19.3, 23.7),
    "orthorhombic": (17.1, 19.3, 23.7),
    "tetragonal": (17.1, 17.1, 23.7),
    "hexagonal": (17.1, 17.1, 23.7),
    "cubic": (19.3, 19.3, 19.3),
}
_ANGLES = {
    "triclinic": (81.0, 97.0, 103.0),
    "monoclinic": (90.0, 99.0, 90.0),
    "hexagonal": (90.0, 90.0, 120.0),
}


def derive_group(number: int) -> dict[str, str]:
    """Returns {letter: coordinates}, letters in order, such as {"e": "x,0,1/4"}."""
    rotations, translations, inverse = _operations(number)
    points = np.indices((GRID,) * 3).reshape(3, -1).T
    stabilizer = np.stack(
        [
            (_residual(points @ r.T + t - points, inverse) < 1e-6)
            for r, t in zip(rotations, translations * GRID, strict=True)
        ],
        axis=1,
    )
    position = np.full(len(points), -1)
    num_free = np.array([_projection(rotations, row)[1] for row in stabilizer])
    spaces: list[tuple[np.ndarray, np.ndarray]] = []
    for index in np.lexsort((np.arange(len(points)), num_free)):
        if position[index] >= 0:
            continue
        basis = _integer_basis(_projection(rotations, stabilizer[index])[0])
        steps = _grid_steps(len(basis))
        members = points[index] + steps @ basis
        for r, t in zip(rotations, translations * GRID, strict=True):
            for shift in _centring(number) * GRID:
                image = np.rint(members @ r.T + t + shift).astype(int) % GRID
                flat = np.ravel_multi_index(tuple(image.T), (GRID,) * 3)
                generic = stabilizer[flat].sum(1) == stabilizer[index].sum()
                position[flat[generic]] = len(spaces)
        spaces.append((points[index] / GRID, basis))
    forms = [_simplest_form(number, origin, basis) for origin, basis in spaces]
    letters = _letters(number, forms)
    order = sorted(range(len(forms)), key=lambda i: (letters[i].isupper(), letters[i]))
    return {letters[i]: _text(*forms[i]) for i in order}


def _grid_steps(num_free: int) -> np.ndarray:
    """Returns [GRID ** num_free, num_free], every combination of steps along the basis."""
    return np.indices((GRID,) * num_free).reshape(num_free, GRID**num_free).T


def _operations(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    tables = group_tables()
    n = tables.num_ops[number]
    inverse = np.linalg.inv(tables.primitive[number])
    return tables.rotations[number, :n], tables.translations[number, :n], inverse


def _centring(number: int) -> np.ndarray:
    steps = np.array(list(product(range(-3, 4), repeat=3)))
    return np.unique(np.round(steps @ group_tables().primitive[number] % 1.0, 9) % 1.0, axis=0)


def _residual(difference: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """Returns how far grid vectors are from lattice vectors."""
    coefficients = difference / GRID @ inverse
    return np.abs(coefficients - np.round(coefficients)).max(-1)


def _projection(rotations: np.ndarray, members: np.ndarray) -> tuple[np.ndarray, int]:
    mean = rotations[members].mean(0)
    return mean, round(np.trace(mean))


def _integer_basis(projection: np.ndarray) -> np.ndarray:
    """Returns a basis [num_free, 3] of the integer vectors that `projection` fixes."""
    away = sympy.Matrix(np.rint((projection - np.eye(3)) * 48).astype(int))
    return _echelon([list(vector) for vector in away.nullspace()])


def _echelon(rows: list[list[int]]) -> np.ndarray:
    """Returns the reduced row echelon form, each row scaled to coprime integers."""
    reduced = sympy.Matrix(rows).rref()[0] if len(rows) else sympy.zeros(0, 3)
    scaled = [reduced.row(i) * sympy.ilcm(1, *(x.q for x in reduced.row(i))) for i in range(len(rows))]
    return np.array([[int(x) for x in row] for row in scaled], int).reshape(-1, 3)


def _simplest_form(number: int, origin: np.ndarray, basis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the image of the space whose text is shortest, so that users can read it."""
    rotations, translations, _ = _operations(number)
    best = None
    for r, t in zip(rotations, translations, strict=True):
        directions = _echelon(np.rint(basis @ r.T).astype(int).tolist())
        for shift in _centring(number):
            start = np.round((r @ origin + t + shift) * GRID)
            steps = _grid_steps(len(basis))
            starts = (start + steps @ directions).astype(int) % GRID
            rank = np.lexsort((*starts.T[::-1], starts.sum(1), (starts != 0).sum(1)))
            chosen = starts[rank[0]] / GRID
            text = _text(chosen, directions)
            key = (
                len(text),
                -sum(c in "xyz" for c in text[:2]),
                np.abs(directions).sum(),
                chosen.sum(),
                text,
            )
            if best is None or key < best[0]:
                best = (key, chosen, directions)
    assert best is not None
    return best[1], best[2]


def _text(origin: np.ndarray, basis: np.ndarray) -> str:
    """Returns coordinates such as `x,2x,1/4`; each basis vector takes the name of its pivot."""
    names = ["xyz"[int(np.flatnonzero(row)[0])] for row in basis]
    words = []
    for axis in range(3):
        word = ""
        for name, row in zip(names, basis, strict=True):
            factor = int(row[axis])
            if factor:
                word += ("-" if factor < 0 else "+") + (str(abs(factor)) if abs(factor) > 1 else "") + name
        value = Fraction(round(origin[axis] * GRID), GRID)
        if value or not word:
            word += f"+{value}"
        words.append(word.removeprefix("+"))
    return ",".join(words)


def _letters(number: int, forms: list[tuple[np.ndarray, np.ndarray]]) -> list[str]:
    tables = group_tables()
    family = FAMILIES[tables.family[number]]
    rng = np.random.default_rng(number)
    lattice = _lattice(_LENGTHS[family], _ANGLES.get(family, (90.0, 90.0, 90.0)))
    general = [(np.zeros(3), np.eye(3, dtype=int))] * (3 if tables.num_ops[number] <= 8 else 1)
    for _ in range(50):
        sites = [(o + rng.uniform(size=len(b)) @ b) for o, b in forms + general]
        atoms = [_orbit(number, site) for site in sites]
        kinds = np.repeat(np.arange(len(atoms)) + 1, [len(a) for a in atoms])
        cell = (lattice, np.concatenate(atoms), kinds)
        dataset = spglib.get_symmetry_dataset(cell, symprec=1e-3, hall_number=int(tables.hall_number[number]))
        if dataset is None or dataset.number != number:
            continue
        letters: dict[int, str] = {}
        for kind in range(1, len(forms) + 1):
            first = int(np.flatnonzero(kinds == kind)[0])
            standard = dataset.transformation_matrix @ cell[1][first] + dataset.origin_shift
            holders = [i for i, form in enumerate(forms) if _lies_on(number, standard, *form)]
            # A generic point of one position lies on that position and on larger spaces.
            holder = min(holders, key=lambda i: len(forms[i][1]))
            letters[holder] = str(dataset.wyckoffs[first])
        if len(letters) == len(forms) == len(set(letters.values())):
            return [letters[i] for i in range(len(forms))]
    raise AssertionError(f"spglib gives no consistent letters for group {number}")


def _orbit(number: int, site: np.ndarray) -> np.ndarray:
    rotations, translations, _ = _operations(number)
    images = rotations @ site + translations
    images = (images[:, None] + _centring(number)).reshape(-1, 3) % 1.0
    apart = images[:, None] - images
    same = np.abs(apart - np.round(apart)).max(-1) < 1e-9
    return images[same.argmax(1) == np.arange(len(images))]


def _lies_on(number: int, site: np.ndarray, origin: np.ndarray, basis: np.ndarray) -> bool:
    away = np.eye(3) - (np.linalg.pinv(basis) @ basis if len(basis) else 0)
    images = _orbit(number, site) - origin
    cells = np.array(list(product(range(-3, 4), repeat=3)))
    return bool((np.abs((images[:, None] + cells) @ away).max(-1) < 1e-6).any())


def _lattice(lengths: tuple[float, ...], angles: tuple[float, ...]) -> np.ndarray:
    cos_a, cos_b, cos_g = np.cos(np.radians(angles))
    sin_g = np.sin(np.radians(angles[2]))
    y = (cos_a - cos_b * cos_g) / sin_g
    rows = np.array([[1, 0, 0], [cos_g, sin_g, 0], [cos_b, y, np.sqrt(1 - cos_b**2 - y**2)]])
    return rows * np.array(lengths)[:, None]


def main() -> None:
    """Derives all groups and writes the file, one line a group."""
    lines = [f'"{n}": {json.dumps(derive_group(n))}' for n in range(1, 231)]
    TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
