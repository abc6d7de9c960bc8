"""`jaxcrystal train`: trains a model."""

import argparse

from jaxcrystal.commands.hosts import add_host_options, join_hosts
from jaxcrystal.commands.parser import Commands, Help, add_module_option, add_name, say

_EXAMPLES = """\
examples:
  jaxcrystal train configs/aflow.toml
  jaxcrystal train configs/aflow.toml --set data.train=my_data.npz optimizer.steps=50000 out=runs/mine
  jaxcrystal train configs/aflow.toml --resume
  jaxcrystal train configs/aflow.toml --module mypackage.nets:MyNet --set network.settings.hidden=32
  jaxcrystal train configs/large.toml --distributed    # on every host, under Slurm or on a TPU pod

The run folder (setting `out`) is a model folder: `jaxcrystal sample --model RUN` uses it
from the first checkpoint on. It holds log.csv (losses), validation.csv (losses by noise
level), losses.png and best/, the model of least validation loss, too. With --resume, give
the same file and the same --set. SIGTERM and Ctrl-C save the state first.

All devices of the machine share each batch. Without an accelerator its cores are the
devices, as many as can have equal parts of a batch (JAX_NUM_CPU_DEVICES=1: one). On several
hosts, start the command on each with --distributed, all with the same run folder, on a file
system that they share.

Where hosts share none, `out`, data.train, data.validation and start_from may be URLs
(gs://bucket/run, s3://...; pip install 'jaxcrystal[remote]'): the run is copied there when it
is saved, a checkpoint as one object, and --resume takes it from there on any machine."""


def add(commands: Commands) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "train",
        help="train a model",
        description="Trains a model with the settings of a TOML file.",
        epilog=_EXAMPLES,
        formatter_class=Help,
    )
    add_name(parser, "config", metavar="CONFIG.toml", help="settings of the run")
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
    parser.add_argument(
        "--resume-if-started",
        action="store_true",
        help="go on with the run if the run folder holds one, and begin it otherwise",
    )
    add_module_option(parser)
    add_host_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Trains, and prints where the model is."""
    from jaxcrystal.config import load
    from jaxcrystal.environment import use_all_cores
    from jaxcrystal.training.config import TrainConfig

    named = [] if arguments.module is None else [f"network.module={arguments.module}"]
    config = load(TrainConfig, arguments.config, [*arguments.overrides, *named])
    if not join_hosts(arguments):
        use_all_cores(config.optimizer.batch_size)
    from jaxcrystal.training.folder import holds_run
    from jaxcrystal.training.loop import train
    from jaxcrystal.training.parallel import is_main
    from jaxcrystal.training.stopping import Stopped

    resume = arguments.resume or (arguments.resume_if_started and holds_run(config.out))
    try:
        out = train(config, resume)
    except Stopped as stopped:
        say(str(stopped))
        return stopped.code
    if is_main():
        print(f"trained; the model is in {out}: jaxcrystal sample --model {out} ...")
    return 0
