"""Computes COV-P and COV-R: how many samples are near a known crystal, and the other way round."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from jaxcrystal.evaluation.fingerprints import Features

#: L2 cutoffs of CDVAE for MP-20: of the structure and of the standardised composition fingerprint.
STRUCTURE_CUTOFF, COMPOSITION_CUTOFF = 0.4, 10.0
PROTOCOLS = ("cdvae", "paper")
_ROWS = 256


@dataclass(frozen=True, eq=False)
class Coverage:
    """Shares covered, and the distances they come from.

    Attributes:
      precision: COV-P, share of `samples`.
      recall: COV-R, share of `reference`.
      samples: denominator of the precision.
      reference: denominator of the recall.
      structure_distances: [samples] to the nearest reference structure; NaN where the sample has no
        fingerprint or may not cover in this protocol.
      composition_distances: [samples] to the nearest reference composition, standardised.
      covers: [samples] True for those near enough in both.
      covered: [reference] the same from the other side.
    """

    precision: float
    recall: float
    samples: int
    reference: int
    structure_distances: Float[np.ndarray, " n"]
    composition_distances: Float[np.ndarray, " n"]
    covers: Bool[np.ndarray, " n"]
    covered: Bool[np.ndarray, " m"]


def coverage(
    samples: Features,
    reference: Features,
    protocol: str,
    structure_cutoff: float = STRUCTURE_CUTOFF,
    composition_cutoff: float = COMPOSITION_CUTOFF,
) -> Coverage:
    """Returns COV-P and COV-R of a set of samples.

    The nearest structure and the nearest composition are looked for independently: they may
    be those of two crystals (CDVAE, Xie et al., ICLR 2022, appendix). The composition
    fingerprint is standardised with the mean and deviation of the reference set; CDVAE has
    constants of its own for this, which belong to its data and its version of matminer.

    Args:
      samples: rows that have no fingerprint, or that the sampler flagged, cover nothing.
      reference: rows without fingerprint are never covered, and count.
      protocol: `cdvae`: all samples are the denominator of the precision, and all that have
        fingerprints may cover, valid or not. `paper`: structurally valid samples only, in the
        denominator as well; the composition need not be valid.
      structure_cutoff: largest L2 distance of structure fingerprints.
      composition_cutoff: largest L2 distance of standardised composition fingerprints.

    Raises:
      ValueError: another protocol.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol is {protocol!r}, expected 'cdvae' or 'paper'")
    counted = np.ones(len(samples), bool) if protocol == "cdvae" else samples.valid
    rows, columns = np.flatnonzero(counted & samples.complete), np.flatnonzero(reference.complete)
    standardised = standardise(reference.composition[columns], reference.composition[columns])
    of_samples = standardise(samples.composition[rows], reference.composition[columns])

    distances = np.full((2, len(samples)), np.nan)
    back = np.full((2, len(reference)), np.nan)
    for which, (x, y) in enumerate(
        [(samples.structure[rows], reference.structure[columns]), (of_samples, standardised)]
    ):
        distances[which, rows], back[which, columns] = nearest(x, y)
    covers = (distances[0] <= structure_cutoff) & (distances[1] <= composition_cutoff)
    covered = (back[0] <= structure_cutoff) & (back[1] <= composition_cutoff)
    return Coverage(
        precision=float(covers.sum() / counted.sum()) if counted.any() else float("nan"),
        recall=float(covered.mean()) if len(reference) else float("nan"),
        samples=int(counted.sum()),
        reference=len(reference),
        structure_distances=distances[0],
        composition_distances=distances[1],
        covers=covers,
        covered=covered,
    )


def standardise(x: Float[np.ndarray, "n d"], reference: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "n d"]:
    """Returns `x` less the reference's mean over its deviation; 0 for NaN, as in CDVAE.

    A feature that is the same in all of the reference is not divided.
    """
    if not len(reference):
        return np.nan_to_num(x)
    known = ~np.isnan(reference)
    count = np.maximum(known.sum(0), 1)
    mean = np.where(known, reference, 0.0).sum(0) / count
    deviation = np.sqrt(np.where(known, (reference - mean) ** 2, 0.0).sum(0) / count)
    # A constant feature's deviation is not 0 but rounding error.
    constant = deviation <= 1e-9 * np.maximum(np.abs(mean), 1.0)
    return np.nan_to_num((x - mean) / np.where(constant, 1.0, deviation))


def nearest(
    x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "m d"]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " m"]]:
    """Returns the L2 distance of every x to its nearest y, and of every y to its nearest x.

    Infinity where the other set is empty. Works in blocks: sets of tens of thousands fit.
    """
    from scipy.spatial.distance import cdist

    of_x, of_y = np.full(len(x), np.inf), np.full(len(y), np.inf)
    for start in range(0, len(x), _ROWS):
        block = cdist(x[start : start + _ROWS], y)
        of_x[start : start + _ROWS] = block.min(1, initial=np.inf)
        of_y = np.minimum(of_y, block.min(0, initial=np.inf))
    return of_x, of_y
