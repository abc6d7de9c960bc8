"""Times plans of formulas, and looks for known structures among the assignments.

python -m benchmarks.formulas [--held-out val.npz] [--structures 300] [--model DIR]

Well-known compounds are in most training data. With structures that were held out of training
(a file of `jaxcrystal prepare`) the ranks are fair: how high does the assignment that the
crystal has stand among all of its formula?
"""

import argparse
import math
import time
from collections import defaultdict
from itertools import islice
from typing import Any

import numpy as np

from benchmarks.harness import MIN_SPACE_GROUP, peak_memory_gib, save
from jaxcrystal.data.dataset import Dataset
from jaxcrystal.elements import atomic_number
from jaxcrystal.letters.frequencies import Assignment, LetterFrequencies
from jaxcrystal.model import load_model
from jaxcrystal.requests.formulas import ANY_GROUP, FORMULA_UNITS, MAX_ATOMS, parse_formula, plan_formula
from jaxcrystal.requests.ranking import Ranking
from jaxcrystal.symmetry.wyckoff import wyckoff_positions

#: Formula and the most atoms of the primitive cell.
PLANS = (("MgAl2O4", 28), ("Cu2KSi", 20), ("BaTiO3", 20), ("NaCl", 20), ("YBa2Cu3O7", 26), ("Ca(OH)2", 40))
#: Group and letters of known structures, in the standard setting; for some there are two choices.
KNOWN: dict[str, tuple[int, tuple[dict[str, str], ...]]] = {
    "NaCl": (225, ({"Na": "a", "Cl": "b"}, {"Na": "b", "Cl": "a"})),
    "CsCl": (221, ({"Cs": "a", "Cl": "b"}, {"Cs": "b", "Cl": "a"})),
    "ZnS": (216, ({"Zn": "a", "S": "c"}, {"Zn": "c", "S": "a"})),
    "CaF2": (225, ({"Ca": "a", "F": "c"}, {"Ca": "b", "F": "c"})),
    "TiO2": (136, ({"Ti": "a", "O": "f"},)),
    "FeS2": (205, ({"Fe": "a", "S": "c"}, {"Fe": "b", "S": "c"})),
    "MoS2": (194, ({"Mo": "c", "S": "f"}, {"Mo": "d", "S": "f"})),
    "Al2O3": (167, ({"Al": "c", "O": "e"},)),
    "SiO2": (152, ({"Si": "a", "O": "c"}, {"Si": "b", "O": "c"})),
    "BaTiO3": (221, ({"Ba": "a", "Ti": "b", "O": "c"}, {"Ba": "b", "Ti": "a", "O": "d"})),
    "CaCO3": (167, ({"Ca": "b", "C": "a", "O": "e"},)),
    "LiCoO2": (166, ({"Li": "b", "Co": "a", "O": "c"}, {"Li": "a", "Co": "b", "O": "c"})),
    "MgAl2O4": (227, ({"Mg": "a", "Al": "d", "O": "e"}, {"Mg": "b", "Al": "c", "O": "e"})),
    "La2CuO4": (139, ({"Cu": "a", "La": "e", "O": "ce"}, {"Cu": "b", "La": "e", "O": "ce"})),
    "Mg2SiO4": (62, ({"Mg": "ac", "Si": "c", "O": "ccd"}, {"Mg": "bc", "Si": "c", "O": "ccd"})),
    "YBa2Cu3O7": (47, ({"Y": "h", "Ba": "t", "Cu": "aq", "O": "eqrs"},)),
}
#: How many of the heaviest assignments are looked through.
DEPTH = 5000
RUNS = 5


def time_plan(formula: str, max_atoms: int, frequencies: LetterFrequencies) -> dict[str, Any]:
    """Times plans of 1,000 structures over all groups."""
    seconds = []
    for _ in range(RUNS):
        started = time.perf_counter()
        plan = plan_formula(formula, ANY_GROUP, 1000, frequencies, FORMULA_UNITS, max_atoms=max_atoms)
        seconds.append(time.perf_counter() - started)
    unseen = [row for row in plan.rows if not row.seen]
    print(
        f"  {formula:10s} units {plan.units}: {plan.number:,} assignments, {len(plan.rows)} in the plan "
        f"({len(unseen)} never seen); first run {seconds[0]:.2f} s, median {np.median(seconds):.2f} s "
        f"({min(seconds):.2f}-{max(seconds):.2f})"
    )
    return {
        "units": plan.units,
        "assignments": plan.number,
        "planned": len(plan.rows),
        "planned_unseen": len(unseen),
        "seconds": {"first": seconds[0], "median": float(np.median(seconds)), "runs": seconds},
    }


def find_rank(
    ranking: Ranking, space_group: int, units: int, assignments: list[Assignment]
) -> tuple[int | None, int]:
    """Returns the rank, from 1, of the first of some assignments (None: too far down), and its N."""
    for rank, ranked in enumerate(islice(ranking, DEPTH), 1):
        if (ranked.space_group, ranked.units) == (space_group, units) and ranked.assignment in assignments:
            return rank, ranked.seen
    return None, 0


def rank_known(formula: str, frequencies: LetterFrequencies) -> dict[str, Any]:
    """Looks for a known structure among the assignments of all groups."""
    group, choices = KNOWN[formula]
    atoms = parse_formula(formula)
    elements = sorted(atoms, key=atomic_number)
    assignments = [tuple(tuple(sorted(choice[e])) for e in elements) for choice in choices]
    sizes = {p.letter: int(p.site_ops.sum()) for p in wyckoff_positions(group)}
    units = sum(sizes[letter] for letter in assignments[0][0]) // atoms[elements[0]]
    composition = [atoms[e] for e in elements]
    ranking = Ranking(composition, ANY_GROUP, sorted({*FORMULA_UNITS, units}), frequencies)
    rank, seen = find_rank(ranking, group, units, assignments)
    letters = " ".join(f"{element}:{letters}" for element, letters in choices[0].items())
    print(f"  {formula:10s} {group} {letters:24s} rank {rank} of {ranking.number:,}; seen {seen}")
    return {"group": group, "units": units, "rank": rank, "seen": seen, "assignments": ranking.number}


def rank_held_out(dataset: Dataset, structures: int, frequencies: LetterFrequencies) -> dict[str, Any]:
    """Ranks the assignments that held-out structures have among all of their formulas."""
    usable = np.flatnonzero((dataset.space_group >= MIN_SPACE_GROUP) & (dataset.num_sites <= 20))
    rows = np.random.default_rng(0).permutation(usable)[:structures]
    ranks: list[int | None] = []
    logs: dict[str, list[float]] = defaultdict(list)
    unseen = 0
    for row in rows.tolist():
        group, sites = int(dataset.space_group[row]), dataset.sites(row)
        positions = wyckoff_positions(group)
        letters: dict[int, list[str]] = defaultdict(list)
        atoms: dict[int, int] = defaultdict(int)
        for element, letter in zip(dataset.species[sites], dataset.letters[sites], strict=True):
            letters[int(element)].append(positions[letter].letter)
            atoms[int(element)] += int(positions[letter].site_ops.sum())
        elements = sorted(atoms)
        units = math.gcd(*atoms.values())
        formula = [atoms[e] // units for e in elements]
        assignment = tuple(tuple(sorted(letters[e])) for e in elements)
        asked = [n for n in FORMULA_UNITS if n * sum(formula) <= MAX_ATOMS]
        if units not in asked:
            ranks.append(None)
            continue
        ranking = Ranking(formula, ANY_GROUP, asked, frequencies)
        rank, _ = find_rank(ranking, group, units, [assignment])
        ranks.append(rank)
        # What `alpha` does for the likelihood of a structure that the data does not have.
        weight, share = ranking.weight(group, units, assignment)
        prior = (weight - share) / ranking.alpha
        unseen += share == 0
        for name, alpha in (("1", 1.0), ("documented", ranking.alpha), ("twice", 2 * ranking.alpha)):
            logs[name].append(math.log((share + alpha * prior) / (ranking.seen + alpha)))
    found = np.array([np.inf if rank is None else rank for rank in ranks])
    shares = {n: float((found <= n).mean()) for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, DEPTH)}
    means = {name: float(np.mean(values)) for name, values in logs.items()}
    print(f"  {len(ranks)} structures, {unseen} with letters never seen with their group; found among the")
    print("  first " + ", ".join(f"{n}: {100 * share:.0f} %" for n, share in shares.items()))
    print("  mean log-likelihood by alpha: " + ", ".join(f"{k}: {v:.3f}" for k, v in means.items()))
    return {"structures": len(ranks), "unseen": unseen, "found": shares, "log_likelihood": means}


def main() -> None:
    """Prints the tables and writes `benchmarks/results/formulas.json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--held-out", help="structures that the model was not trained on (.npz)")
    parser.add_argument("--structures", type=int, default=300, help="of these, at random")
    parser.add_argument("--model", help="model folder (default: the bundled one)")
    arguments = parser.parse_args()
    frequencies = load_model(arguments.model).letters
    print("plans of 1,000 structures over groups 1 to 230:")
    plans = {formula: time_plan(formula, atoms, frequencies) for formula, atoms in PLANS}
    print("known structures:")
    known = {formula: rank_known(formula, frequencies) for formula in KNOWN}
    results: dict[str, Any] = {"plans": plans, "known": known}
    if arguments.held_out:
        print("held-out structures:")
        held_out = Dataset.load(arguments.held_out)
        results["held_out"] = rank_held_out(held_out, arguments.structures, frequencies)
    results["peak_memory_gib"] = peak_memory_gib()
    print(f"peak memory {peak_memory_gib():.2f} GiB; written to {save('formulas', results)}")


if __name__ == "__main__":
    main()
