"""Compiled samplers: what they do when memory runs out, and how much of it they need."""

import jax
import numpy as np
import pytest

from jaxcrystal.diffusion.langevin import LangevinConfig
from jaxcrystal.errors import DataError
from jaxcrystal.graph.neighbors import ImageCapacity
from jaxcrystal.model import load_model
from jaxcrystal.sampling import programs
from jaxcrystal.sampling.batches import Shape
from jaxcrystal.sampling.sample import sample

PEROVSKITE = {"Ba": "a", "Ti": "b", "O": "c"}


def exhausted() -> Exception:
    return jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.\nmore lines")


class SmallMemory:
    """Programs for more than `most` rows run out of memory: as they start, or once they are waited for."""

    def __init__(self, most, late, monkeypatch) -> None:
        self.most, self.late, self.failures = most, late, 0
        self.compiled = programs.compiled
        monkeypatch.setattr(programs, "compiled", self)

    def __call__(self, module, graph, config, shape, rows, *rest):
        if rows > self.most:
            return self.fail
        return self.compiled(module, graph, config, shape, rows, *rest)

    def fail(self, *_):
        self.failures += 1
        if not self.late:
            raise exhausted()
        return (Unfinished(),)


class Unfinished:
    """An array whose computation fails."""

    def __array__(self, *_, **__):
        raise exhausted()


@pytest.mark.parametrize("late", [False, True])
def test_batches_shrink_where_memory_is_small(tiny_model, quick, monkeypatch, late) -> None:
    wanted = sample(221, PEROVSKITE, 7, model=tiny_model, config=quick, batch_size=2)
    memory = SmallMemory(2, late, monkeypatch)
    found = sample(221, PEROVSKITE, 7, model=tiny_model, config=quick, batch_size=8)
    assert memory.failures
    assert [crystal.number for crystal in found] == list(range(7))
    for first, second in zip(wanted, found, strict=True):
        np.testing.assert_array_equal(first.lattice, second.lattice)
        np.testing.assert_array_equal(first.frac_coords, second.frac_coords)


def test_two_batches_that_ran_out_of_memory_are_halved_once(tiny_model, quick, monkeypatch) -> None:
    """Both are under way when the first of them fails: one row each is then to be tried."""
    memory = SmallMemory(1, True, monkeypatch)
    memory.compiled = lambda *_: programs.compiled_start()  # which takes no time to compile
    found = sample(221, PEROVSKITE, 5, model=tiny_model, config=quick, batch_size=2)
    assert memory.failures == 2
    assert [crystal.number for crystal in found] == list(range(5))


def test_a_structure_too_large_for_the_memory(tiny_model, quick, monkeypatch) -> None:
    SmallMemory(0, False, monkeypatch)
    with pytest.raises(DataError, match="out of memory with one structure of 3 sites") as error:
        sample(221, PEROVSKITE, 7, model=tiny_model, config=quick, batch_size=4)
    assert "\n" not in str(error.value)


def test_other_failures_of_the_device_are_not_hidden(tiny_model, quick, monkeypatch) -> None:
    def broken(*_):
        raise jax.errors.JaxRuntimeError("INTERNAL: it is broken")

    monkeypatch.setattr(programs, "compiled", lambda *_: broken)
    with pytest.raises(jax.errors.JaxRuntimeError, match="it is broken"):
        sample(221, PEROVSKITE, 3, model=tiny_model, config=quick, batch_size=4)


def test_rows_follow_from_the_memory(tiny_model) -> None:
    shape = Shape(4, ImageCapacity(96, merge=False))
    each = programs.bytes_per_structure(tiny_model, shape)
    for stats, rows in (
        ({}, 256),
        ({"bytes_limit": 20 * each, "bytes_in_use": 10 * each}, 5),
        ({"bytes_limit": each}, 1),
        ({"bytes_limit": 10**6 * each}, 256),
    ):
        assert programs.rows_in_memory(tiny_model, shape, 256, stats) == rows


@pytest.mark.parametrize(
    ("count", "rows"), [(1, 1), (3, 4), (8, 8), (9, 4), (12, 4), (13, 8), (1000, 8), (1001, 8), (1002, 8)]
)
def test_rows_leave_few_places_empty(tiny_model, count, rows) -> None:
    shape = Shape(4, ImageCapacity(96, merge=False))
    assert programs.rows_for(tiny_model, shape, jax.devices("cpu")[0], count) == (rows, 8)


@pytest.mark.parametrize(
    ("total", "most", "at_once"), [(1, 8, 1), (8, 8, 8), (9, 8, 5), (10, 8, 5), (5, 0, 1)]
)
def test_turns_are_of_equal_size(total, most, at_once) -> None:
    assert programs.even_share(total, most) == at_once


def test_devices_without_work_are_left_out(tiny_model, quick) -> None:
    """Rows follow from the whole run, devices from what is to be drawn."""
    shape, device = Shape(4, ImageCapacity(96, merge=False)), jax.devices("cpu")[0]
    few = programs.Programs(tiny_model, quick, {shape: 9}, [device] * 4, None, True, {shape: 32})
    more = programs.Programs(tiny_model, quick, {shape: 30}, [device] * 4, None, True)
    assert (few.rows(shape), more.rows(shape)) == (2 * 8, 4 * 8)
    few.close(), more.close()


@pytest.mark.optimised
@pytest.mark.compile
def test_memory_of_a_structure_is_no_less_than_what_the_compiler_counts() -> None:
    model = load_model()
    shape, rows = Shape(4, ImageCapacity(192, merge=True)), 8
    config = LangevinConfig(model.schedule, steps_per_level=1)
    program = programs.compiled(
        *(model.module, model.graph, config, shape, rows),
        *((jax.devices()[0],), programs._avals(model.params), ()),
    )
    counted = program.memory_analysis().temp_size_in_bytes / rows
    estimate = programs.bytes_per_structure(model, shape)
    assert counted <= estimate <= 3 * counted
