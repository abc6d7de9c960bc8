"""The gallery in a browser: what its script draws, sorts, filters and opens."""

import json

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from jaxcrystal.reports.gallery.cells import compact_cell, element_table
from jaxcrystal.reports.gallery.content import gallery_content
from jaxcrystal.reports.gallery.page import _asset, render
from jaxcrystal.structures.entries import Entry
from tests.reports.browser import Browser, needs_chromium

pytestmark = needs_chromium

SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.6), ["Na", "Cl"], [[0] * 3, [0.5] * 3])
PEROVSKITE = Structure(
    Lattice.cubic(4.0),
    ["Ba", "Ti", "O", "O", "O"],
    [[0] * 3, [0.5] * 3, [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
)
HOSTILE = "</script><script>document.documentElement.dataset.hacked=1</script><img onerror=alert(1)>"
CANVAS = """
const painted = (canvas) => {
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  let [count, sum] = [0, 0];
  for (let k = 0; k < pixels.length; k += 4)
    if (pixels[k + 3]) {
      count++;
      sum = (sum * 31 + pixels[k] + k) % 1e9;
    }
  return [count, sum];
};
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
const page = (id) => document.getElementById(id);
const ids = () => [...document.querySelectorAll("#table tbody tr")].map((line) => line.dataset.id);
"""


def cell_of(structure: Structure) -> dict:
    return compact_cell(
        np.array(structure.lattice.matrix),
        np.array(structure.atomic_numbers),
        np.array(structure.frac_coords),
    )


@pytest.fixture(scope="module")
def page() -> str:
    """Four structures: valid ones, one that is a duplicate of another, and one without a cell."""
    entries = [
        Entry("salt", SALT),
        Entry("ten", PEROVSKITE),
        Entry("copy", SALT),
        Entry(HOSTILE, None, HOSTILE),
    ]
    summary = {
        "salt": {"requested_group": "225", "letters": "Na:a Cl:b", "volume_per_atom": "21.952"},
        "ten": {"requested_group": "221", "letters": "O:c Ti:b Ba:a", "volume_per_atom": "9.5"},
        "copy": {"requested_group": "221", "letters": "Na:a Cl:b", "volume_per_atom": "100.25"},
    }
    shared = {"status": "ok", "valid": "True", "found_group": "225"}
    screening = {"salt": {"duplicate_of": ""}, "copy": {"duplicate_of": "salt"}}
    frames = {"ten": [cell_of(PEROVSKITE.copy().scale_lattice(v)) for v in (30.0, 40.0, 50.0)]}
    rows = {name: row | shared for name, row in summary.items()}
    return render(gallery_content(entries, rows, screening, frames, title=HOSTILE))


@pytest.fixture
def browser(tmp_path) -> Browser:
    return Browser(tmp_path)


def test_cards_are_drawn(page, browser) -> None:
    script = (
        CANVAS
        + """
    await wait(600);
    const canvases = [...document.querySelectorAll(".card canvas")];
    return canvases.map((canvas) => painted(canvas)[0] / canvas.width / canvas.height);
    """
    )
    found = browser.root(page, script=script)
    assert (found["errors"], found["rows"], found["shown"], found["drawn"]) == ("0", "4", "4", "3")
    assert "hacked" not in found
    assert len(found["result"]) == 3
    assert min(found["result"]) > 0.05  # a part of each is covered with paint


def test_hostile_names_are_shown_as_they_are(page, browser) -> None:
    script = CANVAS + 'return [ids(), document.title, document.querySelectorAll("img").length];'
    ids, title, images = browser.root(page, "view=table", script)["result"]
    assert (ids, title, images) == (["salt", "ten", "copy", HOSTILE], HOSTILE, 0)


#: What follows `#`, and the ids that are then in the table.
VIEWS = {
    "view=table": ["salt", "ten", "copy", HOSTILE],
    # as numbers: as texts, 100.25 would come first; what has none comes last
    "view=table&sort=volume_per_atom": ["ten", "salt", "copy", HOSTILE],
    "view=table&sort=volume_per_atom&descending=1": ["copy", "salt", "ten", HOSTILE],
    "view=table&valid=1&sort=formula": ["ten", "salt", "copy"],
    "view=table&unique=1": ["salt", "ten", HOSTILE],
    "view=table&group=221": ["ten", "copy"],
    "view=table&formula=NaCl": ["salt", "copy"],
    "view=table&words=nacl+A:B": [],
    "view=table&words=na:A+cl:b": ["salt", "copy"],
    "view=table&words=o:c": ["ten"],
    "view=table&sort=nonsense&frame=x&open=99": ["salt", "ten", "copy", HOSTILE],
}


def test_sorted_and_filtered(page, browser) -> None:
    script = (
        CANVAS
        + f"""
    const seen = [];
    for (const address of {json.dumps(list(VIEWS))}) {{
      location.hash = address;
      await wait(50);
      seen.push([ids(), document.documentElement.dataset.shown]);
    }}
    return seen;
    """
    )
    found = browser.root(page, script=script)
    for (address, expected), (ids, shown) in zip(VIEWS.items(), found["result"], strict=True):
        assert ids == expected, address
        assert shown == str(len(expected)), address
    assert found["errors"] == "0"


def test_clicks_and_keys(page, browser) -> None:
    """Headings sort, filters filter, a line opens the large view, its keys go on and close it."""
    script = (
        CANVAS
        + """
    const seen = {};
    page("show-table").click();
    const heading = document.querySelector("th[data-key=volume_per_atom]");
    heading.firstChild.click();
    seen.up = [ids(), heading.getAttribute("aria-sort")];
    heading.firstChild.click();
    seen.down = [ids(), heading.getAttribute("aria-sort")];
    page("words").value = "na:a";
    page("words").dispatchEvent(new Event("input"));
    seen.words = ids();
    document.querySelector("#table tbody tr").click();
    await wait(100);
    seen.opened = [page("large").open, page("large-title").textContent];
    page("large").dispatchEvent(new KeyboardEvent("keydown", { key: "PageDown" }));
    seen.next = page("large-title").textContent;
    seen.address = location.hash;
    page("close").click();
    await wait(100);
    seen.closed = [page("large").open, location.hash];
    page("reset").click();
    seen.reset = ids();
    return seen;
    """
    )
    found = browser.root(page, script=script)
    seen = found["result"]
    assert seen["up"] == [["ten", "salt", "copy", HOSTILE], "ascending"]
    assert seen["down"] == [["copy", "salt", "ten", HOSTILE], "descending"]
    assert seen["words"] == ["copy", "salt"]
    assert seen["opened"] == [True, "NaClcopy"]
    assert seen["next"] == "NaClsalt"
    assert seen["address"] == "#view=table&words=na%3Aa&sort=volume_per_atom&descending=1&open=0"
    assert seen["closed"] == [False, "#view=table&words=na%3Aa&sort=volume_per_atom&descending=1"]
    assert seen["reset"] == ["salt", "ten", "copy", HOSTILE]
    assert found["errors"] == "0"


def test_cells_turn(page, browser) -> None:
    """By dragging on a card and by keys in the large view; a card keeps how it was turned."""
    script = (
        CANVAS
        + """
    await wait(500);
    const canvas = document.querySelector(".card canvas");
    const point = (name, clientX, clientY) => new PointerEvent(name, { clientX, clientY, pointerId: 7 });
    const before = painted(canvas);
    canvas.dispatchEvent(point("pointerdown", 100, 100));
    window.dispatchEvent(point("pointermove", 140, 130));
    window.dispatchEvent(point("pointerup", 140, 130));
    await wait(200);
    const dragged = [painted(canvas)[1] !== before[1], page("large").open];
    canvas.dispatchEvent(point("pointerdown", 100, 100));
    window.dispatchEvent(point("pointerup", 100, 100));
    await wait(200);
    const [clicked, start] = [page("large").open, painted(page("stage"))];
    page("stage").dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft", cancelable: true }));
    await wait(200);
    const turned = painted(page("stage"));
    page("nearer").click();
    await wait(200);
    const larger = painted(page("stage"));
    page("home").click();
    await wait(200);
    return { dragged, clicked, turned: turned[1] !== start[1], larger: larger[0] / turned[0],
             home: painted(page("stage"))[1] === start[1] };
    """
    )
    seen = browser.root(page, script=script)["result"]
    assert seen["dragged"] == [True, False]
    assert seen["clicked"]
    assert seen["turned"]
    assert seen["larger"] > 1.2
    assert seen["home"]


def test_neighbors_under_the_pointer(page, browser) -> None:
    script = (
        CANVAS
        + """
    await wait(500);
    const stage = page("stage");
    const found = new Set();
    const box = stage.getBoundingClientRect();
    for (let x = 0; x < box.width; x += 6) for (let y = 0; y < box.height; y += 6) {
      stage.dispatchEvent(new PointerEvent("pointermove", { clientX: box.x + x, clientY: box.y + y }));
      found.add(page("under").textContent);
    }
    return [...found];
    """
    )
    texts = browser.root(page, "open=1", script)["result"]
    assert "" in texts
    assert any(text.startswith("Ti at 0.5 0.5 0.5 · O 2.00 Å ×6") for text in texts)
    assert any(text.startswith("Ba at 0 0 0 · O 2.83 Å ×12, Ti 3.46 Å ×8") for text in texts)


def test_denoising(page, browser) -> None:
    """The slider goes from the first frame to the finished structure; play runs through them."""
    script = (
        CANVAS
        + """
    await wait(300);
    const texts = [page("frame-text").textContent];
    for (const frame of ["0", "2"]) {
      page("frame").value = frame;
      page("frame").dispatchEvent(new Event("input"));
      texts.push(page("frame-text").textContent);
    }
    const address = location.hash;
    page("frame").value = "0";
    page("frame").dispatchEvent(new Event("input"));
    page("play").click();
    await wait(200);
    texts.push(page("frame-text").textContent);
    await wait(1500);
    texts.push(page("frame-text").textContent, page("play").textContent, page("frame").max, address);
    page("next").click();
    return [...texts, page("player").hidden];
    """
    )
    length = 4.0
    first, third = (f"{v ** (1 / 3):.2f}" for v in (30.0, 50.0))
    finished = f"finished structure · {length:.2f} × {length:.2f} × {length:.2f} Å"
    seen = browser.root(page, "open=1", script)["result"]
    assert seen[0] == finished
    assert seen[1] == f"frame 1 of 3 · {first} × {first} × {first} Å"
    assert seen[2] == f"frame 3 of 3 · {third} × {third} × {third} Å"
    assert seen[3].startswith("frame 2 of 3")
    assert seen[4:] == [finished, "▶", "3", "#open=1&frame=2", True]


def _scene(browser: Browser, structure: Structure, script: str, options: str = "{}") -> object:
    """What geometry.js makes of a structure; `scene` and `cell` are there for the script."""
    cell = cell_of(structure)
    data = {"elements": element_table({symbol for symbol, _ in cell["elements"]})}
    page = (
        f"<html><body><script>const data = {json.dumps(data)}; const cell = {json.dumps(cell)};\n"
        f"{_asset('geometry.js')}\nconst scene = makeScene(cell, {options});</script></body></html>"
    )
    return browser.root(page, script=script)["result"]


@pytest.mark.parity
@pytest.mark.parametrize(
    "parameters",
    [(3.0, 3.2, 9.0, 90, 90, 90), (4.0, 4.1, 4.2, 62, 71, 115), (2.6, 12.0, 5.0, 90, 131, 90)],
)
def test_neighbors_are_those_of_pymatgen(browser, parameters) -> None:
    """Skewed, flat and long cells; distances within what coordinates of 1e-4 allow."""
    rng = np.random.default_rng(1)
    structure = Structure(
        Lattice.from_parameters(*parameters), ["Cs", "Cl", "O", "Ti"], rng.uniform(size=(4, 3))
    )
    found = _scene(
        browser, structure, "return scene.neighbors.map((list) => list.map((n) => [n.atom, n.distance]));"
    )
    reach = 2 * 1.25 * 2.44 - 0.01  # caesium's covalent radius
    for atom, near in enumerate(structure.get_all_neighbors(reach)):
        expected = sorted((round(n.nn_distance, 2), n.index) for n in near)
        ours = sorted((round(d, 2), index) for index, d in found[atom] if d < reach)
        assert abs(len(ours) - len(expected)) <= 1
        np.testing.assert_allclose(
            [d for d, _ in ours][: len(expected)], [d for d, _ in expected][: len(ours)], atol=0.02
        )


@pytest.mark.parametrize(
    ("structure", "options", "atoms", "bonds"),
    [
        (SALT, "{}", 27, 54),  # 3 × 3 × 3 atoms; each line of three has two bonds
        (SALT, "{ bonds: false }", 27, 0),
        (SALT, "{ repeat: 2 }", 125, 300),
        (PEROVSKITE, "{}", 8 + 1 + 6, 6),  # corners, centre, faces; Ti to its six O only
        (PEROVSKITE, "{ repeat: 2 }", 27 + 8 + 36, 48),
        (PEROVSKITE, "{ beyond: true }", 8 + 1 + 6 + 6, 12),  # and a Ti outside for each O
    ],
)
def test_what_is_drawn_of_a_cell(browser, structure, options, atoms, bonds) -> None:
    script = "return [scene.atoms.length, scene.bonds.length, scene.atoms.map((a) => a.position)];"
    count, lines, positions = _scene(browser, structure, script, options)
    assert (count, lines) == (atoms, bonds)
    if "beyond" not in options:  # about the middle of the cell
        np.testing.assert_allclose(np.array(positions).min(0), -np.array(positions).max(0), atol=1e-6)
