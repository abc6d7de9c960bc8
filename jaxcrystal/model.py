"""Saves and loads a trained model as a folder: settings, weights and letter frequencies.

    model.toml     network and schedule, and how it was trained
    weights.npz    averaged weights, float32, one array for each parameter path
    letters.json   how often each letter assignment stands in the training data

A run folder of `train` is such a folder too, with checkpoints and logs beside.
"""

import tomllib
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tomli_w

from jaxcrystal.config import from_dict, to_dict
from jaxcrystal.crystal import empty, pad_and_stack
from jaxcrystal.diffusion.schedules import NoiseSchedule
from jaxcrystal.errors import DataError, RequestError, one_line
from jaxcrystal.files import read_text, write_atomically, write_text
from jaxcrystal.graph.neighbors import GraphConfig, ImageCapacity
from jaxcrystal.letters.frequencies import LetterFrequencies
from jaxcrystal.models.network import NetworkConfig, find_module, make_module, with_new_names
from jaxcrystal.npz import Array, Schema, read_npz
from jaxcrystal.parameters import from_arrays, names_of, to_arrays
from jaxcrystal.remote import local_copy
from jaxcrystal.score import ScoreFn, init_params, make_score

FORMAT = "jaxcrystal-model-1"
_SETTINGS, _WEIGHTS, _LETTERS = FILES = ("model.toml", "weights.npz", "letters.json")
#: The largest number of single precision, in which networks compute.
_LARGEST = float(np.finfo(np.float32).max)
#: Å. Steps are better spent above: the last one, which takes the noise out, does the rest.
_LEAST_SAMPLED = 0.05


@dataclass(frozen=True, eq=False)
class Model:
    """A score network with its weights and what sampling needs beside them.

    Attributes:
      network: graph and settings of the network.
      schedule: the noise levels it was trained for.
      params: averaged weights.
      letters: frequencies of letter assignments in the training data.
      info: `elements` (atomic numbers seen in training), `data`, `steps`, losses, ...; `cond`, the
        names of the conditions that it was trained with, where there are any.
      module: the Flax module; made of `network` where none is given.
    """

    network: NetworkConfig
    schedule: NoiseSchedule
    params: Any
    letters: LetterFrequencies
    info: dict[str, Any] = field(default_factory=dict)
    module: Any = None

    def __post_init__(self) -> None:
        if self.module is None:
            object.__setattr__(self, "module", make_module(self.network))

    @property
    def graph(self) -> GraphConfig:
        """Which atoms are neighbours."""
        return self.network.graph

    @property
    def conditions(self) -> tuple[str, ...]:
        """The names of the conditions that the network gets for each structure, such as a band gap."""
        return tuple(self.info.get("cond", ()))

    def score(self, capacity: ImageCapacity) -> ScoreFn:
        """Returns `score(crystal, sigma, cond=None)` of one crystal, with the weights bound.

        Args:
          capacity: static room of the neighbour search: see `score.make_score`.
        """
        return partial(make_score(self.module, self.graph, capacity), self.params)

    @property
    def sampling_schedule(self) -> NoiseSchedule:
        """The levels to sample with: of those it was trained for, down to 0.05 Å."""
        return self.schedule.down_to(_LEAST_SAMPLED)

    def with_precision(self, precision: str) -> "Model":
        """Returns the model with the products of its layers in `float32`, `tf32` or `bfloat16`.

        Coordinates and distances are float32 in all of them.

        Raises:
          RequestError: see `NetworkConfig.with_precision`.
        """
        return replace(self, network=self.network.with_precision(precision), module=None)

    def save(self, folder: str | Path) -> None:
        """Writes the three files, each whole or not at all.

        Raises:
          DataError: a file cannot be written, or the module has a setting that no file can hold.
        """
        folder = Path(folder)
        arrays = {path: array.astype(np.float32) for path, array in to_arrays(self.params).items()}
        settings = {
            "format": FORMAT,
            "network": to_dict(self.network.with_module(self.module)),
            "schedule": to_dict(self.schedule),
            "info": self.info,
        }
        write_atomically(folder / _WEIGHTS, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]
        self.letters.save(folder / _LETTERS)
        write_text(folder / _SETTINGS, tomli_w.dumps(settings))


def load_model(folder: str | Path | None = None, module: Any = None, *, complete: bool = True) -> Model:
    """Reads a model folder, or the bundled model.

    A model with a network of one's own needs its module: what a folder names is never imported.

    Args:
      folder: path or URL of one of `jaxcrystal train` or `Model.save`; default: the bundled model.
      module: Flax module of the network, its class, or `package.module:Class`. A class is made
        with the settings in the folder. Its weights are checked, not its name: modules move.

      complete: refuse a model that lacks weights of its network; False: for one whose missing weights
        will be fresh.

    Raises:
      DataError: no model there, one that cannot be read, or weights that do not fit the network.
      RequestError: the model's network is not given, or none is wanted.
    """
    root = Path(str(files("jaxcrystal") / "bundled")) if folder is None else folder
    with local_copy(root, only=FILES) as path:
        network, schedule, info = _settings(root, path)
        given = _given_module(root, network, module)
        letters = LetterFrequencies.load(path / _LETTERS, called=f"{root}/{_LETTERS}")
        params = _weights(root, path / _WEIGHTS, _schema(root, given, network.graph, info, complete), given)
    return Model(network, schedule, params, letters, info, given)


def _settings(root: str | Path, path: Path) -> tuple[NetworkConfig, NoiseSchedule, dict[str, Any]]:
    """Returns what model.toml of a folder at `path` says; `root` is what errors call the folder."""
    if not (path / _SETTINGS).exists():
        raise DataError(f"{root} holds no model: there is no {_SETTINGS} in it")
    try:
        settings = tomllib.loads(read_text(path / _SETTINGS))
        if settings.get("format") != FORMAT:
            raise ValueError(f"its format is {settings.get('format')!r:.40}, this version reads {FORMAT!r}")
        network = from_dict(NetworkConfig, with_new_names(settings["network"]))
        schedule = from_dict(NoiseSchedule, settings["schedule"])
        return network, schedule, _checked_info(settings["info"])
    except (DataError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{root} holds a model that cannot be read: {one_line(error, 150)}") from error


def _checked_info(info: dict[str, Any]) -> dict[str, Any]:
    """Returns what a model says of itself, where it is what the package counts on."""
    elements, names, steps = info.get("elements", []), info.get("cond", []), info.get("steps", 0)
    if not all(type(z) is int and 1 <= z <= 118 for z in elements):
        raise ValueError("info.elements are not atomic numbers")
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise ValueError("info.cond are not names")
    if type(steps) is not int or not 0 <= steps < 2**53:
        raise ValueError("info.steps is not a number of updates")
    return dict(info)


def _given_module(root: str | Path, network: NetworkConfig, module: Any) -> Any:
    """Returns the module of a model folder, made with the folder's settings where only its class is given."""
    if isinstance(module, str):
        module = find_module(module)
    if module is None:
        if network.module:
            where = f"--module {network.module} (module= in Python)"
            if network.module.startswith("__main__:"):
                where = f"module= in Python: it is the class {network.module[9:]} of a script or notebook"
            raise RequestError(f"{root} holds a model with a network of its own: give it with {where}")
        return make_module(network)
    if not network.module:
        raise RequestError(f"{root} holds a model with DimeNet++: it takes no other module")
    return make_module(network, module) if isinstance(module, type) else module


def _schema(
    root: str | Path, module: Any, graph: GraphConfig, info: dict[str, Any], complete: bool
) -> dict[str, Array]:
    """Returns what the weights of a network must be, by the names of `parameters.to_arrays`."""
    crystal = jax.tree.map(jnp.asarray, pad_and_stack([empty(1)], 1))
    crystal = jax.tree.map(lambda array: array[0], crystal)
    cond = {name: jnp.zeros(()) for name in info.get("cond", ())} or None
    try:
        tree = jax.eval_shape(lambda key: init_params(key, module, graph, crystal, cond), jax.random.key(0))
    except Exception as error:  # a network, of settings that it does not check, may raise anything
        raise DataError(
            f"{root}: the network {type(module).__name__} cannot be made: {one_line(error, 150)}"
        ) from error
    return {
        name: Array("f", leaf.shape, -_LARGEST, _LARGEST, optional=not complete)
        for name, leaf in zip(names_of(tree), jax.tree.leaves(tree), strict=True)
    }


def _weights(root: str | Path, path: Path, schema: Schema, module: Any) -> Any:
    """Returns the weights in a file, once they are known to be those of the network."""
    try:
        return from_arrays(read_npz(path, schema, all_of_it=True))
    except FileNotFoundError as error:
        raise DataError(f"{root} holds a model that cannot be read: there is no {_WEIGHTS}") from error
    except DataError as error:
        raise DataError(
            f"{root}: the weights do not fit the network {type(module).__name__}: {error}"
        ) from error
