"""All settings of all groups, told in every way: the atoms are those of gemmi's expansion, or refused."""

import functools
from collections import Counter

import gemmi
import numpy as np
import pytest

from jaxcrystal.io.cif import parse_cif
from jaxcrystal.io.rejection import Reason, Rejected

TABLE = list(gemmi.spacegroup_table())
#: In no setting are two images of it nearer than 0.8 Å.
GENERAL = (0.1463, 0.455, 0.2046)
#: Where special positions are looked for.
CANDIDATES = np.array(
    [[x, y, z] for x in (0, 0.125, 0.25, 0.375, 0.5) for y in (0, 0.25, 0.375) for z in (0, 0.125, 0.5)]
)


@functools.cache
def _rotations(hall: str) -> tuple[np.ndarray, np.ndarray]:
    ops = list(gemmi.symops_from_hall(hall))
    den = gemmi.Op.DEN
    return np.array([op.rot for op in ops]) // den, np.array([op.tran for op in ops]) / den


def _cell(hall: str) -> gemmi.UnitCell:
    """Returns a cell that has the symmetry and no more than it must."""
    rotations, _ = _rotations(hall)
    basis = np.array([[9.0, 0, 0], [-1.1, 10.3, 0], [1.9, 0.7, 11.9]])
    metric = (rotations.transpose(0, 2, 1) @ (basis @ basis.T) @ rotations).mean(0)
    lengths = np.sqrt(np.diag(metric))
    angles = np.degrees(np.arccos((metric / np.outer(lengths, lengths))[[1, 0, 0], [2, 2, 1]]))
    return gemmi.UnitCell(*lengths, *angles)


def _special(hall: str) -> np.ndarray | None:
    """Returns the point of a grid that most operations hold; None if no operation holds any."""
    rotations, translations = _rotations(hall)
    offsets = CANDIDATES @ rotations.transpose(0, 2, 1) + translations[:, None] - CANDIDATES
    held = (np.abs(offsets - np.rint(offsets)).max(-1) < 1e-9).sum(0)
    return CANDIDATES[held.argmax()] if held.max() > 1 else None


@functools.cache
def _expected(hall: str) -> tuple[str, set[tuple[str, int, int, int]], str]:
    """Returns cell and atoms as CIF, gemmi's expansion of them, and formula with Z as CIF."""
    cell = _cell(hall)
    numbers = (cell.a, cell.b, cell.c, cell.alpha, cell.beta, cell.gamma)
    tags = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    text = "".join(f"_cell_{tag} {x:.6f}\n" for tag, x in zip(tags, numbers, strict=True))
    text += "loop_\n_atom_site_label\n_atom_site_type_symbol\n"
    text += "".join(f"_atom_site_fract_{axis}\n" for axis in "xyz")
    for element, place in {"Ga": GENERAL, "Sb": _special(hall)}.items():
        if place is not None:
            text += f"{element}1 {element} " + " ".join(f"{x:g}" for x in place) + "\n"
    block = gemmi.cif.read_string(f"data_x\n{_of_hall(hall)}\n{text}").sole_block()
    structure = gemmi.make_small_structure_from_block(block)
    structure.determine_and_set_spacegroup("h")
    atoms = [
        (site.element.name, *_steps(site.fract.tolist())) for site in structure.get_all_unit_cell_sites()
    ]
    assert len(set(atoms)) == len(atoms)
    counts = Counter(element for element, *_ in atoms)
    assert counts["Ga"] == len(_rotations(hall)[0])
    formula = " ".join(f"{element}{count}" for element, count in counts.items())
    return text, set(atoms), f"_chemical_formula_sum '{formula}'\n_cell_formula_units_Z 1\n"


def _steps(frac_coords) -> tuple[int, ...]:
    return tuple(int(step) for step in np.rint(np.asarray(frac_coords) % 1.0 * 1e4).astype(int) % 10000)


def _outcome(hall: str, symmetry: str, formula: bool = False) -> str:
    """Returns whether the crystal is read as gemmi expands it, `right` or `wrong`, or why it is refused."""
    text, atoms, told = _expected(hall)
    try:
        structure = parse_cif(f"data_x\n{symmetry}\n{told if formula else ''}{text}")
    except Rejected as refusal:
        return str(refusal.reason)
    found = {(site.specie.symbol, *_steps(site.frac_coords)) for site in structure}
    return "right" if found == atoms and len(structure) == len(atoms) else "wrong"


def _loop(hall: str) -> str:
    ops = "\n".join(f"'{op.triplet()}'" for op in gemmi.symops_from_hall(hall))
    return f"loop_\n_space_group_symop_operation_xyz\n{ops}"


def _of_hall(hall: str) -> str:
    return f'_space_group_name_Hall "{hall}"' if "'" in hall else f"_space_group_name_Hall '{hall}'"


def _named(setting: gemmi.SpaceGroup, name: str) -> str:
    return f"_symmetry_space_group_name_H-M '{name}'"


@pytest.mark.parity
@pytest.mark.parametrize(
    "told",
    [
        lambda s: _named(s, s.xhm()),
        lambda s: f"{_named(s, s.xhm())}\n_symmetry_Int_Tables_number {s.number}",
        lambda s: _of_hall(s.hall),
        lambda s: _loop(s.hall),
    ],
    ids=["name", "name and number", "Hall symbol", "operations"],
)
def test_every_setting_is_read(told):
    outcomes = {setting.xhm(): _outcome(setting.hall, told(setting)) for setting in TABLE}
    assert len(outcomes) == 564
    assert {name: outcome for name, outcome in outcomes.items() if outcome != "right"} == {}


@pytest.mark.parity
def test_all_told_together_is_read():
    for s in TABLE[::4]:
        told = f"{_of_hall(s.hall)}\n{_loop(s.hall)}\n_space_group_IT_number {s.number}\n{_named(s, s.xhm())}"
        assert _outcome(s.hall, told, formula=True) == "right", s.xhm()


@pytest.mark.parity
def test_a_name_that_leaves_the_origin_open_is_resolved_by_the_formula_or_refused():
    open_ones = [s for s in TABLE if s.ext in ("1", "2")]
    alone = {s.xhm(): _outcome(s.hall, _named(s, s.hm)) for s in open_ones}
    assert set(alone.values()) == {str(Reason.AMBIGUOUS)}
    with_formula = {s.xhm(): _outcome(s.hall, _named(s, s.hm), formula=True) for s in open_ones}
    assert set(with_formula.values()) <= {"right", str(Reason.AMBIGUOUS)}
    assert "right" in with_formula.values()


@pytest.mark.parity
def test_rhombohedral_axes_are_told_by_the_cell():
    for setting in (s for s in TABLE if s.ext in ("H", "R")):
        assert _outcome(setting.hall, _named(setting, setting.hm)) == "right", setting.xhm()
        other = "R" if setting.ext == "H" else "H"
        wrong = _outcome(setting.hall, _named(setting, f"{setting.hm}:{other}"))
        assert wrong == str(Reason.CONTRADICTORY), setting.xhm()


@pytest.mark.parity
def test_short_monoclinic_names_are_told_by_the_cell():
    """P 21/c with a free angle alpha has its unique axis along a, and so on."""
    for setting in (s for s in gemmi.spacegroup_table_itb() if 3 <= s.number <= 15):
        letters = setting.hm.split()
        short = " ".join([letters[0], *(x for x in letters[1:] if x != "1")])
        assert _outcome(setting.hall, _named(setting, short)) == "right", setting.xhm()


@pytest.mark.parity
def test_a_number_alone_is_right_or_refused():
    outcomes = {}
    wrong: set[str] = set()
    for setting in gemmi.spacegroup_table_itb():
        outcome = _outcome(setting.hall, f"_space_group_IT_number {setting.number}")
        outcomes.setdefault(setting.is_reference_setting(), []).append(outcome)
        wrong |= {setting.xhm()} if outcome == "wrong" else set()
    refused = {str(Reason.AMBIGUOUS), str(Reason.CONTRADICTORY)}
    # The number stands for the conventional setting, which the file may not have. Its cell shows that
    # where the angles or lengths differ, but not for orthorhombic groups with other axes and not for
    # monoclinic groups with the unique axis b and another glide plane or centring.
    assert wrong == {
        s.xhm()
        for s in gemmi.spacegroup_table_itb()
        if not s.is_reference_setting()
        and s.ext not in ("1", "2")  # a group with two origins is ambiguous by its number
        and (s.crystal_system_str() == "orthorhombic" or s.qualifier.startswith(("b", "-b")))
    }
    assert len(wrong) == 181
    assert set(outcomes[True]) <= {"right", str(Reason.AMBIGUOUS)}
    assert outcomes[True].count("right") >= 200
    assert refused & set(outcomes[False])


@pytest.mark.parity
def test_what_contradicts_the_operations_is_refused():
    """A number or name of another group, a list without centring, without its last, or of generators."""
    for setting in TABLE[::7]:
        ops = list(gemmi.symops_from_hall(setting.hall))
        if len(ops) == 1:  # P 1, which is what a list of the identity means too
            continue
        other = setting.number % 230 + 1
        told = f"{_loop(setting.hall)}\n_space_group_IT_number {other}"
        assert _outcome(setting.hall, told) == str(Reason.CONTRADICTORY), setting.xhm()
        if len(ops) > 2:
            cut = "\n".join(f"'{op.triplet()}'" for op in ops[:-1])
            told = f"loop_\n_symmetry_equiv_pos_as_xyz\n{cut}"
            assert _outcome(setting.hall, told) == str(Reason.CONTRADICTORY), setting.xhm()
        primitive = list(gemmi.symops_from_hall(setting.hall).sym_ops)
        if len(primitive) < len(ops):
            listed = "\n".join(f"'{op.triplet()}'" for op in primitive)
            told = f"loop_\n_symmetry_equiv_pos_as_xyz\n{listed}\n{_named(setting, setting.xhm())}"
            assert _outcome(setting.hall, told) == str(Reason.CONTRADICTORY), setting.xhm()


@pytest.mark.parity
def test_a_cell_that_the_group_does_not_have_is_refused():
    text = "data_x\n_symmetry_space_group_name_H-M '{}'\n" + "".join(
        f"_cell_{tag} {{}}\n"
        for tag in ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    )
    text += "loop_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\nPo1 0 0 0\n"
    wrong = [
        ("P 63/m m c", 3.2, 3.2, 5.2, 90, 90, 90),
        ("P m -3 m", 4.0, 4.0, 4.05, 90, 90, 90),
        ("P 4 m m", 4.0, 4.1, 4.0, 90, 90, 90),
        ("P n m a", 4.0, 5.0, 6.0, 90, 92, 90),
        ("P 1 2/m 1", 4.0, 5.0, 6.0, 91, 100, 90),
        ("R -3 m :R", 4.0, 4.0, 9.0, 90, 90, 120),
    ]
    for name, *cell in wrong:
        with pytest.raises(Rejected) as refusal:
            parse_cif(text.format(name, *cell))
        assert refusal.value.reason == Reason.CONTRADICTORY, name
    # Less than the digits tell, and less than the search for symmetry sees.
    assert len(parse_cif(text.format("P m -3 m", 4.00, 4.01, 4.00, 90, 90.1, 90))) == 1
