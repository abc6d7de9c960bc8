"""`jaxcrystal train`: trains a model."""

import argparse

from jaxcrystal.commands.parser import Commands, Help

_EXAMPLES = """\
examples:
  jaxcrystal train configs/aflow.toml
  jaxcrystal train configs/aflow.toml --set data.train=my_data.npz optimizer.steps=50000 out=runs/mine
  jaxcrystal train configs/aflow.toml --resume

The run folder (setting `out`) is a model folder: `jaxcrystal sample --model RUN` uses it
from the first checkpoint on. It holds log.csv (losses) and validation.csv (losses by noise
level) too. With --resume, give the same file and the same --set."""


def add(commands: Commands) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "train",
        help="train a model",
        description="Trains a model as a TOML file says.",
        epilog=_EXAMPLES,
        formatter_class=Help,
    )
    parser.add_argument("config", metavar="CONFIG.toml", help="settings of the run")
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        dest="overrides",
        metavar="KEY=VALUE",
        help="settings that replace those of the file",
    )
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint of the run")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Trains, and says where the model is."""
    from jaxcrystal.config import load
    from jaxcrystal.training.config import TrainConfig

    config = load(TrainConfig, arguments.config, arguments.overrides)
    from jaxcrystal.training.loop import train

    out = train(config, arguments.resume)
    print(f"trained; the model is in {out}: jaxcrystal sample --model {out} ...")
    return 0
