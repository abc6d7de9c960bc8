"""Computes how likely crystals are to a trained model: the bound that `--best-of` chooses chains by."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jaxtyping import Float

from jaxcrystal.cache import keep_programs
from jaxcrystal.crystal import Crystal, bucket_of, image_bucket_of, pad_and_stack
from jaxcrystal.data.symmetrize import symmetrize
from jaxcrystal.diffusion.likelihood import likelihood_bound
from jaxcrystal.errors import RequestError
from jaxcrystal.graph.neighbors import ImageCapacity
from jaxcrystal.model import Model
from jaxcrystal.sampling.batches import Shape
from jaxcrystal.sampling.programs import rows_for
from jaxcrystal.score import make_score
from jaxcrystal.symmetry.crystals import build_crystal

if TYPE_CHECKING:
    from pymatgen.core import Structure


def likelihoods(structures: "Sequence[Structure | None]", model: Model) -> Float[np.ndarray, " n"]:
    """Returns the bound on -log p of each structure in nats, see `diffusion.likelihood`: less is likelier.

    The group is that which spglib finds at 0.1 Å, its sites are kept on their Wyckoff positions. All
    structures get the same noise. The constant that the bound lacks depends on the sites: strictly,
    only structures of the same group and letters can be compared.

    Args:
      structures: [n]; None for what could not be read.
      model: trained.
    Returns:
      [n]; NaN for None and for structures without a group, or of more sites than models take.
    Raises:
      RequestError: the model needs conditions, which structures do not have.
    """
    if model.conditions:
        raise RequestError(
            f"the model was trained with the conditions {', '.join(model.conditions)}, which structures "
            "do not tell: their likelihood is not known"
        )
    keep_programs()
    members: dict[Shape, list[tuple[int, Crystal]]] = defaultdict(list)
    for place, structure in enumerate(structures):
        crystal = None if structure is None else _crystal(structure)
        if crystal is not None:
            images = image_bucket_of(int(crystal.site_ops.sum()))
            shape = Shape(bucket_of(len(crystal.species)), ImageCapacity(images, merge=False))
            members[shape].append((place, crystal))
    found = np.full(len(structures), np.nan)
    for shape, of_shape in members.items():
        rows, _ = rows_for(model, shape, jax.devices()[0], len(of_shape))
        program = _program(model, shape.capacity)
        for start in range(0, len(of_shape), rows):
            chosen = of_shape[start : start + rows]
            padded = [crystal for _, crystal in chosen] + [chosen[0][1]] * (rows - len(chosen))
            bounds = np.asarray(program(model.params, pad_and_stack(padded, shape.max_nodes)))
            found[[place for place, _ in chosen]] = bounds[: len(chosen)]
    return np.where(np.isfinite(found), found, np.nan)


def _program(model: Model, capacity: ImageCapacity) -> Callable[[Any, Crystal], jax.Array]:
    score, schedule = make_score(model.module, model.graph, capacity), model.sampling_schedule

    def bound(params: Any, crystal: Crystal) -> jax.Array:
        return likelihood_bound(jax.random.key(0), partial(score, params), crystal, schedule)

    return jax.jit(jax.vmap(bound, in_axes=(None, 0)))


def _crystal(structure: "Structure") -> Crystal | None:
    try:
        sites = symmetrize(structure)
    except Exception:  # what is no crystal has no likelihood; spglib and pymatgen may raise anything
        return None
    return build_crystal(
        *(sites.space_group, sites.species, sites.letters, sites.frac_coords, sites.lattice_params)
    )
