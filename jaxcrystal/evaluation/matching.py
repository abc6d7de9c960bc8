"""Computes the match rate: how often sampled crystals are the target crystals.

StructureMatcher rescales the volume, and small crystals have few free coordinates, so a
match rate never stands alone: give a random start, the split by free coordinates and the
errors of the lattice beside it.
"""

import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxcrystal.workers import map_structures

if TYPE_CHECKING:
    from pymatgen.core import Structure

#: Tolerances of crystal structure prediction (CDVAE and since).
TOLERANCES = {"stol": 0.5, "ltol": 0.3, "angle_tol": 10.0}
#: Bounds of the number of free coordinates that match rates are split by.
SPLITS = {"0": (0, 0), "1": (1, 1), "2-3": (2, 3), "4-8": (4, 8), "more": (9, 10**6)}
#: Numbers of samples that match rates are given for.
KS = (1, 20, 50)


def ranks(samples_per_target: int) -> list[int]:
    """Returns the k of `KS` that there are samples for, and the number of samples itself."""
    return sorted({k for k in KS if k <= samples_per_target} | {samples_per_target})


def rms_distances(
    targets: "Sequence[Structure]",
    samples: "Sequence[Sequence[Structure | None]]",
    processes: int | None = None,
    progress: bool = False,
    dask: str | None = None,
) -> Float[np.ndarray, "targets k"]:
    """Matches every sample to its target.

    Only samples of the target's reduced formula are compared: no other can match. A
    comparison that fails counts as no match, and is warned of.

    Args:
      targets: [targets]; primitive cells match fastest.
      samples: [targets][k]; None for a failure.
      processes: see `workers.stream_structures`.
      progress: show a bar.
      dask: address of a scheduler, see `workers.stream_structures`.
    Returns:
      [targets, k] root-mean-square distance over (V/N)^⅓; NaN where there is no match.
    """
    places = [
        [
            (row, column)
            for column, sample in enumerate(of_target)
            if sample is not None and sample.reduced_formula == target.reduced_formula
        ]
        for row, (target, of_target) in enumerate(zip(targets, samples, strict=True))
    ]
    result = np.full((len(targets), max(map(len, samples), default=0)), np.nan)
    for row, (found, of_target) in enumerate(
        zip(_compare(targets, samples, places, processes, progress, dask), places, strict=True)
    ):
        for distance, (_, column) in zip(found, of_target, strict=True):
            result[row, column] = distance
    return result


def rms_distances_to_others(
    targets: "Sequence[Structure]",
    samples: "Sequence[Sequence[Structure | None]]",
    processes: int | None = None,
    progress: bool = False,
    dask: str | None = None,
) -> Float[np.ndarray, "targets k"]:
    """Matches every target to the samples of the other targets, for METRe.

    Args:
      targets: [targets].
      samples: [targets][k] as in `rms_distances`; row n was asked for as target n.
      processes: see `workers.stream_structures`.
      progress: show a bar.
      dask: address of a scheduler.
    Returns:
      [targets, k] the least distance of a target to sample number k of any *other* target;
      NaN where none matches. Most rows are NaN: few targets share a formula.
    """
    by_formula = defaultdict(list)
    for row, of_target in enumerate(samples):
        for column, sample in enumerate(of_target):
            if sample is not None:
                by_formula[sample.reduced_formula].append((row, column))
    places = [
        [place for place in by_formula[target.reduced_formula] if place[0] != row]
        for row, target in enumerate(targets)
    ]
    result = np.full((len(targets), max(map(len, samples), default=0)), np.nan)
    for row, (found, others) in enumerate(
        zip(_compare(targets, samples, places, processes, progress, dask), places, strict=True)
    ):
        for distance, (_, column) in zip(found, others, strict=True):
            result[row, column] = np.fmin(result[row, column], distance)
    return result


def _compare(
    targets: "Sequence[Structure]",
    samples: "Sequence[Sequence[Structure | None]]",
    places: Sequence[Sequence[tuple[int, int]]],
    processes: int | None,
    progress: bool,
    dask: str | None,
) -> list[list[float]]:
    """Returns for each target its distances to the samples at `places`."""
    rows = [row for row, of_target in enumerate(places) if of_target]
    tasks = [(targets[row], [samples[i][j] for i, j in places[row]]) for row in rows]
    # One at a time: a target with 20 samples takes up to a second, and the times vary widely.
    outcomes = map_structures(
        _match_one,
        tasks,
        processes=processes,
        dask=dask,
        description="match",
        chunk=1,
        progress=progress,
    )
    errors = [error for _, of_target in outcomes for error in of_target]
    if errors:
        warnings.warn(
            f"{len(errors)} comparisons failed and count as no match; the first: {errors[0]}", stacklevel=3
        )
    result: list[list[float]] = [[] for _ in targets]
    for row, (distances, _) in zip(rows, outcomes, strict=True):
        result[row] = distances
    return result


def _match_one(task: "tuple[Structure, Sequence[Structure]]") -> tuple[list[float], list[str]]:
    """Returns the distances, NaN for no match, and what went wrong."""
    from pymatgen.analysis.structure_matcher import StructureMatcher

    matcher = StructureMatcher(**TOLERANCES)
    target, samples = task
    distances, errors = [], []
    for sample in samples:
        found = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found = matcher.get_rms_dist(target, sample)
            except Exception as error:  # the reduction of a very flat cell may fail in many ways
                errors.append(f"{target.reduced_formula}: {type(error).__name__}: {error}")
        distances.append(np.nan if found is None else float(found[0]))
    return distances, errors


@dataclass(frozen=True, eq=False)
class MatchRates:
    """Match rates at one number of samples; shares of all targets.

    Attributes:
      k: samples a target.
      rate: share of the targets that any of the first k samples matches.
      rmse: mean over those of the best distance.
      by_free_coords: rate for each class of `SPLITS`, with the number of targets.
    """

    k: int
    rate: float
    rmse: float
    by_free_coords: dict[str, tuple[float, int]]


def match_rates(
    distances: Float[np.ndarray, "targets k"], free_coords: Int[np.ndarray, " targets"], k: int
) -> MatchRates:
    """Returns the rates with the first `k` samples of each target.

    Args:
      distances: of `rms_distances`.
      free_coords: [targets] free coordinates of each target.
      k: 1 to the number of samples.
    """
    best = best_distances(distances, k)
    matched = ~np.isnan(best)
    rmse = float(best[matched].mean()) if matched.any() else float("nan")
    rate = float(matched.mean()) if len(matched) else float("nan")
    return MatchRates(k, rate, rmse, split_by_number(matched, free_coords, SPLITS))


def best_distances(distances: Float[np.ndarray, "targets k"], k: int) -> Float[np.ndarray, " targets"]:
    """Returns [targets] the least distance of the first `k` samples, NaN without a match."""
    found = np.where(np.isnan(distances[:, :k]), np.inf, distances[:, :k]).min(1, initial=np.inf)
    return np.where(np.isfinite(found), found, np.nan)


def metre(
    own: Float[np.ndarray, "targets k"], others: Float[np.ndarray, "targets k"], k: int
) -> tuple[float, float]:
    """Returns METRe and cRMSE with the first `k` samples of each target.

    METRe (match everyone to reference) is the share of targets that any sample matches,
    whichever target that was drawn for: polymorphs do not count against one another.
    cRMSE is the mean over all targets of the best distance, a target without a match
    counting as stol, so that it cannot fall by missing the difficult ones. (Martirossyan
    et al., All that structure matches does not glitter, arXiv:2509.12178.)

    Args:
      own: of `rms_distances`.
      others: of `rms_distances_to_others`.
      k: 1 to the number of samples.
    """
    best = np.fmin(best_distances(own, k), best_distances(others, k))
    if not len(best):
        return float("nan"), float("nan")
    missed = np.isnan(best)
    return float((~missed).mean()), float(np.where(missed, TOLERANCES["stol"], best).mean())


def split_by_number(
    matched: Bool[np.ndarray, " targets"],
    numbers: Int[np.ndarray, " targets"],
    bounds: dict[str, tuple[int, int]],
) -> dict[str, tuple[float, int]]:
    """Returns the share matched and the targets of each class of a number that has any.

    Args:
      matched: [targets].
      numbers: [targets] such as free coordinates.
      bounds: name of the class -> least and greatest number, both in it.
    """
    labels = np.full(len(numbers), "", dtype=object)
    for name, (low, high) in bounds.items():
        labels[(low <= numbers) & (numbers <= high)] = name
    return split_by_label(matched, labels, list(bounds))


def split_by_label(
    matched: Bool[np.ndarray, " targets"], labels: Sequence[str] | np.ndarray, names: Sequence[str]
) -> dict[str, tuple[float, int]]:
    """Returns the share matched and the targets of each of the `names` that has any."""
    split = {}
    for name in names:
        members = np.array([label == name for label in labels], bool)
        if members.any():
            split[name] = (float(matched[members].mean()), int(members.sum()))
    return split


@dataclass(frozen=True)
class LatticeErrors:
    """Mean absolute relative errors of the conventional lengths and of the volume an atom."""

    lengths: float
    volume: float
    structures: int


def lattice_errors(
    target_lengths: Float[np.ndarray, "structures 3"],
    lengths: Float[np.ndarray, "structures 3"],
    target_volumes: Float[np.ndarray, " structures"],
    volumes: Float[np.ndarray, " structures"],
    chosen: Bool[np.ndarray, " structures"],
) -> LatticeErrors:
    """Compares cells of one setting, axis by axis.

    Args:
      target_lengths: [structures, 3] a, b, c of the conventional cells, Å.
      lengths: the same of the samples.
      target_volumes: [structures] Å³ an atom.
      volumes: the same of the samples.
      chosen: [structures] which are averaged over, such as the matched ones.
    """
    if not chosen.any():
        return LatticeErrors(float("nan"), float("nan"), 0)
    of_lengths = np.abs(lengths / target_lengths - 1.0)[chosen].mean()
    of_volumes = np.abs(volumes / target_volumes - 1.0)[chosen].mean()
    return LatticeErrors(float(of_lengths), float(of_volumes), int(chosen.sum()))
