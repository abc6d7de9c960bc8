"""Computes every figure of a set of samples, each with its denominator."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxcrystal.errors import DataError
from jaxcrystal.evaluation.coverage import COMPOSITION_CUTOFF, STRUCTURE_CUTOFF, Coverage, coverage
from jaxcrystal.evaluation.descriptors import OXIDATION_STATES, SYMPRECS
from jaxcrystal.evaluation.distances import DRAW, draw, frechet_distance, wasserstein
from jaxcrystal.evaluation.fingerprints import Features, featurize, library_versions
from jaxcrystal.evaluation.symmetry_audit import symmetry_audit
from jaxcrystal.structures.duplicates import TOLERANCES, novel, unique
from jaxcrystal.structures.entries import Entry
from jaxcrystal.symmetry.detect import SYMPREC
from jaxcrystal.text import json_ready

if TYPE_CHECKING:
    from pymatgen.core import Structure

_GROUP_COLUMN = SYMPRECS.index(SYMPREC)


@dataclass(frozen=True)
class EvaluationSettings:
    """What can be chosen; the defaults are the conventions.

    Attributes:
      structure_cutoff: of the coverage.
      composition_cutoff: of the coverage.
      draw: structures that the distances of distributions are taken over, where there are more.
      seed: of the draws.
      min_space_group: reference structures of lower groups (spglib at 0.1 Å) are left out.
      cgcnn: whether to take the Fréchet distance of the CGCNN's activations.
    """

    structure_cutoff: float = STRUCTURE_CUTOFF
    composition_cutoff: float = COMPOSITION_CUTOFF
    draw: int = DRAW
    seed: int = 0
    min_space_group: int = 1
    cgcnn: bool = True


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The figures, and what they were made of.

    Attributes:
      metrics: nested dictionary ready for JSON; None for what is not known.
      per_structure: columns of a table with one row a sample, ready for JSON and CSV.
      samples: the samples, all of them.
      sample_features: of the samples.
      reference: the reference structures that were used.
      reference_features: of those.
      coverages: by protocol, `cdvae` and `paper`.
    """

    metrics: dict[str, Any]
    per_structure: dict[str, list[Any]]
    samples: list[Entry]
    sample_features: Features
    reference: list[Entry]
    reference_features: Features
    coverages: dict[str, Coverage] = field(default_factory=dict)


def evaluate(
    samples: Sequence[Entry],
    reference: Sequence[Entry],
    train: Sequence[Entry] | None = None,
    settings: EvaluationSettings | None = None,
    *,
    processes: int | None = None,
    dask: str | None = None,
    cache: Path | None = None,
) -> Evaluation:
    """Compares samples with known crystals.

    Samples that could not be read or that the sampler flagged stay in every denominator that
    says "all samples"; they are not valid, cover nothing, and are neither unique nor novel.

    Args:
      samples: what is evaluated.
      reference: known crystals, such as a test set.
      train: known crystals that samples are new against; None leaves novelty out.
      settings: defaults are the conventions.
      processes: see `workers.stream_structures`.
      dask: address of a scheduler.
      cache: folder of the cache of features.

    Raises:
      DataError: no samples, or no reference structure left.
      JaxcrystalError: an extra is missing.
    """
    settings = settings or EvaluationSettings()
    work: dict[str, Any] = {"processes": processes, "dask": dask}
    if not samples:
        raise DataError("no samples to evaluate")
    features = featurize(samples, cache=cache, description="samples", **work)
    known = featurize(reference, cache=cache, description="reference", **work)
    used = np.flatnonzero(known.found_groups[:, _GROUP_COLUMN] >= settings.min_space_group)
    if settings.min_space_group <= 1:  # structures without group stay
        used = np.arange(len(reference))
    if not len(used):
        raise DataError(f"no reference structure of group {settings.min_space_group} or higher")
    reference, known = [reference[i] for i in used.tolist()], known.select(used)

    cutoffs = (settings.structure_cutoff, settings.composition_cutoff)
    coverages = {
        "cdvae": coverage(features, known, "cdvae", *cutoffs),
        "paper": coverage(features, known, "paper", *cutoffs),
    }
    groups = features.found_groups[:, _GROUP_COLUMN].tolist()
    duplicates = unique(samples, groups, **work)
    equal_to_known = None if train is None else novel(samples, groups, train, **work)
    eligible = np.array([not entry.failed for entry in samples])
    is_unique = eligible & (duplicates < 0)
    is_novel = None if equal_to_known is None else eligible & (equal_to_known < 0)

    metrics = {
        "counts": _counts(samples, features, len(reference), None if train is None else len(train)),
        "failures": dict(Counter(r.split(":")[0] for r in features.reasons if r).most_common()),
        "validity": {
            "structure": float(features.valid.mean()),
            "composition": float(features.composition_valid.mean()),
            "both": float((features.valid & features.composition_valid).mean()),
        },
        "coverage": {name: _coverage_figures(c) for name, c in coverages.items()},
        "frechet": _frechet(samples, features, reference, known, settings, processes),
        "wasserstein": _wasserstein(features, known, settings),
        "unique": {
            "share": float(is_unique.mean()),
            "unique": int(is_unique.sum()),
            "of": len(samples),
        },
        "novel": None if is_novel is None else _novelty(features, is_unique, is_novel),
        "symmetry": symmetry_audit(samples, features.found_groups),
        "versions": library_versions(),
        "settings": _settings(settings),
    }
    table = _table(samples, features, coverages["cdvae"], duplicates)
    table["novel"] = [None] * len(samples) if is_novel is None else is_novel.tolist()
    places = [] if equal_to_known is None else equal_to_known.tolist()
    table["known_as"] = [train[n].name if n >= 0 else "" for n in places] if train else [""] * len(samples)
    table["unique"] = is_unique.tolist()
    return Evaluation(
        json_ready(metrics), json_ready(table), list(samples), features, list(reference), known, coverages
    )


def _counts(
    samples: Sequence[Entry], features: Features, reference: int, train: int | None
) -> dict[str, int | None]:
    return {
        "samples": len(samples),
        "parsed": sum(entry.structure is not None for entry in samples),
        "flagged": sum(entry.flag != "ok" for entry in samples),
        "valid": int(features.valid.sum()),
        "composition_valid": int(features.composition_valid.sum()),
        "both_valid": int((features.valid & features.composition_valid).sum()),
        "reference": reference,
        "train": train,
    }


def _coverage_figures(found: Coverage) -> dict[str, float]:
    """The mean distances of samples to the nearest reference are CDVAE's AMSD and AMCD (precision)."""
    known = np.isfinite(found.structure_distances)
    means = {
        "structure_distance": found.structure_distances,
        "composition_distance": found.composition_distances,
    }
    return {name: float(x[known].mean()) if known.any() else float("nan") for name, x in means.items()} | {
        "precision": found.precision,
        "recall": found.recall,
        "samples": found.samples,
        "reference": found.reference,
    }


def _frechet(
    samples: Sequence[Entry],
    features: Features,
    reference: Sequence[Entry],
    known: Features,
    settings: EvaluationSettings,
    processes: int | None,
) -> dict[str, Any]:
    """Of structures that have a fingerprint, valid or not: one draw for both distances."""
    ours = draw(np.flatnonzero(features.complete), settings.seed, settings.draw)
    theirs = draw(np.flatnonzero(known.complete), settings.seed, settings.draw)
    figures: dict[str, Any] = {
        "crystal_nn": _distance(features.structure[ours], known.structure[theirs]),
        "cgcnn": {"value": None, "samples": 0, "reference": 0},
    }
    if settings.cgcnn:
        from jaxcrystal.cgcnn.model import activations

        chosen = [*(samples[i] for i in ours.tolist()), *(reference[i] for i in theirs.tolist())]
        structures: list[Structure] = [e.structure for e in chosen if e.structure is not None]
        x, y = np.split(np.asarray(activations(structures, processes=processes), float), [len(ours)])
        figures["cgcnn"] = _distance(x[~np.isnan(x).any(1)], y[~np.isnan(y).any(1)])
    return figures


def _distance(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "m d"]) -> dict[str, float | int]:
    return {"value": frechet_distance(x, y), "samples": len(x), "reference": len(y)}


def _wasserstein(features: Features, known: Features, settings: EvaluationSettings) -> dict[str, Any]:
    """Of samples valid in structure and composition against all of the reference, as in CDVAE."""
    both = features.valid & features.composition_valid
    ours = draw(np.flatnonzero(both), settings.seed, settings.draw)
    theirs = np.flatnonzero(np.isfinite(known.density))
    figures = {}
    for name in ("density", "num_elements"):
        x, y = (np.asarray(getattr(f, name)[rows], float) for f, rows in ((features, ours), (known, theirs)))
        figures[name] = {"value": wasserstein(x, y), "samples": len(ours), "reference": len(theirs)}
    return figures


def _novelty(
    features: Features, is_unique: Bool[np.ndarray, " n"], is_novel: Bool[np.ndarray, " n"]
) -> dict[str, Any]:
    together = features.valid & is_unique & is_novel
    return {
        "share": float(is_novel.mean()),
        "novel": int(is_novel.sum()),
        "of": len(is_novel),
        "valid_unique_novel": float(together.mean()),
    }


def _settings(settings: EvaluationSettings) -> dict[str, Any]:
    return asdict(settings) | {
        "oxidation_states": OXIDATION_STATES,
        "symprec": SYMPREC,
        "duplicates": TOLERANCES,
        "duplicates_within": "reduced formula and space group",
    }


def _table(
    samples: Sequence[Entry], features: Features, covered: Coverage, duplicates: Int[np.ndarray, " n"]
) -> dict[str, list[Any]]:
    atoms = np.maximum(features.num_atoms, 1)
    groups = {f"found_group_{symprec}": features.found_groups[:, n] for n, symprec in enumerate(SYMPRECS)}
    columns: dict[str, Any] = {
        "id": [entry.name for entry in samples],
        "formula": [e.structure.reduced_formula if e.structure is not None else "" for e in samples],
        "requested_group": [entry.requested_group or None for entry in samples],
        **groups,
        "letters": [entry.letters for entry in samples],
        "flag": [entry.flag for entry in samples],
        "valid": features.valid,
        "composition_valid": features.composition_valid,
        "reason": features.reasons,
        "shortest_distance": features.shortest_distance,
        "density": features.density,
        "volume_per_atom": features.volume / atoms,
        "num_atoms": features.num_atoms,
        "num_elements": features.num_elements,
        "structure_distance": covered.structure_distances,
        "composition_distance": covered.composition_distances,
        "covers": covered.covers,
        "duplicate_of": ["" if place < 0 else samples[place].name for place in duplicates.tolist()],
    }
    return {name: json_ready(list(column)) for name, column in columns.items()}
