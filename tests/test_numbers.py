"""Numbers as users of Python give them: in a process of its own, where the tests' check of types is not."""

import subprocess
import sys

SCRIPT = """
import numpy as np

import jaxcrystal
from jaxcrystal import LangevinConfig
from jaxcrystal.diffusion.schedules import NoiseSchedule
from jaxcrystal.graph.neighbors import GraphConfig
from jaxcrystal.letters.frequencies import LetterFrequencies
from jaxcrystal.model import Model
from jaxcrystal.models.network import NetworkConfig
from jaxcrystal.requests.candidates import make_candidates
from jaxcrystal.requests.orders import make_order
from jaxcrystal.requests.requests import Request, make_plan
from jaxcrystal.sampling import sample as module
from jaxcrystal.sampling.stream import require_batch_size

two, nothing = np.int64(2), LetterFrequencies({})
orders = [make_order(np.int64(221), {"Ba": two, "O": np.uint8(1)})]


def plan(**values):
    return make_plan([Request(space_group=np.int64(221), **values)], nothing)


for make in (
    lambda: LangevinConfig(steps_per_level=2.5),
    lambda: LangevinConfig(steps_per_level="20"),
    lambda: LangevinConfig(lattice_step="0.1"),
    lambda: LangevinConfig(choices=(0.1,)),
    lambda: GraphConfig(lattice_vectors=80.5),
    lambda: Request(formula="NaCl", count=2.5),
    lambda: Request(formula="NaCl", count=True),
    lambda: Request(formula="NaCl", at_most="7"),
    lambda: Request(formula="NaCl", formula_units=(1, 2.5)),
    lambda: plan(sites={"Na": 1.5}),
    lambda: require_batch_size(2.5),
    lambda: make_candidates(orders, [2.7], nothing),
    lambda: make_candidates(orders, [2], nothing, seed=2.5),
):
    try:
        print("accepted:", make())
    except ValueError as error:
        print(error)

config = LangevinConfig(steps_per_level=two, lattice_step=np.float32(0.5))
require_batch_size(two)
assert plan(sites={"Ba": two, "O": 1}, count=two).orders == (make_order(221, {"Ba": 2, "O": 1}),)
# What is sampled, without sampling it.
module.sample_stream = lambda candidates, *_: [(candidate, candidate) for candidate in candidates]
model = Model(NetworkConfig(), NoiseSchedule(), {}, nothing)
ordered = jaxcrystal.sample(np.int64(221), {"Ba": two, "O": 1}, two, model=model, config=config)
assert [candidate.order for candidate in ordered] == orders * 2
planned = jaxcrystal.sample_formula("BaO", two, np.int64(225), formula_units=[np.int64(1)], model=model)
assert len(planned) == 2
"""
REFUSALS = """
steps_per_level is 2.5; expected a whole number
steps_per_level is '20'; expected a whole number
lattice_step is '0.1'; expected a number
choices is (0.1,); expected a tuple of Choice
lattice_vectors is 80.5; expected a whole number
--count is 2.5; expected a whole number
--count is True; expected a whole number
--at-most is '7'; expected a whole number
--formula-units is (1, 2.5); expected whole numbers
1.5 is no number of sites: expected a whole number
batch_size is 2.5; expected a whole number
count is [2.7]; expected whole numbers
seed is 2.5; expected a whole number
"""


def test_whole_numbers_are_whole_and_those_of_numpy_are_numbers() -> None:
    run = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.splitlines() == REFUSALS.strip().splitlines()
