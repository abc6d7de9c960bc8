"""Counts the samples that are stable, unique and novel once they are relaxed with a potential."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from jaxcrystal.discovery.energies import Compound
from jaxcrystal.discovery.hull import LOWER_BOUND, place_on_hull, pure_elements, read_references
from jaxcrystal.discovery.outcomes import Outcome, relaxed_outcomes
from jaxcrystal.discovery.potentials import find_potential
from jaxcrystal.discovery.relaxation import RelaxSettings
from jaxcrystal.discovery.run import Work
from jaxcrystal.structures.duplicates import TOLERANCES, novel, unique
from jaxcrystal.structures.entries import Entry

#: eV/atom above the hull, up to which a crystal counts as stable.
THRESHOLDS = (0.0, 0.1)


@dataclass(frozen=True, eq=False)
class Known:
    """Known compounds and where they are from.

    Attributes:
      compounds: with energies of one kind.
      files: names of the files.
    """

    compounds: Sequence[Compound]
    files: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Stability:
    """What was found.

    Attributes:
      figures: ready for JSON but for NaN, each with its denominator.
      columns: of a table with one row a sample.
    """

    figures: dict[str, Any]
    columns: dict[str, list[Any]]


def known_compounds(files: Sequence[str | Path], potential: str) -> Known:
    """Returns the compounds of files of references.

    Raises:
      JaxcrystalError: the potential is not known or not installed.
      RequestError: the energies are of another potential or correction.
      DataError: a file cannot be read.
    """
    return Known(read_references(files, find_potential(potential).kind), tuple(map(str, files)))


def stability(
    samples: Sequence[Entry],
    known: Known,
    train: Sequence[Entry] | None,
    settings: RelaxSettings,
    work: Work,
    cache: Path | None = None,
) -> Stability:
    """Relaxes samples and counts, after that, which are stable, unique and novel.

    Unique and novel are the relaxed structures, of equal ones the lowest. Samples that do not relax, or have
    an element that the references lack, count as not stable.

    Args:
      samples: what is evaluated; all are in the denominators.
      known: of the same potential, see `known_compounds`.
      train: known crystals that samples are new against; None leaves novelty out.
      settings: how samples are relaxed.
      work: where.
      cache: folder of the cache of relaxed structures.

    Raises:
      JaxcrystalError: the potential or the cluster cannot be used.
    """
    outcomes = relaxed_outcomes(samples, settings, work, cache)
    heights, counts = _heights(outcomes, known.compounds)
    # The lowest first, so that it is that of equal ones which is kept; those without a place last.
    order = np.argsort(np.where(np.isnan(heights), np.inf, heights), kind="stable")
    relaxed = [
        Entry(samples[i].name, outcomes[i].to_pymatgen(), flag=outcomes[i].failure or "ok")
        for i in order.tolist()
    ]
    groups = [outcomes[i].group for i in order.tolist()]
    how: dict[str, Any] = {"processes": work.processes, "dask": work.dask}
    there = np.array([not outcome.failure for outcome in outcomes], bool)
    is_unique = _placed_back(order, unique(relaxed, groups, **how) < 0) & there
    is_novel = None
    if train is not None:
        is_novel = _placed_back(order, novel(relaxed, groups, train, **how) < 0) & there
    figures = _about(settings, known, outcomes, counts) | _shares(heights, is_unique, is_novel)
    columns = {
        "relaxation": [outcome.failure or "ok" for outcome in outcomes],
        "relaxed_energy_per_atom": [outcome.energy_per_atom for outcome in outcomes],
        "energy_lowered": [outcome.energy_before - outcome.energy_per_atom for outcome in outcomes],
        "rmsd": [outcome.rms_moved for outcome in outcomes],
        "relaxed_group": [outcome.group or None for outcome in outcomes],
        "e_above_hull": heights.tolist(),
        "relaxed_unique": is_unique.tolist(),
        "relaxed_novel": [None] * len(samples) if is_novel is None else is_novel.tolist(),
    }
    return Stability(figures, columns)


def _heights(
    outcomes: Sequence[Outcome], references: Sequence[Compound]
) -> tuple[Float[np.ndarray, " n"], dict[str, int]]:
    """Returns energies above the hull, NaN where there is none, and counts of what that lacks."""
    from pymatgen.core import Composition

    elements = pure_elements(references)
    heights = np.full(len(outcomes), np.nan)
    compounds = []
    for number, outcome in enumerate(outcomes):
        structure = outcome.to_pymatgen()
        if structure is not None and elements.issuperset(structure.symbol_set):
            composition = Composition(structure.composition)
            compounds.append(Compound(str(number), composition, outcome.energy_per_atom, outcome.converged))
    placed = place_on_hull(compounds, references)
    for one in placed:
        heights[int(one.compound.name)] = one.e_above_hull
    return heights, {
        "with_all_elements_in_references": len(compounds),
        "in_systems_without_known_compounds": sum(
            one.known_compounds == 0 and "-" in one.system for one in placed
        ),
        "of_energies_that_no_crystal_has": sum(one.status != "ok" for one in placed),
    }


def _about(
    settings: RelaxSettings, known: Known, outcomes: Sequence[Outcome], counts: dict[str, int]
) -> dict[str, Any]:
    """Returns what was computed and how, and how far samples are from what they relax to."""
    potential = find_potential(settings.potential)
    lowered = [outcome.energy_before - outcome.energy_per_atom for outcome in outcomes if outcome.converged]
    moved = [outcome.rms_moved for outcome in outcomes if outcome.converged]
    return {
        "potential": potential.name,
        "correction": potential.correction,
        "version": potential.version,
        "max_force": settings.max_force,
        "max_stress": settings.max_stress,
        "references": {"files": list(known.files), "compounds": len(known.compounds)},
        "samples": len(outcomes),
        "relaxed": len(moved),
        "relaxes": len(moved) / len(outcomes),
        "not_converged": sum(not (outcome.converged or outcome.failure) for outcome in outcomes),
        "failures": dict(Counter(outcome.failure for outcome in outcomes if outcome.failure).most_common()),
        "hull": counts,
        # eV/atom and Å, over those that relax.
        "energy_lowered": _middle(lowered),
        "rmsd": _middle(moved),
        "equal": TOLERANCES | {"within": "reduced formula and space group, after relaxation"},
        "note": LOWER_BOUND,
    }


def _shares(
    heights: Float[np.ndarray, " n"],
    is_unique: Bool[np.ndarray, " n"],
    is_novel: Bool[np.ndarray, " n"] | None,
) -> dict[str, Any]:
    """Returns for each threshold (eV/atom) how many of all samples are stable, and unique, and novel."""
    found = []
    for threshold in THRESHOLDS:
        stable = heights <= threshold  # NaN is not
        both = stable & is_unique
        counted = {"stable": stable, "stable_unique": both}
        counted |= {} if is_novel is None else {"stable_unique_novel": both & is_novel}
        found.append(
            {"e_above_hull": threshold, "of": len(heights)}
            | {name: int(which.sum()) for name, which in counted.items()}
            | {f"{name}_share": float(which.mean()) for name, which in counted.items()}
        )
    return {"stable": found}


def _middle(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {"mean": float("nan"), "median": float("nan")}
    return {"mean": float(np.mean(values)), "median": float(np.median(values))}


def _placed_back(order: np.ndarray, values: Bool[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Returns values of ordered items in the order that they had before."""
    result = np.zeros_like(values)
    result[order] = values
    return result
