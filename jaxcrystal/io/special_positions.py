"""Sites on special positions that are given with few digits (0.333, or x and 2x as 0.1671 0.3343)."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxcrystal.io.checks import ONE_POINT
from jaxcrystal.io.operations import Operations
from jaxcrystal.io.rejection import Reason, Rejected

#: The worth of a site's last digit counts up to this, fractional: two decimals, as of 0.33.
_LEAST_DIGIT = 0.005
#: Images further apart, Å, are not taken for one atom, however few the digits.
_FURTHEST = 0.1
#: Å and fractional: coordinates of no more digits than these do not place two atoms nearer than this,
#: since such files are measurements; computed ones have more digits, and can hold anything.
_NO_ATOMS_NEARER, _FEW_DIGITS = 0.5, 1e-5
#: Images that the digits leave so many times further apart than rounding can explain are two atoms.
_CLEARLY_APART = 10


class Orbit(NamedTuple):
    """A site and its atoms.

    Attributes:
      frac_coords: [3] the site, exactly on its special position if it is on one.
      images: [atoms, 3] all its atoms in the cell, in [0, 1).
    """

    frac_coords: Float[np.ndarray, "3"]
    images: Float[np.ndarray, "atoms 3"]


def orbit(
    frac_coords: Float[np.ndarray, "3"],
    last_digits: Float[np.ndarray, "3"],
    operations: Operations,
    lattice: Float[np.ndarray, "3 3"],
    label: str,
    is_full: bool = True,
) -> Orbit:
    """Returns the atoms of a site; moved onto its special position where it lacks digits only.

    An operation holds the site if it moves it by no more than the digits leave open. The site
    becomes the mean of its images under these operations, which is exactly on the special
    position if they are a group with a common fixed point, and this is checked.

    Args:
      frac_coords: [3] the site.
      last_digits: [3] worth of the last digit of each coordinate.
      operations: all of the group.
      lattice: [3, 3] rows are vectors, Å.
      label: of the site, for messages.
      is_full: every image is an atom; those of a partly occupied site may be near one another.

    Raises:
      Rejected: it is not clear whether images are one atom or two.
    """
    if len(operations) == 1:
        return Orbit(frac_coords, _wrapped(frac_coords)[None])
    images, offsets, distances = _images(frac_coords, operations, lattice)
    spread = np.abs(operations.rotations - np.eye(3)) @ np.minimum(last_digits, _LEAST_DIGIT)
    by_digits = (np.abs(offsets) <= spread + 1e-9).all(1) & (distances < _FURTHEST)
    held = by_digits | (distances < ONE_POINT)  # nearer than that, it is the rounding of a computation
    site = (images - np.rint(images - frac_coords))[held].mean(0) if held.sum() > 1 else frac_coords
    moved = site - frac_coords
    is_against_digits = (np.abs(moved) > last_digits + 1e-9).any() and (
        np.linalg.norm(moved @ lattice) > ONE_POINT
    )
    gaps = distances[held]
    images, offsets, distances = _images(site, operations, lattice)
    unclear = (np.abs(offsets) <= _CLEARLY_APART * spread + 1e-9).all(1) & (distances < _FURTHEST)
    if is_full and last_digits.min() >= _FEW_DIGITS:
        unclear |= distances < _NO_ATOMS_NEARER
    if is_against_digits or (np.abs(offsets[held]) > 1e-9).any() or (unclear & ~held).any():
        worst = max(gaps.max(), distances[unclear | held].max())
        raise Rejected(
            Reason.AMBIGUOUS,
            f"two images of {label} are {worst:.2g} Å apart: one atom on a special position, or two?",
        )
    wrapped = _wrapped(images)
    apart = wrapped[:, None] - wrapped[None]
    first = (np.abs(apart - np.rint(apart)).max(-1) < 1e-6).argmax(1)
    kept = np.unique(first)
    if len(kept) * held.sum() != len(operations):
        raise Rejected(Reason.AMBIGUOUS, f"the images of {label} are no orbit of the group")
    return Orbit(site, wrapped[kept])


def _images(
    site: np.ndarray, operations: Operations, lattice: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns all images, their offsets from the site up to lattice vectors, and how long these are, Å."""
    images = operations.rotations @ site + operations.translations
    offsets = images - site
    offsets = offsets - np.rint(offsets)
    return images, offsets, np.linalg.norm(offsets @ lattice, axis=1)


def _wrapped(frac_coords: np.ndarray) -> np.ndarray:
    return frac_coords - np.floor(frac_coords)
