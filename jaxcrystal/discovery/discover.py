"""From a chemical system to candidates: samples, screens, relaxes, places on the hull, and what follows.

run.json      what is asked for
plan.csv      the assignments of letters and their weights
sample/       rounds of the sampler
screen/       the different crystals of all rounds
first/        a few steps of each, where only the lowest are relaxed
relax/        these relaxed, with screening.csv (duplicates again) and hull.csv
phonons/      phonons of the best
inputs/       inputs for DFT of the best

Each stage goes on where it was when the process was killed, and ends in the same files.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from ase import Atoms

from jaxcrystal.discovery import stages
from jaxcrystal.discovery.energies import Compound
from jaxcrystal.discovery.found import Discovery
from jaxcrystal.discovery.gates import Failure
from jaxcrystal.discovery.hull import read_references, require_elements
from jaxcrystal.discovery.minimise import computed
from jaxcrystal.discovery.potentials import Energies, calculator, find_potential
from jaxcrystal.discovery.run import RelaxFolder, Work
from jaxcrystal.discovery.stages import DiscoverSettings
from jaxcrystal.discovery.vibrations import require_phonopy
from jaxcrystal.elements import SYMBOLS, atomic_number
from jaxcrystal.errors import RequestError
from jaxcrystal.files import write_text
from jaxcrystal.folders import held
from jaxcrystal.model import Model
from jaxcrystal.remote import is_url
from jaxcrystal.requests.pool import make_pool
from jaxcrystal.requests.requests import Request
from jaxcrystal.sampling.run_folder import RunFolder
from jaxcrystal.structures.geometry import covalent_radii

#: In their order; each needs those before it.
STAGES = ("plan", "sample", "screen", "relax", "hull", "phonons", "inputs")
#: Names in the folder.
PLAN_NAME = "plan.csv"
#: Edge of a simple cubic crystal, in covalent radii of its element, that tells whether a potential knows it.
_EDGE = 2.2


class DiscoverFolder(RunFolder):
    """A folder of a discovery that is ours; its parts are folders of their own."""

    format = "jaxcrystal-discover-1"


def discover(
    requests: Sequence[Request],
    model: Model,
    out: str | Path,
    settings: DiscoverSettings,
    references: Sequence[str | Path] = (),
    *,
    until: str = STAGES[-1],
    work: Work = Work(),  # noqa: B008 (a constant)
    say: Callable[[str], None] = lambda line: None,
    report: Callable[[Discovery], object] = lambda found: None,
) -> Discovery:
    """Finds candidates: all stages up to one, in one folder.

    Args:
      requests: what is asked for.
      model: trained.
      out: new or empty folder, or of the same discovery, which goes on.
      settings: see `DiscoverSettings`.
      references: files of energies of known crystals, by the same potential; the hull needs them.
      until: the last stage, one of `STAGES`.
      work: where crystals are relaxed.
      say: is told what begins.
      report: is given what was found, after the hull and after each later stage, which may fail.

    Raises:
      JaxcrystalError: a request that makes no sense, a potential or references that do not go with it, a
        folder of something else, or a stage that leaves nothing for the next one.
    """
    if model.conditions:
        raise RequestError(
            f"the model was trained with the conditions {', '.join(model.conditions)}, which a discovery "
            "gives no crystal: take another --model"
        )
    last = STAGES.index(until)
    if is_url(out):
        raise RequestError(f"{out} is a URL: a discovery is made on a disk")
    kind, known = _known(references, settings, last)
    pool = make_pool(requests, model.letters, settings.sampling.seed)
    elements = sorted(SYMBOLS[z] for z in pool.elements)
    if known:
        require_elements(elements, known)
    if last >= STAGES.index("phonons") and settings.phonons:
        require_phonopy()
    found = Discovery(Path(out), pool, kind, known)
    if last >= STAGES.index("relax") and not (found.path / "relax" / RelaxFolder.table).is_file():
        require_computable(settings.relaxing.potential, elements)
    DiscoverFolder(
        out,
        {
            "requests": [repr(request) for request in requests],
            "unique": settings.unique,
            "most": settings.most,
            "seed": settings.sampling.seed,
            "plan": hashlib.sha256(pool.csv().encode()).hexdigest()[:16],
            "relaxing": asdict(settings.relaxing),
        },
    )
    every: tuple[Callable[[], None], ...] = (
        lambda: write_text(found.path / PLAN_NAME, pool.csv()),
        lambda: stages.sample(found, model, settings, work, say),
        lambda: stages.screen(found),
        lambda: stages.relax(found, settings, work, say),
        lambda: stages.place(found),
        lambda: stages.vibrate(found, settings, work, say),
        lambda: stages.inputs(found, settings),
    )
    with held(out):
        for stage in every[: last + 1]:
            stage()
            if found.placed:
                report(found)
    return found


def _known(
    references: Sequence[str | Path], settings: DiscoverSettings, last: int
) -> tuple[Energies, list[Compound]]:
    """Returns of which kind the energies are, and the references; `last` is the place of the last stage.

    Raises:
      RequestError: a stage needs references and there are none, or they are of other energies.
    """
    potential = settings.relaxing.potential
    # What only samples needs no potential.
    needed = bool(references) or last >= STAGES.index("relax")
    kind = find_potential(potential).kind if needed else Energies(potential)
    known = read_references(references, kind)
    if last >= STAGES.index("hull") and not known:
        raise RequestError(
            "--references is missing: the hull needs energies of known crystals "
            "(`jaxcrystal references` makes them; --until relax needs none)"
        )
    if last >= STAGES.index("relax") and settings.most is not None and not known:
        raise RequestError("--references is missing: --relax N takes the N crystals nearest to the hull")
    return kind, known


def require_computable(potential: str, elements: Sequence[str]) -> None:
    """Computes a crystal of each element, before hours are spent on those that the potential does not know.

    Raises:
      RequestError: the potential cannot compute one.
    """
    for element in elements:
        edge = _EDGE * float(covalent_radii(np.array([atomic_number(element)]))[0])
        atoms = Atoms(element, cell=[edge] * 3, pbc=True)
        atoms.calc = calculator(potential)
        try:
            computed(atoms)
        except Failure as failure:
            if failure.word == "potential":
                raise RequestError(
                    f"the potential {potential} cannot compute {element} ({failure.detail}): choose another "
                    "with --potential"
                ) from failure
