"""Files, folders and archives: what is damaged is one refusal, what holds no structure is passed over."""

import csv
import gzip
import io
import json
import lzma
import zipfile

import pytest
from pymatgen.core import Lattice, Structure

from jaxcrystal.errors import DataError
from jaxcrystal.io.readers import read_structures
from jaxcrystal.io.text import COMPRESSED, _Unpacked

SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0] * 3, [0.5] * 3])
CIF, POSCAR = SALT.to(fmt="cif"), SALT.to(fmt="poscar")
#: Offsets of the flags and of the method of compression, in the two headers that a zip has of a member.
_HEADERS = ((b"PK\x03\x04", 6, 8), (b"PK\x01\x02", 8, 10))
_ENCRYPTED, _METHOD = 1, 97


def _zip(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)


def _with_headers(path, flags=0, method=0):
    """Changes what the headers of the archive's first member say of it."""
    content = bytearray(path.read_bytes())
    for signature, flags_at, method_at in _HEADERS:
        start = content.index(signature)
        content[start + flags_at] |= flags
        content[start + method_at] |= method
    path.write_bytes(content)


def _cells(*cells) -> str:
    text = io.StringIO()
    csv.writer(text).writerows([["id", "cif"], *([f"m{n}", cell] for n, cell in enumerate(cells))])
    return text.getvalue()


@pytest.mark.parametrize("name", ["a.cif.xz", "a.json.xz"])
def test_a_damaged_xz_is_one_refusal(tmp_path, name):
    packed = bytearray(lzma.compress(CIF.encode()))
    packed[len(packed) // 2] ^= 0xFF
    (tmp_path / name).write_bytes(packed)
    ((_, cause),) = read_structures(tmp_path / name)
    assert "stopped: Corrupt input data" in str(cause)
    (tmp_path / "a.csv.xz").write_bytes(packed)
    with pytest.raises(DataError, match="Corrupt input data"):
        read_structures(tmp_path / "a.csv.xz")


@pytest.mark.parametrize(
    ("header", "cause"), [({"flags": _ENCRYPTED}, "encrypted"), ({"method": _METHOD}, "not supported")]
)
def test_a_member_that_cannot_be_unpacked_does_not_stop_the_others(tmp_path, header, cause):
    _zip(tmp_path / "a.zip", {"a.cif": CIF, "b.cif": CIF})
    _with_headers(tmp_path / "a.zip", **header)
    found = dict(read_structures(tmp_path / "a.zip"))
    assert cause in str(found["a.cif"])
    assert isinstance(found["b.cif"], Structure)


def test_json_that_is_nested_too_deeply_is_one_refusal(tmp_path):
    deep = '{"lattice":' * 200_000
    (tmp_path / "a.json").write_text(deep)
    (tmp_path / "a.jsonl").write_text(f"{json.dumps(SALT.as_dict())}\n{deep}\n")
    (tmp_path / "a.csv").write_text(_cells(deep, CIF))
    ((_, cause),) = read_structures(tmp_path / "a.json")
    assert "recursion" in str(cause)
    (_, good), (_, cause) = read_structures(tmp_path / "a.jsonl")
    assert isinstance(good, Structure)
    assert "recursion" in str(cause)
    (_, cause), (_, good) = read_structures(tmp_path / "a.csv")
    assert "nested too deeply" in str(cause)
    assert isinstance(good, Structure)


def test_members_of_a_zip_are_like_files_of_a_folder(tmp_path, caplog):
    """Figures and tables without structures are passed over, and named."""
    members = {"a.cif": CIF, "metrics.json": '{"valid": 0.5}', "t.csv": "id,gap\nx,1\n", "b.zip": "x"}
    _zip(tmp_path / "a.zip", {**members, "notes.txt": "x", "s.csv": _cells(CIF, "no cif")})
    found = dict(read_structures(tmp_path / "a.zip"))
    assert list(found) == ["a.cif", "m0", "m1"]
    assert [isinstance(value, Structure) for value in found.values()] == [True, True, False]
    assert "4 files passed over" in caplog.text
    for why in (
        "a.zip/metrics.json (no structure in it)",
        "a.zip/t.csv (no column named cif",
        "a.zip/b.zip (an archive",
        "a.zip/notes.txt (unknown kind)",
    ):
        assert why in caplog.text


def test_what_is_only_named_after_a_poscar_is_passed_over(tmp_path, caplog):
    others = ["POSCAR.png", "make_poscar.py", "poscar_notes.txt", "POSCAR.pdf", "results_poscar.npz"]
    names = [
        "CONTCAR.gz.orig",
        "POSCAR.orig",
        "POSCAR.TiO2",
        "POSCAR_1",
        "mp-2_POSCAR",
        "mp.POSCAR",
        "x.vasp",
    ]
    for name in others:
        (tmp_path / name).write_bytes(b"\x89PNG\r\n\n\x00import this\n1 2 3\n")
    for name in names:
        (tmp_path / name).write_text(POSCAR)
    (tmp_path / "POSCAR.1").write_text("damaged")
    found = dict(read_structures(tmp_path))
    assert sorted(found) == sorted([*names, "POSCAR.1"])
    assert [name for name, value in found.items() if not isinstance(value, Structure)] == ["POSCAR.1"]
    assert all(f"{name} (no structure in it)" in caplog.text for name in others)


@pytest.mark.parametrize("first", ["data/mp-1.cif", "#1.cif", "_x.cif", "data_mp.cif", "dmp-1.cif"])
def test_a_first_cell_that_names_a_file_does_not_end_the_table(tmp_path, first):
    (tmp_path / "a.csv").write_text(_cells(first, CIF))
    (_, cause), (_, good) = read_structures(tmp_path / "a.csv")
    assert f"names a file, {first}" in str(cause)
    assert isinstance(good, Structure)


def test_a_name_of_a_data_block_is_no_structure(tmp_path, caplog):
    (tmp_path / "results.json").write_text(json.dumps({"set": "data_mp20", "names": ["data_x"]}))
    assert list(read_structures(tmp_path / "results.json")) == []
    assert "results.json (no structure in it)" in caplog.text


@pytest.mark.parametrize("folder", [False, True])
@pytest.mark.parametrize("name", ["a.cif.gz", "a.csv.bz2", "POSCAR.xz", "a.jsonl.gz", "a.zip"])
def test_what_is_much_larger_unpacked_is_not_read(name, folder, tmp_path, monkeypatch):
    """A few kilobytes may stand for more than a machine holds: reading stops at the bound."""
    monkeypatch.setattr("jaxcrystal.files.ALWAYS_ALLOWED", 10_000)
    taken, read = [], _Unpacked.readinto

    def counted(file, buffer):
        taken.append(read(file, buffer))
        return taken[-1]

    monkeypatch.setattr(_Unpacked, "readinto", counted)
    head = "id,cif\n" if "csv" in name else ""
    bomb = f"{head}{'x' * 3_000_000}".encode()
    path = tmp_path / name
    if name == "a.zip":
        with zipfile.ZipFile(path, "w") as archive:
            # Packed twice: what it is packed to once is no bound.
            archive.writestr("a.cif.gz", gzip.compress(bomb), zipfile.ZIP_DEFLATED)
    else:
        with COMPRESSED[path.suffix](path, "wb") as file:
            file.write(bomb)
    if folder:
        (tmp_path / "of").mkdir()
        path = path.rename(tmp_path / "of" / name).parent
    if folder and name == "a.zip":
        return  # an archive in a folder is passed over
    ((_, error),) = read_structures(path)
    assert isinstance(error, DataError)
    assert "when unpacked" in str(error)
    assert sum(taken) < 800_000
    with gzip.open(tmp_path / "fair.cif.gz", "wb") as file:
        file.write(CIF.encode() + b" " * 100_000)  # it grows to 150 times its size
    ((_, found),) = read_structures(tmp_path / "fair.cif.gz")
    assert isinstance(found, Structure)


@pytest.mark.parametrize("suffix", ["cif", "csv", "json", "jsonl", "extxyz", "vasp", "cif.gz", "zip"])
def test_a_device_never_ends(suffix, tmp_path):
    """It is refused before it is read, and passed over in a folder."""
    link = tmp_path / f"endless.{suffix}"
    link.symlink_to("/dev/zero")
    if suffix == "csv":  # whose columns are looked at first
        with pytest.raises(DataError, match="it is no regular file"):
            list(read_structures(link))
    else:
        ((_, cause),) = read_structures(link)
        assert "it is no regular file" in str(cause)
    with pytest.raises(DataError, match="holds no structure file"):
        list(read_structures(tmp_path))


@pytest.mark.parametrize(
    ("text", "said"),
    [("1e300", "is 1e+300; it must be at most 1000"), ("-1e300", "is -1e+300; it must be at least -1000")],
)
def test_a_coordinate_that_no_crystal_has(text, said, tmp_path):
    """Where one is 1e300 cells away nothing is left of the others' places."""
    cell = "far\n1.0\n5 0 0\n0 5 0\n0 0 5\nNa Cl\n1 1\ndirect\n"
    (tmp_path / "POSCAR").write_text(cell + f"0 0 0\n{text} 0.5 0.5\n")
    ((_, cause),) = read_structures(tmp_path / "POSCAR")
    assert f"a fractional coordinate {said}" in str(cause)
