"""Sampling with a tiny network: sameness, exactness, compile counts, flags."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcrystal
from jaxcrystal.diffusion.langevin import LangevinConfig
from jaxcrystal.errors import DataError, RequestError, Status
from jaxcrystal.letters.frequencies import LetterFrequencies
from jaxcrystal.requests.candidates import Candidate, templates
from jaxcrystal.requests.orders import make_order
from jaxcrystal.sampling import programs
from jaxcrystal.sampling.batches import shape_of
from jaxcrystal.sampling.sample import sample, sample_orders
from jaxcrystal.sampling.stream import unseen
from jaxcrystal.structures.finished import Drawn, Sample, Samples, finish
from jaxcrystal.symmetry.wyckoff import wyckoff_position
from tests.crystals import params_from_lengths_angles

PEROVSKITE = {"Ba": "a", "Ti": "b", "O": "c"}


@pytest.fixture(scope="module")
def perovskites(tiny_model, quick) -> Samples:
    return sample(221, PEROVSKITE, 5, model=tiny_model, config=quick, batch_size=4)


def same(first, second) -> bool:
    """To the last bit."""
    arrays = [(getattr(x, n) for n in ("lattice", "frac_coords", "species")) for x in (first, second)]
    sites = [(x.crystal.frac_coords, x.crystal.lattice_params, x.crystal.site_ops) for x in (first, second)]
    return first.letters == second.letters and all(
        a.tobytes() == b.tobytes() for a, b in [*zip(*arrays, strict=True), *zip(*sites, strict=True)]
    )


def test_composition_is_that_of_the_letters(perovskites) -> None:
    assert len(perovskites) == 5
    for number, crystal in enumerate(perovskites):
        assert crystal.number == number
        assert crystal.formula == "BaTiO3"
        assert crystal.letters == ("c", "b", "a")
        assert crystal.wyckoff == "O:c Ti:b Ba:a"
        assert crystal.space_group == crystal.found_group == 221
        assert crystal.status == "ok"
        assert sorted(crystal.species) == [8, 8, 8, 22, 56]
    assert len({float(crystal.lattice[0, 0]) for crystal in perovskites}) == 5


def test_conversions(perovskites) -> None:
    structure, atoms = perovskites[0].to_pymatgen(), perovskites[0].to_ase()
    assert structure.composition.reduced_formula == "BaTiO3"
    np.testing.assert_allclose(atoms.cell.array, structure.lattice.matrix)
    assert len(perovskites.to_pymatgen()) == len(perovskites.to_ase()) == 5
    assert len(perovskites[1:3]) == 2
    assert repr(perovskites).startswith("<5 crystals")


def test_primitive_cell_is_the_same_crystal(tiny_model, quick) -> None:
    crystal = sample(225, {"Na": "a", "Cl": "b", "O": "c"}, 1, model=tiny_model, config=quick, batch_size=4)[
        0
    ]
    small, large = crystal.to_pymatgen(primitive=True), crystal.to_pymatgen()
    assert (len(small), len(large)) == (4, 16)
    assert small.volume == pytest.approx(large.volume / 4)
    assert small.get_space_group_info()[1] == 225


def test_a_structure_is_the_same_whatever_else_is_drawn(tiny_model, quick, perovskites) -> None:
    order = make_order(221, PEROVSKITE)
    others = [make_order(221, {"Ba": 1, "Ti": 1, "O": 1}), make_order(62, {"Na": 3}, "free")]
    mixed = sample_orders([*others, order], 7, tiny_model, config=quick, batch_size=4)
    for crystal in mixed[14:19]:
        assert same(crystal, perovskites[crystal.number])
    # and so are those whose letters are drawn, and the free ones
    for place, other in enumerate(others):
        alone = sample_orders([other], 2, tiny_model, config=quick, batch_size=4)
        assert all(same(alone[n], mixed[7 * place + n]) for n in range(2))


def test_seeds_differ(tiny_model, quick, perovskites) -> None:
    again = sample(221, PEROVSKITE, 1, model=tiny_model, config=quick, batch_size=4)[0]
    other = sample(221, PEROVSKITE, 1, model=tiny_model, config=quick, batch_size=4, seed=1)[0]
    assert same(again, perovskites[0])
    assert not same(other, perovskites[0])


def test_batch_size_changes_rounding_only(tiny_model, quick, perovskites) -> None:
    others = sample(221, PEROVSKITE, 3, model=tiny_model, config=quick, batch_size=2)
    for first, second in zip(perovskites[:3], others, strict=True):
        for frame, same_frame in zip(first.trajectory, second.trajectory, strict=True):
            np.testing.assert_allclose(frame.lattice_params, same_frame.lattice_params, rtol=1e-4)
            np.testing.assert_allclose(frame.frac_coords, same_frame.frac_coords, atol=1e-5)


@pytest.mark.compile
def test_one_compilation_a_shape_and_none_on_the_second_call(tiny_model, quick) -> None:
    orders = [make_order(221, PEROVSKITE), make_order(62, {"Na": 3}, "free")]
    shapes = [shape_of(Candidate(0, o, 0, o.draw_letters(tiny_model.letters, 0, 0))) for o in orders]
    assert len(set(shapes)) == 2

    def compiled() -> int:
        return programs.compiled.cache_info().misses

    before = compiled()
    sample_orders(orders, 5, tiny_model, config=quick, batch_size=4)
    first = compiled()
    assert first - before <= 2  # other tests may have compiled the same
    sample_orders(orders[::-1], 9, tiny_model, seed=5, config=quick, batch_size=4)
    sample(225, {"Li": "a", "Ti": "b", "O": "c"}, 2, model=tiny_model, config=quick, batch_size=4)
    assert compiled() == first


@pytest.mark.parametrize(
    ("group", "sites"),
    [(194, {"Li": "fe", "O": "h"}), (166, {"Na": "c", "O": "hc"}), (227, {"Na": "e", "O": "ab"})],
)
def test_constrained_sites_never_leave_their_subspace(tiny_model, quick, group, sites) -> None:
    for crystal in sample(group, sites, 2, model=tiny_model, config=quick, batch_size=4):
        assert len(crystal.trajectory) == 4
        moved = np.diff([frame.frac_coords for frame in crystal.trajectory], axis=0)
        assert np.abs(moved).max() > 0
        for frame, tolerance in [*((f, 1e-5) for f in crystal.trajectory), (crystal.crystal, 1e-12)]:
            for site, letter in enumerate(crystal.letters):
                position = wyckoff_position(group, letter)
                offset = frame.frac_coords[site] - position.origin
                np.testing.assert_allclose(position.projection @ offset, offset, atol=tolerance)


def test_last_frame_is_the_result(tiny_model, quick) -> None:
    crystal = sample(62, {"Na": "ccc"}, 1, model=tiny_model, config=quick, batch_size=4)[0]
    assert len(crystal.trajectory) == 4
    np.testing.assert_allclose(crystal.trajectory[-1].lattice_params, crystal.crystal.lattice_params)
    np.testing.assert_allclose(crystal.trajectory[-1].frac_coords, crystal.crystal.frac_coords, atol=1e-6)


def test_drawn_letters_are_those_of_the_training_data(tiny_model, quick) -> None:
    crystals = sample(221, {"Ba": 1, "Ti": 1, "O": 1}, 12, model=tiny_model, config=quick, batch_size=4)
    letters = {tuple(sorted(crystal.letters)) for crystal in crystals}
    assert letters <= {("a", "b", "c"), ("a", "b", "d")}
    for crystal in crystals:
        sizes = [wyckoff_position(221, letter).multiplicity for letter in crystal.letters]
        assert len(crystal.species) == sum(sizes)


@pytest.mark.parametrize("mode", ["ranked", "nearest"])
def test_letters_that_are_chosen(tiny_model, quick, caplog, mode) -> None:
    """Three structures of the data are as a, b, c, one as a, b, d; where there is none, it is said."""
    sites = {"Na": 1, "Ti": 1, "Cl": 1}  # of the one
    crystals = sample(221, sites, 4, model=tiny_model, config=quick, batch_size=4, letters=mode)
    order = make_order(221, sites, mode)
    expected = [order.draw_letters(tiny_model.letters, 0, number) for number in range(4)]
    assert [tuple(crystal.letters) for crystal in crystals] == expected
    assert expected[0] == ("a", "d", "b")  # of Na, Cl and Ti
    assert len(set(expected)) == (1 if mode == "nearest" else 2)
    rows = templates([order], [4], frequencies=tiny_model.letters)
    np.testing.assert_array_equal(rows.species[0][:3], [11, 17, 22])
    assert not caplog.records
    sample(16, {"Na": 1, "Cl": 2}, 2, model=tiny_model, config=quick, batch_size=4, letters=mode)
    (record,) = caplog.records
    assert "no structure of the group and site counts of 1 order: letters are drawn" in record.getMessage()


def test_free_sites_end_exactly_on_special_positions(tiny_model, quick) -> None:
    crystals = sample(47, {"Na": 3}, 12, model=tiny_model, config=quick, letters="free", batch_size=4)
    for crystal in crystals:
        for site, letter in enumerate(crystal.letters):
            position = wyckoff_position(47, letter)
            offset = crystal.crystal.frac_coords[site] - position.origin
            np.testing.assert_allclose(position.projection @ offset, offset, atol=1e-9)
            np.testing.assert_array_equal(crystal.crystal.site_ops[site], position.site_ops)
        sizes = [wyckoff_position(47, letter).multiplicity for letter in crystal.letters]
        assert len(crystal.species) == sum(sizes)


def test_images_of_a_site_too_near_for_two_atoms_end_as_one() -> None:
    """Group 47 mirrors x: an atom at x has an image at a distance of 2 x a."""
    order = make_order(47, {"Na": 1}, "free")
    lengths, angles = jnp.array([5.0, 6.0, 7.0]), jnp.full(3, 90.0)
    params = np.asarray(params_from_lengths_angles(lengths, angles, 47))

    def finished(distance: float) -> Sample:
        coords = np.array([[0.5 * distance / 5.0, 0.2, 0.3]])
        candidate = Candidate(0, order, 0, None)
        drawn = Drawn(coords, params, 0, np.zeros(2), None)
        return finish(candidate, candidate.template(), drawn, 0.3)

    assert finished(0.45).valid
    assert len(finished(0.45).species) == 4
    assert len(finished(0.55).species) == 8


def test_several_groups_stand_in_the_order_asked_for(tiny_model, quick) -> None:
    sites = {"Na": "a", "Cl": "b", "O": "c"}
    crystals = sample(["Pm-3m", 225], sites, 2, model=tiny_model, config=quick, batch_size=4)
    assert [(c.space_group, c.number) for c in crystals] == [(221, 0), (221, 1), (225, 0), (225, 1)]
    assert len({crystal.name for crystal in crystals}) == 4


def test_a_flagged_structure_stays_and_does_not_count_as_valid(tiny_model, quick) -> None:
    """A network of NaNs freezes every structure where it starts."""
    broken = replace(tiny_model, params=jax.tree.map(lambda array: array * np.nan, tiny_model.params))
    crystals = sample(62, {"Na": "c", "Cl": "cc"}, 3, model=broken, config=quick, batch_size=4)
    assert len(crystals) == 3
    for crystal in crystals:
        assert crystal.flags == Status.NON_FINITE
        assert crystal.status == "non_finite"
        assert not crystal.valid
        assert np.isfinite(crystal.lattice).all()


def test_random_start_needs_no_network(tiny_model, quick) -> None:
    orders = [make_order(62, {"Na": "c", "Cl": "c"}), make_order(62, {"Na": 2}, "free")]
    starts = sample_orders(orders, 3, tiny_model, config=quick, batch_size=2, random_start=True)
    assert [crystal.formula for crystal in starts[:3]] == ["NaCl"] * 3
    assert len({float(crystal.lattice[0, 0]) for crystal in starts[:3]}) == 3


def test_from_a_model_folder(tiny_model, quick, tmp_path, perovskites) -> None:
    tiny_model.save(tmp_path / "model")
    crystals = jaxcrystal.sample(
        "Pm-3m", PEROVSKITE, count=2, model=tmp_path / "model", config=quick, batch_size=4
    )
    assert same(crystals[1], perovskites[1])


def test_a_formula_is_met_exactly(tiny_model, quick) -> None:
    crystals = jaxcrystal.sample_formula(
        "BaTiO3", 6, [221, "P4mm"], formula_units=[1], model=tiny_model, config=quick, batch_size=4
    )
    assert [crystal.formula for crystal in crystals] == ["BaTiO3"] * 6
    assert {crystal.space_group for crystal in crystals} <= {221, 99}
    assert all(len(crystal.to_pymatgen(primitive=True)) == 5 for crystal in crystals)
    (near,) = jaxcrystal.sample_formula("KTiO3", 1, letters="nearest", model=tiny_model, config=quick)
    assert near.formula == "KTiO3"
    assert near.space_group == 221


def test_one_setting_alone_keeps_the_others(tiny_model, monkeypatch) -> None:
    seen = []

    def catch(orders, count, model, seed, config, *_, **__) -> Samples:
        seen.append(config)
        return Samples([])

    monkeypatch.setattr("jaxcrystal.sampling.sample.sample_orders", catch)
    sample(221, PEROVSKITE, model=tiny_model, steps_per_level=7)
    jaxcrystal.sample_formula("BaTiO3", 2, 221, model=tiny_model, best_of=3)
    sample(221, PEROVSKITE, model=tiny_model, best_of=2, config=seen[0])
    schedule = tiny_model.sampling_schedule
    assert seen == [
        LangevinConfig(schedule, steps_per_level=7),
        LangevinConfig(schedule, best_of=3),
        LangevinConfig(schedule, steps_per_level=7, best_of=2),
    ]


def test_what_a_model_has_never_seen(tiny_model) -> None:
    assert unseen([make_order(221, {"Ba": 1, "U": 1, "Og": 1})], tiny_model) == ["U", "Og"]
    low = [make_order(group, {"Ba": 1}) for group in (1, 14)]
    assert unseen(low, tiny_model) == ["triclinic crystals", "monoclinic crystals"]
    monoclinic = replace(tiny_model, letters=LetterFrequencies({15: {(1,): {(("f",),): 1}}}))
    assert unseen(low, monoclinic) == ["triclinic crystals"]
    assert unseen(low, replace(tiny_model, letters=LetterFrequencies({}))) == []  # nobody knows


@pytest.mark.parametrize("arrays", [False, True])
def test_python_says_what_a_model_has_never_seen(tiny_model, quick, caplog, arrays) -> None:
    sample(221, PEROVSKITE, model=tiny_model, config=quick, arrays=arrays)
    assert not caplog.records
    sample(221, {"U": "a"}, model=tiny_model, config=quick, arrays=arrays)
    jaxcrystal.sample_formula("UO", 1, 2, model=tiny_model, config=quick, arrays=arrays, formula_units=(1,))
    first, second = (record.getMessage() for record in caplog.records)
    assert first == ("jaxcrystal: warning: the model has never seen U: do not rely on its crystals of them")
    assert "never seen U, triclinic crystals" in second
    sample_orders([make_order(2, {"U": 1})], 1, tiny_model, random_start=True)
    assert len(caplog.records) == 2  # no network is asked


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0}, "count is 0"),
        ({"count": 1, "batch_size": 0}, "batch_size is 0"),
        ({"count": 1, "seed": -1}, "seed is -1"),
        ({"count": 1, "seed": 2**32}, "seed is 4294967296"),
        ({"count": 1, "steps_per_level": 0}, "steps_per_level is 0"),
        ({"count": 1, "best_of": 0}, "best_of is 0"),
    ],
)
def test_wrong_requests(tiny_model, arguments, message) -> None:
    with pytest.raises(RequestError, match=message):
        sample(221, {"Ba": 1}, model=tiny_model, **arguments)


def test_a_folder_without_a_model(tmp_path) -> None:
    with pytest.raises(DataError, match="holds no model"):
        sample(221, {"Ba": 1}, model=tmp_path)
