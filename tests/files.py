"""Small valid files to damage: a data set, a run; and the command that must refuse them in one line."""

import io
import json
import struct
import zipfile
from pathlib import Path

import numpy as np

from jaxcrystal import cli
from jaxcrystal.data.dataset import PreparedSites, stack
from jaxcrystal.structures.summary import COLUMNS, summary_csv

#: Characters and lines of a message.
LONGEST, MOST_LINES = 300, 2


def write_dataset(path: Path) -> Path:
    """Writes rock salt, a perovskite and a triclinic cell."""
    salt, perovskite = np.zeros((2, 6))
    salt[0], perovskite[0] = 4.0, 3.0
    middle, face = np.array([[0.0] * 3, [0.5] * 3]), np.array([[0.0, 0.5, 0.5]])
    oxide = np.array([2.0, 3.0, 4.0, 0.5, -0.5, 1.0]), np.array([[0.1, 0.2, 0.3], [0.6, 0.7, 0.9]])
    structures = [
        PreparedSites(225, salt, np.array([11, 17]), middle, np.array([0, 1])),
        PreparedSites(
            221, perovskite, np.array([56, 22, 8]), np.concatenate([middle, face]), np.array([0, 1, 2])
        ),
        PreparedSites(1, oxide[0], np.array([3, 8]), oxide[1], np.array([0, 0])),
    ]
    gaps = [{"gap": 1.0}, {}, {"gap": 2.0}]
    stack(["salt", "perovskite", "oxide"], structures, gaps, {"made_by": "a test"}, ["gap"]).save(path)
    return path


def write_run(folder: Path, **settings: object) -> Path:
    """Writes a run of one part, with these structures as arrays, and of these settings."""
    part = folder / "parts" / "00000"
    part.mkdir(parents=True)
    write_dataset(part / "structures.npz")
    (folder / "run.json").write_text(
        json.dumps({"format": "jaxcrystal-run-1", "settings": settings or {"seed": 0}})
    )
    numbers = dict.fromkeys(COLUMNS[6:16], "4.5")
    rows = [
        {"id": name, "formula": "X", "letters": "", "requested_group": group, "found_group": group}
        | numbers
        | {"found_group_strict": "", "valid": "True", "status": "ok"}
        for name, group in (("salt", "225"), ("perovskite", "221"), ("oxide", "1"))
    ]
    for place in (part, folder):
        (place / "summary.csv").write_text(summary_csv(rows))
    return folder


def change(path: Path, **arrays: object) -> None:
    """Writes a file of arrays anew, with other arrays; a function gets the old one, None removes it."""
    with np.load(path) as archive:
        content = dict(archive)
    for name, new in arrays.items():
        if new is None:
            del content[name]
        else:
            content[name] = new(content[name].copy()) if callable(new) else new
    np.savez(path, **content)


def put(number: object, index: int = 0):
    """Returns a function that puts a number into an array."""

    def changed(array: np.ndarray) -> np.ndarray:
        array = array.astype(np.result_type(array, np.min_scalar_type(number)))
        array.flat[index] = number
        return array

    return changed


def write_character(number: int, order: str = "<"):
    """Returns a function that puts a character of this number into an array of texts."""

    def changed(array: np.ndarray) -> np.ndarray:
        array = array.astype(array.dtype.newbyteorder(order))
        array.view(f"{order}u4").flat[-1] = number
        return array

    return changed


def claim_shape(path: Path, name: str, shape: tuple[int, ...]) -> None:
    """Lets the header of an array tell another shape than its bytes have."""
    with zipfile.ZipFile(path) as archive:
        contents = {info.filename: archive.read(info) for info in archive.infolist()}
    old = io.BytesIO(contents[f"{name}.npy"])
    np.lib.format.read_magic(old)
    _, _, dtype = np.lib.format.read_array_header_1_0(old)
    new = io.BytesIO()
    header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(new, header)
    contents[f"{name}.npy"] = new.getvalue() + old.read()
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in contents.items():
            archive.writestr(member, content)


def make_bomb(path: Path, names: list[str]) -> None:
    """Writes a file of a few hundred kilobytes whose arrays are 300 MB of zeros."""
    header = io.BytesIO()
    about = {"descr": "<f8", "fortran_order": False, "shape": (300_000_000 // 8 // len(names),)}
    np.lib.format.write_array_header_1_0(header, about)
    content = header.getvalue() + bytes(8 * about["shape"][0])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(f"{name}.npy", content)


def set_flag(path: Path, flag: int) -> None:
    """Sets a flag of every member of an archive, such as 1, encrypted, in both places that tell it."""
    content = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        place = content.find(mark)
        while place >= 0:
            struct.pack_into("<H", content, place + offset, flag)
            place = content.find(mark, place + 4)
    path.write_bytes(content)


def refusal(capsys, *arguments: object) -> str:
    """Runs a command that must refuse; returns its message, without what comes before it."""
    capsys.readouterr()
    code = cli.main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    assert code == 2, said
    assert said.out == ""
    lines = [line for line in said.err.splitlines() if line.startswith("jaxcrystal: ")]
    assert 1 <= len(lines) <= MOST_LINES, said.err
    assert "Traceback" not in said.err
    assert all(len(line) <= LONGEST for line in lines), said.err
    assert lines[-1].startswith("jaxcrystal: error: ")
    return lines[-1].removeprefix("jaxcrystal: error: ")
