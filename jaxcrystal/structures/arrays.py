"""Samples as one file of arrays, the same kind of file as `prepare` writes."""

from collections.abc import Sequence

import numpy as np

from jaxcrystal.data.dataset import Dataset, PreparedSites, stack
from jaxcrystal.structures.finished import Sample
from jaxcrystal.structures.summary import GroupCheck
from jaxcrystal.symmetry.wyckoff import wyckoff_positions

#: Columns of the file beside the sites, as in `summary.csv`; `status` is the number of the flags.
COLUMNS = ("volume_per_atom", "shortest_distance", "score_coords", "score_lattice", "valid", "status")


def sampled_dataset(samples: Sequence[Sample], check: GroupCheck = "none") -> Dataset:
    """Returns samples as a data set: sites, letters, lattice parameters, and `COLUMNS` as columns.

    A condition is the column `cond_NAME`: it was asked for, and nobody has measured it.

    Args:
      samples: finished crystals.
      check: adds the columns `found_group` (`usual`) and `found_group_strict` too (`strict`).
    """
    groups = {"none": (), "usual": ("found_group",), "strict": ("found_group", "found_group_strict")}[check]
    told = dict.fromkeys(name for sample in samples for name in _told(sample))
    keep = [*COLUMNS, *groups, *told]
    properties = [
        dict(zip(COLUMNS, _figures(sample), strict=True))
        | {name: float(getattr(sample, name)) for name in groups}
        | _told(sample)
        for sample in samples
    ]
    names = [sample.name for sample in samples]
    return stack(names, [_sites(sample) for sample in samples], properties, {"made_by": "sample"}, keep)


def _told(sample: Sample) -> dict[str, float]:
    return {f"cond_{name}": value for name, value in dict(sample.cond).items()}


def _figures(sample: Sample) -> tuple[float, ...]:
    checks = sample.audit
    measured = checks.volume_per_atom, checks.shortest_distance, *sample.scores
    return *measured, float(sample.valid), float(sample.flags)


def _sites(sample: Sample) -> PreparedSites:
    letters = [position.letter for position in wyckoff_positions(sample.space_group)]
    # A site on no position is a general one: `finished` gives it the letter ?.
    index = [letters.index(letter) if letter in letters else len(letters) - 1 for letter in sample.letters]
    crystal = sample.crystal
    return PreparedSites(
        space_group=sample.space_group,
        lattice_params=np.asarray(crystal.lattice_params),
        species=np.asarray(crystal.species),
        frac_coords=np.asarray(crystal.frac_coords),
        letters=np.array(index, np.int32),
    )
