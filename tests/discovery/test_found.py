"""What is told of a discovery: counts that add up, and what there is to know of crystals that went on."""

from pathlib import Path

import numpy as np

from jaxcrystal.discovery.found import Discovery
from jaxcrystal.discovery.phonons import BETWEEN, IMAGINARY
from jaxcrystal.discovery.potentials import Energies
from jaxcrystal.requests.pool import Pool


def relaxed(status: str, converged: str) -> dict[str, str]:
    return {"status": status, "converged": converged}


def phonons(name: str, lowest: str, exact: str, imaginary: str, converged: str = "yes") -> dict[str, str]:
    row = {"id": name, "lowest_frequency": lowest, "lowest_exact": exact, "highest_frequency": "7.0"}
    row |= {"formula": "Cu", "group": "225", "supercell": "2x2x2", "displacements": "1", "detail": ""}
    return row | {"imaginary": imaginary, "converged": converged, "status": "ok"}


FOUND = Discovery(Path(), Pool((), np.zeros(0), 0), Energies("emt"), [])
FOUND.relaxed = [relaxed("ok", "yes"), relaxed("ok", "no"), relaxed("overlap", "no")]
FOUND.phonons = [
    phonons("stable", "-0.01", "0.0", "no"),
    phonons("soft", "-2.0", "-1.9", "yes"),
    phonons("between", "-0.3", "0.0", "yes"),
    phonons("moving", "0.0", "0.0", "no", "no"),
    phonons("failed", "", "", "") | {"status": "potential", "detail": "no such element"},
]


def test_what_is_lost_is_what_did_not_go_on() -> None:
    of_relaxed, of_phonons = FOUND.counts()
    assert (of_relaxed.kept, of_relaxed.lost, of_relaxed.notes) == (2, {"overlap": 1}, {"not converged": 1})
    assert (of_phonons.kept, of_phonons.notes) == (3, {BETWEEN: 1})
    assert of_phonons.lost == {IMAGINARY: 1, "potential": 1}
    for count in FOUND.counts():
        assert count.given == count.kept + sum(count.lost.values())


def test_what_there_is_to_know() -> None:
    first, second, *of_phonons = FOUND.notes()
    assert first == "relaxed: 1 not converged, among those that went on"
    assert second == f"phonons of the best: 1 {BETWEEN}, among those that went on"
    failed, moving, between = of_phonons
    assert failed == "failed failed: potential (no such element)"
    assert moving.startswith("moving: not at a minimum")
    assert between.startswith("between: imaginary only where frequencies are interpolated")
