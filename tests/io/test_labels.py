"""Elements of labels, and formulas: one reading, or none."""

import pytest

from jaxcrystal.elements import SYMBOLS
from jaxcrystal.io.formulas import told_formula
from jaxcrystal.io.labels import element_of
from jaxcrystal.io.rejection import Reason, Rejected

C, CL, CO = 6, 17, 27


@pytest.mark.parametrize("label", ["CO1", "NO2", "NH1", "CH3", "PO4a", "CN1", "SO1", "PO"])
def test_labels_in_capitals_that_can_be_a_group_of_atoms(label):
    """Neither formula nor type symbol: CO1 is cobalt, a carbon or a carbonyl."""
    with pytest.raises(Rejected, match=f"the label {label} can be") as refusal:
        element_of(label, is_label=True)
    assert refusal.value.reason == Reason.UNKNOWN_ELEMENT


def test_a_formula_decides_what_capitals_are():
    assert element_of("CO1", {CO, CL}, is_label=True) == CO
    assert element_of("CO1", {C, CL}, is_label=True) == C
    with pytest.raises(Rejected, match="CO1 can be"):
        element_of("CO1", {C, CO, CL}, is_label=True)


@pytest.mark.parametrize(
    "element", ["Ca", "Fe", "Sn", "Si", "In", "Nb", "Cs", "Cu", "Ni", "Os", "Bi", "Pb", "Sc", "Cl"]
)
def test_other_elements_in_capitals(element):
    assert SYMBOLS[element_of(f"{element.upper()}1", is_label=True)] == element


def test_numbers_in_front_of_a_part_of_a_formula_are_not_read():
    """CaSO4 2(H2O) is not Ca S O42 (H2O): no formula rather than a wrong one."""
    for text in ("CaSO4 2(H2O)", "CaSO4 2H2O", "K Cl 2H2O", "2(H2O)", "CaSO4 2 (H2O)", "KCl 2[H2O]"):
        assert told_formula(text) is None, text
    for text in ("C 2 H 6", "Mg (O H)2", "Mg(OH)2", "Ca (SO4) (H2O)2", "O3 Sr Ti", "Fe0.9 O"):
        assert told_formula(text) is not None, text
