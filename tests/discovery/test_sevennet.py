"""What everyone knows, by SevenNet: lattices near those of PBE, groups kept, phonons of what is stable.

`make test-relax` runs it; elsewhere it is left out where SevenNet is not installed.
"""

import importlib.util

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

import jaxcrystal as jc
from jaxcrystal.discovery.potentials import DEFAULT
from jaxcrystal.discovery.run import entries_of
from jaxcrystal.discovery.vibrations import Phonons, PhononSettings, phonons_of

pytestmark = [
    pytest.mark.relax,
    pytest.mark.filterwarnings("ignore"),  # torch warns of itself
    pytest.mark.skipif(importlib.util.find_spec("sevenn") is None, reason="SevenNet is not installed"),
]

SALT = [[0] * 3, [0.5] * 3]
PEROVSKITE = [[0] * 3, [0.5] * 3, [0.5, 0.5, 0]]
#: Group, elements, sites, lengths (Å) by PBE as the Materials Project has them (mp-22862, mp-1265, mp-149,
#: mp-2657, mp-3834) or JARVIS (aluminium); whether it is stable as it is at 0 K.
KNOWN = {
    "NaCl": ("Fm-3m", ["Na", "Cl"], SALT, (5.6917,), True),
    "MgO": ("Fm-3m", ["Mg", "O"], SALT, (4.2565,), True),
    "Si": ("Fd-3m:2", ["Si"], [[0.125] * 3], (5.4687,), True),
    "Al": ("Fm-3m", ["Al"], [[0] * 3], (4.0134,), True),
    # Soft by PBE: whether its modes are imaginary is a matter of a per cent of the lattice.
    "TiO2": ("P4_2/mnm", ["Ti", "O"], [[0] * 3, [0.305, 0.305, 0]], (4.6533, 2.9692), False),
    "BaZrO3": ("Pm-3m", ["Ba", "Zr", "O"], PEROVSKITE, (4.2124,), False),
}


def stretched(name: str) -> Structure:
    """The crystal, 4 % too large along a and 4 % too short along c where that is free."""
    group, elements, sites, lengths, _ = KNOWN[name]
    a, c = lengths[0] * 1.04, lengths[-1] * (1.04 if len(lengths) == 1 else 0.96)
    return Structure.from_spacegroup(group, Lattice.tetragonal(a, c), elements, sites)


@pytest.mark.parametrize("name", KNOWN)
def test_lattices_and_groups(name) -> None:
    structure = stretched(name)
    (found,) = jc.relax([structure], DEFAULT)
    assert found.status == "ok"
    assert found.ground.converged
    assert found.ground.group_after == found.ground.group_before == structure.get_space_group_info()[1]
    lengths = KNOWN[name][3]
    np.testing.assert_allclose(
        np.linalg.norm(found.cell.lattice, axis=1)[[0, 2]], [lengths[0], lengths[-1]], rtol=0.02
    )


@pytest.mark.parametrize("name", [name for name, (*_, stable) in KNOWN.items() if stable])
def test_what_is_stable_has_no_imaginary_modes(name) -> None:
    found = phonons_of(entries_of([stretched(name)])[0], PhononSettings(DEFAULT))
    assert isinstance(found, Phonons)
    assert found.lowest > -PhononSettings(DEFAULT).imaginary
    assert found.imaginary_share == 0.0


def test_a_perovskite_that_is_not_stable() -> None:
    """Cubic BaTiO3 is ferroelectric: its titanium leaves the middle."""
    cubic = Structure.from_spacegroup("Pm-3m", Lattice.cubic(4.03), ["Ba", "Ti", "O"], PEROVSKITE)
    found = phonons_of(entries_of([cubic])[0], PhononSettings(DEFAULT))
    assert isinstance(found, Phonons)
    assert found.lowest < -1.0
