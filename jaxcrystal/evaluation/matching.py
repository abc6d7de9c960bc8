"""Match rate: how often sampled crystals are the target crystals.

StructureMatcher rescales the volume, and small crystals have few free coordinates, so a
match rate never stands alone: give a random start, the split by free coordinates and the
errors of the lattice beside it.
"""

import multiprocessing
import sys
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int
from tqdm import tqdm

if TYPE_CHECKING:
    from pymatgen.core import Structure

#: Tolerances of crystal structure prediction (CDVAE and since).
TOLERANCES = {"stol": 0.5, "ltol": 0.3, "angle_tol": 10.0}
#: Bounds of the number of free coordinates that match rates are split by.
SPLITS = {"0": (0, 0), "1": (1, 1), "2-3": (2, 3), "4-8": (4, 8), "more": (9, 10**6)}


def rms_distances(
    targets: "Sequence[Structure]",
    samples: "Sequence[Sequence[Structure | None]]",
    processes: int = 2,
    progress: bool = False,
) -> Float[np.ndarray, "targets k"]:
    """Matches every sample to its target.

    Args:
      targets: [targets]; primitive cells match fastest.
      samples: [targets][k]; None for a failure.
      processes: worker processes; 1 works in this one.
      progress: show a bar.
    Returns:
      [targets, k] root-mean-square distance over (V/N)^⅓; NaN where there is no match.
    """
    tasks = list(zip(targets, samples, strict=True))
    bar: dict[str, Any] = {"total": len(tasks), "desc": "match", "disable": not progress, "file": sys.stderr}
    if processes <= 1:
        return np.array([_match_one(task) for task in tqdm(tasks, **bar)])
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        return np.array(list(tqdm(pool.map(_match_one, tasks, chunksize=4), **bar)))


def _match_one(task: "tuple[Structure, Sequence[Structure | None]]") -> list[float]:
    from pymatgen.analysis.structure_matcher import StructureMatcher

    matcher = StructureMatcher(**TOLERANCES)
    target, samples = task
    distances = []
    for sample in samples:
        found = None
        if sample is not None and sample.reduced_formula == target.reduced_formula:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = matcher.get_rms_dist(target, sample)
        distances.append(np.nan if found is None else float(found[0]))
    return distances


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
    best = np.where(np.isnan(distances[:, :k]), np.inf, distances[:, :k]).min(1)
    matched = np.isfinite(best)
    split = {}
    for name, (low, high) in SPLITS.items():
        members = (low <= free_coords) & (free_coords <= high)
        if members.any():
            split[name] = (float(matched[members].mean()), int(members.sum()))
    rmse = float(best[matched].mean()) if matched.any() else float("nan")
    return MatchRates(k, float(matched.mean()), rmse, split)


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
