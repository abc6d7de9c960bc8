"""`jaxcrystal sample`: generates crystals of a space group, a formula or a chemical system."""

import argparse
import sys
import time
from typing import TYPE_CHECKING

from jaxcrystal.commands.hosts import add_host_options, add_shard_option, join_hosts
from jaxcrystal.commands.parser import (
    Commands,
    Help,
    add_model_options,
    add_name,
    add_number,
    add_seed,
    model_of,
    warn,
)
from jaxcrystal.commands.sampler_options import add_sampler_options, config_of
from jaxcrystal.limits import ATOMS, BATCH_SIZE, COUNT, PART_SIZE, SITES, TRAJECTORY, WORKERS

if TYPE_CHECKING:
    from jaxcrystal.requests.requests import Request

_EXAMPLES = """\
examples:
  64 crystals of group 221 with one inequivalent site each of Ba, Ti and O; the Wyckoff
  letters of the sites are drawn as similar elements have them in the training data:
    jaxcrystal sample --space-group 221 --sites Ba=1,Ti=1,O=1 --count 64 --out run1

  the cubic perovskite BaTiO3: Ba on 1a, Ti on 1b, O on 3c:
    jaxcrystal sample --space-group Pm-3m --wyckoff Ba=a,Ti=b,O=c --count 64 --out run2

  1,000 crystals of exactly Cu2KSi, on the likeliest letters of all groups; first what that is:
    jaxcrystal sample --formula Cu2KSi --count 1000 --plan
    jaxcrystal sample --formula Cu2KSi --count 1000 --out run3

  one or two sites each of Cu, Si and K in each of the 32 commonest groups, 4 crystals of each:
    jaxcrystal sample --chemical-system Cu-Si-K --count 4 --out run4

  1,000 crystals with the groups, elements and Wyckoff letters of random structures of a file:
    jaxcrystal sample --like test.npz --letters given --count 1000 --format json --out run5

  what a file asks for, one [[order]] table each with the options' names
  (space_group = [62, "Pm-3m"], sites = {Na = 1, O = [1, 2]}, count = 20):
    jaxcrystal sample orders.toml --out run6

  the same run by 16 jobs that know nothing of each other, each on a node of its own, into one
  place; the one that ends last writes summary.csv (configs/launch/slurm_array.sh):
    jaxcrystal sample orders.toml --out gs://bucket/run6 --shard 3/16

The folder given with --out gets parts/00000, parts/00001, ..., each written when its
crystals are finished: structures and summary.csv. At a URL a part is one object,
parts/00000.zip. A run that was stopped or killed goes on with the same command, and with the
same command the parts of a run that were sampled in several places and then copied together
get their summary. At the end summary.csv beside them holds all rows: id, formula, Wyckoff
letters, group asked for and group that spglib finds (tolerance 0.1 Å; with --strict also
that at 0.01 Å; empty where it was not looked for), lattice (Å, degrees), volume per atom
(Å³), shortest distance between two atoms (Å), size of the final scores (coordinates in
1/Å, lattice), valid (ran to the end, no two atoms nearer than 0.5 Å), and status."""


def add(commands: Commands) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "sample",
        help="generate crystals of a space group",
        description="Generates crystals of a space group from chosen elements.",
        epilog=_EXAMPLES,
        formatter_class=Help,
    )
    _add_what(parser)
    _add_limits(parser)
    _add_output(parser)
    _add_how(parser)
    add_shard_option(parser)
    add_host_options(parser)
    parser.set_defaults(run=run)


def _add_what(parser: argparse.ArgumentParser) -> None:
    """Adds what a request says of its crystals."""
    what = parser.add_argument_group("what to generate")
    add_name(
        what, "orders", nargs="?", metavar="ORDERS.toml", help="file of orders, in place of the following"
    )
    what.add_argument(
        "--space-group",
        metavar="GROUP[,GROUP...]",
        help="number from 1 to 230 or Hermann-Mauguin symbol; several are separated by commas. any: all of "
        "them (default with --formula); common: the 32 commonest of the training data (default with "
        "--chemical-system)",
    )
    sites = what.add_mutually_exclusive_group()
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
        "--formula",
        help="exact composition, such as Cu2KSi, on the letters that give it, those first that are likeliest "
        "in the training data",
    )
    sites.add_argument(
        "--chemical-system",
        metavar="EL-EL-...",
        help="elements, such as Cu-Si-K, all present, with every combination of --sites-per-element",
    )
    add_name(
        sites,
        "--like",
        metavar="FILE",
        help="groups and sites of structures drawn at random from a file of `jaxcrystal prepare` (.npz), or "
        "from a structure file or folder, or its URL; each is drawn once before any comes again",
    )
    what.add_argument(
        "--letters",
        choices=("auto", "ranked", "nearest", "free", "given"),
        help="auto (default): Wyckoff letters are drawn as like elements have them in the training data, for "
        "this group and these counts, so that atoms stay on them and the composition is exact; ranked: dealt "
        "in proportion to the same chances, the likeliest first; nearest: those of the training structure of "
        "this group and these counts whose elements are most alike; free: every site moves freely and may "
        "fall on a special position, which decides the composition; given: with --like, the letters of its "
        "structures. With --formula auto or nearest: of the groups that are allowed, the letters of the "
        "structure of the same proportions whose elements are most alike",
    )
    add_number(
        what,
        "--count",
        COUNT,
        help="crystals for each group and combination of sites; in all with --formula and --like "
        "(default: 16)",
    )
    what.add_argument(
        "--cond",
        metavar="NAME=VALUE,...",
        help="conditions on each crystal, for a model that was trained with them: band_gap=1.5",
    )
    add_seed(what, "the same seed gives the same crystals")


def _add_limits(parser: argparse.ArgumentParser) -> None:
    """Adds what bounds the assignments of a formula or a chemical system."""
    limits = parser.add_argument_group("with --formula and --chemical-system")
    limits.add_argument(
        "--formula-units", metavar="N,...", help="of --formula, in the primitive cell (default: 1,2,3,4)"
    )
    add_number(limits, "--max-atoms", ATOMS, help="of --formula, in the primitive cell (default: 20)")
    add_number(limits, "--max-sites", SITES, help="inequivalent ones (default: 20)")
    add_number(
        limits,
        "--at-most",
        COUNT,
        help="crystals of one assignment of letters to --formula (default: any)",
    )
    limits.add_argument("--sites-per-element", metavar="N,...", help="of --chemical-system (default: 1,2)")


def _add_output(parser: argparse.ArgumentParser) -> None:
    """Adds where and how crystals are written."""
    output = parser.add_argument_group("output")
    add_name(
        output,
        "--out",
        metavar="DIR|URL",
        help="folder for the results: new, empty, or of the same run, which goes on; gs://bucket/run or "
        "s3://bucket/run too (pip install 'jaxcrystal[remote]')",
    )
    output.add_argument("--plan", action="store_true", help="print what would be sampled, and sample nothing")
    output.add_argument(
        "--format",
        default="cif",
        metavar="NAME,...",
        help="some of cif, extxyz, json, npz, poscar; cif and poscar are one file a crystal. npz: arrays, as "
        "`jaxcrystal prepare` writes them, in one file for each part",
    )
    groups = output.add_mutually_exclusive_group()
    groups.add_argument(
        "--strict",
        action="store_true",
        help="also look for the space group with a tolerance of 0.01 Å (found_group_strict)",
    )
    groups.add_argument(
        "--no-audit",
        action="store_true",
        help="do not look for the space group of the crystals, which takes the most time of writing them",
    )
    add_number(
        output,
        "--part-size",
        PART_SIZE,
        help="crystals that are written together: more make fewer folders or objects, and a kill costs more "
        "(default: 32; 1024 with --format npz)",
    )
    add_number(
        output,
        "--trajectory",
        TRAJECTORY,
        default=0,
        help="also write every N-th step on the way, as extxyz; 0: none. N must divide the steps in all, "
        "200 by default",
    )


def _add_how(parser: argparse.ArgumentParser) -> None:
    """Adds the model, the sampler and what computes it."""
    how = parser.add_argument_group("how")
    add_model_options(how)
    add_sampler_options(how)
    add_number(
        how,
        "--batch-size",
        BATCH_SIZE,
        help="crystals computed together on each core or device (default: up to 8 on a CPU, up to 1024 on a "
        "GPU); changes memory and speed, and results by rounding only",
    )
    add_number(
        how,
        "--workers",
        WORKERS,
        help="processes that finish, check and write crystals beside the devices; 0: none, in this one "
        "(default: one a CPU, at most 8, on a GPU; 1 on a CPU)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Samples into the folder, and prints a table."""
    from jaxcrystal.errors import RequestError
    from jaxcrystal.requests.orders import parse_conditions
    from jaxcrystal.sampling.run_folder import Shard, parse_shard
    from jaxcrystal.structures.writers import parse_formats

    # All that can be wrong is checked before anything slow begins.
    shard = Shard() if arguments.shard is None else parse_shard(arguments.shard)
    requests = _requests(arguments)
    formats = parse_formats(arguments.format)
    cond = {} if arguments.cond is None else parse_conditions(arguments.cond)
    if arguments.out is None and not arguments.plan:
        raise RequestError("--out is missing: name a folder for the results, or give --plan")

    from jaxcrystal.environment import use_all_cores

    if not join_hosts(arguments):
        use_all_cores()
    import jax

    from jaxcrystal.requests.candidates import make_candidates
    from jaxcrystal.requests.requests import make_plan
    from jaxcrystal.sampling.run import RunSettings, counts_of, open_run, sample_to_folder
    from jaxcrystal.sampling.run_time import describe_work
    from jaxcrystal.sampling.stream import require_conditions, warn_of_unseen
    from jaxcrystal.structures.summary import GroupCheck, describe

    model = model_of(arguments)
    require_conditions(model, list(cond))
    config = config_of(arguments, model, arguments.trajectory)
    plan = make_plan(requests, model.letters, arguments.seed)
    candidates = make_candidates(plan.orders, plan.counts, model.letters, arguments.seed, cond)
    check: GroupCheck = "none" if arguments.no_audit else "strict" if arguments.strict else "usual"
    settings = RunSettings(
        *(config, arguments.seed, arguments.batch_size, formats),
        check=check,
        workers=arguments.workers,
        part_size=arguments.part_size,
    )
    share = candidates[shard.index - 1 :: shard.count]  # about what the parts of this job hold
    counts = counts_of(candidates, settings)
    work = describe_work(share, model, config, arguments.batch_size, jax.process_count(), counts)
    if arguments.plan:
        warn_of_unseen(plan.orders, model)
        print("\n\n".join([*plan.notes, *([] if plan.notes else [plan.describe()]), work]))
        return 0
    folder = open_run(candidates, model, arguments.out, settings)
    is_main = jax.process_index() == 0
    if is_main:
        print(work, file=sys.stderr)
    started = time.perf_counter()
    sample_to_folder(folder, candidates, model, settings, progress=is_main, shard=shard)
    if is_main:
        parts = shard.parts(settings.num_parts(len(candidates)))
        if not parts:
            print("no part of the run falls to this job")
            return 0
        text, warnings = describe(folder.summary() if shard.count == 1 else folder.rows(parts))
        print(text)
        if not folder.complete:
            print("the parts of this job are there; the last of the other jobs writes summary.csv")
        seconds = time.perf_counter() - started
        print(f"{seconds:.0f} s, compilation included; written to {arguments.out}")
        for line in warnings:
            warn(line)
    return 0


def _requests(arguments: argparse.Namespace) -> "list[Request]":
    """Returns what the options, or the file of orders, ask for."""
    from jaxcrystal.errors import RequestError
    from jaxcrystal.requests import orders as parsing
    from jaxcrystal.requests.requests import make_request, read_requests

    given = {name: getattr(arguments, name) for name in _REQUEST if getattr(arguments, name) is not None}
    if arguments.orders is not None:
        if given:
            name = next(iter(given)).replace("_", "-")
            raise RequestError(f"--{name} does not go with a file of orders: the file says it")
        return read_requests(arguments.orders)
    if "sites" in given:
        given["sites"] = parsing.parse_sites(given["sites"])
    if "wyckoff" in given:
        given["wyckoff"] = parsing.parse_wyckoff(given["wyckoff"])
    for name in ("formula_units", "sites_per_element"):
        if name in given:
            given[name] = parsing.parse_numbers(given[name], f"--{name.replace('_', '-')}")
    return [make_request(given)]


#: The options that make up a request; not given, the request has its own defaults.
_REQUEST = (
    "space_group",
    "sites",
    "wyckoff",
    "formula",
    "chemical_system",
    "like",
    "letters",
    "count",
    "formula_units",
    "max_atoms",
    "max_sites",
    "at_most",
    "sites_per_element",
)
