"""What the commands share: the parser, checks of options, messages."""

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from jaxcrystal.limits import NAME, SEED, SPACE_GROUP, Bounds

if TYPE_CHECKING:
    from jaxcrystal.model import Model

#: Characters of a message; longer ones, which echo what was typed, lose their middle.
_MOST, _LAST = 280, 80


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Reads the arguments; refuses `--count=--`, of which some versions of Python make an empty list."""
        for word in sys.argv[1:] if args is None else args:
            if word.startswith("--") and word.endswith("=--"):
                self.error(f"{word} gives no value")
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Ends with exit code 2."""
        say(f"error: {message} (see `{self.prog} --help`)")
        self.exit(2)


def say(message: str) -> None:
    """Prints a line about the run on stderr, below the bars of a progress that is shown there."""
    tqdm = sys.modules.get("tqdm")
    for bar in list(getattr(tqdm.tqdm, "_instances", ())) if tqdm else ():
        bar.close()
    text = f"jaxcrystal: {' '.join(message.split())}"
    if len(text) > _MOST:
        text = f"{text[: _MOST - _LAST - 5]} ... {text[-_LAST:]}"
    print(text, file=sys.stderr)


def warn(text: str) -> None:
    """Prints a warning line on stderr."""
    say(f"warning: {text}")


class Bounded(argparse.Action):
    """Stores a value, or each of several, that keeps to its `bounds`; others are a `RequestError`."""

    def __init__(self, *names: Any, bounds: Bounds, **settings: Any) -> None:
        super().__init__(*names, **settings)
        self._bounds = bounds

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: Any = None
    ) -> None:
        """Stores `values`."""
        refusal = self._bounds.refusal(values)
        if refusal is not None:
            from jaxcrystal.errors import RequestError

            raise RequestError(f"{option or self.metavar} {refusal}")
        setattr(namespace, self.dest, values)


def add_number(group: "argparse._ActionsContainer", name: str, bounds: Bounds, **settings: Any) -> None:
    """Adds an option with a number: a whole one, unless `type` says otherwise."""
    settings = {"type": int, "metavar": "N", **settings}
    group.add_argument(name, action=Bounded, bounds=bounds, **settings)


def add_name(group: "argparse._ActionsContainer", name: str, **settings: Any) -> None:
    """Adds an option or argument with the name of a file or folder, or a URL."""
    group.add_argument(name, **settings, action=Bounded, bounds=NAME)


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
    add_name(group, "--model", metavar="DIR|URL", help="model or run folder (default: the bundled model)")
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


def add_seed(group: "argparse._ActionsContainer", text: str) -> None:
    """Adds `--seed`."""
    add_number(group, "--seed", SEED, default=0, help=text)


def add_out(group: "argparse._ActionsContainer") -> None:
    """Adds `--out`, a folder that must be given."""
    add_name(group, "--out", required=True, metavar="DIR", help="folder for the results: new or empty")


def add_min_space_group(group: "argparse._ActionsContainer", text: str) -> None:
    """Adds `--min-space-group`."""
    add_number(group, "--min-space-group", SPACE_GROUP, default=1, help=text)
