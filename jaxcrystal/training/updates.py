"""Compiles the updates of a run; those to come are compiled in the background."""

from typing import Any

import jax
from jax.sharding import Mesh

from jaxcrystal.background import Background
from jaxcrystal.cache import keep_programs
from jaxcrystal.training.config import TrainConfig
from jaxcrystal.training.inputs import Inputs, Shape
from jaxcrystal.training.objective import make_update
from jaxcrystal.training.step import TrainState

#: Steps ahead that are searched for shapes to compile; a rarer one is compiled when it comes.
_SEARCHED = 4096


def compile_updates(
    config: TrainConfig, module: Any, inputs: Inputs, state: TrainState, steps: range, mesh: Mesh | None
) -> Background[Shape, Any]:
    """Returns the update of every shape of batch: `updates[shape](state, crystals, rows, cond)`.

    Args:
      config: of the run.
      module: Flax module of the network.
      inputs: whose shapes they are.
      state: a state of the run, for shapes and devices.
      steps: that are ahead.
      mesh: of several devices; None for one.
    """
    keep_programs()
    like = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=a.sharding), state)

    def compile_update(shape: Shape) -> Any:
        update = make_update(config, inputs.capacity(shape), mesh=mesh, module=module)
        return update.lower(like, *inputs.example(shape)).compile()

    # One thread, in the order of first use: every process of a run compiles in the same order.
    return Background(compile_update, inputs.shapes(steps[:_SEARCHED]))
