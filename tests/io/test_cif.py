"""What a CIF says of itself: read where it goes together, refused in one line where it does not."""

import numpy as np
import pytest
from pymatgen.core import Composition

from jaxcrystal.data.symmetrize import symmetrize
from jaxcrystal.errors import DataError
from jaxcrystal.io.readers import read
from jaxcrystal.io.records import cif_records
from jaxcrystal.io.rejection import Rejected

CUBIC, HEXAGONAL = (5.64, 5.64, 5.64, 90, 90, 90), (3.16, 3.16, 12.3, 90, 90, 120)
DIAMOND, CSCL = (3.567, 3.567, 3.567, 90, 90, 90), (4.12, 4.12, 4.12, 90, 90, 90)
NACL, CS_CL, CARBON = "Na1 Na 0 0 0\nCl1 Cl 0.5 0.5 0.5", "Cs1 Cs 0 0 0\nCl1 Cl .5 .5 .5", "C1 C 0 0 0"
COLUMNS = "label type_symbol fract_x fract_y fract_z"
OCCUPIED, FLAGGED = f"{COLUMNS} occupancy", f"{COLUMNS} calc_flag"
ROCKSALT, MOS2 = "Na4 Cl4 225", "Mo2 S4 194"
FM3M, PM3M, P1 = "F m -3 m", "P m -3 m", "P 1"
MN, SKEW, FLAT = "Mn1 Mn .1 .2 .3", (5, 6, 7, 80, 90, 95), (5, 6, 7, 90, 100, 90)
INVERSION = "loop_\n_symmetry_equiv_pos_as_xyz\nx,y,z\n-x,-y,-z\n"
SCREW = "loop_\n_symmetry_equiv_pos_as_xyz\nx,y,z\n-x,y+1/2,-z\n"
HM = "_symmetry_space_group_name_H-M"


def _cif(symmetry, cell, atoms, columns=COLUMNS, more=""):
    symmetry = symmetry if symmetry.startswith(("_", "loop_")) or not symmetry else f"{HM} '{symmetry}'"
    tags = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    head = "".join(f"_cell_{tag} {value}\n" for tag, value in zip(tags, cell, strict=True))
    loop = "loop_\n" + "".join(f"_atom_site_{name}\n" for name in columns.split())
    return f"data_x\n{head}{symmetry}\n{more}\n{loop}{atoms}\n"


def _outcome(text):
    (record,) = cif_records("x", text)
    try:
        structure = read(record)
        return f"{structure.composition.formula} {symmetrize(structure).space_group}"
    except (Rejected, DataError) as refusal:
        return str(refusal)


def _check(text, expected):
    outcome = _outcome(text)
    formula, _, group = expected.rpartition(" ")
    if group.isdigit():
        found = outcome.rpartition(" ")
        assert found[2] == group, outcome
        assert Composition(found[0]) == Composition(formula), outcome
    else:
        assert expected in outcome
        assert "\n" not in outcome


@pytest.mark.parametrize(
    ("symmetry", "cell", "atoms", "expected"),
    [
        ("F m 3 m", CUBIC, NACL, ROCKSALT),
        ("f m 3 m", CUBIC, NACL, ROCKSALT),
        ("F 4/m -3 2/m", CUBIC, NACL, ROCKSALT),
        (f"{HM} F m -3 m", CUBIC, NACL, ROCKSALT),  # without the quotes
        ("_space_group_name_H-M_ref 'F m -3 m'", CUBIC, NACL, ROCKSALT),
        ("_space_group_name_H-M_full 'F 4/m -3 2/m'", CUBIC, NACL, ROCKSALT),
        ("_Space_Group_IT_Number '225'", CUBIC, NACL, ROCKSALT),
        (f"{HM} 'F m -3 m'\n_space_group_name_Hall 'F m -3 m'", CUBIC, NACL, ROCKSALT),  # no Hall symbol
        (f"{HM} 'F m -3 m'\n_space_group_name_Hall ?", CUBIC, NACL, ROCKSALT),
        ("_space_group_name_Hall 'F 4d 2 3 -1d'", DIAMOND, CARBON, "C8 227"),
        ("F d -3 m", DIAMOND, CARBON, "ambiguous: F d -3 m:1 or F d -3 m:2?"),
        ("_symmetry_Int_Tables_number 227", DIAMOND, CARBON, "ambiguous: F d -3 m:1 or F d -3 m:2?"),
        ("F d -3 m Z", DIAMOND, "C1 C .125 .125 .125", "C8 227"),
        (
            f"{HM} 'F d -3 m'\n_space_group_IT_coordinate_system_code 2",
            DIAMOND,
            "C1 C .125 .125 .125",
            "C8 227",
        ),
        ("R -3 m", (4.131,) * 3 + (54.13,) * 3, "As1 As .227 .227 .227", "As2 166"),
        ("_symmetry_Int_Tables_number 166", (4.131,) * 3 + (54.13,) * 3, "As1 As .227 .227 .227", "As2 166"),
        ("_symmetry_Int_Tables_number 166", (3.76, 3.76, 10.55, 90, 90, 120), "As1 As 0 0 .227", "As6 166"),
        (f"{HM} 'F d -3 m:1'\n_space_group_name_Hall '-F 4vw 2vw 3'", DIAMOND, CARBON, "is not the setting"),
        ("_symmetry_Int_Tables_number 0\n" + f"{HM} 'F m -3 m'", CUBIC, NACL, ROCKSALT),
        ("_symmetry_Int_Tables_number 0", CUBIC, NACL, "neither a space group nor operations are given"),
        ("R -3 m h", (3.76, 3.76, 10.55, 90, 90, 120), "As1 As 0 0 .227", "As6 166"),
        ("R -3 m r", (4.131,) * 3 + (54.13,) * 3, "As1 As .227 .227 .227", "As2 166"),
        ("F d -3 m O2", DIAMOND, "C1 C .125 .125 .125", "C8 227"),
        ("F d -3 m o1", DIAMOND, CARBON, "C8 227"),
        (f"{INVERSION}_space_group_name_Hall '-P 2yb'", SKEW, MN, "Hall symbol is -P 2yb"),
        (f"{INVERSION}_space_group_name_Hall '-P 1'", SKEW, MN, "Mn2 2"),
        (f"{INVERSION}_space_group_name_Hall 'P -1'", SKEW, MN, "Mn2 2"),
        (f"{SCREW}_space_group_name_Hall 'P 2xa'", FLAT, MN, "Mn2 11"),  # another setting of P 21
        (f"{SCREW}_space_group_name_Hall 'P 1 21 1'", FLAT, MN, "Mn2 11"),  # a name in its place
        (f"{SCREW}_space_group_name_Hall 'P 2y'", FLAT, MN, "Hall symbol is P 2y"),
        ("foo", CUBIC, NACL, "unknown space group 'foo'"),
        (f"{HM} 'foo'\n_symmetry_Int_Tables_number 225", CUBIC, NACL, "unknown space group 'foo'"),
        ("_symmetry_Int_Tables_number 231", CUBIC, NACL, "space group number '231'"),
        ("_space_group_name_Hall 'foo'", CUBIC, NACL, "unknown Hall symbol 'foo'"),
        (f"{HM} 'F m -3 m'\nloop_\n_symmetry_equiv_pos_as_xyz\nx,y,z", CUBIC, NACL, "are of group 1, but"),
        ("loop_\n_symmetry_equiv_pos_as_xyz\nx,y,z\nx,y,z+0.33", CUBIC, NACL, "no symmetry operation"),
        (
            f"{HM} 'P n m a'\n_space_group_transform_Pp_abc b,c,a;0,0,0",
            CUBIC,
            NACL,
            "axes transformed by b,c,a",
        ),
        ("", CSCL, CS_CL, "neither a space group nor operations are given"),
    ],
)
def test_symmetry(symmetry, cell, atoms, expected):
    _check(_cif(symmetry, cell, atoms), expected)


@pytest.mark.parametrize(
    ("formula", "units", "expected"),
    [
        ("Cl1 Na1", 4, ROCKSALT),
        ("Na4 Cl4", 4, ROCKSALT),  # the whole cell, as pymatgen writes it
        ("Na Cl", "?", ROCKSALT),
        ("x", "?", ROCKSALT),
        ("Cl Na", 2, "the file's cell holds 2 times Cl Na, but its atoms make"),
        ("Cl2 Na", 4, "the file's formula is Cl2 Na, but its atoms make Na4 Cl4"),
        ("Cl H Na", 4, "the file's formula is Cl H Na, but it lists no atom of H"),
        ("Na", 4, "the file lists Cl, which its formula Na does not have"),
    ],
)
def test_formula_and_units(formula, units, expected):
    more = f"_chemical_formula_sum '{formula}'\n_cell_formula_units_Z {units}"
    _check(_cif(FM3M, CUBIC, NACL, more=more), expected)


def test_formula_decides_where_the_origin_is_open_and_where_no_symmetry_is_told():
    told = "_chemical_formula_sum C\n_cell_formula_units_Z 8"
    _check(_cif("F d -3 m", DIAMOND, CARBON, more=told), "C8 227")
    _check(
        _cif("", CSCL, CS_CL, more="_chemical_formula_sum 'Cs Cl'\n_cell_formula_units_Z 1"), "Cs1 Cl1 221"
    )
    more = "_chemical_formula_sum 'Cs Cl'\n_cell_formula_units_Z 4"
    _check(_cif("", CSCL, CS_CL, more=more), "the file's cell holds 4 times Cs Cl")


def test_hydrogens_that_are_not_placed():
    brucite = (3.14, 3.14, 4.77, 90, 90, 120)
    atoms = "Mg1 Mg 0 0 0\nO1 O 0.33333 0.66667 0.22"
    for tag, formula in (("sum", "H2 Mg O2"), ("structural", "Mg (O H)2")):
        more = f"_chemical_formula_{tag} '{formula}'"
        _check(
            _cif("P -3 m 1", brucite, atoms, more=more), f"formula is {formula}, but it lists no atom of H"
        )
    counted = "Na1 Na 0 0 0 0\nO1 O .5 .5 .5 1"
    _check(_cif(FM3M, CUBIC, counted, f"{COLUMNS} attached_hydrogens"), "O1 carries 1 hydrogen atoms")


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("0.3333 0.6667", MOS2),
        ("0.3333 0.6666", MOS2),
        ("0.333 0.667", MOS2),
        ("0.3330 0.6670", MOS2),
        ("0.33 0.67", MOS2),
        ("0.333333 0.666667", MOS2),
        ("0.3331 0.6669", MOS2),
        ("0.335 0.665", "ambiguous: two images of Mo1 are 0.016 Å apart"),
        ("0.34 0.66", "ambiguous: two images of Mo1"),
        ("0.3 0.7", "ambiguous: two images of Mo1 are 0.32 Å apart"),
        ("0.35 0.65", "ambiguous: two images of Mo1"),
    ],
)
def test_special_positions_of_few_digits(place, expected):
    _check(_cif("P 63/m m c", HEXAGONAL, f"Mo1 Mo {place} .25\nS1 S {place} .621"), expected)


def test_a_line_of_special_positions_of_few_digits():
    """x and 2x as 0.1671 and 0.3343: put on the line, not further than the last digit."""
    cell = (5.305, 5.305, 4.25, 90, 90, 120)
    text = _cif("P 63/m m c", cell, "Ni1 Ni 0.1671 0.3343 .25\nSn1 Sn .3333 .6667 .75")
    _check(text, "Ni6 Sn2 194")
    (record,) = cif_records("x", text)
    x, y, _ = next(site.frac_coords for site in read(record) if site.specie.symbol == "Ni")
    assert y == pytest.approx(2 * x, abs=1e-12)
    assert abs(x - 0.1671) < 1e-4
    text = text.replace("0.1671 0.3343", "0.1671 0.3380")
    _check(text, "ambiguous: two images of Ni1")


def test_computed_coordinates_near_a_special_position_are_two_atoms():
    """Of many digits, as samplers write them: nothing is moved or merged."""
    text = _cif("P -1", (5, 6, 7, 80, 95, 100), "O1 O 0.01234567 0.00345678 0.01023456")
    (record,) = cif_records("x", text)
    structure = read(record)
    assert len(structure) == 2
    assert structure[0].frac_coords == pytest.approx([0.01234567, 0.00345678, 0.01023456], abs=1e-15)


@pytest.mark.parametrize(
    ("atoms", "columns", "expected"),
    [
        ("Na1 Na 0 0 0 1\nCl1 Cl .5 .5 .5 1\nO1 O .25 .25 .25 0", OCCUPIED, ROCKSALT),
        ("Na1 Na 0 0 0 .\nCl1 Cl .5 .5 .5 ?", OCCUPIED, ROCKSALT),
        ("Na1 Na 0 0 0 .5\nNa2 Na 0 0 0 .5\nCl1 Cl .5 .5 .5 1", OCCUPIED, ROCKSALT),
        ("Na1 Na 0 0 0 .5\nK1 K 0 0 0 .499\nCl1 Cl .5 .5 .5 1", OCCUPIED, "disordered: a site holds"),
        ("Na1 Na 0 0 0 .51\nK1 K 0 0 0 .51\nCl1 Cl .5 .5 .5 1", OCCUPIED, "disordered: a site holds"),
        ("Na1 Na 0 0 0 1.02\nK1 K .25 .25 .25 .5\nCl1 Cl .5 .5 .5 1", OCCUPIED, "disordered: a site holds"),
        ("Na1 Na 0 0 0 .8\nCl1 Cl .5 .5 .5 1", OCCUPIED, "disordered: a site holds Na:0.8"),
        ("Na1 Na 0 0 0 1\nNa2 Na 0 0 0 1\nCl1 Cl .5 .5 .5 1", OCCUPIED, "Na1 and Na2 are on one place"),
        ("Na1 Na 0 0 0 1\nK1 K 0 0 0 .2\nCl1 Cl .5 .5 .5 1", OCCUPIED, "on one place, occupied 1.2 times"),
        ("Na1 Na 0 0 0 -1\nCl1 Cl .5 .5 .5 1", OCCUPIED, "occupancy of Na1 is -1"),
        ("Na1 Na 0 0 0 d\nCl1 Cl .5 .5 .5 d\nC1 C .1 .2 .3 dum", FLAGGED, ROCKSALT),
        ("Na1 Na 0 0 0\nCl1 Cl .5 .5 .5\nX1 X .25 .25 .25", COLUMNS, "X is not an element"),
        ("Na/K1 0 0 0\nCl1 .5 .5 .5", "label fract_x fract_y fract_z", "Na/K1 names several elements"),
        ("NA1 NA 0 0 0\nCL1 CL .5 .5 .5", COLUMNS, ROCKSALT),
        ("Na1 . 0 0 0\nCl1 ? .5 .5 .5", COLUMNS, ROCKSALT),
        ("1 Na 0 0 0\n2 Cl .5 .5 .5", COLUMNS, ROCKSALT),
        ("Fe1 Fe2.67+ 0 0 0\nO1 O2- .5 .5 .5", COLUMNS, "Fe4 O4 225"),
        ("Cu1.5+ 0 0 0\nCl1.5- .5 .5 .5", "label fract_x fract_y fract_z", "Cu4 Cl4 225"),
        ("Na0.5 0 0 0\nCl1 .5 .5 .5", "label fract_x fract_y fract_z", "Na0.5 is not an element"),
        ("Na1 H1.33 0 0 0\nCl1 Cl .5 .5 .5", COLUMNS, "H1.33 is not an element"),
        ("Na1 Na 0 0 0\nCl1 Cl .5 .5 . ", COLUMNS, "Cl1 has no coordinates"),
        ("Na1 Na 0 0 0\nCl1 Cl 0,5 0,5 0,5", COLUMNS, "'0,5', which is no number"),
        ("Na1 Na 3 -2 7\nCl1 Cl 3.5 -1.5 .5", COLUMNS, ROCKSALT),
    ],
)
def test_sites(atoms, columns, expected):
    _check(_cif(FM3M, CUBIC, atoms, columns), expected)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ((0, 4, 4, 90, 90, 90), "is no cell"),
        (("nan", 4, 4, 90, 90, 90), "'nan', which is no number"),
        ((1e300, 4, 4, 90, 90, 90), "Å long"),
        ((4, 4, 4, 60, 60, 120), "the cell is flat"),
        ((4, 4, 4, 60, 60, 121), "the cell is flat"),
        ((4, 4, 4, 90, 90, 180), "is no cell"),
        ((4, 4, 4, 90, 90, "?"), "the angle gamma of the cell is not given"),
        (("4.12(1)", "4.12(", "4.12()", 90, 90, 90), "Cs1 Cl1 221"),
    ],
)
def test_cells(cell, expected):
    _check(_cif(P1, cell, CS_CL), expected)


OTHER_LOOP = "loop_\n_atom_site_label\n_atom_site_{}\n"


@pytest.mark.parametrize(
    ("loop", "expected"),
    [
        (OTHER_LOOP.format("occupancy") + "Cs1 1", "Cs1 Cl1 221"),
        (OTHER_LOOP.format("occupancy") + "Cl1 1\nCs1 0.5", "disordered: a site holds Cs:0.5"),
        (OTHER_LOOP.format("occupancy") + "Cs9 1", "do not match"),
        ("loop_\n_atom_site_occupancy\n_atom_site_x\n1 1\n1 1", "in another loop than the coordinates"),
        (OTHER_LOOP.format("fract_x") + "O1 0", "2 lists of atoms in one data block"),
    ],
)
def test_a_second_loop_of_sites(loop, expected):
    _check(_cif(PM3M, CSCL, f"{CS_CL}\n{loop}"), expected)


def test_a_tag_with_two_values_is_refused():
    text = _cif(PM3M, CSCL, CS_CL)
    _check(
        text.replace("_cell_length_b", "_cell_length_a 9\n_cell_length_b"), "_cell_length_a is given twice"
    )
    _check(text.replace("_cell_length_b", "_cell.length_A 4.12\n_cell_length_b"), "Cs1 Cl1 221")


def test_modulated_and_magnetic_structures():
    modulated = f"{HM} 'P n m a'\n_cell_modulation_dimension 1\n_space_group_ssg_name 'Pnma(0b0)s00'"
    _check(_cif(modulated, (5, 6, 7, 90, 90, 90), NACL), "a modulated structure")
    operations = "loop_\n_space_group_symop_magn_operation.xyz\nx,y,z,+1\n-x,-y,-z,-1\n"
    centring = "loop_\n_space_group_symop_magn_centering.xyz\nx,y,z,+1\nx+1/2,y+1/2,z,-1\n"
    atom = "Mn1 Mn .1 .2 .3"
    cell = (5, 6, 7, 80, 90, 95)
    _check(_cif(operations, cell, atom), "Mn2 2")
    _check(_cif(operations + centring, cell, atom), "Mn4 2")
    _check(_cif("_space_group_magn.number_BNS 2.5", cell, atom), "a magnetic group without its operations")


def test_dots_of_the_icsd_are_zeros_where_its_counts_agree():
    columns = "label type_symbol symmetry_multiplicity fract_x fract_y fract_z"
    atoms = "F1 F1- 3 .5 . .\nK1 K1+ 1 .5 .5 .5\nMn1 Mn2+ 1 . . ."
    more = "_database_code_ICSD 1\n_chemical_formula_sum 'F3 K1 Mn1'\n_cell_formula_units_Z 1"
    _check(_cif(PM3M, (4.19, 4.19, 4.19, 90, 90, 90), atoms, columns, more), "K1 Mn1 F3 221")
    wrong = atoms.replace("F1 F1- 3", "F1 F1- 6")
    _check(
        _cif(PM3M, (4.19, 4.19, 4.19, 90, 90, 90), wrong, columns, more),
        "F1 makes 3 atoms, where the file counts",
    )
    hydrogen = atoms.replace("Mn1 Mn2+ 1 . . .", "H1 H1+ 1 . . .")
    _check(_cif(PM3M, (4.19, 4.19, 4.19, 90, 90, 90), hydrogen, columns, more), "H1 has no coordinates")


def test_blocks_of_blanks_are_no_structures():
    good = _cif(PM3M, CSCL, CS_CL)
    blank = _cif(PM3M, CSCL, "? ? ? ? ?").replace("data_x", "data_published")
    assert len(list(cif_records("x", good + blank))) == 1
    names = [record.source_id for record in cif_records("x", good + good.replace("data_x", "data_y"))]
    assert names == ["x:0:x", "x:1:y"]


def test_disordered_sites_stay_in_the_structure():
    (record,) = cif_records(
        "x", _cif(FM3M, CUBIC, "Na1 Na 0 0 0 .5\nK1 K 0 0 0 .5\nCl1 Cl .5 .5 .5 1", OCCUPIED)
    )
    structure = read(record)
    assert not structure.is_ordered
    assert np.isclose(structure.composition["K"], 2)


def test_a_file_without_data_line_keeps_its_first_loop():
    text = f"LOOP_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n{MN}\n"
    text = text.replace(" Mn", "") + _cif(P1, SKEW, "").split("loop_")[0].replace("data_x\n", "")
    _check(text, "Mn1 2")
