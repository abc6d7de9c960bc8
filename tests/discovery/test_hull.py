"""The convex hull: numbers by hand and by EMT, files of energies, and what is refused."""

import bz2
import csv
import gzip
import json
import math

import pytest
from ase.calculators.emt import EMT
from pymatgen.core import Composition
from pymatgen.entries.computed_entries import ComputedEntry, ConstantEnergyAdjustment
from scipy.optimize import minimize_scalar

import jaxcrystal as jc
from jaxcrystal.discovery import hull, references
from jaxcrystal.discovery.energies import Compound, read_energies
from jaxcrystal.discovery.hull import HULL_NAME, place_on_hull, require_same, warnings_of, write_hull
from jaxcrystal.discovery.potentials import POTENTIALS, Energies
from jaxcrystal.discovery.references import reference_energies, write_references
from jaxcrystal.discovery.relaxation import RelaxSettings
from jaxcrystal.discovery.run import RelaxFolder, Work, entries_of
from jaxcrystal.errors import DataError, RequestError
from jaxcrystal.structures.screening_files import rows_by_id
from tests.discovery.crystals import b2, cubic

QUIET = Work(processes=1, progress=False)


def compound(formula: str, energy: float, **more) -> Compound:
    return Compound(formula, Composition(formula), energy, **more)


KNOWN = [compound("Cu", -4.0), compound("Au", -3.0), compound("CuAu", -3.6), compound("Cu2", -3.9)]


def test_numbers_by_hand() -> None:
    """Cu at -4 and Au at -3 eV/atom, between them CuAu, 0.1 below their mean."""
    found = place_on_hull(
        [compound("Cu3Au", -3.76), compound("CuAu3", -3.4), compound("CuAu", -3.55), compound("Au", -2.9)],
        KNOWN,
    )
    placed = {one.compound.name: one for one in found}
    assert [one.compound.name for one in found] == ["CuAu3", "Cu3Au", "CuAu", "Au"]  # lowest first
    assert placed["Cu3Au"].formation_energy == pytest.approx(-0.01)
    assert placed["Cu3Au"].e_above_hull == pytest.approx(0.04)
    assert placed["Cu3Au"].decomposition in (
        "0.500 Cu (Cu) + 0.500 CuAu (CuAu)",
        "0.500 CuAu (CuAu) + 0.500 Cu (Cu)",
    )
    assert placed["CuAu3"].e_above_hull == pytest.approx(-0.1)  # below the hull
    assert placed["CuAu"].e_above_hull == pytest.approx(0.05)
    assert placed["CuAu"].decomposition == "CuAu (CuAu)"
    assert placed["Au"].e_above_hull == pytest.approx(0.1)
    assert placed["Au"].formation_energy == pytest.approx(0.1)
    assert [placed[name].known_compounds for name in ("Cu3Au", "Au")] == [1, 0]
    assert placed["Cu3Au"].system == "Au-Cu"


def test_many_systems_look_at_each_reference_once(monkeypatch) -> None:
    calls, system = [], hull._system
    monkeypatch.setattr(hull, "_system", lambda one: calls.append(one.name) or system(one))
    known = [*KNOWN, *(compound(element, -1.0) for element in ("Ag", "Ni", "Pd"))]
    known += [compound("Cu3Ag", -3.5), compound("CuNiPd", -9.0)]
    found = place_on_hull(
        [compound("CuAg", -2.6), compound("CuNi", -2.6), compound("CuPd", -2.6), compound("CuAuAg", -2.6)],
        known,
    )
    assert [calls.count(name) for name in ("Cu", "Ag", "CuNiPd")] == [1, 1, 1]
    assert {one.compound.name: one.known_compounds for one in found} == {
        **{"CuAg": 1, "CuNi": 0, "CuPd": 0, "CuAuAg": 2},
    }


def test_what_the_references_lack() -> None:
    with pytest.raises(DataError, match="the references have no pure Pd, Pt: a hull needs every element"):
        place_on_hull([compound("CuPd", -3.0), compound("CuPt", -3.0), compound("Cu", -4.0)], KNOWN)
    bare = place_on_hull([compound("Cu3Au", -3.8, converged=False), compound("CuAu", -40.0)], KNOWN[:2])
    assert bare[1].status == "energy"
    assert math.isnan(bare[1].e_above_hull)
    said = warnings_of(bare)
    assert any(line.startswith("no known compounds among the references in Au-Cu") for line in said)
    assert any("1 of 2 crystals have a formation energy that no crystal has" in line for line in said)
    assert any("1 of 2 crystals had not relaxed" in line for line in said)
    assert "lower bounds" in said[-1]


def test_copper_and_gold_by_emt(tmp_path, monkeypatch) -> None:
    """Cubic crystals of one parameter, whose energies are found here by a search along it."""

    def lowest(structure) -> float:
        def energy(scale: float) -> float:
            atoms = structure.to_ase_atoms()
            atoms.set_cell(atoms.cell * scale, scale_atoms=True)
            atoms.calc = EMT()
            return float(atoms.get_potential_energy()) / len(atoms)

        return float(
            minimize_scalar(energy, bounds=(0.9, 1.1), method="bounded", options={"xatol": 1e-6}).fun
        )

    l12 = cubic(3.75, "Cu", "Cu", "Cu", "Au")
    known = [cubic(3.65, "Cu"), cubic(4.0, "Au"), l12, cubic(5.0, "Na")]
    settings = RelaxSettings("emt", max_stress=0.01)
    content, failures = reference_energies(entries_of(known), settings, QUIET, tmp_path)
    assert failures == {"potential": 1}  # EMT has no sodium
    write_references(content, tmp_path / "known.json.gz")
    found, kind = read_energies(tmp_path / "known.json.gz")
    assert kind == Energies("emt")

    candidate = b2(3.0, "Cu", "Au")
    relaxed = jc.relax([candidate], "emt", max_stress=0.01)[0]
    (placed,) = place_on_hull([compound("CuAu", relaxed.energy_per_atom)], found)
    cu, au, cu3au, cuau = (lowest(structure) for structure in (*known[:3], candidate))
    # Half gold: the way from Cu3Au (a quarter) to gold, a third of it gone; or from copper to gold.
    hull = min(2 / 3 * cu3au + 1 / 3 * au, (cu + au) / 2)
    assert placed.formation_energy == pytest.approx(cuau - (cu + au) / 2, abs=2e-5)
    assert placed.e_above_hull == pytest.approx(cuau - hull, abs=2e-5)

    # With the same structures nothing is computed again; with other settings everything is.
    monkeypatch.setattr(Work, "relax", lambda work, entries, settings: iter([1 / 0] if entries else []))
    again, _ = reference_energies(entries_of(known), settings, QUIET, tmp_path)
    assert again == content
    with pytest.raises(ZeroDivisionError):
        reference_energies(entries_of(known), RelaxSettings("emt", max_steps=0), QUIET, tmp_path)


def test_an_interrupted_run_of_references_keeps_what_is_done(tmp_path, monkeypatch) -> None:
    entries = entries_of([cubic(3.6, "Cu"), cubic(4.1, "Au"), cubic(4.0, "Al")])
    relax, asked = Work.relax, []

    def interrupted(work, todo, settings):
        asked.append(len(todo))
        for number, outcome in enumerate(relax(work, todo, settings)):
            if number == 2:
                raise KeyboardInterrupt
            yield outcome

    monkeypatch.setattr(references.Work, "relax", interrupted)
    with pytest.raises(KeyboardInterrupt):
        reference_energies(entries, RelaxSettings("emt"), QUIET, tmp_path)
    content, _ = reference_energies(entries, RelaxSettings("emt"), QUIET, tmp_path)
    assert asked == [3, 1]
    assert len(content["entries"]) == 3
    assert content["relaxed"] is True


def test_energies_are_not_mixed(tmp_path) -> None:
    require_same(Energies("7net-0"), Energies("7net-0"))
    with pytest.raises(
        RequestError, match=r"chgnet \(with MP2020\) and of 7net-0 \(without corrections\) do not go"
    ):
        require_same(POTENTIALS["chgnet"].kind, POTENTIALS["7net-0"].kind)
    corrected = ComputedEntry(
        "TiO2", -27.0, energy_adjustments=[ConstantEnergyAdjustment(-1.0, name="MP2020 oxide")]
    )
    path = tmp_path / "entries.json"
    path.write_text(json.dumps([corrected.as_dict(), ComputedEntry("Ti", -8.0).as_dict()]))
    compounds, kind = read_energies(path, Energies("PBE", "MP2020"))
    assert kind == Energies("PBE", "MP2020")
    assert [one.energy_per_atom for one in compounds] == [pytest.approx(-28.0 / 3), -8.0]
    with pytest.raises(DataError, match=r"are of PBE \(with MP2020\), not of PBE \(without corrections\)"):
        read_energies(path, Energies("PBE"))
    with pytest.raises(DataError, match="does not say which potential its energies are of"):
        read_energies(path)


@pytest.mark.parametrize("shape", ["list", "object", "entries"])
@pytest.mark.parametrize(
    ("ending", "compress"), [("", bytes), (".gz", gzip.compress), (".bz2", bz2.compress)]
)
def test_entries_of_pymatgen(shape, ending, compress, tmp_path) -> None:
    entries = [ComputedEntry("Cu3Au", -14.0, entry_id="mp-1").as_dict(), ComputedEntry("Cu", -4.0).as_dict()]
    shapes = {"list": entries, "object": {"a": entries[0], "b": entries[1]}, "entries": {"entries": entries}}
    path = tmp_path / f"entries.json{ending}"
    path.write_bytes(compress(json.dumps(shapes[shape]).encode()))
    compounds, kind = read_energies(path, Energies("PBE"))
    assert kind == Energies("PBE")
    assert [(one.name, one.energy_per_atom) for one in compounds] == [("mp-1", -3.5), ("Cu:1", -4.0)]


def test_tables(tmp_path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("formula,energy\nCu3Au,-14\nCu,-4\n")
    compounds, kind = read_energies(path, Energies("PBE", "MP2020"))
    assert kind == Energies("PBE", "MP2020")
    assert [one.energy_per_atom for one in compounds] == [-3.5, -4.0]
    path.write_text("id,formula,energy_per_atom,potential,status\na,Cu3Au,-3.5,emt,ok\nb,Cu,,emt,overlap\n")
    compounds, kind = read_energies(path)
    assert kind == Energies("emt")
    assert [one.name for one in compounds] == ["a"]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "formula,energy\nCu,\n", "row 1 has no formula, or neither"),
        ("a.csv", "formula,energy\nXx,1\n", "cannot read energies"),
        ("a.csv", "formula,energy,potential\nCu,1,emt\nCu,1,mace\n", "different potentials"),
        ("a.csv", "formula,energy\n", "holds no energies"),
        ("a.json", "{", "cannot read energies"),
        ("a.json", "3", "neither a list nor an object"),
        ("a.json", '[{"energy": 1}]', "entry 0 is no ComputedEntry"),
        (
            "a.json",
            '[{"entry_id": "a", "composition": {"Cu": 1}, "energy": NaN, "correction": 0}]',
            "entry 0 .* no finite energy",
        ),
        ("a.json", '{"format": "jaxcrystal-references-1"}', "cannot read energies"),
        ("a.json", "[" * 100_000, "cannot read energies"),
        ("run.json", "[" * 100_000, "is no folder that"),
        ("b.json", "", "does not exist"),
    ],
)
def test_files_that_cannot_be_read(name, text, words, tmp_path) -> None:
    (tmp_path / name.replace("b", "a")).write_text(text)
    with pytest.raises(DataError, match=words):
        read_energies(tmp_path if name == "run.json" else tmp_path / name, Energies("emt"))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json.gz", gzip.compress(bytes(3_000_000)), "when unpacked"),
        ("a.json.gz", gzip.compress(b"[]" * 50)[:-20] + b"x" * 20, "cannot read energies"),
        ("a.json.xz", b"no archive", "cannot read energies"),
        ("a.json.bz2", b"no archive", "cannot read energies"),
    ],
    ids=["large", "cut", "no xz", "no bz2"],  # bytes of gzip hold the time
)
def test_damaged_archives(name, content, words, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("jaxcrystal.files.ALWAYS_ALLOWED", 10_000)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words) as error:
        read_energies(tmp_path / name, Energies("emt"))
    assert str(error.value).startswith(f"cannot read energies of {tmp_path / name}")


def test_another_file_is_not_overwritten(tmp_path) -> None:
    placed = place_on_hull([compound("Cu3Au", -3.8)], KNOWN)
    write_hull(placed, Energies("emt"), tmp_path / HULL_NAME)
    first = (tmp_path / HULL_NAME).read_text()
    write_hull(placed, Energies("emt"), tmp_path / HULL_NAME)
    assert (tmp_path / HULL_NAME).read_text() == first
    assert first.splitlines()[1].endswith(",Au-Cu,1,yes,ok,emt,none")
    (tmp_path / "mine.csv").write_text("a,b\n")
    with pytest.raises(DataError, match="is not a file of `jaxcrystal hull`"):
        write_hull(placed, Energies("emt"), tmp_path / "mine.csv")


def test_no_name_is_a_formula_of_a_spreadsheet(tmp_path) -> None:
    name = "=cmd|'/C calc'!A0"
    placed = place_on_hull([Compound(name, Composition("Cu3Au"), -3.8)], KNOWN)
    write_hull(placed, Energies("emt"), tmp_path / HULL_NAME)
    with open(tmp_path / HULL_NAME, newline="") as file:
        assert next(csv.DictReader(file))["id"] == f"'{name}"
    assert [*rows_by_id(tmp_path / HULL_NAME)] == [name]


def test_two_crystals_of_one_name_are_both_checked() -> None:
    twice = [Compound("same", Composition(formula), -3.0) for formula in ("CuPd", "CuAu")]
    with pytest.raises(DataError, match="the references have no pure Pd"):
        place_on_hull(twice, KNOWN)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (",-3.0", "row 2 has no formula"),
        ("Cu,nan", "row 2 has no finite energy"),
        ("Cu,x", "could not convert"),
    ],
)
def test_damaged_rows_of_a_folder(row, words, tmp_path) -> None:
    run = {"format": RelaxFolder.format, "settings": {"potential": "emt", "correction": "none"}}
    (tmp_path / "run.json").write_text(json.dumps(run))
    place = tmp_path / "parts" / "00000"
    place.mkdir(parents=True)
    head = "id,letters,requested_group,status,formula,energy_per_atom"
    (place / "relaxed.csv").write_text(f"{head}\na,,1,ok,Au,-3.0\nb,,1,ok,{row}\n")
    with pytest.raises(DataError, match=f"cannot read energies of .*{words}"):
        read_energies(tmp_path)
