"""Inputs of VASP and Quantum ESPRESSO: read back by others' readers, and run by programs that stand in."""

import json
import os
import subprocess

import ase.io
import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.io.vasp import Incar

from jaxcrystal.cli import main
from jaxcrystal.discovery.dft_inputs import write_inputs
from jaxcrystal.discovery.espresso_input import pseudopotentials
from jaxcrystal.discovery.run import entries_of
from jaxcrystal.errors import DataError
from jaxcrystal.io.convert import pymatgen_json_text
from tests.discovery.crystals import b2, cubic

IRON = Structure.from_spacegroup(
    "Pnma",
    Lattice.orthorhombic(5.4, 7.6, 5.4),
    ["La", "Fe", "O", "O"],
    [[0.03, 0.25, 0.99], [0, 0, 0.5], [0.48, 0.25, 0.07], [0.29, 0.04, 0.71]],
)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("inputs") / "out"
    structures = [cubic(3.75, "Cu", "Cu", "Cu", "Au"), IRON, cubic(3.6, "Cu")]
    names = write_inputs(entries_of(structures), out, e_above_hull=[-0.01, 0.0, float("nan")])
    return out, names, structures


@pytest.mark.parity
def test_the_structures_come_back(written) -> None:
    out, names, structures = written
    matcher = StructureMatcher(ltol=1e-4, stol=1e-4, angle_tol=1e-2, scale=False)
    for name, structure in zip(names, structures, strict=True):
        folder = out / name
        found = [Structure.from_file(folder / step / "POSCAR") for step in ("1_pbe", "2_r2scan")]
        found.append(Structure.from_file(folder / f"{name}.cif"))
        atoms = ase.io.read(folder / "espresso" / "relax.in", format="espresso-in")
        found.append(AseAtomsAdaptor.get_structure(atoms))
        for one in found:
            assert matcher.fit(one, structure), name
        assert len(found[0]) == len(structure.get_primitive_structure())


def test_what_is_in_them(written) -> None:
    out, names, _ = written
    iron = out / names[1]
    first, second = (Incar.from_file(iron / step / "INCAR") for step in ("1_pbe", "2_r2scan"))
    assert first["ISIF"] == second["ISIF"] == 3
    assert second["METAGGA"].lower() == "r2scan"
    assert "METAGGA" not in first
    assert first["ENCUT"] == 520
    assert 5 in np.round(first["MAGMOM"])
    order = (iron / "1_pbe" / "POSCAR").read_text().splitlines()[5].split()
    potentials = (iron / "1_pbe" / "POTCAR.spec").read_text().split()
    assert [name.split("_")[0] for name in potentials] == order
    assert not (iron / "1_pbe" / "POTCAR").exists()
    text = (iron / "espresso" / "relax.in").read_text()
    assert "'vc-relax'" in text
    assert "nspin            = 2" in text
    assert "Fe.upf" in text
    assert "nspin" not in (out / names[0] / "espresso" / "relax.in").read_text()
    assert (out / "inputs.csv").read_text().splitlines() == [
        "id,formula,space_group,atoms,e_above_hull",
        "0001_Cu3Au,Cu3Au,221,4,-0.010000",
        "0002_LaFeO3,LaFeO3,62,20,0.000000",
        "0003_Cu,Cu,225,1,",
    ]


def test_the_scripts_run_in_order(written, tmp_path) -> None:
    """Programs that stand in: one adds a line to what it relaxes, and both say that they have converged."""
    out, names, _ = written
    potentials = tmp_path / "potentials"
    for folder in ("potpaw_PBE", "potpaw_PBE.54"):
        for name in ("Cu", "Cu_pv", "Au", "La", "Fe_pv", "O"):
            (potentials / folder / name).mkdir(parents=True)
            (potentials / folder / name / "POTCAR").write_text(f"{folder} {name}\n")
    vasp = tmp_path / "vasp.sh"
    vasp.write_text(
        'echo "$PWD" >> "$LOG"\ntest ! -e stop || exit 1\n(cat POSCAR; echo relaxed) > CONTCAR\n'
        'test -e last || echo " reached required accuracy - stopping structural energy minimisation"\n'
    )
    pw = tmp_path / "pw.sh"
    pw.write_text(
        'echo "$PWD $*" >> "$LOG"\ntest -e last || echo "     bfgs converged in   1 scf cycles"\n'
        'echo "   JOB DONE."\n'
    )
    log = tmp_path / "log"
    env = os.environ | {"VASP": f"sh {vasp}", "PW": f"sh {pw}", "LOG": str(log)}
    env["VASP_POTENTIALS"] = str(potentials)

    def run(what: str) -> int:
        log.write_text("")
        done = subprocess.run([out / "run.sh", what], env=env, capture_output=True, text=True)
        said.append(done.stderr)
        return done.returncode

    said: list[str] = []

    def ran() -> list[str]:
        return [line.split(str(out.resolve()) + "/")[-1] for line in log.read_text().splitlines()]

    steps = [f"{name}/{step}" for name in names for step in ("1_pbe", "2_r2scan")]
    (out / names[1] / "1_pbe" / "stop").touch()
    assert run("vasp") == 1
    assert ran() == steps[:3] + steps[4:]  # the others go on
    assert said[-1].splitlines()[-1] == f"failed: {names[1]}"
    (out / names[1] / "1_pbe" / "stop").unlink()
    # The last step that VASP may take is not the end: it goes on from there.
    second = out / names[1] / "2_r2scan"
    (second / "last").touch()
    assert run("vasp") == 1
    assert ran() == steps[2:4]  # what is done is not repeated
    assert f"{names[1]}/2_r2scan: VASP has not converged" in said[-1]
    (second / "last").unlink()
    assert run("vasp") == 0
    assert ran() == steps[3:4]
    assert (second / "POSCAR").read_text().endswith("relaxed\nrelaxed\n")
    assert (second / "CONTCAR").read_text().endswith("relaxed\nrelaxed\nrelaxed\n")
    assert (second / "POTCAR").read_text() == "potpaw_PBE.54 La\npotpaw_PBE.54 Fe_pv\npotpaw_PBE.54 O\n"
    (out / names[0] / "espresso" / "last").touch()
    assert run("espresso") == 1
    assert ran() == [f"{name}/espresso -in relax.in" for name in names]
    assert f"{names[0]}/espresso: pw.x has not converged" in said[-1]
    (out / names[0] / "espresso" / "last").unlink()
    assert run("espresso") == 0
    assert ran() == [f"{names[0]}/espresso -in relax.in"]
    assert run("espresso") == 0
    assert ran() == []
    assert run("siesta") == 2


def test_names_of_pseudopotentials(tmp_path) -> None:
    for name in ("Si.pbe-n-rrkjus_psl.1.0.0.UPF", "s_pbe_v1.4.uspp.F.upf", "O.upf", "Os_pbe.upf", "Fe.a.upf"):
        (tmp_path / name).touch()
    found = pseudopotentials(tmp_path)
    assert [found.file(element) for element in ("Si", "S", "O", "Os")] == [
        "Si.pbe-n-rrkjus_psl.1.0.0.UPF",
        "s_pbe_v1.4.uspp.F.upf",
        "O.upf",
        "Os_pbe.upf",
    ]
    assert pseudopotentials(None).file("Si") == "Si.upf"
    with pytest.raises(DataError, match="has none of the pseudopotentials for Cu"):
        found.file("Cu")
    (tmp_path / "Fe.b.upf").touch()
    found = pseudopotentials(tmp_path)
    with pytest.raises(DataError, match=r"has several: Fe.a.upf, Fe.b.upf of the pseudopotentials for Fe"):
        found.file("Fe")
    # A table as SSSP has it decides, and says what is needed.
    table = {
        "Fe": {"filename": "Fe.b.upf", "cutoff_wfc": 90.0, "cutoff_rho": 1080.0},
        "O": {"filename": "O.upf", "cutoff_wfc": 50.0, "cutoff_rho": 400.0},
    }
    (tmp_path / "SSSP.json").write_text(json.dumps(table))
    found = pseudopotentials(tmp_path)
    assert found.file("Fe") == "Fe.b.upf"
    assert found.cutoffs({"Fe", "O"}) == (90.0, 1080.0)
    assert found.cutoffs({"O"}) == (50.0, 400.0)
    assert found.cutoffs({"O", "S"}) == (60.0, 480.0)
    (tmp_path / "O.upf").unlink()
    with pytest.raises(DataError, match=r"has no O.upf, which its table names for O"):
        pseudopotentials(tmp_path).file("O")
    for text in ("{", '{"Fe": {"filename": 1}}', "3"):
        (tmp_path / "SSSP.json").write_text(text)
        with pytest.raises(DataError, match="is no table of pseudopotentials"):
            pseudopotentials(tmp_path)


def test_the_folder_of_pseudopotentials_can_be_another_one_where_they_run(tmp_path) -> None:
    here = tmp_path / "of $mine"
    here.mkdir()
    (here / "Cu.upf").touch()
    out = tmp_path / "out"
    (name,) = write_inputs(entries_of([cubic(3.6, "Cu")]), out, pseudo_dir=here)
    assert str(tmp_path) not in (out / name / "espresso" / "relax.in").read_text()
    (tmp_path / "pw.sh").write_text("printenv ESPRESSO_PSEUDO\n")
    for given, used in (("", str(here)), ("/there", "/there")):
        env = os.environ | {"PW": f"sh {tmp_path / 'pw.sh'}", "ESPRESSO_PSEUDO": given}
        subprocess.run([out / "run.sh", "espresso"], env=env, capture_output=True)
        assert (out / name / "espresso" / "relax.out").read_text() == f"{used}\n"


def test_by_command(tmp_path, capsys) -> None:
    source, relaxed, out = tmp_path / "a.json", tmp_path / "relaxed", tmp_path / "inputs"
    source.write_text(pymatgen_json_text({"fcc": cubic(3.6, "Cu"), "b2": b2(3.0, "Cu", "Au")}))
    emt = ["--potential", "emt", "--processes", "1"]
    assert main(["relax", str(source), *emt, "--out", str(relaxed)]) == 0
    capsys.readouterr()
    assert main(["inputs", str(relaxed), "--best", "1", "--out", str(out)]) == 0
    assert "inputs of 1 crystals" in capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == ["fcc", "inputs.csv", "run.sh"]
    before = (out / "run.sh").read_bytes()
    empty = tmp_path / "empty"
    empty.mkdir()
    for arguments, words in (
        (["inputs", str(relaxed), "--out", str(out)], "is not empty: choose another --out"),
        (["inputs", str(empty), "--out", str(tmp_path / "x")], "is no folder that `jaxcrystal relax` wrote"),
        (
            ["inputs", str(relaxed), "--pseudo-dir", str(empty), "--out", str(tmp_path / "y")],
            "has none of the pseudopotentials for",
        ),
        (
            ["inputs", str(relaxed), "--pseudo-dir", str(tmp_path / "z"), "--out", str(tmp_path / "y")],
            "cannot read",
        ),
    ):
        assert main(arguments) == 2
        said = capsys.readouterr()
        assert words in said.err.splitlines()[-1]
        assert said.err.count("error") == 1
    assert (out / "run.sh").read_bytes() == before
    assert not list((tmp_path / "y").iterdir())  # nothing half written
