"""Batches are the same wherever they are made."""

import jax
import numpy as np
import pytest

from jaxcrystal.data.batches import BucketSampler, to_crystals
from jaxcrystal.training.inputs import Inputs


def batch_of(inputs, step):
    """The structures of a step, whichever way they are given."""
    batch = inputs.at(step)
    crystals = jax.device_get(batch.crystals)
    if batch.rows is not None:
        crystals = jax.tree.map(lambda array: array[np.asarray(batch.rows)], crystals)
    return batch.shape, crystals


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_device_and_host_give_the_same_batches(aflow, share):
    indices = np.flatnonzero((aflow.space_group >= 16) & (aflow.num_sites <= 4))
    sampler = BucketSampler(aflow.num_sites, 8, 3, share, indices)
    device, host = (Inputs(aflow, indices, sampler, gib) for gib in (1.0, 0.0))
    assert device.resident
    assert not host.resident
    steps = [*range(12), 40, 3, 4]  # a jump, as a resumed run makes one
    for step in steps:
        bucket, constrained, chosen = sampler.batch(step)
        expected = to_crystals(aflow, chosen, bucket, constrained)
        for inputs in (device, host):
            shape, crystals = batch_of(inputs, step)
            assert shape == (bucket, constrained)
            jax.tree.map(np.testing.assert_array_equal, crystals, expected)
    host.close()


@pytest.mark.parametrize("gib", [0.0, 1.0])
def test_programs_are_made_for_the_batches_that_come(aflow, gib):
    indices = np.flatnonzero((aflow.space_group >= 16) & (aflow.num_sites <= 4))
    sampler = BucketSampler(aflow.num_sites, 8, 3, 0.5, indices)
    inputs = Inputs(aflow, indices, sampler, gib)
    used = list(dict.fromkeys(sampler.shape(step) for step in range(20, 60)))
    assert list(inputs.shapes(range(20, 60))) == used
    seen = set()
    for step in range(20, 60):
        batch = inputs.at(step)
        if batch.shape not in seen:
            seen.add(batch.shape)
            crystals, rows, _ = inputs.example(batch.shape)
            given = jax.tree.map(lambda a: (a.shape, a.dtype), (batch.crystals, batch.rows))
            assert jax.tree.map(lambda a: (a.shape, a.dtype), (crystals, rows)) == given
    inputs.close()


def test_the_room_that_structures_take_is_known(aflow):
    indices = np.flatnonzero((aflow.space_group >= 16) & (aflow.num_sites <= 4))
    sampler = BucketSampler(aflow.num_sites, 8, 3, 0.5, indices)
    inputs = Inputs(aflow, indices, sampler, 1.0)
    pools = {batch.shape: batch.crystals for batch in map(inputs.at, range(200))}
    assert len(pools) == 2 * len(sampler.buckets)
    total = sum(leaf.nbytes for crystals in pools.values() for leaf in jax.tree.leaves(crystals))
    assert inputs.gib == pytest.approx(total / 2**30)
