"""Orders that follow known crystals: what is taken from them, and how many of each."""

import csv
from collections import Counter

import numpy as np
import pytest

from jaxcrystal import cli
from jaxcrystal.data.prepare import load_or_prepare
from jaxcrystal.diffusion.langevin import LangevinConfig
from jaxcrystal.elements import SYMBOLS
from jaxcrystal.errors import RequestError
from jaxcrystal.requests.like import draw_orders, order_like
from jaxcrystal.requests.orders import COUNTED, make_order
from jaxcrystal.sampling.sample import sample_orders
from jaxcrystal.symmetry.wyckoff import wyckoff_positions


@pytest.fixture(scope="module")
def prototypes():
    return load_or_prepare("aflow")


@pytest.fixture(scope="module")
def simple(prototypes):
    """Structures of three sites: one shape for the sampler."""
    return prototypes.select(np.flatnonzero((prototypes.num_sites == 3) & (prototypes.space_group >= 16))[:6])


def test_an_order_repeats_group_elements_and_letters(prototypes) -> None:
    for row in np.flatnonzero((prototypes.space_group >= 16) & (prototypes.num_sites <= 20))[::7].tolist():
        group, sites = int(prototypes.space_group[row]), prototypes.sites(row)
        names = [position.letter for position in wyckoff_positions(group)]
        known = Counter(
            (int(z), names[letter])
            for z, letter in zip(prototypes.species[sites], prototypes.letters[sites], strict=True)
        )
        given = order_like(prototypes, row, "given")
        letters = [letter for of_element in given.letters for letter in of_element]
        assert given.space_group == group
        assert Counter(zip(given.species, letters, strict=True)) == known
        for mode in COUNTED:
            order = order_like(prototypes, row, mode)
            assert (order.mode, order.space_group, order.species) == (mode, group, given.species)


@pytest.mark.parametrize("mode", ["given", *COUNTED])
def test_every_structure_is_drawn_before_any_comes_again(simple, mode) -> None:
    per_structure = Counter(order_like(simple, row, mode) for row in range(len(simple)))
    orders, counts = draw_orders(simple, 3 * len(simple), mode)
    assert dict(zip(orders, counts, strict=True)) == {o: 3 * n for o, n in per_structure.items()}
    orders, counts = draw_orders(simple, 4, mode)
    assert sum(counts) == 4
    assert all(n <= per_structure[o] for o, n in zip(orders, counts, strict=True))
    assert draw_orders(simple, 4, mode) == (orders, counts)
    assert any(draw_orders(simple, 4, mode, seed) != (orders, counts) for seed in range(1, 9))


def test_the_largest_structures_are_left_out(prototypes) -> None:
    orders, counts = draw_orders(prototypes, 50, "free", max_sites=2)
    assert sum(counts) == 50
    assert max(order.num_sites for order in orders) <= 2
    with pytest.raises(RequestError, match="none of the"):
        draw_orders(prototypes.select(np.array([], int)), 3, "free")


def test_a_row_that_makes_no_order_is_left_out_and_named(simple, caplog) -> None:
    """Two sites on one point, as older files have them: the others are drawn."""
    broken = simple.select(range(len(simple)))
    row = next(
        n
        for n in range(len(simple))
        if any(
            wyckoff_positions(int(simple.space_group[n]))[letter].num_free == 0
            for letter in simple.letters[simple.sites(n)]
        )
    )
    positions = wyckoff_positions(int(simple.space_group[row]))
    fixed = next(letter for letter in simple.letters[simple.sites(row)] if positions[letter].num_free == 0)
    broken.letters[simple.sites(row)] = fixed
    orders, counts = draw_orders(broken, 2 * len(broken), "given")
    assert sum(counts) == 2 * len(broken)
    assert len(orders) == len({order_like(simple, n, "given") for n in range(len(simple)) if n != row})
    assert f"1 of {len(broken)} structures left out: {broken.ids[row]}" in caplog.text
    caplog.clear()
    assert sum(draw_orders(broken, 9, "free")[1]) == 9  # its letters do not matter here
    assert not caplog.records


def test_counts_differ_by_order(tiny_model) -> None:
    config = LangevinConfig(tiny_model.schedule, steps_per_level=2, trajectory_every=1)
    salts = [make_order(225, {"Na": "a", "Cl": "b"}), make_order(221, {"Na": "a", "Cl": "b"})]
    found = sample_orders(salts, [1, 3], tiny_model, config=config, batch_size=4)
    assert [(s.space_group, s.number) for s in found] == [(225, 0), (221, 0), (221, 1), (221, 2)]
    with pytest.raises(RequestError, match="count is 0"):
        sample_orders(salts, [1, 0], tiny_model, config=config)


def test_command_draws_from_a_file(simple, tiny_model, tmp_path, capsys) -> None:
    tiny_model.save(tmp_path / "model")
    simple.save(tmp_path / "simple.npz")
    command = ["sample", "--like", str(tmp_path / "simple.npz"), "--letters", "given", "--count", "6"]
    command += ["--steps-per-level", "1", "--batch-size", "4", "--model", str(tmp_path / "model")]
    assert cli.main([*command, "--out", str(tmp_path / "out")]) == 0
    with (tmp_path / "out" / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(int(row["requested_group"]) for row in rows) == sorted(simple.space_group)
    asked = Counter(frozenset(SYMBOLS[z] for z in simple.species[simple.sites(n)]) for n in range(6))
    assert Counter(frozenset(w.split(":")[0] for w in row["letters"].split()) for row in rows) == asked

    capsys.readouterr()
    for more, words in (
        (["--space-group", "221"], "--space-group does not go with --like"),
        (["--like", str(tmp_path / "none.npz")], "none.npz"),
        (["--count", "0"], "--count is 0"),
    ):
        assert cli.main([*command, *more, "--out", str(tmp_path / "x")]) == 2
        error = capsys.readouterr().err
        assert words in error
        assert error.count("\n") == 1
        assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--sites", "Ba=1"], "--space-group is missing"),
        (["--space-group", "221", "--sites", "Ba=1", "--letters", "given"], "goes with --like"),
    ],
)
def test_what_does_not_go_together_is_said(arguments, words, tmp_path, capsys) -> None:
    assert cli.main(["sample", *arguments, "--out", str(tmp_path / "x")]) == 2
    assert words in capsys.readouterr().err
