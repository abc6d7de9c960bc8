"""`sample(..., arrays=True)`: the crystals of `sample`, as arrays, in the order of the request."""

import re

import jax
import numpy as np
import pytest

from jaxcrystal import load_model, sample
from jaxcrystal.diffusion.langevin import LangevinConfig
from jaxcrystal.errors import RequestError
from jaxcrystal.requests.candidates import Candidate
from jaxcrystal.requests.orders import make_order
from jaxcrystal.sampling import arrays, programs
from jaxcrystal.sampling.arrays import sample_arrays
from jaxcrystal.sampling.sample import sample_formula, sample_orders
from jaxcrystal.structures.crystal_arrays import CrystalArrays
from jaxcrystal.symmetry.wyckoff import wyckoff_positions

PEROVSKITE = {"Ba": "a", "Ti": "b", "O": "c"}


@pytest.fixture(scope="module")
def short(tiny_model) -> LangevinConfig:
    return LangevinConfig(tiny_model.schedule, steps_per_level=1)


def same(one: CrystalArrays, other: CrystalArrays) -> bool:
    """To the last bit."""
    return all(
        np.array_equal(x, y, equal_nan=True) for x, y in zip(*map(jax.tree.leaves, (one, other)), strict=True)
    )


@pytest.mark.parametrize("letters", ["auto", "free"])
def test_sampled_arrays_are_the_sampled_crystals(tiny_model, letters):
    config = LangevinConfig(tiny_model.schedule, steps_per_level=2, trajectory_every=0)
    how = {"model": tiny_model, "config": config, "letters": letters, "batch_size": 4}
    groups, sites = [221, 62], {"Ba": 1, "Ti": 1, "O": 1}
    if letters == "auto":
        groups = [221]
    wanted = sample(groups, sites, 5, **how)
    found = sample(groups, sites, 5, arrays=True, **how)
    assert isinstance(found, CrystalArrays)
    assert len(found) == len(wanted)
    assert isinstance(found.species, jax.Array)
    assert [int(n) for n in found.num_atoms] == [len(crystal.species) for crystal in wanted]
    for row, crystal in enumerate(wanted):
        np.testing.assert_allclose(found.lattice_params[row], crystal.crystal.lattice_params, atol=1e-6)
        assert bool(found.valid[row]) == crystal.valid
        assert int(found.space_group[row]) == crystal.space_group
        positions = wyckoff_positions(crystal.space_group)
        names = [positions[letter].letter for letter in np.asarray(found.letters[row]) if letter >= 0]
        assert tuple(names) == crystal.letters
        assert float(found.shortest_distance[row]) == pytest.approx(crystal.audit.shortest_distance, abs=1e-4)
        np.testing.assert_allclose(found.scores[row], crystal.scores, rtol=1e-5)
        one, other = found.to_pymatgen(row), crystal.to_pymatgen()
        assert one.species == other.species
        np.testing.assert_allclose(one.lattice.matrix, other.lattice.matrix, atol=1e-5)


def test_shapes_come_back_in_the_order_of_the_request(tiny_model):
    config = LangevinConfig(tiny_model.schedule, steps_per_level=1)
    orders = [make_order(62, {"Na": 2, "Cl": 2}, "free"), make_order(221, {"Ba": "a"})] * 2
    candidates = [
        Candidate(n, order, n // 2, order.draw_letters(tiny_model.letters, 0, n // 2))
        for n, order in enumerate(orders)
    ]
    found = sample_arrays(candidates, tiny_model, config=config, batch_size=2)
    assert [int(g) for g in found.space_group] == [62, 221, 62, 221]
    assert (np.asarray(found.species) > 0).sum(1).tolist() == [4, 1, 4, 1]
    assert np.asarray(found.letters)[1].tolist() == [0, -1, -1, -1]


def test_memory_that_runs_out_halves_the_batches(tiny_model, monkeypatch):
    plain, failures = programs.compiled, []

    def small(module, graph, config, shape, rows, *rest):
        if rows <= 2:
            return plain(module, graph, config, shape, rows, *rest)

        def fail(*_):
            failures.append(rows)
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")

        return fail

    monkeypatch.setattr(programs, "compiled", small)
    config = LangevinConfig(tiny_model.schedule, steps_per_level=1)
    found = sample(221, {"Ba": "a", "O": "c"}, 7, model=tiny_model, config=config, batch_size=8, arrays=True)
    assert len(found) == 7
    assert failures == [8, 4]


def test_all_ways_of_asking_give_arrays(tiny_model, short):
    how = {"batch_size": 4, "config": short}
    found = sample(221, PEROVSKITE, 3, model=tiny_model, arrays=True, **how)
    orders = [make_order(221, PEROVSKITE)]
    assert same(found, sample_orders(orders, 3, tiny_model, arrays=True, **how))
    of_formula = sample_formula(
        "BaTiO3", 3, 221, model=tiny_model, max_atoms=5, at_most=3, arrays=True, **how
    )
    assert len(of_formula) == 3
    assert all(int(number) == 5 for number in of_formula.num_atoms)


def test_a_row_is_the_same_whatever_is_drawn_with_it(tiny_model, short):
    orders = [make_order(221, PEROVSKITE), make_order(221, {"Ba": "a"})]
    few = sample_orders(orders[:1], 2, tiny_model, config=short, batch_size=2, arrays=True).to_host()
    more = sample_orders(orders, [5, 1], tiny_model, config=short, batch_size=2, arrays=True).to_host()
    assert more.species.shape == (6, 3)
    for name in vars(few):
        np.testing.assert_array_equal(getattr(more, name)[:2], getattr(few, name))


def test_the_start_as_arrays(tiny_model, short):
    orders = [make_order(221, PEROVSKITE)]
    how = {"config": short, "batch_size": 4, "random_start": True}
    wanted, found = (
        sample_orders(orders, 3, tiny_model, arrays=as_arrays, **how) for as_arrays in (False, True)
    )
    for row, crystal in enumerate(wanted):
        np.testing.assert_allclose(found.cell(row).lattice, crystal.lattice, rtol=1e-6)


def test_nothing_asked_for(tiny_model, short):
    none = sample_orders([], [], tiny_model, config=short, arrays=True)
    one = sample(221, {"Ba": "a"}, model=tiny_model, config=short, batch_size=2, arrays=True)
    assert len(none) == 0
    for empty, full in zip(*map(jax.tree.leaves, (none, one)), strict=True):
        assert (empty.shape[1:], empty.dtype) == (full.shape[1:], full.dtype)


def test_what_cannot_be_asked_for(tiny_model, short):
    with pytest.raises(RequestError, match="batch_size is 0"):
        sample(221, {"Ba": "a"}, model=tiny_model, config=short, batch_size=0, arrays=True)
    with pytest.raises(RequestError, match="no conditions"):
        sample(221, {"Ba": "a"}, model=tiny_model, config=short, cond={"gap": 1.0}, arrays=True)


def test_the_bar(tiny_model, short, capsys):
    sample(221, {"Ba": "a"}, 5, model=tiny_model, config=short, batch_size=2, progress=True, arrays=True)
    assert re.search(r"100%.* 5/5 ", capsys.readouterr().err)
    sample(221, {"Ba": "a"}, 5, model=tiny_model, config=short, batch_size=2, arrays=True)
    assert not capsys.readouterr().err


def test_memory_that_runs_out_while_a_batch_is_computed(tiny_model, short, monkeypatch):
    """The error comes when results are fetched: with the batch after it under way."""
    finished, failures = arrays._finished, []

    class Failed:
        def __array__(self, *_, **__):
            failures.append(1)
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")

    monkeypatch.setattr(
        "jaxcrystal.sampling.arrays._finished",
        lambda tables, batch, *rest: Failed() if len(batch.hashes) > 2 else finished(tables, batch, *rest),
    )
    found = sample(221, PEROVSKITE, 11, model=tiny_model, config=short, batch_size=4, arrays=True)
    monkeypatch.undo()
    assert failures
    assert same(found, sample(221, PEROVSKITE, 11, model=tiny_model, config=short, batch_size=2, arrays=True))


def test_the_bundled_model_gives_arrays():
    found = sample(225, {"Na": "a", "Cl": "b"}, 4, model=load_model(), steps_per_level=1, arrays=True)
    assert repr(found).startswith("<arrays of 4 crystals")
    assert found.to_pymatgen(0).composition.reduced_formula == "NaCl"
