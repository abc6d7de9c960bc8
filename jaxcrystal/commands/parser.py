"""What the commands share: the parser, checks of numbers, warnings."""

import argparse
import os
import sys
from typing import TYPE_CHECKING, NoReturn, TypeAlias

if TYPE_CHECKING:
    from jaxcrystal.model import Model


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Ends with exit code 2."""
        self.exit(2, f"jaxcrystal: error: {message} (see `{self.prog} --help`)\n")


class Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows defaults where there are any; keeps the examples as written."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False or not action.option_strings:
            return action.help
        return super()._get_help_string(action)


#: What a command adds itself to.
Commands: TypeAlias = "argparse._SubParsersAction[Parser]"


def add_model_options(group: "argparse._ActionsContainer") -> None:
    """Adds `--model`, `--module` and `--precision`: see `model_of`."""
    group.add_argument("--model", metavar="DIR|URL", help="model or run folder (default: the bundled model)")
    add_module_option(group)
    group.add_argument(
        "--precision",
        choices=("float32", "tf32", "bfloat16"),
        help="of the products in the layers of the network, on devices that have it; coordinates and "
        "distances are always float32 (default: the model's, tf32 for the bundled one)",
    )


def model_of(arguments: argparse.Namespace) -> "Model":
    """Returns the model that the options name."""
    from jaxcrystal.model import load_model

    model = load_model(arguments.model, arguments.module)
    return model if arguments.precision is None else model.with_precision(arguments.precision)


def add_module_option(group: "argparse._ActionsContainer") -> None:
    """Adds `--module`."""
    group.add_argument(
        "--module",
        type=named_module,
        metavar="PACKAGE.MODULE:CLASS",
        help="Flax module of the network, where it is not DimeNet++; it is imported from where Python "
        "looks for modules, this folder included",
    )


def named_module(text: str) -> str:
    """Lets modules be found in the current folder, as `python -m` does and an installed command does not."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    return text


def at_least_1(arguments: argparse.Namespace, *names: str) -> None:
    """Checks counts; those that were not given (None) pass.

    Raises:
      RequestError: one of them is less than 1.
    """
    from jaxcrystal.errors import RequestError

    for name in names:
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise RequestError(f"--{name.replace('_', '-')} is {value}; it must be at least 1")


def require_min_space_group(arguments: argparse.Namespace) -> None:
    """Checks `--min-space-group`.

    Raises:
      RequestError: it is no number of a group.
    """
    from jaxcrystal.errors import RequestError

    at_least_1(arguments, "min_space_group")
    if arguments.min_space_group > 230:
        raise RequestError(f"--min-space-group is {arguments.min_space_group}; the last group is 230")


def warn(text: str) -> None:
    """Prints a warning line on stderr."""
    print(f"jaxcrystal: warning: {text}", file=sys.stderr)
