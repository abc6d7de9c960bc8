"""Changes of axes and origin that leave the operations of a space group as they are.

They are the proper part of the group's affine normaliser (International Tables A, 3.5): a crystal has one
description for each, of which spglib returns any. What they do to sites is given here in the free
coordinates u of a Wyckoff position, `x = origin + u @ basis`.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxcrystal.symmetry.groups import FAMILIES, group_tables
from jaxcrystal.symmetry.letter_tables import letter_tables
from jaxcrystal.symmetry.orbits import centring_translations
from jaxcrystal.symmetry.wyckoff import WINDOW, group_operations, locate, wyckoff_positions

#: Axes are sums of the old ones with these coefficients: all that two reduced cells of a lattice need, in the
#: plane of a monoclinic group up to 2 (see `symmetry.canonical`).
_STEPS, _MONOCLINIC_STEPS = range(-1, 2), range(-2, 3)
#: Origins are tried in this many parts of an axis; no normaliser has finer ones.
_PARTS = 24
_EXACT = 1e-6
#: Free coordinates of a point that lies on no other position.
_GENERIC = np.array([0.1362, 0.2917, 0.4531])


class Changes(NamedTuple):
    """Changes of axes and origin, `x' = (x - origin) @ inv(axes)`, the first of which changes nothing.

    Attributes:
      axes: [n, 3, 3] rows are the new axes in the old ones; determinant 1.
      origins: [n, 3] one of the new origins that go with them, in the old axes.
    """

    axes: Float[np.ndarray, "n 3 3"]
    origins: Float[np.ndarray, "n 3"]


class SiteMaps(NamedTuple):
    """Maps of the free coordinates of one Wyckoff position to those of another, `u' = u @ turns + shifts`.

    Attributes:
      letter: index of the position that they lead to.
      turns: [n, num_free, num_free].
      shifts: [n, num_free] in [0, 1).
    """

    letter: int
    turns: np.ndarray
    shifts: np.ndarray


@cache
def allowed_changes(space_group: int) -> Changes:
    """Returns the changes of axes, each with one origin, after which the tables of a group hold as before.

    All keep the handedness. From group 16 on they are those that also keep the lengths of any cell whose
    axes are as equal as they can be, one for all that differ by an operation of the group.
    """
    family = FAMILIES[group_tables().family[space_group]]
    if family == "triclinic":
        axes = _unimodular()
        return Changes(axes, np.zeros((len(axes), 3)))  # any axes will do, and P-1 stays at its centre
    kept: list[tuple[np.ndarray, np.ndarray]] = []
    proper = [r for r in group_operations(space_group)[0] if np.linalg.det(r) > 0]
    for change in _monoclinic() if family == "monoclinic" else _isometric(family == "hexagonal"):
        if family != "monoclinic" and any(
            np.array_equal(np.round(axes @ np.linalg.inv(r).T), change) for axes, _ in kept for r in proper
        ):
            continue
        origins = _origins(change, space_group)
        if len(origins):
            kept.append((change, origins[0]))
    return Changes(np.stack([axes for axes, _ in kept]), np.stack([origin for _, origin in kept]))


@cache
def equivalent_origins(space_group: int) -> Float[np.ndarray, "n 3"]:
    """Returns the origins that are as good as 0: one of all that differ by lattice and free directions."""
    across = np.eye(3) - free_directions(space_group)
    lattice = centring_translations(space_group) @ across
    kept: list[np.ndarray] = []
    for origin in _origins(np.eye(3), space_group) @ across:
        apart = origin - lattice[:, None] - np.reshape(kept, (-1, 3))
        if not (np.abs(apart - np.round(apart)) < _EXACT).all(-1).any():
            kept.append(origin)
    return np.stack(kept)


@cache
def free_directions(space_group: int) -> Float[np.ndarray, "3 3"]:
    """Returns the projection `x @ P` of fractional coordinates on what no operation turns."""
    return group_operations(space_group)[0].mean(0).T


@cache
def maps_to_itself(space_group: int, letter: int) -> SiteMaps:
    """Returns how the operations of a group map the representative of a position to itself."""
    rotations, translations, _ = group_operations(space_group)
    position = wyckoff_positions(space_group)[letter]
    found: dict[tuple[tuple[float, ...], ...], tuple[np.ndarray, np.ndarray]] = {}
    for rotation, translation in zip(rotations, translations, strict=True):
        turn = position.basis @ rotation.T
        if np.abs(turn @ letter_tables().normal[space_group, letter].T).max(initial=0.0) > _EXACT:
            continue
        turn = turn @ np.linalg.pinv(position.basis)
        for shift in _shifts(rotation @ position.origin + translation, space_group, letter):
            key = tuple(np.round(turn, 6).ravel()), tuple(np.round(shift, 6) % 1.0)
            found.setdefault(key, (turn, shift))
    turns, shifts = zip(*found.values(), strict=True)
    return SiteMaps(letter, np.stack(turns), np.stack(shifts))


@cache
def map_to_change(
    space_group: int, letter: int, axes: tuple[float, ...], origin: tuple[float, ...]
) -> SiteMaps:
    """Returns one map from a position to that on which its sites are after a change of axes and origin.

    Args:
      space_group: 1-230.
      letter: index of the position.
      axes: nine numbers, as in `Changes`, and
      origin: three; sums of one of `allowed_changes` and one of `equivalent_origins`.
    """
    rotations, translations, _ = group_operations(space_group)
    positions = wyckoff_positions(space_group)
    old, inverse = positions[letter], np.linalg.inv(np.reshape(axes, (3, 3)))
    start = (old.origin - origin) @ inverse
    generic = start + _GENERIC[: old.num_free] @ old.basis @ inverse
    for index, new in enumerate(positions):
        if (new.multiplicity, new.num_free) != (old.multiplicity, old.num_free):
            continue
        reached = locate(generic, space_group, new.letter, tolerance=np.inf)[0]
        op = rotations[reached], translations[reached]
        normal = letter_tables().normal[space_group, index]
        apart = normal @ (op[0] @ generic + op[1] - new.origin)
        if np.abs(apart - np.round(apart)).max(initial=0.0) < _EXACT:
            turn = old.basis @ inverse @ op[0].T @ np.linalg.pinv(new.basis)
            return SiteMaps(index, turn[None], _shifts(op[0] @ start + op[1], space_group, index)[:1])
    raise AssertionError(f"group {space_group}: position {old.letter} is none after a change of the cell")


def _shifts(point: Float[np.ndarray, "3"], space_group: int, letter: int) -> Float[np.ndarray, "n free"]:
    """Returns the free coordinates of a point's lattice translates on a position's representative."""
    position, primitive = wyckoff_positions(space_group)[letter], group_operations(space_group)[2]
    offset = (point - position.origin) @ np.linalg.inv(primitive)
    offsets = (offset - np.round(offset) - WINDOW) @ primitive
    on_it = (np.abs(offsets - offsets @ position.projection.T) < _EXACT).all(1)
    shifts = offsets[on_it] @ np.linalg.pinv(position.basis) % 1.0
    return np.unique(np.round(shifts, 9) % 1.0, axis=0)


def _origins(axes: Float[np.ndarray, "3 3"], space_group: int) -> Float[np.ndarray, "n 3"]:
    """Returns the origins, in parts of an axis, that bring the operations back to the tables."""
    rotations, translations, primitive = group_operations(space_group)
    inverse, to_primitive = np.linalg.inv(axes), np.linalg.inv(primitive)
    points = np.zeros((0, 3))
    centred = primitive @ inverse @ to_primitive
    if np.abs(centred - np.round(centred)).max() > _EXACT:
        return points
    row_of = {tuple(np.round(r).astype(int).ravel()): row for row, r in enumerate(rotations)}
    points = np.indices((_PARTS,) * 3).reshape(3, -1).T / _PARTS
    for rotation, translation in zip(rotations, translations, strict=True):
        # x' = (x - o) @ inverse: the image R x + t becomes that of the same operation in the new axes.
        turned = np.round(inverse.T @ rotation @ axes.T).astype(int)
        row = row_of.get(tuple(turned.ravel()))
        if row is None:
            return points[:0]
        moved = (translation + points @ (rotation - np.eye(3)).T) @ inverse - translations[row]
        off = moved @ to_primitive
        points = points[(np.abs(off - np.round(off)) < _EXACT).all(1)]
    return points


@cache
def _unimodular() -> Float[np.ndarray, "n 3 3"]:
    """Returns the changes of axes with coefficients -1, 0 and 1 that keep volume and handedness."""
    axes = np.stack(np.meshgrid(*[_STEPS] * 9, indexing="ij"), -1).reshape(-1, 3, 3)
    axes = axes[np.round(np.linalg.det(axes)) == 1].astype(float)
    return np.concatenate([np.eye(3)[None], axes[(axes != np.eye(3)).any((1, 2))]])


def _isometric(hexagonal: bool) -> Float[np.ndarray, "n 3 3"]:
    """Returns those of them that keep the lengths and angles of a cubic or a hexagonal cell."""
    metric = np.array([[1, -0.5 if hexagonal else 0, 0], [-0.5 if hexagonal else 0, 1, 0], [0, 0, 1]])
    # A hexagonal cell has its own height: axes do not mix with c.
    metric[2, 2] = 1.7 if hexagonal else 1.0
    changed = _unimodular() @ metric @ _unimodular().transpose(0, 2, 1)
    return _unimodular()[(np.abs(changed - metric) < _EXACT).all((1, 2))]


def _monoclinic() -> list[np.ndarray]:
    """Returns the changes of axes that leave b alone or turn it over, the one that changes nothing first."""
    found = [np.eye(3)]
    for p, q, r, s in np.stack(np.meshgrid(*[_MONOCLINIC_STEPS] * 4, indexing="ij"), -1).reshape(-1, 4):
        unique = p * s - q * r  # b turns over where a and c change places: the handedness stays
        axes = np.array([[p, 0, q], [0, unique, 0], [r, 0, s]], float)
        if abs(unique) == 1 and not (axes == np.eye(3)).all():
            found.append(axes)
    return found
