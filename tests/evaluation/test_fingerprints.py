"""Features equal the libraries called directly, are kept, and failures are rows too."""

import sqlite3
import sys
import warnings
from importlib import metadata

import numpy as np
import pytest
from pymatgen.core import Composition, Lattice, Structure

from jaxcrystal.errors import DataError, JaxcrystalError
from jaxcrystal.evaluation import descriptors, fingerprints
from jaxcrystal.evaluation.descriptors import composition_is_valid, structure_fingerprint
from jaxcrystal.evaluation.fingerprints import featurize
from jaxcrystal.io.readers import read_structures
from jaxcrystal.structures.cells import is_valid, nearest_distance, translation_primitive
from jaxcrystal.structures.entries import Entry, ordered

#: Places in the AFLOW library: few atoms, and many lattice types and coordinations.
CHOSEN = tuple(range(0, 280, 20))


@pytest.fixture(scope="module")
def prototypes() -> list[Entry]:
    found = list(read_structures("aflow"))
    chosen = [found[n] for n in CHOSEN if len(found[n][1]) <= 9]
    # The library has primitive cells only.
    return [Entry(name, ordered(structure)) for name, structure in [*chosen, ("rocksalt", rocksalt())]]


@pytest.fixture(scope="module")
def features(prototypes, tmp_path_factory):
    return featurize(prototypes, cache=tmp_path_factory.mktemp("cache"), processes=1)


def rocksalt(length: float = 5.6) -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(length), ["Na", "Cl"], [[0] * 3, [0.5] * 3])


def test_fingerprints_are_those_of_matminer(prototypes, features) -> None:
    """The given cell, every atom of it, with matminer alone."""
    from matminer.featurizers.composition import ElementProperty
    from matminer.featurizers.site import CrystalNNFingerprint
    from matminer.featurizers.structure import SiteStatsFingerprint

    assert len(prototypes) >= 8
    assert any(len(translation_primitive(e.structure)) < len(e.structure) for e in prototypes)
    whole = SiteStatsFingerprint(CrystalNNFingerprint.from_preset("ops"), stats=("mean",))
    magpie = ElementProperty.from_preset("magpie")
    for entry, row, composition in zip(prototypes, features.structure, features.composition, strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            np.testing.assert_allclose(row, whole.featurize(entry.structure), rtol=0, atol=1e-9)
            np.testing.assert_array_equal(composition, magpie.featurize(entry.structure.composition))
    assert np.ptp(features.structure, axis=0).max() > 0.5


def test_the_choice_of_the_cell_changes_nothing() -> None:
    whole, primitive = rocksalt(), rocksalt().get_primitive_structure()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        a, b = structure_fingerprint(whole), structure_fingerprint(primitive)
    np.testing.assert_allclose(a, b, atol=1e-9)
    assert nearest_distance(whole) == pytest.approx(2.8) == nearest_distance(primitive)
    assert nearest_distance(Structure(Lattice.cubic(3.0), ["Po"], [[0] * 3])) == pytest.approx(3.0)
    # One corner of a very skewed cell is nearer than the lengths of its vectors say.
    skewed = Lattice([[3.0, 0, 0], [6.5, 3.0, 0], [0, 0, 9.0]])
    assert nearest_distance(Structure(skewed, ["Po"], [[0] * 3])) == pytest.approx(3.0)


def test_only_exact_translations_are_used() -> None:
    assert len(translation_primitive(rocksalt())) == 2
    moved = rocksalt()
    moved.translate_sites([0], [1e-3, 0, 0])
    assert len(translation_primitive(moved)) == 8


def test_numbers(prototypes, features) -> None:
    for row, entry in enumerate(prototypes):
        structure = entry.structure
        assert features.volume[row] == pytest.approx(structure.volume)
        assert features.density[row] == pytest.approx(float(structure.density))
        assert features.num_elements[row] == len(structure.elements)
        assert features.num_atoms[row] == len(structure)
        assert features.valid[row] == is_valid(structure)
        assert features.found_groups[row, 0] == structure.get_space_group_info(0.01)[1]
        assert features.found_groups[row, 2] == structure.get_space_group_info(0.3)[1]
    assert features.complete.all()
    taken = features.select(np.array([3, 1]))
    np.testing.assert_array_equal(taken.structure, features.structure[[3, 1]])
    assert taken.reasons == [features.reasons[3], features.reasons[1]]
    assert len(taken) == 2


@pytest.mark.parametrize(
    ("formula", "valid"),
    [
        ("NaCl", True),
        ("NaCl2", False),
        ("Fe", True),
        ("FeNi3", True),
        ("O", True),
        ("BaTiO3", True),
        ("LiO4", False),
    ],
)
def test_composition_validity(formula, valid) -> None:
    """Neutral by SMACT, an element or an alloy."""
    composition = Composition(formula)
    elements = [element.symbol for element, n in composition.items() for _ in range(int(n))]
    coords = np.random.default_rng(0).uniform(size=(len(elements), 3))
    assert composition_is_valid(Structure(Lattice.cubic(9.0), elements, coords)) is valid


def test_endless_compositions_are_not_tried() -> None:
    names = ["Mn", "Fe", "Cr", "V", "Mo", "W", "Re", "Os", "Ru", "N", "S", "Cl"]
    many = Structure(Lattice.cubic(9.0), names, np.random.default_rng(0).uniform(size=(len(names), 3)))
    with pytest.raises(ValueError, match="combinations of oxidation states are not tried"):
        composition_is_valid(many)


def test_failures_are_rows(tmp_path) -> None:
    close = Structure(Lattice.cubic(4.0), ["Na", "Cl"], [[0, 0, 0], [0.1, 0, 0]])
    dense = Structure(Lattice.cubic(0.5), ["Na"] * 2, [[0] * 3, [0.5] * 3])
    tiny = Structure(Lattice.cubic(0.4), ["Na"], [[0] * 3])
    unbalanced = Structure(Lattice.cubic(4.0), ["Na", "Cl", "Cl"], [[0] * 3, [0.5] * 3, [0.5, 0.5, 0]])
    entries = [
        Entry("gone", None, "damaged file"),
        Entry("flagged", rocksalt(), flag="images"),
        Entry("close", close),
        Entry("dense", dense),
        Entry("tiny", tiny),
        Entry("unbalanced", unbalanced),
        Entry("good", rocksalt()),
        Entry("no radius", Structure(Lattice.cubic(3.0), ["Cf"], [[0] * 3])),
    ]
    found = featurize(entries, cache=tmp_path, processes=1)
    assert len(found) == len(entries)
    assert found.reasons[-1].startswith(f"{descriptors.NO_FINGERPRINT}: ")
    assert found.reasons[:-1] == [
        "unparsable: damaged file",
        "flagged: images",
        descriptors.CLOSE_ATOMS,
        descriptors.CLOSE_ATOMS,
        descriptors.SMALL_VOLUME,
        descriptors.COMPOSITION_NOT_VALID,
        "",
    ]
    assert found.valid.tolist() == [False] * 5 + [True] * 3
    assert found.composition_valid.tolist() == [False, False, True, True, True, False, True, True]
    assert found.complete.tolist() == [False, False, True, False, False, True, True, False]
    assert np.isnan(found.structure[[0, 1, 3]]).all()
    assert np.isnan(found.volume[0])
    assert found.volume[1] == pytest.approx(5.6**3)
    assert found.found_groups[0].tolist() == [0, 0, 0]


def test_a_second_run_computes_nothing(prototypes, features, tmp_path, monkeypatch) -> None:
    few = prototypes[:3]
    first = featurize(few, cache=tmp_path, processes=1)

    def fail(structure):
        raise AssertionError("computed again")

    monkeypatch.setattr(fingerprints, "describe", fail)
    again = featurize([few[2], few[0], few[2]], cache=tmp_path, processes=1)
    np.testing.assert_array_equal(again.structure, first.structure[[2, 0, 2]])
    np.testing.assert_array_equal(again.found_groups, first.found_groups[[2, 0, 2]])
    np.testing.assert_array_equal(first.structure, features.structure[:3])
    # Whether an entry is flagged belongs to the entry, not to the structure.
    flagged = featurize([Entry("a", few[0].structure, flag="images")], cache=tmp_path, processes=1)
    assert flagged.reasons == ["flagged: images"]
    # A row of other library versions is another row.
    monkeypatch.setattr(fingerprints, "library_versions", lambda: {"matminer": "0"})
    with pytest.raises(AssertionError, match="computed again"):
        featurize(few, cache=tmp_path, processes=1)


def test_an_interrupted_run_keeps_what_is_done(tmp_path, monkeypatch) -> None:
    entries = [Entry(str(n), rocksalt(5.0 + 0.1 * n)) for n in range(20)]
    row = (np.zeros(descriptors.ROW_LENGTH), "")
    calls = []

    def stop(structure):
        calls.append(structure)
        if len(calls) == 13:
            raise KeyboardInterrupt
        return row

    monkeypatch.setattr(fingerprints, "describe", stop)
    with pytest.raises(KeyboardInterrupt):
        featurize(entries, cache=tmp_path, processes=1)
    with sqlite3.connect(tmp_path / "fingerprints.sqlite") as database:
        (kept,) = database.execute("SELECT COUNT(*) FROM rows").fetchone()
    database.close()
    assert kept == fingerprints.CHUNK
    featurize(entries, cache=tmp_path, processes=1)
    assert len(calls) == 13 + len(entries) - fingerprints.CHUNK


def test_several_processes_give_the_same(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("jaxcrystal.workers._FEW", 0)
    entries = [Entry(str(n), rocksalt(5.0 + 0.1 * n).get_primitive_structure()) for n in range(10)]
    one = featurize(entries, cache=tmp_path / "one", processes=1)
    two = featurize(entries, cache=tmp_path / "two", processes=2)
    np.testing.assert_array_equal(one.structure, two.structure)
    assert len(set(two.volume.tolist())) == 10


def test_a_cache_that_cannot_be_used(tmp_path) -> None:
    damaged = "this is no data base, and long enough to be seen as none" * 20
    (tmp_path / "fingerprints.sqlite").write_text(damaged)
    with pytest.raises(DataError, match="JAXCRYSTAL_CACHE"):
        featurize([Entry("a", rocksalt())], cache=tmp_path, processes=1)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="JAXCRYSTAL_CACHE"):
        featurize([Entry("a", rocksalt())], cache=tmp_path / "file", processes=1)


@pytest.mark.parametrize("missing", ["matminer", "smact"])
def test_what_to_install(missing, monkeypatch, tmp_path) -> None:
    version = metadata.version

    def without(name):
        if name == missing:
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(metadata, "version", without)
    with pytest.raises(
        JaxcrystalError, match=rf"^evaluate needs {missing}: pip install 'jaxcrystal\[eval\]'$"
    ):
        featurize([Entry("a", rocksalt())], cache=tmp_path)


@pytest.mark.parametrize("damaged", ["matminer.featurizers.site.fingerprint", "smact.screening"])
def test_a_damaged_installation_is_no_failure_of_the_structures(damaged, monkeypatch, tmp_path) -> None:
    """matminer 0.9 with scipy 1.17, say: nothing may be written to the cache."""
    monkeypatch.setitem(sys.modules, damaged, None)
    with pytest.raises(JaxcrystalError, match=r"cannot be imported \(.*pip install --upgrade"):
        featurize([Entry("a", rocksalt())], cache=tmp_path, processes=1)
    with sqlite3.connect(tmp_path / "fingerprints.sqlite") as database:
        assert database.execute("SELECT COUNT(*) FROM rows").fetchone() == (0,)
    database.close()


def test_importing_loads_no_extras() -> None:
    import subprocess

    heavy = ("matminer", "smact", "distributed", "pymatgen", "matplotlib")
    script = f"import sys, jaxcrystal.evaluation.metrics; print([m for m in {heavy} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
