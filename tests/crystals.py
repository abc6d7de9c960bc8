"""Random crystals of any group, their primitive cells in group 1, and networks without zeros."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcrystal.crystal import MAX_OPS, Crystal
from jaxcrystal.graph.neighbors import ImageCapacity
from jaxcrystal.models.network import NetworkConfig, make_module
from jaxcrystal.score import NoisePrediction, init_params, make_score
from jaxcrystal.symmetry.detect import niggli_axes
from jaxcrystal.symmetry.families import ANGLE_SCALE, TIE
from jaxcrystal.symmetry.groups import group_tables
from jaxcrystal.symmetry.lattice import (
    LENGTH_SCALE,
    MIN_UNIT_VOLUME_SQUARED,
    free_params,
    lattice_matrix,
)
from jaxcrystal.symmetry.orbits import centring_translations
from jaxcrystal.symmetry.wyckoff import group_operations, wyckoff_positions
from tests.precision import double_precision

# Compiled: called eagerly for each of hundreds of crystals, they take longer than the tests.
_lattice_matrix = jax.jit(lattice_matrix)
_SHIFTS = np.indices((3, 3, 3)).reshape(3, -1).T - 1.0


@jax.jit
def params_from_lengths_angles(lengths, angles, space_group):
    """The lattice parameters [6] of lengths (Å) and angles (degrees).

    Lengths that the family ties are averaged, and angles that it fixes are ignored.
    """
    lengths, angles = jnp.asarray(lengths), jnp.asarray(angles)
    family = jnp.asarray(group_tables().family)[space_group]
    tie = jnp.asarray(TIE, lengths.dtype)[family]
    lengths = tie[:3, :3] @ lengths / jnp.maximum(tie[:3, :3].sum(1), 1.0)
    ratio = jnp.where(lengths > 0, lengths, 1.0) / LENGTH_SCALE
    # log(expm1(x)) = x + log(1 - exp(-x)), which does not overflow.
    from_lengths = LENGTH_SCALE * (ratio + jnp.log(-jnp.expm1(-ratio)))
    from_angles = ANGLE_SCALE / jnp.tan(jnp.radians(angles))
    return jnp.where(free_params(space_group), jnp.concatenate([from_lengths, from_angles]), 0.0)


def operations_near(site, lattice, space_group, distance):
    """[MAX_OPS] the operations with an image of the site within a distance, Å, of it."""
    rotations, translations, primitive = group_operations(space_group)
    offset = (rotations @ site + translations - site) @ np.linalg.inv(primitive)
    offset = (offset - np.round(offset))[:, None] + _SHIFTS
    lengths = np.linalg.norm(offset @ primitive @ lattice, axis=-1).min(1)
    return np.pad(lengths < distance, (0, MAX_OPS - len(lengths)))


def to_device(crystal: Crystal, dtype=None) -> Crystal:
    """The crystal as jax arrays, in the default precision or `dtype`."""
    dtype = dtype or jnp.zeros(()).dtype
    return Crystal(
        species=jnp.asarray(crystal.species, jnp.int32),
        frac_coords=jnp.asarray(crystal.frac_coords, dtype),
        node_mask=jnp.asarray(crystal.node_mask, bool),
        lattice_params=jnp.asarray(crystal.lattice_params, dtype),
        space_group=jnp.asarray(crystal.space_group, jnp.int32),
        site_ops=jnp.asarray(crystal.site_ops, bool),
        site_projection=jnp.asarray(crystal.site_projection, dtype),
    )


def stack(crystals) -> Crystal:
    """A batch, of crystals with equal max_nodes."""
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *crystals)


def pad(crystal: Crystal, max_nodes: int) -> Crystal:
    """The crystal with padding at the end."""
    missing = max_nodes - len(crystal.species)
    return Crystal(
        *(
            leaf
            if name in ("lattice_params", "space_group")
            else np.pad(leaf, [(0, missing)] + [(0, 0)] * (np.ndim(leaf) - 1))
            for name, leaf in crystal._asdict().items()
        )
    )


def make_crystal(space_group, lengths, angles, species, frac_coords, letters=None) -> Crystal:
    """A numpy crystal in float64; sites are constrained to `letters`, or free."""
    with double_precision():
        params = np.asarray(
            params_from_lengths_angles(jnp.asarray(lengths), jnp.asarray(angles), space_group)
        )
    sites = len(species)
    num_ops = int(group_tables().num_ops[space_group])
    site_ops = np.tile(np.arange(MAX_OPS) < num_ops, (sites, 1))
    projection = np.tile(np.eye(3), (sites, 1, 1))
    if letters is not None:
        positions = {p.letter: p for p in wyckoff_positions(space_group)}
        site_ops = np.stack([positions[letter].site_ops for letter in letters])
        projection = np.stack([positions[letter].projection for letter in letters])
    return Crystal(
        np.asarray(species, np.int32),
        np.asarray(frac_coords, np.float64),
        np.ones(sites, bool),
        params,
        np.int32(space_group),
        site_ops,
        projection,
    )


def lattice_of(crystal: Crystal) -> np.ndarray:
    """The conventional cell in float64."""
    with double_precision():
        params = jnp.asarray(np.asarray(crystal.lattice_params, np.float64))
        return np.asarray(_lattice_matrix(params, int(crystal.space_group)))


def random_shape(rng, space_group, ratio=1.4, angles=(40.0, 140.0)) -> tuple[np.ndarray, np.ndarray]:
    """Lengths of a cell of volume 1 (of sin 120° with hexagonal axes) and angles of the family."""
    family = int(group_tables().family[space_group])
    lengths = np.exp(rng.uniform(-np.log(ratio), np.log(ratio), 3))
    angle = random_angles(rng, space_group, angles)
    if family >= 3:
        lengths[1] = lengths[0]
    if family == 5:
        lengths[2] = lengths[0]
    unit = np.sqrt(_unit_volume_squared(angle)) if family < 2 else 1.0
    return lengths / (unit * np.prod(lengths)) ** (1 / 3), angle


def random_angles(rng, space_group, bounds=(40.0, 140.0)) -> np.ndarray:
    """Angles (degrees) of the family: three free ones are drawn again until they make a cell."""
    family = int(group_tables().family[space_group])
    angles = rng.uniform(*bounds, 3)
    while family == 0 and _unit_volume_squared(angles) < MIN_UNIT_VOLUME_SQUARED:
        angles = rng.uniform(*bounds, 3)
    if family >= 1:
        angles[[0, 2]] = 90.0
    if family >= 2:
        angles[1] = 90.0
    if family == 4:
        angles[2] = 120.0
    return angles


def _unit_volume_squared(angles: np.ndarray) -> float:
    cosines = np.cos(np.radians(angles))
    return float(1.0 + 2.0 * cosines.prod() - (cosines**2).sum())


def random_point(rng, position) -> np.ndarray:
    """A point of a Wyckoff position's representative subspace."""
    return position.origin + rng.uniform(size=position.num_free) @ position.basis


def random_crystal(
    rng, space_group, num_sites=2, special=False, constrained=False, volume=(15.0, 25.0), clearance=0.6
) -> Crystal:
    """Random sites in a random cell of realistic density; no two atoms nearer than `clearance` Å.

    Args:
      rng: numpy Generator.
      space_group: 1-230.
      num_sites: inequivalent sites.
      special: the first site lies on a random special position, where there is one.
      constrained: sites are constrained to their positions, rather than free.
      volume: bounds in Å³ an atom.
      clearance: Å.
    """
    positions = wyckoff_positions(space_group)
    rotations, translations, _ = group_operations(space_group)
    for _ in range(200):
        chosen = [positions[-1]] * num_sites
        if special:
            chosen[0] = positions[rng.integers(max(len(positions) - 1, 1))]
        points = [random_point(rng, position) for position in chosen]
        if not constrained:  # any atom of the orbit will do
            ops = rng.integers(len(rotations), size=num_sites)
            points = [rotations[g] @ x + translations[g] for g, x in zip(ops, points, strict=True)]
        lengths, angles = random_shape(rng, space_group)
        atoms = sum(position.multiplicity for position in chosen)
        lengths = lengths * (rng.uniform(*volume) * atoms) ** (1 / 3)
        crystal = make_crystal(
            space_group,
            lengths,
            angles,
            rng.choice(np.arange(1, 90), num_sites, replace=False),
            points,
            [position.letter for position in chosen] if constrained else None,
        )
        images, _, _ = distinct_images(crystal)
        if len(images) * group_tables().num_centring[space_group] != atoms:
            continue
        if shortest_distance(images, crystal) > clearance:
            return crystal
    raise AssertionError(f"no crystal of group {space_group} with atoms {clearance} Å apart")


def distinct_images(crystal: Crystal) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Atoms of the primitive cell: frac_coords [n, 3], their sites [n] and operations [n].

    Images that coincide are listed once, under their first operation.
    """
    space_group = int(crystal.space_group)
    rotations, translations, primitive = group_operations(space_group)
    coords, sites, ops = [], [], []
    for site in np.flatnonzero(crystal.node_mask):
        found = np.zeros((0, 3))
        for g in np.flatnonzero(np.asarray(crystal.site_ops)[site]):
            image = rotations[g] @ np.asarray(crystal.frac_coords, np.float64)[site] + translations[g]
            offset = (found - image) @ np.linalg.inv(primitive)
            if (np.abs(offset - np.round(offset)).max(axis=1, initial=0) < 1e-6).any():
                continue
            found = np.concatenate([found, image[None]])
            ops.append(g)
        coords.append(found)
        sites += [site] * len(found)
    return np.concatenate(coords), np.array(sites), np.array(ops)


def shortest_distance(images: np.ndarray, crystal: Crystal) -> float:
    """The least distance between atoms, Å."""
    axes = niggli_axes(lattice_of(crystal))
    lattice = axes @ lattice_of(crystal)
    centring = centring_translations(int(crystal.space_group))
    difference = ((images[:, None] - images[None])[:, :, None] + centring) @ np.linalg.inv(axes)
    difference = difference - np.round(difference)
    squared = (((difference[..., None, :] + _SHIFTS) @ lattice) ** 2).sum(-1)
    return float(np.sqrt(np.where(squared < 1e-8, np.inf, squared).min()))


class PrimitiveCell(NamedTuple):
    """A crystal written out in group 1.

    Attributes:
      crystal: every atom of the primitive cell is a site of its own.
      site_index: [n] the inequivalent site that atom n is an image of, -1 on padding.
      first: [sites] the atom that stands for each inequivalent site.
      turn: [3, 3] Cartesian rows of the crystal @ turn = rows in the cell of group 1.
    """

    crystal: Crystal
    site_index: np.ndarray
    first: np.ndarray
    turn: np.ndarray


def primitive_cell(crystal: Crystal, max_nodes: int | None = None) -> PrimitiveCell:
    """Writes a crystal out as all atoms of its primitive cell, in group 1."""
    images, site_index, ops = distinct_images(crystal)
    primitive = group_operations(int(crystal.space_group))[2]
    sites = np.flatnonzero(crystal.node_mask)
    first = np.array([np.flatnonzero((site_index == site) & (ops == 0))[0] for site in sites])
    return _written_out(crystal, primitive, images @ np.linalg.inv(primitive), site_index, first, max_nodes)


def other_cell(crystal: Crystal, axes: np.ndarray, max_nodes: int | None = None) -> PrimitiveCell:
    """Writes a crystal of group 1 out in another cell of its lattice, or a supercell.

    Args:
      crystal: of group 1.
      axes: [3, 3] integers, rows are the new axes in the old ones.
      max_nodes: padding.
    """
    inverse = np.linalg.inv(axes)
    grid = np.indices((9, 9, 9)).reshape(3, -1).T - 4.0
    inside = ((grid @ inverse > -1e-9) & (grid @ inverse < 1 - 1e-9)).all(1)
    shifts = grid[inside]  # lattice points of the old cell in the new one
    assert len(shifts) == round(abs(np.linalg.det(axes)))
    sites = len(crystal.species)
    coords = (np.asarray(crystal.frac_coords)[:, None] + shifts).reshape(-1, 3) @ inverse
    site_index = np.repeat(np.arange(sites), len(shifts))
    first = np.array([np.flatnonzero((shifts == 0).all(1))[0] + n * len(shifts) for n in range(sites)])
    return _written_out(crystal, axes, coords, site_index, first, max_nodes)


def _written_out(
    crystal: Crystal,
    axes: np.ndarray,
    frac_coords: np.ndarray,
    site_index: np.ndarray,
    first: np.ndarray,
    max_nodes: int | None,
) -> PrimitiveCell:
    """Makes all atoms of a cell, `axes` in those of the crystal, sites of group 1."""
    vectors = axes @ lattice_of(crystal)
    lengths = np.linalg.norm(vectors, axis=1)
    cosines = (vectors @ vectors.T) / np.outer(lengths, lengths)
    angles = np.degrees(np.arccos([cosines[1, 2], cosines[0, 2], cosines[0, 1]]))
    written_out = make_crystal(1, lengths, angles, np.asarray(crystal.species)[site_index], frac_coords)
    turn = np.linalg.inv(vectors) @ lattice_of(written_out)
    assert np.allclose(turn @ turn.T, np.eye(3), atol=1e-9)
    if max_nodes is not None:
        written_out = pad(written_out, max_nodes)
        site_index = np.pad(site_index, (0, max_nodes - len(site_index)), constant_values=-1)
    return PrimitiveCell(written_out, site_index, first, turn)


def random_params(seed: int, config: NetworkConfig, crystal: Crystal):
    """Network parameters none of which is zero: output layers and biases too."""
    params = init_params(jax.random.key(seed), make_module(config), config.graph, crystal)
    rng = np.random.default_rng(seed)

    def fill(leaf):
        noise = rng.normal(size=leaf.shape)
        if leaf.ndim == 2:
            scale = leaf.shape[0] ** -0.5
            return jnp.asarray(np.where(np.asarray(leaf) == 0, scale * noise, leaf), leaf.dtype)
        return jnp.asarray(np.asarray(leaf) + 0.1 * noise, leaf.dtype)

    return jax.tree.map(fill, params)


def score_of(config: NetworkConfig, capacity: ImageCapacity):
    """`score(params, crystal, sigma, cond=None)` of a network."""
    return make_score(make_module(config), config.graph, capacity)


def prediction(coords, lattice, status=0) -> NoisePrediction:
    """What a made-up score returns: noise of coordinates and lattice."""
    return NoisePrediction(coords, lattice, coords, lattice, jnp.int32(status), jnp.int32(0))


def free_capacity(crystal: Crystal) -> ImageCapacity:
    return ImageCapacity.free(crystal.species.shape[-1])
