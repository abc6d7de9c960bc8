"""Makes the models of a run: the weights it starts from and the model folders it writes."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax

from jaxcrystal.crystal import Crystal
from jaxcrystal.data.dataset import Dataset
from jaxcrystal.data.letters import count_letters
from jaxcrystal.errors import DataError
from jaxcrystal.model import Model, load_model
from jaxcrystal.models.network import NetworkConfig, make_module
from jaxcrystal.score import count_params, init_params
from jaxcrystal.training.checkpoints import Progress
from jaxcrystal.training.config import TrainConfig
from jaxcrystal.training.folder import save_best
from jaxcrystal.training.parallel import is_main
from jaxcrystal.training.step import TrainState


class Exporter:
    """Writes models, in one process of the run only.

    Args:
      config: of the run.
      out: its folder on the disk.
      module: Flax module of its network.
      structures: those it is trained on.
      steps_before: updates of the model that the run started from.
    """

    def __init__(
        self, config: TrainConfig, out: Path, module: Any, structures: Dataset, steps_before: int
    ) -> None:
        self._config, self.out, self._module, self._steps_before = config, out, module, steps_before
        self._letters = count_letters(structures)
        self._info = {
            "elements": sorted({int(z) for z in structures.species}),
            "data": config.data.train,
            "structures": len(structures),
        }
        if config.data.conditions:
            self._info["cond"] = list(config.data.conditions)

    def save(self, state: TrainState, done: Progress) -> None:
        """Writes the averaged weights to the run folder."""
        if is_main():
            self.model(state, done).save(self.out)

    def save_best(self, state: TrainState, done: Progress) -> None:
        """Writes them as the run's best model."""
        if is_main():
            save_best(self.model(state, done), self.out)

    def model(self, state: TrainState, done: Progress) -> Model:
        """Returns the model of the averaged weights."""
        params = jax.device_get(state.ema)
        about = {
            "parameters": count_params(params),
            "steps": self._steps_before + int(state.step),
        }
        config, info = self._config, self._info | about | done.validation
        return Model(config.network, config.schedule, params, self._letters, info, self._module)


def first_params(
    config: TrainConfig, crystal: Crystal, cond: Any = None, module: Any = None
) -> tuple[Any, int]:
    """Returns the weights that a run starts from, and the updates that made them.

    Args:
      config: of the run; `start_from` names the model whose weights they are, fresh ones
        where it has none.
      crystal: one structure, which gives shapes and dtypes only, as `cond` does.
      cond: its conditions.
      module: Flax module of the network; default: what the configuration names.

    Raises:
      DataError: that model holds another network.
    """
    module = make_module(config.network) if module is None else module
    given = _start(config, module)
    key = jax.random.fold_in(jax.random.key(config.seed), 2**31 - 1)
    crystal, cond = jax.tree.map(jax.numpy.asarray, (crystal, cond))
    fresh = jax.jit(lambda k: init_params(k, module, config.network.graph, crystal, cond))(key)
    if given is None:
        return fresh, 0

    def merged(fresh: Any, given: Any) -> Any:
        if not isinstance(fresh, Mapping):
            return given
        return {name: merged(leaf, given[name]) if name in given else leaf for name, leaf in fresh.items()}

    return merged(fresh, given.params), int(given.info.get("steps", 0))


def _start(config: TrainConfig, module: Any) -> Model | None:
    """Returns the model that a run starts from, if there is one."""
    if not config.start_from:
        return None
    model = load_model(config.start_from, module if config.network.module else None, complete=False)
    if not _is_grown(model.network, config.network):
        raise DataError(f"{config.start_from} holds another network than the configuration asks for")
    return model


def _is_grown(given: NetworkConfig, asked: NetworkConfig) -> bool:
    """Returns whether a network has the weights of another one, and may have more blocks."""
    dimenet = given.dimenet
    if dimenet.blocks < asked.dimenet.blocks and not dimenet.last_output_only:
        dimenet = replace(dimenet, blocks=asked.dimenet.blocks)
    # No weight depends on which images are one atom.
    graph = replace(given.graph, merge_distance=asked.graph.merge_distance)
    return replace(given, dimenet=dimenet, graph=graph) == asked
