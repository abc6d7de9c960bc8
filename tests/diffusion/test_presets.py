"""Presets: what they set and cost, the same in Python and on the command line."""

import pytest

from jaxcrystal.commands import sampler_options
from jaxcrystal.commands.parser import Parser
from jaxcrystal.diffusion.presets import PRESETS, make_config
from jaxcrystal.diffusion.schedules import SCHEDULES
from jaxcrystal.diffusion.settings import LangevinConfig
from jaxcrystal.errors import RequestError
from jaxcrystal.model import load_model
from jaxcrystal.sampling import sample as module
from jaxcrystal.structures.finished import Samples

SALT = (225, {"Na": "a", "Cl": "b"})


@pytest.fixture(scope="module")
def schedule():
    return load_model().sampling_schedule


def by_command(model, *words: str) -> LangevinConfig:
    parser = Parser(argument_default=None)
    sampler_options.add_sampler_options(parser)
    return sampler_options.config_of(parser.parse_args(words), model)


def in_python(model, monkeypatch, **settings) -> LangevinConfig:
    seen = []
    monkeypatch.setattr(module, "sample_orders", lambda *a, **_: seen.append(a[4]) or Samples([]))
    module.sample(*SALT, model=model, **settings)
    return seen[0]


def test_presets_cost_what_they_say(schedule) -> None:
    """The numbers of the help and of the guide."""
    costs = {name: make_config(schedule, name).evaluations for name in PRESETS}
    assert costs == {"fast": 67, "default": 201, "thorough": 994, "paper": 601}
    said = Parser()
    sampler_options.add_sampler_options(said)
    text = " ".join(said.format_help().split())
    assert all(f"{name} {cost}" in text for name, cost in costs.items())


def test_default_is_one_plain_chain(schedule) -> None:
    assert make_config(schedule) == LangevinConfig(schedule)


def test_paper_is_the_papers(schedule) -> None:
    """Algorithm 1: one chain, ten levels of 60 steps, ε_X = σ_X² and ε_L = 0.1 σ_L², no last denoising."""
    config = make_config(schedule, "paper")
    assert config == LangevinConfig(SCHEDULES["paper"], steps_per_level=60, denoise=False)
    assert config.evaluations == 601
    assert (config.coord_step, config.lattice_step, config.best_of) == (1.0, 0.1, 1)


@pytest.mark.parametrize("name", PRESETS)
def test_the_same_words_mean_the_same(tiny_model, monkeypatch, name) -> None:
    wanted = make_config(tiny_model.sampling_schedule, name)
    assert by_command(tiny_model, "--preset", name) == wanted
    assert in_python(tiny_model, monkeypatch, preset=name) == wanted


def test_the_default_is_the_default(tiny_model, monkeypatch) -> None:
    wanted = make_config(tiny_model.sampling_schedule, "default")
    assert wanted == by_command(tiny_model) == in_python(tiny_model, monkeypatch)
    assert tuple(PRESETS) == sampler_options.PRESETS


def test_options_override_the_preset(tiny_model, monkeypatch) -> None:
    schedule = tiny_model.sampling_schedule
    words = ["--steps-per-level", "7", "--best-of", "3", "--lattice-step", "0.3", "--tau", "0.2"]
    config = by_command(tiny_model, "--preset", "thorough", *words, "--no-denoise", "--alternating")
    assert set(config.steps_of_levels) == {7}
    assert (config.best_of, config.lattice_step, config.lattice_temperature) == (3, 0.3, 0.2)
    assert config.alternating
    assert not config.denoise
    short = in_python(tiny_model, monkeypatch, preset="fast", steps_per_level=7, best_of=3)
    assert short == make_config(schedule, "fast", steps_per_level=7, best_of=3)
    assert set(short.steps_of_levels) == {7}


def test_wrong_presets(tiny_model) -> None:
    with pytest.raises(RequestError, match="preset is 'slow'; expected one of fast, default"):
        module.sample(*SALT, model=tiny_model, preset="slow")
    with pytest.raises(RequestError, match="config and preset are both given"):
        module.sample(*SALT, model=tiny_model, preset="fast", config=LangevinConfig())
    with pytest.raises(RequestError, match="best_of is 0"):
        make_config(tiny_model.sampling_schedule, best_of=0)
