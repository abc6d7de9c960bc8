"""`jaxcrystal view`: writes a gallery of crystals, in one HTML file."""

import argparse
import re
from pathlib import Path

from jaxcrystal.commands.parser import Commands, Help, add_name, add_number
from jaxcrystal.limits import COUNT

_EXAMPLES = """\
examples:
  jaxcrystal view run1                                   # writes run1/gallery.html
  jaxcrystal view run1 --trajectory 0003_BaTiO3_221      # with its denoising
  jaxcrystal view my_structures/ --out pictures.html     # any CIF, POSCAR, extxyz, JSON or .npz

The page needs no network: open it in a browser, send it by mail. It has a card with a
rotatable cell for every structure, a table that can be sorted and filtered (formula, groups,
Wyckoff letters, validity, distances, density, and duplicates where the folder was screened),
and a large view of each structure."""


def add(commands: Commands) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "view",
        help="show crystals in a browser",
        description="Writes one HTML file that shows crystals: rotatable cells and a table.",
        epilog=_EXAMPLES,
        formatter_class=Help,
    )
    add_name(
        parser,
        "source",
        metavar="DIR",
        help="folder that `jaxcrystal sample` wrote, or any folder or file of structures, or the URL of one, "
        "which is copied to a temporary folder first",
    )
    add_name(
        parser,
        "--out",
        metavar="FILE.html",
        help="the page (default: gallery.html in the folder, or NAME.html beside a file; of a URL, "
        "NAME.html here)",
    )
    add_number(parser, "--max", COUNT, default=2000, help="shows the first N structures")
    parser.add_argument(
        "--trajectory",
        nargs="*",
        metavar="ID",
        help="shows the denoising of these structures, or of the first few; the folder must have been "
        "sampled with --trajectory N",
    )
    parser.add_argument("--title", metavar="TEXT", help="heading of the page (default: name of the source)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Writes the page."""
    from jaxcrystal.remote import is_url
    from jaxcrystal.structures.folder import opened_source

    with opened_source(arguments.source) as source:
        here = is_url(arguments.source)  # its own place is no folder to write into
        page = Path(f"{source.name}.html") if here else default_page(Path(arguments.source))
        _write(arguments, source, Path(arguments.out) if arguments.out else page)
    return 0


def _write(arguments: argparse.Namespace, source: Path, out: Path) -> None:
    from jaxcrystal.reports.gallery.content import gallery_content
    from jaxcrystal.reports.gallery.frames import load_frames
    from jaxcrystal.reports.gallery.page import require_ours, write_gallery
    from jaxcrystal.structures.entries import load_entries
    from jaxcrystal.structures.folder import summary_rows
    from jaxcrystal.structures.screening_files import SCREENING_NAME, rows_by_id

    require_ours(out)
    every = load_entries(source)
    entries = every[: arguments.max]
    frames = None
    if arguments.trajectory is not None:
        frames = load_frames(source, arguments.trajectory, [entry.name for entry in entries])
    content = gallery_content(
        entries,
        {row["id"]: row for row in summary_rows(source)},
        rows_by_id(source / SCREENING_NAME),
        frames,
        title=arguments.title or source.resolve().name,
        left_out=len(every) - len(entries),
    )
    write_gallery(content, out)
    count = f"{len(entries)} of {len(every)}" if len(entries) < len(every) else str(len(every))
    more = f" (--max {len(every)} shows all)" if len(entries) < len(every) else ""
    print(f"{count} structures{more}; written to {out}, {out.stat().st_size / 1e6:.1f} MB")


def default_page(source: Path) -> Path:
    """Returns where the page of a source goes: into a folder, or beside a file."""
    if source.is_dir():
        return source / "gallery.html"
    return source.with_name(re.sub(r"(\.\w+)?(\.gz)?$", "", source.name, count=1) + ".html")
