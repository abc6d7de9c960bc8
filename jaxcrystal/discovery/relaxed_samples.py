"""Relaxes the samples of a reconstruction and matches them again."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from jaxcrystal.discovery.gates import Failure, require_crystal
from jaxcrystal.discovery.outcomes import key_of, remembered
from jaxcrystal.discovery.potentials import find_potential
from jaxcrystal.discovery.relaxation import RelaxSettings, relax_in_group
from jaxcrystal.discovery.run import Work
from jaxcrystal.evaluation.matching import rms_distances, rms_distances_to_others
from jaxcrystal.evaluation.reconstruction import Reconstruction
from jaxcrystal.structures.checks import audit
from jaxcrystal.structures.finished import Sample, Samples
from jaxcrystal.symmetry.orbits import expand_crystal

#: What a relaxation in the group changes of a `Crystal`.
_FREE = ("frac_coords", "lattice_params")


def relax_samples(
    found: Reconstruction, settings: RelaxSettings, work: Work
) -> tuple[Reconstruction, dict[str, Any]]:
    """Returns a reconstruction with relaxed samples, and what became of them, ready for JSON.

    Each sample is relaxed in the group that was asked for. Only samples that are valid and of their
    target's formula are: no other can match. One that fails stays as it is, and matches nothing. What a
    sample became is kept in the cache as soon as it is there: see `outcomes.remembered`.

    Args:
      found: as it was sampled.
      settings: how samples are relaxed.
      work: where.

    Raises:
      JaxcrystalError: the potential, the cluster or the cache cannot be used.
    """
    potential = find_potential(settings.potential)
    chosen = [
        place
        for place, sample in enumerate(found.samples)
        if sample.valid and sample.formula == found.targets.formulas[place // found.samples_per_target]
    ]
    todo = [found.samples[place] for place in chosen]

    def compute(some: Sequence[Sample]) -> Iterator[dict[str, Any]]:
        return work.stream(partial(_relaxed, settings=settings), some, "relax")

    start = key_of(settings)
    keys = [_key(start, sample) for sample in todo]
    outcomes = dict(zip(chosen, remembered(keys, todo, compute), strict=True))
    grounds = {place: outcome for place, outcome in outcomes.items() if "failure" not in outcome}
    samples = [
        _after(sample, grounds[place]) if place in grounds else sample
        for place, sample in enumerate(found.samples)
    ]
    usable = [
        sample.to_pymatgen(primitive=True) if place in grounds else None
        for place, sample in enumerate(samples)
    ]
    count = found.samples_per_target
    grid = [usable[first : first + count] for first in range(0, len(usable), count)]
    distances, others = (
        match(found.targets.structures, grid, work.processes, work.progress, work.dask)
        for match in (rms_distances, rms_distances_to_others)
    )
    about = {
        "potential": potential.name,
        "version": potential.version,
        "max_force": settings.max_force,
        "samples": len(found.samples),
        "tried": len(chosen),
        "relaxed": sum(ground["converged"] for ground in grounds.values()),
        "not_converged": sum(not ground["converged"] for ground in grounds.values()),
        "failures": dict(Counter(x["failure"] for x in outcomes.values() if "failure" in x).most_common()),
    }
    relaxed = replace(
        found, samples=Samples(samples), distances=distances, others=others, relaxed_with=potential.name
    )
    return relaxed, about


def _relaxed(sample: Sample, settings: RelaxSettings) -> dict[str, Any]:
    """Returns why there is no relaxed crystal, or what of the crystal changed; ready for JSON."""
    try:
        require_crystal(sample.to_ase())
        ground = relax_in_group(sample.crystal, sample.letters, settings)
    except Failure as failure:
        return {"failure": failure.word}
    changed = {name: np.asarray(getattr(ground.crystal, name)).tolist() for name in _FREE}
    return changed | {"converged": ground.converged}


def _after(sample: Sample, found: dict[str, Any]) -> Sample:
    changed: dict[str, Any] = {name: np.array(found[name]) for name in _FREE}
    crystal = sample.crystal._replace(**changed)
    cell = expand_crystal(crystal)
    checked = audit(cell, sample.space_group)
    return replace(sample, crystal=crystal, cell=cell, audit=checked, trajectory=())


def _key(start: "hashlib._Hash", sample: Sample) -> str:
    digest = start.copy()
    digest.update(f"in group {sample.space_group} {sample.letters}".encode())
    for name in ("species", *_FREE):
        digest.update(np.asarray(getattr(sample.crystal, name)).tobytes())
    return str(digest.hexdigest())
