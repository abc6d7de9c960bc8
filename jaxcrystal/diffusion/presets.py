"""Presets of the sampler, named by what they give: the same words in Python and on the command line."""

from dataclasses import replace
from typing import Any

from jaxcrystal.diffusion.schedules import SCHEDULES, NoiseSchedule
from jaxcrystal.diffusion.settings import Choice, LangevinConfig
from jaxcrystal.errors import RequestError

#: What each sets; levels are the model's own. What they give and cost: `docs/guide.md`, "How much to spend".
#: `fast` has fewer steps where modes are not decided any more; `paper` is Algorithm 1 with the levels and
#: steps of the paper's code.
PRESETS: dict[str, dict[str, Any]] = {
    "fast": {"steps_per_level": 9, "lattice_step": 0.2, "choices": (Choice(0.2, steps_per_level=3),)},
    "default": {},
    "thorough": {"steps_per_level": 5, "lattice_step": 0.4, "best_of": 14},
    "paper": {"schedule": SCHEDULES["paper"], "steps_per_level": 60, "denoise": False},
}
DEFAULT = "default"


def make_config(schedule: NoiseSchedule, preset: str | None = None, **settings: Any) -> LangevinConfig:
    """Returns the settings of a preset, with those on top that are given.

    Args:
      schedule: levels of the model, `Model.sampling_schedule`.
      preset: one of `PRESETS`; None: `default`.
      settings: of `LangevinConfig`; None: not given. `steps_per_level` holds for the whole way of a chain.

    Raises:
      RequestError: no such preset, or settings out of their bounds.
    """
    if preset is not None and preset not in PRESETS:
        raise RequestError(f"preset is {preset!r:.40}; expected one of {', '.join(PRESETS)}")
    config = LangevinConfig(**{"schedule": schedule, **PRESETS[preset or DEFAULT]})
    return changed(config, **settings)


def changed(config: LangevinConfig, **settings: Any) -> LangevinConfig:
    """Returns settings with those on top that are given: see `make_config`.

    Raises:
      RequestError: settings out of their bounds.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    if "steps_per_level" in given:
        given["choices"] = tuple(replace(choice, steps_per_level=None) for choice in config.choices)
    try:
        return replace(config, **given)
    except ValueError as error:
        raise RequestError(str(error)) from error
