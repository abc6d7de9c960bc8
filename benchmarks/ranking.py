"""What ranks without a potential are worth: rank correlation with relaxed energies, within each formula.

pip install '.[relax]'
python -m benchmarks.ranking test.npz --formulas 50 --samples 10 --potential 7net-0

Formulas are those of random test structures. Of each, crystals are sampled in any group, relaxed, and
their energies compared with the formation energy that the bundled CGCNN estimates of the sample, the
likelihood that the model gives it, the sampler's last scores and the volume per atom. Crystals that do not
relax are left out, and counted; so are formulas with fewer than three energies that differ.
"""

import argparse
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from benchmarks.harness import save
from jaxcrystal.cgcnn.model import formation_energies
from jaxcrystal.data.dataset import Dataset
from jaxcrystal.discovery.outcomes import relaxed_outcomes
from jaxcrystal.discovery.potentials import find_potential
from jaxcrystal.discovery.relaxation import RelaxSettings
from jaxcrystal.discovery.run import Work, entries_of
from jaxcrystal.errors import RequestError
from jaxcrystal.io.convert import formula
from jaxcrystal.model import load_model
from jaxcrystal.requests.candidates import make_candidates
from jaxcrystal.requests.requests import Request, make_plan
from jaxcrystal.sampling.likelihoods import likelihoods
from jaxcrystal.sampling.stream import sample_stream
from jaxcrystal.structures.screening import ranking
from jaxcrystal.symmetry.orbits import expand_crystal

#: eV/atom; energies nearer than this are of one crystal.
_SAME = 0.001


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("targets", help="file of `jaxcrystal prepare`")
    parser.add_argument("--formulas", type=int, default=50)
    parser.add_argument("--samples", type=int, default=10, help="of each formula")
    parser.add_argument("--max-atoms", type=int, default=10, help="in the primitive cell")
    parser.add_argument("--potential", default="7net-0")
    parser.add_argument("--minutes", type=float, default=np.inf, help="after which no more are relaxed")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default="ranking")
    arguments = parser.parse_args()
    find_potential(arguments.potential)
    model = load_model()
    started = time.perf_counter()
    requests = chosen_requests(arguments, model)
    plan = make_plan(requests, model.letters, arguments.seed)
    candidates = make_candidates(plan.orders, plan.counts, model.letters, arguments.seed)
    samples = [sample for _, sample in sample_stream(candidates, model, arguments.seed) if sample.valid]
    print(f"{len(samples)} samples, {time.perf_counter() - started:.0f} s", flush=True)
    structures = [sample.to_pymatgen(primitive=True) for sample in samples]
    ranks = {
        "formation energy (CGCNN)": formation_energies(structures),
        "likelihood": likelihoods(structures, model),
        "scores": _places([sample.scores for sample in samples], [sample.formula for sample in samples]),
        "volume per atom": np.array([sample.audit.volume_per_atom for sample in samples]),
    }
    print(f"ranked, {time.perf_counter() - started:.0f} s", flush=True)
    energies, tried = relaxed_energies(samples, arguments)
    formulas = np.array([sample.formula for sample in samples])
    result = {
        "arguments": {name: str(value) for name, value in vars(arguments).items()}
        | {"targets": Path(arguments.targets).name},
        "potential": find_potential(arguments.potential).version,
        "formulas": len(set(formulas.tolist())),
        "samples": len(samples),
        "tried": tried,
        "relaxed": int(np.isfinite(energies).sum()),
        "ranks": {name: worth(values, energies, formulas) for name, values in ranks.items()},
        "seconds": time.perf_counter() - started,
    }
    for name, figures in result["ranks"].items():
        print(name, figures)
    save(arguments.name, result)


def relaxed_energies(samples: list[Any], arguments: argparse.Namespace) -> tuple[np.ndarray, int]:
    """Returns energies per atom, NaN where there is none, and how many samples there was time for.

    Samples are taken in random order; what is relaxed is kept, so that a killed run goes on.
    """
    settings, work = RelaxSettings(arguments.potential), Work(arguments.processes)
    entries, energies = entries_of(samples), np.full(len(samples), np.nan)
    order = np.random.default_rng(arguments.seed).permutation(len(samples))
    started, tried = time.perf_counter(), 0
    for chosen in np.array_split(order, -(-len(order) // 10)):
        if time.perf_counter() - started > 60 * arguments.minutes:
            break
        for place, outcome in zip(
            chosen, relaxed_outcomes([entries[i] for i in chosen], settings, work), strict=True
        ):
            energies[place] = outcome.energy_per_atom if outcome.converged else np.nan
        tried += len(chosen)
    return energies, tried


def chosen_requests(arguments: argparse.Namespace, model: Any) -> list[Request]:
    """Returns a request for each of so many formulas of random structures that the model can make."""
    dataset = Dataset.load(arguments.targets, any_cell=True)
    found: dict[str, Request] = {}
    for place in np.random.default_rng(arguments.seed).permutation(len(dataset)).tolist():
        crystal = dataset.crystal(place)
        _, species, _ = expand_crystal(crystal).primitive(int(crystal.space_group))
        name = formula(species)
        if len(set(species.tolist())) < 2 or len(species) > arguments.max_atoms or name in found:
            continue
        request = Request(formula=name, count=arguments.samples, max_atoms=arguments.max_atoms)
        try:
            make_plan([request], model.letters)
        except RequestError:
            continue
        found[name] = request
        if len(found) == arguments.formulas:
            break
    return list(found.values())


def worth(values: np.ndarray, energies: np.ndarray, formulas: np.ndarray) -> dict[str, Any]:
    """Returns how well the order of some values is that of the energies, formula by formula.

    Returns:
      Mean over the formulas of Spearman's coefficient, and its standard error; the share of formulas of
      which the first by this rank has the lowest energy of all, and of which one drawn at random has.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for place, name in enumerate(formulas.tolist()):
        if np.isfinite(energies[place]) and np.isfinite(values[place]):
            members[name].append(place)
    coefficients, first, drawn = [], [], []
    for places in members.values():
        of_formula = energies[places]
        if len(np.unique(np.round(of_formula / _SAME))) < 3:
            continue
        coefficients.append(float(spearmanr(values[places], of_formula).statistic))
        lowest = of_formula <= of_formula.min() + _SAME
        first.append(bool(lowest[int(np.argmin(values[places]))]))
        drawn.append(float(lowest.mean()))
    known = np.array(coefficients)[np.isfinite(coefficients)]
    return {
        "spearman": float(known.mean()),
        "standard_error": float(known.std(ddof=1) / np.sqrt(len(known))),
        "formulas": len(known),
        "first_is_lowest": float(np.mean(first)),
        "random_is_lowest": float(np.mean(drawn)),
    }


def _places(scores: list[tuple[float, float]], formulas: list[str]) -> np.ndarray:
    """Returns the places that `screen --rank` gives within each formula."""
    members: dict[str, list[int]] = defaultdict(list)
    for place, name in enumerate(formulas):
        members[name].append(place)
    found = np.zeros(len(scores))
    for places in members.values():
        order = ranking(np.array([scores[place] for place in places]))
        found[np.array(places)[order]] = np.arange(len(places))
    return found


if __name__ == "__main__":
    main()
