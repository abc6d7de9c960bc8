"""Lattice parameters: six unconstrained numbers for three lengths and three angles.

    length = k log(1 + exp(param / k)),  k = 10 Å        (a, b, c)
    param  = k cot(angle),  k = 10                       (alpha, beta, gamma)

so that one σ_L serves both: in the training data (`python -m benchmarks.lattices`) parameters of free
angles spread by 2.4 to 2.9, those of lengths by 2.5 to 6.4. Noise of 1 turns an axis of 6 Å by 0.6 Å at
its end, and lengthens it by 0.45 Å.

A crystal family ties lengths together (tetragonal: b = a) and fixes angles. The free
numbers stay in the slot of the first quantity they drive and the other slots hold 0:
`full = params @ TIE[family] + FIXED[family]`. Everything downstream goes through the
metric tensor `lattice @ lattice.T`, so that only these tables know the family.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

from jaxcrystal.symmetry.groups import FAMILIES, group_tables

LENGTH_SCALE = 10.0
ANGLE_SCALE = 10.0
#: Least squared volume of a cell with its angles and axes of length 1. All of the training data are over
#: 0.5, where those of Niggli's cells end; 0.1 is a monoclinic angle of 162°.
MIN_UNIT_VOLUME_SQUARED = 0.1
_COT_120 = ANGLE_SCALE / np.tan(np.radians(120.0))
# Shares that free cotangents are cut to, the first that opens the cell far enough; 0 is a right angle.
_SHARES = np.linspace(1.0, 0.0, 33)

# Slot of the parameter that drives (a, b, c, alpha, beta, gamma); None: a fixed angle.
_DRIVER: dict[str, tuple[int | None, ...]] = {
    "triclinic": (0, 1, 2, 3, 4, 5),
    "monoclinic": (0, 1, 2, None, 4, None),
    "orthorhombic": (0, 1, 2, None, None, None),
    "tetragonal": (0, 0, 2, None, None, None),
    "hexagonal": (0, 0, 2, None, None, None),
    "cubic": (0, 0, 0, None, None, None),
}


def _tie_matrices() -> tuple[np.ndarray, np.ndarray]:
    tie = np.zeros((len(FAMILIES), 6, 6))
    fixed = np.zeros((len(FAMILIES), 6))
    for row, family in enumerate(FAMILIES):
        for slot, driver in enumerate(_DRIVER[family]):
            if driver is not None:
                tie[row, driver, slot] = 1.0
    fixed[FAMILIES.index("hexagonal"), 5] = _COT_120
    return tie, fixed


#: [6 families, 6 params, 6 slots] and [6 families, 6]; see the module docstring.
TIE, FIXED = _tie_matrices()
#: [6 families, 6] the parameters that are free in a family.
FREE = TIE.any(axis=2)


def free_params(space_group: Int[Array, ""] | int) -> Bool[Array, "6"]:
    """Returns which of the six lattice parameters the group leaves free."""
    return jnp.asarray(FREE)[jnp.asarray(group_tables().family)[space_group]]


def has_free_angles(space_group: int) -> bool:
    """Returns whether the group is monoclinic or triclinic, 1-15."""
    return int(group_tables().family[space_group]) < FAMILIES.index("orthorhombic")


def lengths_and_cotangents(
    lattice_params: Float[Array, "6"], space_group: Int[Array, ""] | int
) -> tuple[Float[Array, "3"], Float[Array, "3"]]:
    """Returns the lengths (Å) and the cotangents of the angles of the conventional cell."""
    return _lengths_and_cotangents(jnp, jnp.asarray(lattice_params), space_group)


def lengths_angles(
    lattice_params: Float[Array, "6"], space_group: Int[Array, ""] | int
) -> tuple[Float[Array, "3"], Float[Array, "3"]]:
    """Returns the lengths (Å) and angles (degrees) of the conventional cell."""
    lengths, cotangents = lengths_and_cotangents(lattice_params, space_group)
    return lengths, jnp.degrees(jnp.arctan2(1.0, cotangents))


def metric(lattice_params: Float[Array, "6"], space_group: Int[Array, ""] | int) -> Float[Array, "3 3"]:
    """Returns the metric tensor `lattice @ lattice.T`, Å²."""
    lengths, cotangents = lengths_and_cotangents(lattice_params, space_group)
    cos_alpha, cos_beta, cos_gamma = cotangents / jnp.sqrt(1.0 + cotangents**2)
    one = jnp.ones_like(cos_alpha)
    cosines = jnp.stack([one, cos_gamma, cos_beta, cos_gamma, one, cos_alpha, cos_beta, cos_alpha, one])
    return cosines.reshape(3, 3) * lengths[:, None] * lengths[None, :]


def lattice_matrix(
    lattice_params: Float[Array, "6"], space_group: Int[Array, ""] | int
) -> Float[Array, "3 3"]:
    """Returns the conventional cell: rows are vectors in Å, a along x, b in the xy plane."""
    return jnp.asarray(_lattice_matrix(jnp, jnp.asarray(lattice_params), space_group))


def host_lattice(lattice_params: Float[np.ndarray, "6"], space_group: int) -> Float[np.ndarray, "3 3"]:
    """Returns `lattice_matrix` in float64 as a numpy array, for work on the host."""
    with np.errstate(all="ignore"):  # parameters of a sample that failed, as quietly as jax
        return np.asarray(_lattice_matrix(np, np.asarray(lattice_params, np.float64), space_group))


def unit_volume_squared(lattice_params: Float[Array, "*batch 6"]) -> Float[Array, "*batch"]:
    """Returns the squared volume of a cell with these free angles, others of 90°, and axes of length 1.

    Three angles that close no cell give a number that is not positive.
    """
    cotangents = lattice_params[..., 3:] / ANGLE_SCALE
    cosines = cotangents / jnp.sqrt(1.0 + cotangents**2)
    return 1.0 + 2.0 * cosines.prod(-1) - (cosines**2).sum(-1)


def opened(lattice_params: Float[Array, "6"]) -> Float[Array, "6"]:
    """Returns the parameters with free angles drawn towards 90° as far as a cell needs to stay one.

    That is, to `MIN_UNIT_VOLUME_SQUARED`; parameters of a cell that is open enough do not change.
    """
    is_angle = jnp.arange(6) >= 3
    tried = jnp.where(
        is_angle, lattice_params * jnp.asarray(_SHARES, lattice_params.dtype)[:, None], lattice_params
    )
    return tried[jnp.argmax(unit_volume_squared(tried) >= MIN_UNIT_VOLUME_SQUARED)]


def metric_gradient(
    lattice_params: Float[Array, "6"], space_group: Int[Array, ""] | int
) -> Float[Array, "6 3 3"]:
    """Returns the derivative of the metric by each lattice parameter; 0 where not free."""
    jacobian = jax.jacfwd(metric)(lattice_params, space_group)
    return jnp.where(free_params(space_group)[:, None, None], jnp.moveaxis(jacobian, -1, 0), 0.0)


# The formulas are for both kinds of array; `xp` is numpy or jax.numpy.


def _lengths_and_cotangents(xp: Any, lattice_params: Any, space_group: Any) -> tuple[Any, Any]:
    family = xp.asarray(group_tables().family)[space_group]
    dtype = lattice_params.dtype
    # No matrix product: an accelerator would round the parameters.
    tied = (lattice_params[:, None] * xp.asarray(TIE, dtype)[family]).sum(0)
    full = tied + xp.asarray(FIXED, dtype)[family]
    return LENGTH_SCALE * xp.logaddexp(full[:3] / LENGTH_SCALE, 0.0), full[3:] / ANGLE_SCALE


def _lattice_matrix(xp: Any, lattice_params: Any, space_group: Any) -> Any:
    lengths, cotangents = _lengths_and_cotangents(xp, lattice_params, space_group)
    cos_alpha, cos_beta, cos_gamma = cotangents / xp.sqrt(1.0 + cotangents**2)
    sin_gamma = 1.0 / xp.sqrt(1.0 + cotangents[2] ** 2)
    c_y = (cos_alpha - cos_beta * cos_gamma) / sin_gamma
    # Not real for angles that no cell has; the floor keeps gradients finite there.
    c_z = xp.sqrt(xp.maximum(1.0 - cos_beta**2 - c_y**2, 1e-6))
    zero, one = xp.zeros_like(c_y), xp.ones_like(c_y)
    rows = xp.stack([one, zero, zero, cos_gamma, sin_gamma, zero, cos_beta, c_y, c_z]).reshape(3, 3)
    return rows * lengths[:, None]
