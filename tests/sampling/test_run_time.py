"""What a plan says of the work: counts that are right, a time that grows with it."""

import re

import pytest

from jaxcrystal.diffusion.langevin import LangevinConfig
from jaxcrystal.requests.candidates import make_candidates
from jaxcrystal.requests.orders import make_order
from jaxcrystal.sampling import run_time


def test_the_line_names_what_is_sampled(tiny_model, monkeypatch) -> None:
    monkeypatch.setattr(run_time, "_product_rate", lambda: 1e9)
    orders = [make_order(221, {"Ba": "a", "Ti": "b", "O": "c"}), make_order(62, {"Na": 2}, "free")]
    candidates = make_candidates(orders, [1000, 500], tiny_model.letters)
    config = LangevinConfig(tiny_model.schedule)
    text = run_time.describe_work(candidates, tiny_model, config)
    assert text.startswith("1,500 crystals: 2 orders in 2 space groups, 2 shapes to compile; about ")
    few = run_time.describe_work(candidates[:1], tiny_model, config)
    assert few.startswith("1 crystal: 1 order in 1 space group, 1 shape to compile; about ")


def test_time_is_proportional_to_the_work(tiny_model, monkeypatch) -> None:
    monkeypatch.setattr(run_time, "_product_rate", lambda: 1e6)
    order = make_order(221, {"Ba": "a", "Ti": "b", "O": "c"})

    def hours(count, steps, best_of=1):
        candidates = make_candidates([order], [count], tiny_model.letters)
        config = LangevinConfig(tiny_model.schedule, steps_per_level=steps, best_of=best_of)
        text = run_time.describe_work(candidates, tiny_model, config)
        return float(re.search(r"about ([\d.]+) h", text).group(1))

    def evaluations(steps, best_of=1):
        return LangevinConfig(tiny_model.schedule, steps_per_level=steps, best_of=best_of).evaluations

    assert hours(12800, 20) == pytest.approx(2 * hours(6400, 20), rel=0.01)
    for more in ((40, 1), (20, 3)):
        ratio = evaluations(*more) / evaluations(20)
        assert hours(6400, *more) == pytest.approx(ratio * hours(6400, 20), rel=0.01)
