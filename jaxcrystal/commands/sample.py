"""`jaxcrystal sample`: generates crystals of a space group."""

import argparse
import time
from typing import TYPE_CHECKING

from jaxcrystal.commands.parser import Commands, Help, at_least_1, warn

if TYPE_CHECKING:
    from jaxcrystal.sampling.orders import Order

_EXAMPLES = """\
examples:
  64 crystals of group 221 with one inequivalent site each of Ba, Ti and O; the Wyckoff
  letters of the sites are drawn by how often they occur in the training data:
    jaxcrystal sample --space-group 221 --sites Ba=1,Ti=1,O=1 --count 64 --out run1

  the cubic perovskite BaTiO3: Ba on 1a, Ti on 1b, O on 3c:
    jaxcrystal sample --space-group Pm-3m --wyckoff Ba=a,Ti=b,O=c --count 64 --out run2

  two sites of O, on letters c and d, in each of two groups, as CIF and extxyz:
    jaxcrystal sample --space-group 221,225 --sites Na=1,O=2 --format cif,extxyz --out run3

  1,000 crystals with the groups, elements and Wyckoff letters of random structures of a file:
    jaxcrystal sample --like test.npz --letters given --count 1000 --format json --out run4

The folder given with --out gets the structures and summary.csv: id, formula, Wyckoff
letters, group asked for and group that spglib finds (tolerance 0.1 Å; strict: 0.01 Å),
lattice (Å, degrees), volume per atom (Å³), shortest distance between two atoms (Å), valid
(ran to the end, no two atoms nearer than 0.5 Å), and status."""


def add(commands: Commands) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "sample",
        help="generate crystals of a space group",
        description="Generates crystals of a space group from chosen elements.",
        epilog=_EXAMPLES,
        formatter_class=Help,
    )
    what = parser.add_argument_group("what to generate")
    what.add_argument(
        "--space-group",
        metavar="GROUP[,GROUP...]",
        help="number from 16 to 230 or Hermann-Mauguin symbol; several are separated by commas",
    )
    sites = what.add_mutually_exclusive_group(required=True)
    sites.add_argument(
        "--sites",
        metavar="EL=N,...",
        help="number of symmetry-inequivalent sites of each element, such as Ba=1,Ti=1,O=2",
    )
    sites.add_argument(
        "--wyckoff",
        metavar="EL=LETTERS,...",
        help="Wyckoff letters of each element, one letter a site, such as Ba=a,Ti=b,O=cd",
    )
    sites.add_argument(
        "--like",
        metavar="FILE",
        help="groups and sites of structures drawn at random from a file of `jaxcrystal prepare` (.npz), or "
        "from a structure file or folder; each is drawn once before any comes again",
    )
    what.add_argument(
        "--letters",
        choices=("auto", "free", "given"),
        default="auto",
        help="with --sites and --like. auto: Wyckoff letters are drawn by how often they occur in the "
        "training data for this group and these counts, so that atoms stay on them and the composition is "
        "exact; free: every site moves freely and may fall on a special position, which decides the "
        "composition; given: with --like, the letters of its structures",
    )
    what.add_argument(
        "--count", type=int, default=16, metavar="N", help="crystals for each group; with --like, in all"
    )
    what.add_argument(
        "--seed", type=int, default=0, metavar="N", help="the same seed gives the same crystals"
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--out", required=True, metavar="DIR", help="folder for the results; must be new or empty"
    )
    output.add_argument(
        "--format",
        default="cif",
        metavar="NAME,...",
        help="some of cif, extxyz, json, poscar; cif and poscar are one file a crystal",
    )
    output.add_argument(
        "--trajectory",
        type=int,
        default=0,
        metavar="N",
        help="also write every N-th step on the way, as extxyz; 0: none. N must divide levels × steps",
    )
    how = parser.add_argument_group("how")
    how.add_argument("--model", metavar="DIR", help="model or run folder (default: the bundled model)")
    how.add_argument(
        "--steps-per-level",
        type=int,
        default=20,
        metavar="T",
        help="Langevin steps at each of the noise levels; time is proportional to it",
    )
    how.add_argument(
        "--tau",
        type=float,
        default=0.15,
        help="temperature of the lattice: 0 takes the likeliest lattice, 1 the full spread",
    )
    how.add_argument(
        "--alternating",
        action="store_true",
        help="update coordinates and lattice in turn, each with its own evaluation of the network "
        "(twice the time)",
    )
    how.add_argument(
        "--denoise",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="the last step takes the noise out of the coordinates, so that sites end where the network "
        "sees them",
    )
    how.add_argument(
        "--batch-size",
        type=int,
        metavar="N",
        help="crystals computed together on each core or device (default: 8 on a CPU, 256 on a GPU); changes "
        "memory and speed, and results by rounding only",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Samples, writes the folder and prints a table."""
    from jaxcrystal.errors import RequestError
    from jaxcrystal.sampling.writers import claim_folder, describe_flags, parse_formats, table, write_samples

    # All that can be wrong is looked at before anything slow begins.
    at_least_1(arguments, "count", "steps_per_level", "batch_size")
    orders, counts = _orders(arguments)
    formats = parse_formats(arguments.format)
    if not arguments.tau >= 0:
        raise RequestError(f"--tau is {arguments.tau}; it must not be negative")

    from jaxcrystal.diffusion.langevin import LangevinConfig
    from jaxcrystal.environment import use_all_cores
    from jaxcrystal.sampling.runner import sample_orders, unseen_elements
    from jaxcrystal.training.model import load_model

    use_all_cores()
    model = load_model(arguments.model)
    try:
        config = LangevinConfig(
            model.schedule,
            steps_per_level=arguments.steps_per_level,
            lattice_temperature=arguments.tau,
            alternating=arguments.alternating,
            denoise=arguments.denoise,
            trajectory_every=arguments.trajectory,
        )
    except ValueError as error:
        raise RequestError(str(error)) from error
    claim_folder(arguments.out)
    unseen = unseen_elements(orders, model)
    if unseen:
        warn(f"the model has never seen {', '.join(unseen)}: expect nothing of what it does with them")
    started = time.perf_counter()
    samples = sample_orders(
        orders, counts, model, arguments.seed, config, arguments.batch_size, progress=True
    )
    seconds = time.perf_counter() - started
    write_samples(samples, arguments.out, formats)
    print(table(samples))
    print(f"{seconds:.0f} s, compilation included; written to {arguments.out}")
    for line in describe_flags(samples):
        warn(line)
    return 0


def _orders(arguments: argparse.Namespace) -> "tuple[list[Order], list[int]]":
    """Returns what is asked for, and how many of each."""
    from jaxcrystal.errors import RequestError
    from jaxcrystal.sampling import orders as parsing

    mode = arguments.letters
    if arguments.like is not None:
        from jaxcrystal.data.prepare import load_or_prepare
        from jaxcrystal.sampling.like import draw_orders

        if arguments.space_group is not None:
            raise RequestError("--space-group does not go with --like: the structures of the file give it")
        return draw_orders(load_or_prepare(arguments.like), arguments.count, mode, arguments.seed)
    if arguments.space_group is None:
        raise RequestError("--space-group is missing: --sites and --wyckoff need one")
    if mode == "given":
        raise RequestError("--letters given goes with --like: letters of your own are given with --wyckoff")
    sites: dict[str, int] | dict[str, str]
    if arguments.wyckoff is None:
        sites = parsing.parse_sites(arguments.sites)
    elif mode == "free":
        raise RequestError("--letters free goes with --sites: with --wyckoff the letters are given")
    else:
        sites = parsing.parse_wyckoff(arguments.wyckoff)
    groups = parsing.parse_space_groups(arguments.space_group)
    orders = [parsing.make_order(group, sites, mode) for group in groups]
    return orders, [arguments.count] * len(orders)
