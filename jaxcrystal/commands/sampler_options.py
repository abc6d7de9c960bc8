"""The options of the sampler, the same for all commands that sample."""

import argparse
from typing import TYPE_CHECKING

from jaxcrystal.commands.parser import add_number
from jaxcrystal.limits import BEST_OF, LATTICE_STEP, STEPS_PER_LEVEL, TEMPERATURE

if TYPE_CHECKING:
    from jaxcrystal.diffusion.settings import LangevinConfig
    from jaxcrystal.model import Model

#: Those of `diffusion.presets`, which is not imported for a help text; a test holds them together.
PRESETS = ("fast", "default", "thorough", "paper")


def add_sampler_options(group: "argparse._ActionsContainer") -> None:
    """Adds `--preset` and the settings that go on top of it: see `config_of`."""
    group.add_argument(
        "--preset",
        choices=PRESETS,
        default="default",
        help="how much to spend on a crystal, in evaluations of the network: fast 67, default 201, thorough "
        "994 (the likeliest of 14 short chains), paper 601: Algorithm 1 of the paper with its levels and 60 "
        "steps at each. The options that follow change what it sets",
    )
    add_number(
        group,
        "--steps-per-level",
        STEPS_PER_LEVEL,
        metavar="T",
        help="Langevin steps at each of the noise levels; time is proportional to it (default: the "
        "preset's, 20)",
    )
    add_number(
        group,
        "--best-of",
        BEST_OF,
        help="run N chains for each crystal and keep the likeliest by the network's denoising losses; time "
        "is proportional to it (default: the preset's, 1)",
    )
    add_number(
        group,
        "--lattice-step",
        LATTICE_STEP,
        type=float,
        metavar="STEP",
        help="size of the lattice's steps; a chain of few steps needs larger ones: 2 over T is as far "
        "(default: the preset's, 0.1)",
    )
    add_number(
        group,
        "--tau",
        TEMPERATURE,
        type=float,
        metavar="TAU",
        help="temperature of the lattice: 0 takes the likeliest lattice, 1 the full spread (default: 0.15)",
    )
    group.add_argument(
        "--alternating",
        action="store_true",
        default=None,
        help="update coordinates and lattice in turn, each with its own evaluation of the network "
        "(twice the time)",
    )
    group.add_argument(
        "--denoise",
        action=argparse.BooleanOptionalAction,
        help="the last step subtracts the predicted noise from the coordinates, so that sites end without "
        "random displacements (default, but with --preset paper)",
    )


def config_of(arguments: argparse.Namespace, model: "Model", trajectory_every: int = 0) -> "LangevinConfig":
    """Returns the settings that the options give.

    Raises:
      RequestError: they do not go together.
    """
    from jaxcrystal.diffusion.presets import make_config

    return make_config(
        model.sampling_schedule,
        arguments.preset,
        steps_per_level=arguments.steps_per_level,
        best_of=arguments.best_of,
        lattice_step=arguments.lattice_step,
        lattice_temperature=arguments.tau,
        alternating=arguments.alternating,
        denoise=arguments.denoise,
        trajectory_every=trajectory_every,
    )
