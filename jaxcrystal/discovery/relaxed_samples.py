"""Relaxes the samples of a reconstruction and matches them again."""

from collections import Counter
from dataclasses import replace
from functools import partial
from typing import Any

from jaxcrystal.discovery.gates import Failure, require_crystal
from jaxcrystal.discovery.potentials import find_potential
from jaxcrystal.discovery.relaxation import Ground, RelaxSettings, relax_in_group
from jaxcrystal.discovery.run import Work
from jaxcrystal.evaluation.matching import rms_distances, rms_distances_to_others
from jaxcrystal.evaluation.reconstruction import Reconstruction
from jaxcrystal.structures.checks import audit
from jaxcrystal.structures.finished import Sample, Samples
from jaxcrystal.symmetry.orbits import expand_crystal


def relax_samples(
    found: Reconstruction, settings: RelaxSettings, work: Work
) -> tuple[Reconstruction, dict[str, Any]]:
    """Returns a reconstruction with relaxed samples, and what became of them, ready for JSON.

    Each sample is relaxed in the group that was asked for. Only samples that are valid and of their
    target's formula are: no other can match. One that fails stays as it is, and matches nothing.

    Args:
      found: as it was sampled.
      settings: how samples are relaxed.
      work: where.

    Raises:
      JaxcrystalError: the potential or the cluster cannot be used.
    """
    potential = find_potential(settings.potential)
    chosen = [
        place
        for place, sample in enumerate(found.samples)
        if sample.valid and sample.formula == found.targets.formulas[place // found.samples_per_target]
    ]
    todo = [found.samples[place] for place in chosen]
    outcomes = dict(
        zip(chosen, work.stream(partial(_relaxed, settings=settings), todo, "relax"), strict=True)
    )
    samples = [_after(sample, outcomes.get(place)) for place, sample in enumerate(found.samples)]
    usable = [
        sample.to_pymatgen(primitive=True) if isinstance(outcomes.get(place), Ground) else None
        for place, sample in enumerate(samples)
    ]
    count = found.samples_per_target
    grid = [usable[first : first + count] for first in range(0, len(usable), count)]
    distances, others = (
        match(found.targets.structures, grid, work.processes, work.progress, work.dask)
        for match in (rms_distances, rms_distances_to_others)
    )
    grounds = [outcome for outcome in outcomes.values() if isinstance(outcome, Ground)]
    about = {
        "potential": potential.name,
        "version": potential.version,
        "max_force": settings.max_force,
        "samples": len(found.samples),
        "tried": len(chosen),
        "relaxed": sum(ground.converged for ground in grounds),
        "not_converged": sum(not ground.converged for ground in grounds),
        "failures": dict(Counter(x.word for x in outcomes.values() if isinstance(x, Failure)).most_common()),
    }
    relaxed = replace(
        found, samples=Samples(samples), distances=distances, others=others, relaxed_with=potential.name
    )
    return relaxed, about


def _relaxed(sample: Sample, settings: RelaxSettings) -> Ground | Failure:
    try:
        require_crystal(sample.to_ase())
        return relax_in_group(sample.crystal, sample.letters, settings)
    except Failure as failure:
        return failure


def _after(sample: Sample, outcome: Ground | Failure | None) -> Sample:
    if not isinstance(outcome, Ground):
        return sample
    cell = expand_crystal(outcome.crystal)
    checked = audit(cell, sample.space_group)
    return replace(sample, crystal=outcome.crystal, cell=cell, audit=checked, trajectory=())
