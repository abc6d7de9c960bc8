"""Files, folders and archives: what is damaged is one refusal, what holds no structure is passed over."""

import csv
import io
import json
import lzma
import zipfile

import pytest
from pymatgen.core import Lattice, Structure

from jaxcrystal.errors import DataError
from jaxcrystal.io.readers import read_structures

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
