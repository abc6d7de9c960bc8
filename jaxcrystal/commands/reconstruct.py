"""`jaxcrystal reconstruct`: samples known crystals again and counts how many are found."""

import argparse
import json
import math
import shutil
from collections import Counter
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxcrystal.commands.parser import (
    Commands,
    Help,
    add_min_space_group,
    add_model_options,
    add_name,
    add_number,
    add_out,
    add_seed,
    model_of,
    named_module,
    warn,
)
from jaxcrystal.commands.potentials import POTENTIAL
from jaxcrystal.commands.sampler_options import add_sampler_options, config_of
from jaxcrystal.limits import BATCH_SIZE, COUNT, PROCESSES, Within

if TYPE_CHECKING:
    from jaxcrystal.data.dataset import Dataset
    from jaxcrystal.evaluation.reconstruction import Reconstruction
    from jaxcrystal.evaluation.targets import Targets

#: The figures; that all are there stands in it.
_METRICS = "metrics.json"
#: Of the folder: gets targets that are prepared on the spot, until the folder is known to be ours.
_PREPARED = ".prepared.part"
_EXAMPLES = """\
examples:
  jaxcrystal reconstruct --targets test.npz --samples-per-target 20 --max-targets 200 --out found
  jaxcrystal reconstruct --targets my_structures/ --samples-per-target 50 --given letters --out mine

Each target's space group and sites go in, K samples come out, and pymatgen's StructureMatcher
(stol 0.5, ltol 0.3, angle 10°) decides which of them are the target, before any relaxation and, with
--relax, after it too. All targets are in the denominator. Beside each result stands the random
start: what sampling starts from. The folder given with --out gets metrics.json (every figure; match
rates by family, number of sites and free coordinates), per_target.csv, per_sample.csv, table2.csv
(lattice lengths of the matched targets, sampled and known, in Å) and samples/. What is written so far is
complete at any time; the same command after a kill begins again."""


def add(commands: Commands) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "reconstruct",
        help="sample known crystals again",
        description="Samples known crystals from their space group and sites, and counts how many come out.",
        epilog=_EXAMPLES,
        formatter_class=Help,
    )
    what = parser.add_argument_group("what to find")
    add_name(
        what,
        "--targets",
        required=True,
        metavar="FILE",
        help="file of `jaxcrystal prepare` (.npz), or a structure file or folder, prepared on the spot",
    )
    add_number(
        what, "--samples-per-target", Within(1, 10**6), default=20, metavar="K", help="samples of each target"
    )
    what.add_argument(
        "--given",
        "--contract",  # its name before
        nargs="+",
        choices=("letters", "free", "drawn", "ranked", "nearest"),
        default=["letters", "free"],
        help="what is given beside the group and elements. letters: the Wyckoff letters; free: the number "
        "of sites of each element, which move freely; drawn: the same, on letters that like elements have; "
        "ranked, nearest: the same, on letters as `jaxcrystal sample --letters` has them",
    )
    add_number(what, "--max-targets", COUNT, help="at most so many, drawn by --seed (default: all)")
    add_number(what, "--max-sites", COUNT, help="only targets of at most so many inequivalent sites")
    add_min_space_group(
        what, "only targets of this group or a higher one; 16: neither triclinic nor monoclinic ones"
    )
    add_seed(what, "of the targets and the samples")
    add_out(parser)
    parser.add_argument(
        "--format",
        default="json",
        metavar="NAME,...",
        help="of samples/: some of cif, extxyz, json, poscar; cif and poscar are one file a crystal",
    )
    parser.add_argument(
        "--relax",
        type=named_module,
        metavar=POTENTIAL,
        help="relax the samples with a potential, each in its group, and match them again; random starts "
        "are not relaxed. Names are those of `jaxcrystal relax`",
    )
    how = parser.add_argument_group("how")
    add_model_options(how)
    add_sampler_options(how)
    add_number(
        how,
        "--batch-size",
        BATCH_SIZE,
        help="crystals computed together on each core or device (default: what suits the device)",
    )
    add_number(how, "--processes", PROCESSES, help="worker processes that match (default: one a core)")
    how.add_argument(
        "--dask", metavar="ADDRESS", help="match on the cluster of this dask scheduler: tcp://HOST:PORT"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Samples, matches, writes the folder and prints two tables."""
    from jaxcrystal.files import remove_partial
    from jaxcrystal.structures.writers import parse_formats, write_samples

    formats = parse_formats(arguments.format)

    from jaxcrystal.environment import use_all_cores
    from jaxcrystal.evaluation.reconstruction import reconstruct
    from jaxcrystal.evaluation.targets import Targets, choose, load_targets
    from jaxcrystal.reports.reconstruction_tables import describe
    from jaxcrystal.structures.summary import describe_failures
    from jaxcrystal.workers import require_scheduler

    use_all_cores()
    if arguments.relax is not None:
        from jaxcrystal.discovery.potentials import find_potential

        find_potential(arguments.relax)  # before minutes are spent on sampling
    model = model_of(arguments)
    config = config_of(arguments, model)
    if arguments.dask is not None:
        require_scheduler(arguments.dask)
    settings = json.loads(json.dumps({key: value for key, value in vars(arguments).items() if key != "run"}))
    out = _claim(Path(arguments.out), settings)
    prepared = out / _PREPARED
    dataset = load_targets(arguments.targets, prepared, arguments.processes)
    targets = Targets.from_dataset(
        choose(dataset, arguments.max_targets, arguments.max_sites, arguments.seed, arguments.min_space_group)
    )

    metrics: dict[str, Any] = {
        "complete": False,
        "settings": settings,
        "sampler": asdict(config) | {"evaluations": config.evaluations},
        "model": model.info,
        "versions": _versions(),
        "targets": _counts(dataset, targets, arguments.max_sites, arguments.min_space_group),
        "denominator": "all targets used, whatever became of their samples",
        "relaxation": arguments.relax or "none",
        "runs": {},
    }
    done: list[Reconstruction] = []
    _write_metrics(out, metrics)
    for path in prepared.iterdir() if prepared.exists() else ():
        path.replace(out / path.name)
    # The random start with the true letters stands beside inputs that do not give them, too.
    for given in dict.fromkeys([*arguments.given, "letters"]):
        folder = out / "samples" / given
        for random_start in (True, False) if given in arguments.given else (True,):
            found = reconstruct(
                targets,
                given,
                arguments.samples_per_target,
                model,
                arguments.seed,
                config,
                batch_size=arguments.batch_size,
                random_start=random_start,
                processes=arguments.processes,
                dask=arguments.dask,
                progress=True,
                keep=None if random_start else partial(write_samples, out=folder, formats=formats),
            )
            _add(out, metrics, done, found)
            if arguments.relax is not None and not random_start:
                _relax(out, metrics, done, arguments)
            for line in describe_failures(Counter(sample.status for sample in found.samples)):
                warn(f"{found.name}: {line}")
    _write_metrics(out, metrics | {"complete": True})
    remove_partial(out)
    print(describe(metrics, done))
    print(f"written to {out}")
    return 0


def _claim(out: Path, settings: dict[str, Any]) -> Path:
    """Makes the folder; one in which the same command was ended on its way is begun again.

    Args:
      out: the folder.
      settings: of the command, as JSON gives them.

    Raises:
      DataError: it holds something else, or cannot be made.
    """
    from jaxcrystal.errors import DataError
    from jaxcrystal.files import claim_folder, read_text, remove_partial

    try:
        before = json.loads(read_text(out / _METRICS))
        ours = before["complete"] is False and before["settings"] == settings
    except (DataError, ValueError, KeyError, TypeError, RecursionError):
        ours = False
    if not ours:
        claim_folder(out, leftovers=True)
    remove_partial(out)
    if ours:
        shutil.rmtree(out / "samples", ignore_errors=True)
    return out


def _add(
    out: Path,
    metrics: dict[str, Any],
    done: "list[Reconstruction]",
    found: "Reconstruction",
    about: dict[str, Any] | None = None,
) -> None:
    """Adds a run to the figures, and what became of its samples if they were relaxed; writes them."""
    metrics["runs"][found.name] = found.figures() | ({"relaxation": about} if about else {})
    done.append(found)
    _write(out, metrics, done)


def _relax(
    out: Path, metrics: dict[str, Any], done: "list[Reconstruction]", arguments: argparse.Namespace
) -> None:
    """Adds the last run once more, with its samples relaxed."""
    from jaxcrystal.discovery.relaxation import RelaxSettings
    from jaxcrystal.discovery.relaxed_samples import relax_samples
    from jaxcrystal.discovery.run import Work

    work = Work(arguments.processes, arguments.dask)
    found, about = relax_samples(done[-1], RelaxSettings(arguments.relax), work)
    _add(out, metrics, done, found, about)
    for word, count in about["failures"].items():
        warn(f"{found.name}: {count} of {about['tried']} samples could not be relaxed: {word}")


def _counts(
    dataset: "Dataset", targets: "Targets", max_sites: int | None, min_space_group: int
) -> dict[str, Any]:
    """Counts what became of the structures of the file: `used` and the three after `in_file` make it up."""
    from jaxcrystal.evaluation.targets import too_large

    high_enough = dataset.space_group >= min_space_group
    above = int((high_enough & too_large(dataset, max_sites)).sum())
    return {
        "used": len(targets),
        "in_file": len(dataset),
        "below_min_space_group": int((~high_enough).sum()),
        "above_max_sites": above,
        "not_drawn": int(high_enough.sum()) - above - len(targets),
        "refused_in_preparation": dataset.info.get("rejected", {}),
        "same_order_as_another": len(targets) - len({order.text for order in targets.orders["letters"]}),
    }


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    from jaxcrystal import __version__

    return {"jaxcrystal": __version__} | {name: version(name) for name in ("pymatgen", "spglib", "jax")}


def _write(out: Path, metrics: dict[str, Any], done: "list[Reconstruction]") -> None:
    """Writes all that there is so far, so that an interruption loses one run at most."""
    from jaxcrystal.evaluation.reconstruction import lattice_rows, sample_rows, target_rows
    from jaxcrystal.files import write_text

    write_text(out / "per_target.csv", _csv([row for found in done for row in target_rows(found)]))
    write_text(out / "per_sample.csv", _csv([row for found in done for row in sample_rows(found)]))
    sampled = [row for found in done if not found.random_start for row in lattice_rows(found)]
    write_text(out / "table2.csv", _csv(sampled))
    _write_metrics(out, metrics)


def _write_metrics(out: Path, metrics: dict[str, Any]) -> None:
    from jaxcrystal.files import write_text
    from jaxcrystal.text import json_ready

    write_text(out / _METRICS, json.dumps(json_ready(metrics), indent=1) + "\n")


def _csv(rows: list[dict[str, Any]]) -> str:
    from jaxcrystal.text import csv_text

    head = list(rows[0]) if rows else []
    return csv_text([head, *([_cell(row[name]) for name in head] for row in rows)])


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.5f}"
    return value
