"""The compiled updates of a run; those to come are compiled in the background."""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
from jax.sharding import Mesh

from jaxcrystal.training.config import TrainConfig
from jaxcrystal.training.inputs import Inputs, Shape
from jaxcrystal.training.step import TrainState, make_update

#: Steps ahead that are searched for shapes to compile; a rarer one is compiled when it comes.
_SEARCHED = 4096


class Updates:
    """The update of every shape of batch: `updates[shape](state, crystals, rows)`.

    Args:
      config: of the run.
      inputs: whose shapes they are.
      state: a state of the run, for shapes and devices.
      steps: that are ahead.
      mesh: of several devices; None for one.
    """

    def __init__(
        self, config: TrainConfig, inputs: Inputs, state: TrainState, steps: range, mesh: Mesh | None
    ) -> None:
        self._config, self._inputs, self._mesh = config, inputs, mesh
        self._state = jax.tree.map(
            lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=a.sharding), state
        )
        # One thread, in the order of first use: every process of a run compiles in the same order.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="compile")
        self._compiled: dict[Shape, Future[Any]] = {}
        for shape in inputs.shapes(steps[:_SEARCHED]):
            self._submit(shape)

    def __getitem__(self, shape: Shape) -> Any:
        if shape not in self._compiled:
            self._submit(shape)
        return self._compiled[shape].result()

    def close(self) -> None:
        """Ends the background thread, with what it is compiling."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _submit(self, shape: Shape) -> None:
        self._compiled[shape] = self._thread.submit(self._compile, shape)

    def _compile(self, shape: Shape) -> Any:
        update = make_update(self._config, self._inputs.capacity(shape), mesh=self._mesh)
        return update.lower(self._state, *self._inputs.example(shape)).compile()
