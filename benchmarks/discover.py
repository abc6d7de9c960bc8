r"""Looks for the paper's four new compounds: are they candidates, how far from the hull, and what lies lower.

python -c "from ase.build import bulk; bulk('Ta').write('ta.cif')"     # the known structures have no pure Ta
for system in Cu-Si-K Fe-Ta-Sn Sb-Ta-V Al-K-Pd; do
  jaxcrystal references train.csv.gz train_other.csv.gz val.csv.gz test.csv.gz ta.cif \
      --system $system --out $system.json
  jaxcrystal discover $system --unique 192 --relax 40 --phonons 0 --inputs 0 --references $system.json \
      --out $system
done
for one in Cu2KSi,62,Cu-Si-K Fe2TaSn,69,Fe-Ta-Sn SbTa2V3,194,Sb-Ta-V Al3KPd6,191,Al-K-Pd; do
  IFS=, read formula group system <<< $one
  jaxcrystal discover $formula --space-group $group --unique 16 --relax 8 --phonons 0 --inputs 0 \
      --references $system.json --out ${formula}_$group
done
python -m benchmarks.discover Cu-Si-K Fe-Ta-Sn Sb-Ta-V Al-K-Pd Cu2KSi_62 Fe2TaSn_69 SbTa2V3_194 Al3KPd6_191

Reads the folders that these commands wrote, which hold all but the time that they took: give what they
print with --seconds.
"""

import argparse
import csv
import json
from pathlib import Path
from typing import Any

from benchmarks.harness import save
from jaxcrystal.structures.screening_files import rows_by_id

#: Formula, group, and energy above the hull in the paper (kJ/mol of atoms), by the folders of each.
TARGETS = {
    ("Cu-Si-K", "Cu2KSi_62"): ("Cu2KSi", 62, 0.61),
    ("Fe-Ta-Sn", "Fe2TaSn_69"): ("Fe2TaSn", 69, 4.14),
    ("Sb-Ta-V", "SbTa2V3_194"): ("SbTa2V3", 194, 1.57),
    ("Al-K-Pd", "Al3KPd6_191"): ("Al3KPd6", 191, 15.38),
}
_KJ_PER_MOL = 96.485


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path, help="of discoveries, named as above")
    parser.add_argument("--seconds", nargs="*", type=float, default=[], help="that each took")
    parser.add_argument("--name", default="discover")
    arguments = parser.parse_args()
    results = {}
    for number, folder in enumerate(arguments.folders):
        target = next(target for names, target in TARGETS.items() if folder.name in names)
        results[folder.name] = found = _found(folder, *target)
        found["seconds"] = dict(enumerate(arguments.seconds)).get(number)
        print(folder.name, json.dumps(found, indent=1))
    save(arguments.name, {"discoveries": results})


def _found(folder: Path, formula: str, group: int, paper: float) -> dict[str, Any]:
    from pymatgen.core import Composition

    wanted = Composition(formula).reduced_formula
    placed = list(rows_by_id(folder / "relax" / "hull.csv").values())
    relaxed = rows_by_id(folder / "relax" / "relaxed.csv")
    sampled = [row for path in sorted((folder / "sample").iterdir()) for row in _rows(path / "screening.csv")]
    at = [n for n, row in enumerate(placed) if row["formula"] == wanted]
    exact = [n for n in at if int(relaxed[placed[n]["id"]]["group_after"]) == group]

    def told(n: int) -> dict[str, Any]:
        row = placed[n]
        above = float(row["e_above_hull"]) if row["e_above_hull"] else None
        return {
            "rank": n + 1,
            "id": row["id"],
            "formula": row["formula"],
            "group": int(relaxed[row["id"]]["group_after"]),
            "e_above_hull": above,
            "kJ_per_mol": None if above is None else round(above * _KJ_PER_MOL, 2),
            "becomes": row["decomposition"],
            "converged": row["converged"],
        }

    return {
        "run": json.loads((folder / "run.json").read_text())["settings"],
        "target": f"{wanted}, group {group}",
        "paper_kJ_per_mol": paper,
        "sampled": len(sampled),
        "different": sum(row["kept"] == "yes" for row in sampled),
        "of_the_formula_sampled": sum(row["formula"] == wanted for row in sampled),
        "relaxed": sum(row["status"] == "ok" for row in relaxed.values()),
        "candidates": len(placed),
        "on_or_below_hull": sum(
            row["e_above_hull"] != "" and float(row["e_above_hull"]) <= 0 for row in placed
        ),
        "exactly": [told(n) for n in exact[:1]],
        "of_the_formula": [told(n) for n in at[:3]],
        "lowest": [told(n) for n in range(min(5, len(placed)))],
    }


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
