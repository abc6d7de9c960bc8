"""Batches are what the data set says, and a function of seed and step alone."""

from collections import Counter

import numpy as np
import pytest

from jaxcrystal.crystal import BUCKETS, bucket_of
from jaxcrystal.data.batches import BucketSampler, to_crystals
from jaxcrystal.errors import DataError
from jaxcrystal.symmetry.groups import group_tables
from jaxcrystal.symmetry.orbits import expand_crystal


def test_bucket_of():
    assert [bucket_of(n) for n in (1, 2, 5, 20)] == [1, 2, 6, 20]
    for wrong in (0, 21):
        with pytest.raises(DataError, match=str(wrong)):
            bucket_of(wrong)


@pytest.mark.parametrize("constrained", [True, False])
def test_crystals_of_a_batch(aflow, constrained):
    indices = np.flatnonzero(aflow.num_sites <= 4)[:20]
    batch = to_crystals(aflow, indices, 6, constrained)
    tables = group_tables()
    for row, index in enumerate(indices):
        crystal = type(batch)(*(np.asarray(array[row]) for array in batch))
        count = aflow.num_sites[index]
        group = int(aflow.space_group[index])
        assert crystal.space_group == group
        assert crystal.node_mask.sum() == count
        assert np.array_equal(crystal.species[:count], aflow.species[aflow.sites(index)])
        for array in crystal[:2] + crystal[5:]:
            assert not array[count:].any()
        if constrained:
            full = expand_crystal(crystal)[1]
            assert len(full) == crystal.site_ops.sum() * tables.num_centring[group]
        else:
            assert (crystal.site_ops[:count].sum(1) == tables.num_ops[group]).all()
            assert (crystal.site_projection[:count] == np.eye(3)).all()


def test_negative_index_is_padding_and_too_many_sites_is_an_error(aflow):
    small = int(np.flatnonzero(aflow.num_sites == 2)[0])
    batch = to_crystals(aflow, [small, -1], 2, True)
    assert batch.node_mask.sum(1).tolist() == [2, 0]
    assert batch.space_group[1] == 0
    with pytest.raises(DataError, match="max_nodes"):
        to_crystals(aflow, [small], 1, True)


def test_sampler_depends_on_seed_and_step_only(aflow):
    def draw(sampler, step):
        bucket, constrained, indices = sampler.batch(step)
        return bucket, constrained, indices.tolist()

    steps = [0, 1, 5, 1023, 1024, 5000]
    first = BucketSampler(aflow.num_sites, 16, seed=3, constrained_share=0.5)
    expected = [draw(first, step) for step in steps]
    again = BucketSampler(aflow.num_sites, 16, seed=3, constrained_share=0.5)
    assert [draw(again, step) for step in reversed(steps)] == expected[::-1]
    other = BucketSampler(aflow.num_sites, 16, seed=4, constrained_share=0.5)
    assert [draw(other, step) for step in steps] != expected


def test_sampler_visits_buckets_by_size_and_structures_equally(aflow):
    chosen = np.flatnonzero(aflow.space_group >= 16)
    sampler = BucketSampler(aflow.num_sites, 8, seed=0, constrained_share=0.25, indices=chosen)
    seen, modes = Counter(), []
    for step in range(2048):
        bucket, constrained, indices = sampler.batch(step)
        assert len(indices) == 8
        assert {bucket_of(int(n)) for n in aflow.num_sites[indices]} == {bucket}
        seen.update(indices.tolist())
        modes.append(constrained)
    assert set(seen) == set(chosen.tolist())
    assert abs(np.mean(modes) - 0.25) < 0.04
    counts = np.array([seen[index] for index in chosen])
    assert abs(counts / counts.mean() - 1).max() < 0.1
    assert set(sampler.buckets) <= set(BUCKETS)


def test_sampler_knows_shapes_and_padding(aflow):
    chosen = np.flatnonzero(aflow.space_group >= 16)
    sampler = BucketSampler(aflow.num_sites, 8, seed=0, constrained_share=0.25, indices=chosen)
    slots = filled = 0
    for step in range(3000):
        bucket, constrained, indices = sampler.batch(step)
        assert sampler.shape(step) == (bucket, constrained)
        assert sampler.batch_size(bucket) == 8
        slots += 8 * bucket
        filled += aflow.num_sites[indices].sum()
    assert sampler.padding_share == pytest.approx(1 - filled / slots, abs=0.01)


def test_sampler_with_a_batch_size_for_each_bucket(aflow):
    sizes = {bucket: max(1, 40 // bucket) for bucket in BUCKETS}
    sampler = BucketSampler(aflow.num_sites, sizes, seed=0)
    for step in range(100):
        bucket, constrained, indices = sampler.batch(step)
        assert constrained
        assert len(indices) == sizes[bucket]


def test_sampler_of_nothing(aflow):
    with pytest.raises(DataError, match="no structure"):
        BucketSampler(aflow.num_sites, 8, indices=[])
