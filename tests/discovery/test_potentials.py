"""Names of potentials, and what is said where one cannot be used."""

import pytest

from jaxcrystal.discovery import potentials
from jaxcrystal.discovery.potentials import POTENTIALS, Energies, calculator, find_potential
from jaxcrystal.errors import JaxcrystalError, RequestError


def test_kinds() -> None:
    """CHGNet's energies contain corrections, the others' do not."""
    assert {name for name, one in POTENTIALS.items() if one.correction != "none"} == {"chgnet"}
    assert find_potential("emt").kind == Energies("emt")
    assert str(POTENTIALS["chgnet"].kind) == "chgnet (with MP2020)"
    assert find_potential("emt").version.startswith("ase ")


def test_a_factory_of_ones_own() -> None:
    found = find_potential("tests.discovery.crystals:falling")
    assert found.kind == Energies("tests.discovery.crystals:falling")
    assert type(calculator(found.name)).__name__ == "Falling"
    assert calculator(found.name) is calculator(found.name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("7net", "unknown potential '7net': expected one of 7net-0, "),
        ("no_such_module:make", "cannot be imported: ModuleNotFoundError"),
        ("tests.discovery.crystals:nothing", "cannot be imported: AttributeError"),
        ("math:pi", "is no function"),
        (":", "cannot be imported"),
        ("..x:make", "cannot be imported: TypeError"),
    ],
)
def test_names_that_are_none(name, words) -> None:
    with pytest.raises(RequestError, match=words):
        find_potential(name)


def test_what_to_install(monkeypatch) -> None:
    monkeypatch.setattr(potentials.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        JaxcrystalError, match=r"^the potential 7net-0 is not installed: pip install 'jaxcrystal\[relax\]'$"
    ):
        find_potential("7net-0")
    with pytest.raises(JaxcrystalError, match=r"orb is not installed: pip install orb-models$"):
        find_potential("orb")


def test_a_potential_that_cannot_be_loaded(monkeypatch) -> None:
    def fail():
        raise OSError("no weights\nat all")

    broken = potentials.Potential("broken", "math", fail, "")
    monkeypatch.setitem(POTENTIALS, "broken", broken)
    with pytest.raises(JaxcrystalError, match="broken cannot be loaded: OSError: no weights at all"):
        calculator("broken")
