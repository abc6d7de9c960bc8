"""Samples known crystals again: how often they are found, and how far their lattices are off.

Beside the samples, for whatever is given (see `targets`), stands the random start: what
sampling starts from, without a network.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxcrystal.diffusion.settings import LangevinConfig
from jaxcrystal.evaluation.matching import (
    best_distances,
    lattice_errors,
    match_rates,
    metre,
    ranks,
    rms_distances,
    rms_distances_to_others,
    split_by_label,
    split_by_number,
)
from jaxcrystal.evaluation.targets import Given, Targets
from jaxcrystal.model import Model
from jaxcrystal.sampling.sample import sample_orders
from jaxcrystal.structures.finished import Sample, Samples
from jaxcrystal.symmetry.groups import FAMILIES

#: Bounds of the number of inequivalent sites that match rates are split by.
SITE_SPLITS = {"1": (1, 1), "2": (2, 2), "3": (3, 3), "4": (4, 4), "5-8": (5, 8), "more": (9, 10**6)}
#: What became of a sample, worst first; of a target, the best of its samples.
OUTCOMES = ("flagged", "invalid", "other formula", "no match", "match")


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """The samples of all targets, matched.

    Attributes:
      targets: what should have come out.
      given: what of the targets was given.
      random_start: the samples are the starting points, untouched by a network.
      samples: [targets · k] all of them, those of one target after another.
      distances: [targets, k] to the target that a sample was drawn for, see `rms_distances`.
      others: [targets, k] see `rms_distances_to_others`.
      seconds: wall clock of `sampling`, compilation included, and of `matching`.
      relaxed_with: name of the potential that the samples were relaxed with; empty: they were not.
    """

    targets: Targets
    given: Given
    random_start: bool
    samples: Samples
    distances: Float[np.ndarray, "targets k"]
    others: Float[np.ndarray, "targets k"]
    seconds: dict[str, float]
    relaxed_with: str = ""

    @property
    def name(self) -> str:
        """What was given, with `random start` for the baseline, and `relaxed` after a relaxation."""
        name = f"{self.given}, random start" if self.random_start else str(self.given)
        return f"{name}, relaxed" if self.relaxed_with else name

    @property
    def samples_per_target(self) -> int:
        """The number k of samples of each target."""
        return self.distances.shape[1]

    def sample(self, row: int, column: int) -> Sample:
        """Returns one sample of a target."""
        return self.samples[row * self.samples_per_target + column]

    @cached_property
    def outcomes(self) -> list[list[str]]:
        """[targets][k] one of `OUTCOMES` for each sample."""
        return [
            [self._outcome(row, column) for column in range(self.samples_per_target)]
            for row in range(len(self.targets))
        ]

    def _outcome(self, row: int, column: int) -> str:
        sample = self.sample(row, column)
        if sample.flags:
            return "flagged"
        if not sample.valid:
            return "invalid"
        if sample.formula != self.targets.formulas[row]:
            return "other formula"
        return "no match" if np.isnan(self.distances[row, column]) else "match"

    def figures(self) -> dict[str, Any]:
        """Returns every figure, ready for JSON; shares are of all targets or of all samples."""
        rows = np.repeat(np.arange(len(self.targets)), self.samples_per_target)
        lengths = np.array([sample.lengths_angles[0] for sample in self.samples])
        volumes = np.array([sample.audit.volume_per_atom for sample in self.samples])
        of_targets = self.targets.lengths[rows], self.targets.volumes[rows]
        matched = ~np.isnan(self.distances).ravel()
        kinds = Counter(kind for of_target in self.outcomes for kind in of_target)
        best = Counter(max(of_target, key=OUTCOMES.index) for of_target in self.outcomes)
        of_formulas = zip((sample.formula for sample in self.samples), rows, strict=True)
        return {
            "targets": len(self.targets),
            "samples": len(self.samples),
            "match": [self._figures_at(k) for k in ranks(self.samples_per_target)],
            "match_of_samples": float(matched.mean()),
            "lattice_errors": {
                name: asdict(lattice_errors(of_targets[0], lengths, of_targets[1], volumes, chosen))
                for name, chosen in (("matched", matched), ("all", np.ones(len(rows), bool)))
            },
            "valid": float(np.mean([sample.valid for sample in self.samples])),
            "flagged": float(np.mean([bool(sample.flags) for sample in self.samples])),
            "formula_as_target": float(np.mean([f == self.targets.formulas[row] for f, row in of_formulas])),
            "group_as_asked": float(np.mean([s.found_group == s.space_group for s in self.samples])),
            "samples_by_outcome": {kind: kinds[kind] for kind in OUTCOMES},
            "targets_by_outcome": {kind: best[kind] for kind in OUTCOMES},
            "seconds": self.seconds,
        }

    def _figures_at(self, k: int) -> dict[str, Any]:
        rates = match_rates(self.distances, self.targets.free_coords, k)
        matched = (~np.isnan(self.distances[:, :k])).any(1)
        share, crmse = metre(self.distances, self.others, k)
        return {
            "k": k,
            "rate": rates.rate,
            "standard_error": float(np.sqrt(rates.rate * (1.0 - rates.rate) / len(self.targets))),
            "matched": int(matched.sum()),
            "rmse": rates.rmse,
            "metre": share,
            "crmse": crmse,
            "by_free_coords": _named(rates.by_free_coords),
            "by_sites": _named(split_by_number(matched, self.targets.num_sites, SITE_SPLITS)),
            "by_family": _named(split_by_label(matched, self.targets.families, FAMILIES)),
        }


def _named(split: dict[str, tuple[float, int]]) -> dict[str, dict[str, float]]:
    return {name: {"rate": rate, "targets": targets} for name, (rate, targets) in split.items()}


def reconstruct(
    targets: Targets,
    given: Given,
    count: int,
    model: Model,
    seed: int = 0,
    config: LangevinConfig | None = None,
    *,
    batch_size: int | None = None,
    random_start: bool = False,
    processes: int | None = None,
    dask: str | None = None,
    progress: bool = False,
    keep: Callable[[Samples], object] | None = None,
) -> Reconstruction:
    """Samples every target `count` times and matches the samples.

    A model that was trained with conditions is told those of the targets. Samples that were
    stopped early or are not valid match nothing and stay in every denominator. Two targets of the
    same order (polymorphs that differ in coordinates only, say) get the same samples, since these
    depend on the seed and the order alone.

    Args:
      targets: known crystals.
      given: what of them is given.
      count: samples of each.
      model: trained.
      seed: of the samples.
      config: sampler settings, by default those that go with the model.
      batch_size: structures computed together.
      random_start: take what sampling starts from instead.
      processes: worker processes that match, see `workers.stream_structures`.
      dask: address of a scheduler whose workers match instead.
      progress: show bars.
      keep: called with the samples before they are matched, to save them.
    """
    started = time.perf_counter()
    told = targets.dataset.conditions(() if random_start else model.conditions)
    cond = {name: np.repeat(column, count) for name, column in told.items()}
    samples = sample_orders(
        *(targets.orders[given], count, model, seed, config),
        *(batch_size, progress, random_start, cond or None),
    )
    sampled = time.perf_counter()
    if keep is not None:
        keep(samples)
    usable = [sample.to_pymatgen(primitive=True) if sample.valid else None for sample in samples]
    grid = [usable[first : first + count] for first in range(0, len(usable), count)]
    distances, others = (
        match(targets.structures, grid, processes, progress, dask)
        for match in (rms_distances, rms_distances_to_others)
    )
    seconds = {"sampling": sampled - started, "matching": time.perf_counter() - sampled}
    return Reconstruction(targets, given, random_start, samples, distances, others, seconds)


def target_rows(found: Reconstruction) -> list[dict[str, Any]]:
    """Returns a row for every target: what it is, what became of it, its best sample."""
    rows = []
    for row, target in enumerate(_descriptions(found.targets)):
        outcomes, distances = found.outcomes[row], found.distances[row]
        rows.append(
            {"run": found.name}
            | target
            | {
                "outcome": max(outcomes, key=OUTCOMES.index),
                **{outcome.replace(" ", "_"): outcomes.count(outcome) for outcome in OUTCOMES},
                "first_distance": distances[0],
                "best_distance": best_distances(distances[None], len(distances))[0],
                "best_of_others": best_distances(found.others[row][None], len(distances))[0],
            }
            | _best_lattice(found, row)
        )
    return rows


def lattice_rows(found: Reconstruction) -> list[dict[str, Any]]:
    """Returns the rows of the paper's Table 2: matched targets, lengths sampled and known."""
    rows = []
    for row, target in enumerate(_descriptions(found.targets)):
        if np.isnan(found.distances[row]).all():
            continue
        lattice = _best_lattice(found, row)
        known, sampled = (
            np.array([lattice[f"{axis}_{of}"] for axis in "abc"]) for of in ("reference", "sampled")
        )
        rows.append(
            {"run": found.name, "target": target["target"], "formula": target["formula"]}
            | {"space_group": target["space_group"], "family": target["family"]}
            | {"samples_matched": found.outcomes[row].count("match"), "of": found.samples_per_target}
            | {"distance": float(np.nanmin(found.distances[row]))}
            | lattice
            | {
                "length_error": float(np.abs(sampled / known - 1.0).mean()),
                "volume_error": abs(
                    lattice["volume_per_atom_sampled"] / lattice["volume_per_atom_reference"] - 1
                ),
            }
        )
    return rows


def sample_rows(found: Reconstruction) -> list[dict[str, Any]]:
    """Returns a row for every sample, those that failed too."""
    rows = []
    for place, sample in enumerate(found.samples):
        row, column = divmod(place, found.samples_per_target)
        lengths, _ = sample.lengths_angles
        rows.append(
            {
                "run": found.name,
                "target": found.targets.ids[row],
                "number": column + 1,
                "sample": sample.name,
                "outcome": found.outcomes[row][column],
                "status": sample.status,
                "formula": sample.formula,
                "letters": sample.wyckoff,
                "found_group": sample.found_group,
                "distance": found.distances[row, column],
                **dict(zip("abc", lengths, strict=True)),
                "volume_per_atom": sample.audit.volume_per_atom,
                "shortest_distance": sample.audit.shortest_distance,
            }
        )
    return rows


def _descriptions(targets: Targets) -> list[dict[str, Any]]:
    return [
        {
            "target": targets.ids[row],
            "formula": targets.formulas[row],
            "letters": targets.letters[row],
            "space_group": int(targets.space_groups[row]),
            "family": targets.families[row],
            "sites": int(targets.num_sites[row]),
            "free_coords": int(targets.free_coords[row]),
        }
        for row in range(len(targets))
    ]


def _best_lattice(found: Reconstruction, row: int) -> dict[str, Any]:
    """Returns the lengths of a target and of its best sample, NaN without a match."""
    best, lengths, volume = "", np.full(3, np.nan), float("nan")
    if not np.isnan(found.distances[row]).all():
        sample = found.sample(row, int(np.nanargmin(found.distances[row])))
        best, lengths, volume = sample.name, sample.lengths_angles[0], sample.audit.volume_per_atom
    return (
        {"best_sample": best}
        | {f"{axis}_sampled": x for axis, x in zip("abc", lengths, strict=True)}
        | {f"{axis}_reference": x for axis, x in zip("abc", found.targets.lengths[row], strict=True)}
        | {
            "volume_per_atom_sampled": volume,
            "volume_per_atom_reference": found.targets.volumes[row],
        }
    )
