"""`jaxcrystal info`: describes a model, a data file or this installation."""

import argparse
from pathlib import Path

from jaxcrystal.commands.parser import Commands, Help, add_module_option, add_name


def add(commands: Commands) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "info",
        help="describe a model, a data file or this installation",
        description="Describes a model folder, a prepared data file, or, with neither, the bundled "
        "model, the installed versions and the devices.",
        formatter_class=Help,
    )
    add_name(parser, "path", nargs="?", metavar="MODEL|DATA", help="model folder or .npz file")
    add_module_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Prints the description."""
    from jaxcrystal.reports import info

    path = None if arguments.path is None else Path(arguments.path)
    if path is None:
        print(info.describe_installation())
        print()
    print(
        info.describe_data(path)
        if path is not None and path.is_file()
        else info.describe_model(path, arguments.module)
    )
    return 0
