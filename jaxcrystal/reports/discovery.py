"""Renders a discovery as one HTML file: the hull, candidates as rotatable cells, phonons, what was lost."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from jaxcrystal.discovery.found import Discovery
from jaxcrystal.discovery.hull import HULL_NAME, Placed, by_elements, diagram, warnings_of
from jaxcrystal.discovery.phonons import verdict
from jaxcrystal.discovery.vibrations import PhononSettings
from jaxcrystal.reports.gallery.content import gallery_content
from jaxcrystal.reports.gallery.page import write_gallery
from jaxcrystal.reports.hull_plots import hull_plot
from jaxcrystal.reports.page import bullets, image, paragraph, picture, table
from jaxcrystal.structures.screening_files import rows_by_id

REPORT_NAME = "report.html"
#: Systems whose hulls are drawn, and candidates of the table.
_SYSTEMS, _LISTED = 4, 20
#: What a kJ/mol of atoms is, in eV an atom.
_KJ_PER_MOL = 1 / 96.485


def write_report(discovery: Discovery, title: str) -> Path:
    """Writes the page into the discovery's folder, in place of an older one, and returns its path.

    Args:
      discovery: with its hull.
      title: what was asked for.

    Raises:
      DataError: there is another file of this name, or it cannot be written.
    """
    path = discovery.path / REPORT_NAME
    shown = [one.compound.name for one in discovery.placed]
    entries = {row.entry.name: row.entry for row in discovery.again.rows} if discovery.again else {}
    more = rows_by_id(discovery.path / "relax" / HULL_NAME)
    for row in discovery.phonons:
        more.get(row["id"], {}).update(
            {key: row[key] for key in ("lowest_frequency", "imaginary", "supercell")}
        )
    content = gallery_content(
        [entries[name] for name in shown],
        {row["id"]: row for row in discovery.relaxed},
        more,
        title=title,
    )
    write_gallery(content, path, "\n".join(_body(discovery)))
    return path


def _body(discovery: Discovery) -> list[str]:
    placed = discovery.placed
    below, near = (sum(one.e_above_hull <= limit for one in placed) for limit in (0.0, 0.1))
    return [
        paragraph(
            f"{len(placed)} candidates: {below} on or below the hull of {len(discovery.references)} "
            f"references, {near} within 0.1 eV/atom of it. Energies of {discovery.kind}."
        ),
        *_hulls(discovery),
        *_best(discovery),
        *_phonons(discovery),
        *_inputs(discovery),
        *_lost(discovery),
        "<h2>Crystals, the lowest above the hull first</h2>",
    ]


def _hulls(discovery: Discovery) -> list[str]:
    systems: dict[str, list[Placed]] = defaultdict(list)
    for one in discovery.placed:
        systems[one.system].append(one)
    body = ["<h2>Hull</h2>"]
    for system, members in list(systems.items())[:_SYSTEMS]:
        elements = system.split("-")
        figure = hull_plot(elements, members, discovery.references)
        if figure is not None:
            words = f"Hull of {system}: references, and candidates"
            body.append(picture(figure, words, f"{system}: {len(members)} candidates"))
        else:
            body += [paragraph(f"{system}: the stable references"), _stable(elements, discovery)]
    if len(systems) > _SYSTEMS:
        body.append(paragraph(f"... and {len(systems) - _SYSTEMS} more systems in {HULL_NAME}", note=True))
    return [*body, bullets(warnings_of(discovery.placed))]


def _stable(elements: Sequence[str], discovery: Discovery) -> str:
    phases, _ = diagram(elements, by_elements(discovery.references))
    rows = [
        (entry.composition.reduced_formula, f"{phases.get_form_energy_per_atom(entry):.4f}", entry.name)
        for entry in sorted(phases.stable_entries, key=phases.get_form_energy_per_atom)
    ]
    return table(("formula", "formation, eV/atom", "id"), rows, numbers=(1,))


def _best(discovery: Discovery) -> list[str]:
    relaxed = {row["id"]: row for row in discovery.relaxed}
    phonons = {row["id"]: row for row in discovery.phonons}
    rows = []
    for one in discovery.placed[:_LISTED]:
        row = relaxed[one.compound.name]
        sound = phonons.get(one.compound.name, {})
        rows.append(
            (
                one.compound.composition.reduced_formula,
                row["group_after"],
                "–" if one.status != "ok" else f"{one.e_above_hull:.4f}",
                "–" if one.status != "ok" else f"{one.e_above_hull / _KJ_PER_MOL:.2f}",
                "–" if one.status != "ok" else f"{one.formation_energy:.4f}",
                one.decomposition or one.status,
                sound.get("lowest_frequency") or sound.get("status", ""),
                sound.get("lowest_exact", ""),
                one.compound.name,
            )
        )
    head = ("formula", "group", "above hull, eV/atom", "kJ/mol", "formation, eV/atom", "becomes")
    body = ["<h2>Best candidates</h2>"]
    sound_head = "lowest phonon, THz", "not interpolated"
    body.append(table((*head, *sound_head, "id"), rows, numbers=(1, 2, 3, 4, 6, 7)))
    if len(discovery.placed) > _LISTED:
        body.append(paragraph(f"... and {len(discovery.placed) - _LISTED} more in {HULL_NAME}", note=True))
    return body


def _phonons(discovery: Discovery) -> list[str]:
    if not discovery.phonons:
        return []
    figures = []
    for row, plot in zip(discovery.phonons, discovery.phonon_plots, strict=True):
        if plot is None:
            figures.append(paragraph(f"{row['id']}: {row['status']} {row['detail']}", note=True))
            continue
        caption = f"{row['id']}: lowest {row['lowest_frequency']} THz, {row['lowest_exact']} not interpolated"
        words = verdict(row, PhononSettings.imaginary)
        caption += f", {words}" if words else ""
        figures.append(image(plot.read_bytes(), f"Phonons of {row['formula']}", caption))
    return ["<h2>Phonons of the best</h2>", f'<div class="pair">{"".join(figures)}</div>']


def _inputs(discovery: Discovery) -> list[str]:
    if not discovery.inputs:
        return []
    names = ", ".join(discovery.inputs)
    return [
        "<h2>Inputs for DFT</h2>",
        paragraph(f"In the folder inputs, for VASP and Quantum ESPRESSO, with scripts: {names}"),
    ]


def _lost(discovery: Discovery) -> list[str]:
    rows = []
    for one in discovery.counts():
        reasons = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in one.lost.items())
        rows.append((one.stage, one.given, one.kept, reasons or "–"))
    return [
        "<h2>What was set aside, and why</h2>",
        table(("stage", "crystals", "went on", "reasons"), rows, numbers=(1, 2)),
        *([bullets(notes)] if (notes := discovery.notes()) else []),
        paragraph(discovery.spending(), note=True),
    ]
