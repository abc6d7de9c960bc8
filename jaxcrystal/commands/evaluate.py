"""`jaxcrystal evaluate`: compares a set of samples with known crystals."""

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from jaxcrystal.commands.parser import (
    Commands,
    Help,
    add_min_space_group,
    add_name,
    add_number,
    add_out,
    named_module,
    warn,
)
from jaxcrystal.commands.potentials import POTENTIAL
from jaxcrystal.limits import PROCESSES

if TYPE_CHECKING:
    from jaxcrystal.discovery.stability import Known
    from jaxcrystal.evaluation.metrics import Evaluation
    from jaxcrystal.structures.entries import Entry

_EXAMPLES = """\
examples:
  jaxcrystal evaluate run1 --reference test.csv.gz --out run1_evaluation
  jaxcrystal evaluate other_program.extxyz --reference test.npz --train train.npz --out theirs
  jaxcrystal evaluate run1 --reference test.csv.gz --dask tcp://10.0.0.1:8786 --out run1_evaluation
  jaxcrystal evaluate run1 --reference test.csv.gz --train train.npz --potential 7net-0 \\
      --references train_7net.json.gz --out run1_stability

The folder given with --out gets metrics.json (every figure with its denominator),
per_structure.csv (one row a sample: groups, validity and why not, distances to the nearest
reference, first equal sample) and report.html (figures and plots; needs no network).
Samples that cannot be read, or that the sampler stopped, count as failures. Fingerprints
are kept in ~/.cache/jaxcrystal (or the folder that JAXCRYSTAL_CACHE names): a second run
takes seconds.

With --potential each sample is relaxed in its group, placed on the hull of --references (`jaxcrystal
references` of the same potential), and compared with the others and with --train as it is then: how
many are stable, unique and novel at 0 and 0.1 eV/atom, how much energy they lose and how far their
atoms move (metrics.json, stability). Relaxed structures are kept in the same cache."""


def add(commands: Commands) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "evaluate",
        help="compare a set of samples with known crystals",
        description="Compares samples, of this program or another, with known crystals: validity, "
        "coverage, Fréchet and Wasserstein distances, uniqueness, novelty, symmetry.",
        epilog=_EXAMPLES,
        formatter_class=Help,
    )
    add_name(
        parser,
        "samples",
        metavar="SAMPLES",
        help="folder that `jaxcrystal sample` wrote, or any folder or file of structures: CIF, POSCAR, "
        "extxyz, pymatgen JSON, CSV with a `cif` column (each also as .gz), .npz of `jaxcrystal prepare`; "
        "also the URL of one, which is copied to a temporary folder first, as those of the other files are",
    )
    add_name(
        parser,
        "--reference",
        required=True,
        metavar="FILE",
        help="known crystals to compare with, such as a test set",
    )
    add_name(
        *(parser, "--train"),
        metavar="FILE",
        help="known crystals that novel samples differ from (default: no novelty)",
    )
    add_out(parser)
    add_min_space_group(
        parser,
        "leaves reference structures of lower groups out; 16, as in the paper: neither triclinic nor "
        "monoclinic ones",
    )
    add_number(parser, "--processes", PROCESSES, help="worker processes (default: one a core)")
    parser.add_argument(
        "--dask", metavar="ADDRESS", help="do the work on the cluster of this dask scheduler: tcp://HOST:PORT"
    )
    parser.add_argument(
        "--potential",
        type=named_module,
        metavar=POTENTIAL,
        help="relax the samples with it, as `jaxcrystal relax` does, and count the stable ones",
    )
    add_name(
        parser,
        "--references",
        nargs="+",
        metavar="FILE",
        help="energies of known structures by that potential, of `jaxcrystal references`",
    )
    parser.add_argument("--no-html", action="store_true", help="write no report.html")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Evaluates, writes the folder and prints a table."""
    from jaxcrystal.errors import DataError
    from jaxcrystal.evaluation.fingerprints import require_eval
    from jaxcrystal.evaluation.metrics import EvaluationSettings, evaluate
    from jaxcrystal.folders import results_folder
    from jaxcrystal.io.readers import AFLOW
    from jaxcrystal.remote import is_url
    from jaxcrystal.reports.figures import text_table
    from jaxcrystal.structures.entries import load_entries
    from jaxcrystal.workers import require_scheduler

    require_eval()
    if arguments.dask:
        require_scheduler(arguments.dask)
    started = time.perf_counter()
    sources = {name: getattr(arguments, name) for name in ("samples", "reference", "train")}
    for source in sources.values():  # before minutes are spent on reading the others
        if source and source != AFLOW and not is_url(source) and not Path(source).exists():
            raise DataError(f"{source} does not exist")
    known = _known(arguments)
    with results_folder(arguments.out) as out:
        entries = {
            name: load_entries(source, arguments.processes) if source else None
            for name, source in sources.items()
        }
        evaluation = evaluate(
            entries["samples"] or [],
            entries["reference"] or [],
            entries["train"],
            EvaluationSettings(min_space_group=arguments.min_space_group),
            processes=arguments.processes,
            dask=arguments.dask,
        )
        if known is not None:
            _add_stability(evaluation, known, entries["train"], arguments)
        _write(
            evaluation, out, {name: source for name, source in sources.items() if source}, arguments.no_html
        )
    print(text_table(evaluation.metrics))
    print("the paper's figures are not like for like: metrics.json says what differs (not_like_for_like)")
    counts = evaluation.metrics["counts"]
    print(
        f"\n{counts['samples']} samples: {counts['parsed']} read, {counts['flagged']} stopped by the "
        f"sampler, {counts['valid']} of valid structure; first reasons of failure:"
    )
    for reason, count in evaluation.metrics["failures"].items():
        print(f"{count:>7}  {reason}")
    if not evaluation.metrics["failures"]:
        print("   none")
    print(f"{time.perf_counter() - started:.0f} s; written to {arguments.out}")
    if known is not None:
        warn(evaluation.metrics["stability"]["note"])
    return 0


def _known(arguments: argparse.Namespace) -> "Known | None":
    """Returns the known compounds that samples are placed among; None if that was not asked for."""
    from jaxcrystal.errors import RequestError

    if (arguments.potential is None) != (arguments.references is None):
        raise RequestError("--potential and --references go together: energies of both by one potential")
    if arguments.potential is None:
        return None
    from jaxcrystal.discovery.stability import known_compounds

    return known_compounds(arguments.references, arguments.potential)


def _add_stability(
    evaluation: "Evaluation", known: "Known", train: "list[Entry] | None", arguments: argparse.Namespace
) -> None:
    from jaxcrystal.discovery.relaxation import RelaxSettings
    from jaxcrystal.discovery.run import Work
    from jaxcrystal.discovery.stability import stability
    from jaxcrystal.text import json_ready

    work = Work(arguments.processes, arguments.dask)
    found = stability(evaluation.samples, known, train, RelaxSettings(arguments.potential), work)
    evaluation.metrics["stability"] = json_ready(found.figures)
    evaluation.per_structure.update(json_ready(found.columns))


def _write(evaluation: "Evaluation", out: Path, sources: dict[str, str], no_html: bool) -> None:
    from jaxcrystal.files import write_text
    from jaxcrystal.reports.figures import PAPER, PAPER_REAL, differences
    from jaxcrystal.text import csv_text

    columns = evaluation.per_structure
    rows = (
        [f"{cell:.6g}" if isinstance(cell, float) else cell for cell in row]
        for row in zip(*columns.values(), strict=True)
    )
    write_text(out / "per_structure.csv", csv_text([columns, *rows]))
    metrics = evaluation.metrics | {
        "sources": sources,
        "paper": {"model": PAPER, "real structures": PAPER_REAL},
        "not_like_for_like": differences(evaluation.metrics),
    }
    write_text(
        out / "metrics.json", json.dumps(metrics, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    )
    if not no_html:
        from jaxcrystal.reports.report import render

        write_text(out / "report.html", render(evaluation, sources))
