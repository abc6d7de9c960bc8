"""Which known crystals become targets."""

import numpy as np
import pytest

from jaxcrystal.data.prepare import load_or_prepare
from jaxcrystal.errors import DataError
from jaxcrystal.evaluation.targets import Targets, choose
from jaxcrystal.symmetry.wyckoff import wyckoff_positions


@pytest.fixture(scope="module")
def prototypes():
    dataset = load_or_prepare("aflow")
    return dataset.select(np.flatnonzero((dataset.num_sites == 2) & (dataset.space_group >= 16))[:6])


def _broken(dataset, row):
    """A copy in which all sites of a row are on one point."""
    broken = dataset.select(range(len(dataset)))
    positions = wyckoff_positions(int(dataset.space_group[row]))
    broken.letters[dataset.sites(row)] = next(n for n, p in enumerate(positions) if p.num_free == 0)
    return broken


def test_a_bad_row_is_left_out_counted_and_named(prototypes, caplog) -> None:
    row = next(
        n
        for n in range(len(prototypes))
        if any(p.num_free == 0 for p in wyckoff_positions(int(prototypes.space_group[n])))
    )
    chosen = choose(_broken(prototypes, row))
    assert len(chosen) == len(prototypes) - 1
    assert prototypes.ids[row] not in chosen.ids
    assert len(Targets.from_dataset(chosen)) == len(chosen)
    assert f"1 of {len(prototypes)} structures left out: {prototypes.ids[row]}" in caplog.text


def test_only_bad_rows_is_an_error(prototypes) -> None:
    row = next(n for n in range(6) if wyckoff_positions(int(prototypes.space_group[n]))[0].num_free == 0)
    with pytest.raises(DataError, match="no target"):
        choose(_broken(prototypes, row).select([row]))
