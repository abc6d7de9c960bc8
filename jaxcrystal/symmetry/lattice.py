"""Lattice parameters: six unconstrained numbers for three lengths and three angles.

    length = k log(1 + exp(param / k)),  k = 10 Å        (a, b, c)
    param  = k cot(angle),  k = 10                       (alpha, beta, gamma)

so that one σ_L serves both: in the training data (`python -m benchmarks.lattices`) parameters of free
angles spread by 2.4 to 2.9, those of lengths by 2.5 to 6.4. Noise of 1 turns an axis of 6 Å by 0.6 Å at
its end, and lengthens it by 0.45 Å.

A crystal family ties lengths together and fixes angles: see `symmetry.families`. Everything downstream
goes through the metric tensor `lattice @ lattice.T`, so that nothing else needs to know the family.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

from jaxcrystal.symmetry.families import ANGLE_SCALE, FIXED, FREE
from jaxcrystal.symmetry.group_row import group_row
from jaxcrystal.symmetry.groups import FAMILIES, group_tables

LENGTH_SCALE = 10.0
#: Least squared volume of a cell with its angles and axes of length 1. All of the training data are over
#: 0.5, where those of Niggli's cells end; 0.1 is a monoclinic angle of 162°.
MIN_UNIT_VOLUME_SQUARED = 0.1
# Shares that free cotangents are cut to, the first that opens the cell far enough; 0 is a right angle.
_SHARES = np.linspace(1.0, 0.0, 33)
# [3, 3] which angle is between two axes; any on the diagonal.
_ANGLE_BETWEEN = np.array([[0, 2, 1], [2, 0, 0], [1, 0, 0]], np.int32)
# [6 parameters, 3, 3] the entries of the metric with the cosine of the parameter's angle (and the diagonal).
_IS_ANGLE = np.arange(6)[:, None, None] == 3 + _ANGLE_BETWEEN
# [6 parameters, 3 lengths] whether the parameter is the length's own, and whether it is the first.
_IS_OWN, _IS_FIRST = np.eye(6, 3, dtype=bool), np.eye(6, 1, dtype=bool).repeat(3, axis=1)


def free_params(space_group: Int[Array, ""] | int) -> Bool[Array, "6"]:
    """Returns which of the six lattice parameters the group leaves free."""
    return group_row(space_group, jnp.zeros(()).dtype).free_params


def has_free_angles(space_group: int) -> bool:
    """Returns whether the group is monoclinic or triclinic, 1-15."""
    return int(group_tables().family[space_group]) < FAMILIES.index("orthorhombic")


def lengths_and_cotangents(
    lattice_params: Float[Array, "6"], space_group: Int[Array, ""] | int
) -> tuple[Float[Array, "3"], Float[Array, "3"]]:
    """Returns the lengths (Å) and the cotangents of the angles of the conventional cell."""
    lattice_params = jnp.asarray(lattice_params)
    row = group_row(space_group, lattice_params.dtype)
    return _lengths_and_cotangents(jnp, lattice_params, row.free_params, row.fixed_params)


def lengths_angles(
    lattice_params: Float[Array, "6"], space_group: Int[Array, ""] | int
) -> tuple[Float[Array, "3"], Float[Array, "3"]]:
    """Returns the lengths (Å) and angles (degrees) of the conventional cell."""
    lengths, cotangents = lengths_and_cotangents(lattice_params, space_group)
    return lengths, jnp.degrees(jnp.arctan2(1.0, cotangents))


def cell_lengths_angles(
    lattice: Float[np.ndarray, "3 3"],
) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
    """Returns the lengths (Å) and angles (degrees) of a cell whose rows are vectors."""
    lengths = np.linalg.norm(lattice, axis=1)
    unit = lattice / lengths[:, None]
    cosines = (unit[[1, 0, 0]] * unit[[2, 2, 1]]).sum(1)
    return lengths, np.degrees(np.arccos(np.clip(cosines, -1.0, 1.0)))


def metric(lattice_params: Float[Array, "6"], space_group: Int[Array, ""] | int) -> Float[Array, "3 3"]:
    """Returns the metric tensor `lattice @ lattice.T`, Å²."""
    lengths, cotangents = lengths_and_cotangents(lattice_params, space_group)
    return _cosines_and_slopes(cotangents)[0] * lengths[:, None] * lengths[None, :]


def lattice_matrix(
    lattice_params: Float[Array, "6"], space_group: Int[Array, ""] | int
) -> Float[Array, "3 3"]:
    """Returns the conventional cell: rows are vectors in Å, a along x, b in the xy plane."""
    return jnp.asarray(_lattice_matrix(jnp, *lengths_and_cotangents(lattice_params, space_group)))


def host_lattice(lattice_params: Float[np.ndarray, "6"], space_group: int) -> Float[np.ndarray, "3 3"]:
    """Returns `lattice_matrix` in float64 as a numpy array, for work on the host."""
    with np.errstate(all="ignore"):  # parameters of a sample that failed, as quietly as jax
        family = group_tables().family[space_group]
        params = np.asarray(lattice_params, np.float64)
        return np.asarray(
            _lattice_matrix(np, *_lengths_and_cotangents(np, params, FREE[family], FIXED[family]))
        )


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
    """Returns the derivative of the metric by each lattice parameter; 0 where not free.

    The metric is M_ij = l_i l_j c_ij, where a length has the slope dl/dparam = 1 - exp(-l/k), and the
    cosine c of an angle dc/dparam = sin³(angle) / k.
    """
    lengths, cotangents = lengths_and_cotangents(lattice_params, space_group)
    free = group_row(space_group, lengths.dtype).free_params
    # [6, 3] dl/dparam: a length follows its own parameter where that is free, else the first.
    follows = jnp.where(free[:3], _IS_OWN, _IS_FIRST)
    of_lengths = jnp.where(follows, -jnp.expm1(-lengths / LENGTH_SCALE), 0.0)
    products = of_lengths[:, :, None] * lengths + of_lengths[:, None, :] * lengths[:, None]
    cosines, of_cosines = _cosines_and_slopes(cotangents)
    by_cosines = jnp.where(_IS_ANGLE & free[:, None, None], of_cosines * lengths[:, None] * lengths, 0.0)
    return products * cosines + by_cosines


def _cosines_and_slopes(cotangents: Float[Array, "3"]) -> tuple[Float[Array, "3 3"], Float[Array, "3 3"]]:
    """Returns the cosines of the angles between the axes, and what each gains by its parameter."""
    sines = _sines(jnp, cotangents)
    both = jnp.stack([cotangents * sines, sines**3 / ANGLE_SCALE])[:, _ANGLE_BETWEEN]
    same = np.eye(3, dtype=bool)
    return jnp.where(same, 1.0, both[0]), jnp.where(same, 0.0, both[1])


# The formulas are for both kinds of array; `xp` is numpy or jax.numpy.


def _lengths_and_cotangents(xp: Any, lattice_params: Any, free: Any, fixed: Any) -> tuple[Any, Any]:
    # Lengths that are not free are tied to the first.
    other = xp.where(np.arange(6) < 3, lattice_params[0], fixed.astype(lattice_params.dtype))
    full = xp.where(free, lattice_params, other)
    return LENGTH_SCALE * xp.logaddexp(full[:3] / LENGTH_SCALE, 0.0), full[3:] / ANGLE_SCALE


def _sines(xp: Any, cotangents: Any) -> Any:
    return 1.0 / xp.sqrt(1.0 + cotangents**2)


def _lattice_matrix(xp: Any, lengths: Any, cotangents: Any) -> Any:
    sines = _sines(xp, cotangents)
    cos_alpha, cos_beta, cos_gamma = cotangents * sines
    sin_gamma = sines[2]
    # Over sin γ, whose inverse is (1 + cot² γ) sin γ.
    c_y = (cos_alpha - cos_beta * cos_gamma) * (1.0 + cotangents[2] ** 2) * sin_gamma
    # Not real for angles that no cell has; the floor keeps gradients finite there.
    c_z = xp.sqrt(xp.maximum(1.0 - cos_beta**2 - c_y**2, 1e-6))
    zero, one = xp.zeros_like(c_y), xp.ones_like(c_y)
    rows = xp.stack([one, zero, zero, cos_gamma, sin_gamma, zero, cos_beta, c_y, c_z]).reshape(3, 3)
    return rows * lengths[:, None]
