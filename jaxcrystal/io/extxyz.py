"""Extended XYZ: a frame is a count, a line of key=value pairs, and one line an atom."""

import re
from collections.abc import Iterator
from io import TextIOWrapper

import numpy as np
from jaxtyping import Float

from jaxcrystal.errors import DataError

_PAIR = re.compile(r"""([\w-]+)\s*=\s*("(?:[^"\\]|\\.)*"|'[^']*'|\{[^}]*\}|\[[^\]]*\]|\S+)""")


def split_frames(file: TextIOWrapper) -> Iterator[str]:
    """Yields the text of each frame; raises DataError where a count is not a number."""
    while line := file.readline():
        if not line.strip():
            continue
        try:
            count = int(line)
        except ValueError:
            raise ValueError(f"expected a number of atoms, got {line.strip()[:40]!r}") from None
        yield line + "".join(file.readline() for _ in range(count + 1))


def parse_frame(text: str) -> tuple[Float[np.ndarray, "3 3"], list[str], Float[np.ndarray, "atoms 3"]]:
    """Returns (lattice with vectors in rows in Å, element symbols, Cartesian coordinates in Å).

    Raises:
      DataError: no lattice, not periodic in three directions, or atoms missing.
    """
    lines = text.splitlines()
    count = int(lines[0])
    pairs = {key.lower(): value.strip("\"'{}[]") for key, value in _PAIR.findall(lines[1])}
    if "lattice" not in pairs:
        raise DataError("no Lattice in this frame: not a crystal")
    lattice = np.array([float(x) for x in pairs["lattice"].replace(",", " ").split()]).reshape(3, 3)
    if any(flag.upper().startswith("F") for flag in pairs.get("pbc", "T T T").split()):
        raise DataError(f"not periodic in three directions (pbc={pairs['pbc']})")

    columns = pairs.get("properties", "species:S:1:pos:R:3").split(":")
    starts, place = {}, 0
    for name, width in zip(columns[0::3], columns[2::3], strict=True):
        starts[name.lower()] = place
        place += int(width)
    if "pos" not in starts or not {"species", "z"} & set(starts):
        raise DataError("the columns of this frame name no species or no pos")
    atoms = [line.split() for line in lines[2 : 2 + count]]
    if len(atoms) < count or any(len(atom) < place for atom in atoms):
        raise DataError(f"the frame ends before its {count} atoms are complete")
    first = starts["pos"]
    coords = np.array([[float(x) for x in atom[first : first + 3]] for atom in atoms]).reshape(-1, 3)
    if "species" in starts:
        return lattice, [atom[starts["species"]] for atom in atoms], coords
    from pymatgen.core import Element

    return lattice, [Element.from_Z(int(atom[starts["z"]])).symbol for atom in atoms], coords


def write_frame(
    lattice: Float[np.ndarray, "3 3"],
    symbols: list[str],
    frac_coords: Float[np.ndarray, "atoms 3"],
    info: dict[str, str | int | float] | None = None,
) -> str:
    """Returns the text of one frame; `info` becomes further key=value pairs."""
    cart_coords = np.asarray(frac_coords) @ np.asarray(lattice)
    vectors = " ".join(f"{x:.10g}" for x in np.asarray(lattice).ravel())
    pairs = [f'Lattice="{vectors}"', "Properties=species:S:1:pos:R:3", 'pbc="T T T"']
    pairs += [
        f'{key}="{value}"' if isinstance(value, str) else f"{key}={value}"
        for key, value in (info or {}).items()
    ]
    lines = [str(len(symbols)), " ".join(pairs)]
    lines += [
        f"{symbol:<2s} {x:16.10f} {y:16.10f} {z:16.10f}"
        for symbol, (x, y, z) in zip(symbols, cart_coords, strict=True)
    ]
    return "\n".join(lines) + "\n"
