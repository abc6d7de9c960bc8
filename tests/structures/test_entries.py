"""Every structure of a source becomes one entry, those that cannot be read included."""

import csv
import gzip
import json
import shutil

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifWriter

from jaxcrystal.errors import DataError
from jaxcrystal.io.writers import write_cif, write_extxyz, write_json, write_poscar
from jaxcrystal.structures.entries import Entry, load_entries, ordered
from jaxcrystal.structures.writers import write_samples
from tests.crystals import make_crystal

ALL = ("cif", "extxyz", "json", "npz", "poscar")


@pytest.mark.parametrize("formats", [("cif",), ("extxyz",), ("json",), ("npz",), ("poscar",), ALL])
def test_our_folder_in_any_format(samples, tmp_path, formats) -> None:
    folder = write_samples(samples, tmp_path / "out", formats)
    entries = load_entries(folder)
    assert [entry.name for entry in entries] == [sample.name for sample in samples]
    for entry, sample in zip(entries, samples, strict=True):
        assert entry.error == ""
        assert entry.structure.composition == sample.to_pymatgen().composition
        assert entry.structure.volume == pytest.approx(sample.to_pymatgen().volume, rel=1e-5)
        assert entry.requested_group == sample.space_group
        assert entry.letters == sample.wyckoff
        assert entry.flag == sample.status


def test_flags_gaps_and_strangers(samples, tmp_path) -> None:
    """A flagged row, a row without file, a file that is damaged and a file without row."""
    folder = write_samples(samples, tmp_path / "out", ("cif",))
    names = [sample.name for sample in samples]
    with (folder / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows[0]["status"] = "images"
    with (folder / "summary.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    (folder / f"{names[1]}.cif").unlink()
    (folder / f"{names[2]}.cif").write_text("data_x\n_atom_site_type_symbol\n")
    shutil.copy(folder / f"{names[3]}.cif", folder / "another.cif")

    entries = {entry.name: entry for entry in load_entries(folder)}
    assert list(entries) == [*names, "another"]
    assert entries[names[0]].flag == "images"
    assert entries[names[0]].structure is not None
    assert entries[names[0]].failed
    assert entries[names[1]].structure is None
    assert "no file of it" in entries[names[1]].error
    assert entries[names[2]].structure is None
    assert entries[names[2]].error
    assert not entries[names[3]].failed
    assert entries["another"].structure == entries[names[3]].structure
    assert entries["another"].requested_group == 0


def test_a_damaged_format_is_made_up_for_by_another(samples, tmp_path) -> None:
    folder = write_samples(samples, tmp_path / "out", ("json", "cif"))
    (folder / "structures.json").write_text("{")
    assert not any(entry.failed for entry in load_entries(folder))


def test_foreign_sources(tmp_path) -> None:
    """CSV, CIF, extxyz, POSCAR and JSON of other programs; an unreadable row stays in its place."""
    crystal = make_crystal(
        221, [4.0] * 3, [90.0] * 3, [56, 22, 8], [[0, 0, 0], [0.5] * 3, [0, 0.5, 0.5]], "abc"
    )
    write_cif(tmp_path / "x" / "a.cif", crystal)
    write_poscar(tmp_path / "x" / "b.vasp", crystal)
    write_extxyz(tmp_path / "x" / "c.extxyz", [crystal])
    write_json(tmp_path / "x" / "d.json", [crystal])
    entries = load_entries(tmp_path / "x")
    assert len(entries) == 4
    assert {entry.structure.reduced_formula for entry in entries} == {"BaTiO3"}
    assert all(entry.requested_group == 0 and entry.flag == "ok" for entry in entries)

    text = (tmp_path / "x" / "a.cif").read_text()
    with gzip.open(tmp_path / "t.csv.gz", "wt", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["material_id", "cif"], ["m1", text], ["m2", "no cif"], ["m3", text]])
    entries = load_entries(tmp_path / "t.csv.gz")
    assert [entry.name for entry in entries] == ["m1", "m2", "m3"]
    assert [entry.structure is None for entry in entries] == [False, True, False]


def test_figures_beside_structures_are_no_failed_structures(tmp_path) -> None:
    """A folder of another program's results: its crystals are the denominator, and nothing else."""
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.6), ["Na", "Cl"], [[0] * 3, [0.5] * 3])
    (tmp_path / "found.json").write_text(json.dumps([salt.as_dict(), salt.as_dict()]))
    (tmp_path / "metrics.json").write_text('{"frac_unique": {"value": 1.0}, "energies": [0.1, 0.2]}')
    entries = load_entries(tmp_path)
    assert len(entries) == 2
    assert not any(entry.failed for entry in entries)
    with pytest.raises(DataError, match="holds no structures"):
        load_entries(tmp_path / "metrics.json")


def test_what_contradicts_itself_is_an_entry_with_its_cause(tmp_path) -> None:
    good = str(CifWriter(Structure(Lattice.cubic(4.1), ["Cs", "Cl"], [[0] * 3, [0.5] * 3])))
    (tmp_path / "a.cif").write_text(good)
    (tmp_path / "b.cif").write_text(good.replace("'Cs1 Cl1'", "'Cs1 H1 Cl1'"))
    first, second = load_entries(tmp_path)
    assert not first.failed
    assert second.error.startswith("contradictory: the file's formula is Cs1 H1 Cl1")


def test_several_processes_give_the_same(tmp_path, monkeypatch) -> None:
    rng = np.random.default_rng(0)
    structures = {
        str(n): Structure(Lattice.cubic(4 + rng.uniform()), ["Na", "Cl"], [[0] * 3, [0.5] * 3]).as_dict()
        for n in range(40)
    }
    (tmp_path / "a.json").write_text(json.dumps(structures))
    one = load_entries(tmp_path / "a.json", processes=1)
    monkeypatch.setattr("jaxcrystal.structures.entries._MANY", 10)
    two = load_entries(tmp_path / "a.json", processes=2)
    assert [entry.name for entry in two] == [entry.name for entry in one] == list(structures)
    assert all(a.structure == b.structure for a, b in zip(one, two, strict=True))


def test_prepared_data(tmp_path) -> None:
    """A data set is expanded to the crystals it was made of, low groups too."""
    from jaxcrystal.data.prepare import prepare

    monoclinic = Structure.from_spacegroup(
        "P2_1/c",
        Lattice.monoclinic(5.0, 5.2, 5.3, 99.0),
        ["Zr", "O"],
        [[0.27, 0.04, 0.21], [0.07, 0.33, 0.34]],
    )
    rocksalt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.6), ["Na", "Cl"], [[0] * 3, [0.5] * 3])
    (tmp_path / "s.json").write_text(
        json.dumps({"one": monoclinic.as_dict(), "two": rocksalt.get_primitive_structure().as_dict()})
    )
    prepare(tmp_path / "s.json", tmp_path / "s.npz", processes=1, progress=False)
    entries = load_entries(tmp_path / "s.npz")
    assert [entry.name for entry in entries] == ["one", "two"]
    for entry, given in zip(entries, (monoclinic, rocksalt), strict=True):
        assert entry.structure.composition == given.composition
        assert entry.structure.volume == pytest.approx(given.volume, rel=1e-3)
        assert entry.structure.matches(given)


def test_sites_become_bare_elements() -> None:
    charged = Structure(Lattice.cubic(5.0), ["Na+", "Cl-"], [[0] * 3, [0.5] * 3])
    assert [str(site.specie) for site in ordered(charged)] == ["Na", "Cl"]
    heavy = Structure(Lattice.cubic(5.0), ["D", "Cl"], [[0] * 3, [0.5] * 3])
    assert ordered(heavy).atomic_numbers == (1, 17)


@pytest.mark.parametrize(
    ("structure", "reason"),
    [
        (Structure(Lattice.cubic(4), [{"Fe": 0.5, "Ni": 0.5}], [[0] * 3]), "disordered"),
        (Structure(Lattice.cubic(4), [{"Fe": 0.5}], [[0] * 3]), "disordered"),
        (Structure(Lattice.cubic(4), ["X"], [[0] * 3]), "unknown_element"),
        (Structure(Lattice.cubic(4), [], []), "empty"),
        (Structure(Lattice.cubic(4), ["Fe"], [[np.nan] * 3]), "not a finite number"),
    ],
)
def test_what_is_no_crystal_is_refused(structure, reason) -> None:
    with pytest.raises(Exception, match=reason):
        ordered(structure)


def test_nothing_there(tmp_path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        load_entries(tmp_path / "none")
    (tmp_path / "empty.csv").write_text("id,cif\n")
    with pytest.raises(DataError, match="holds no structures"):
        load_entries(tmp_path / "empty.csv")


def test_failed() -> None:
    structure = Structure(Lattice.cubic(4), ["Fe"], [[0] * 3])
    assert not Entry("a", structure).failed
    assert Entry("a", structure, flag="images").failed
    assert Entry("a", None, "damaged").failed
