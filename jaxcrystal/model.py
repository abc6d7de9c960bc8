"""Saves and loads a trained model as a folder: settings, weights and letter frequencies.

    model.toml     network and schedule, and how it was trained
    weights.npz    averaged weights, float32, one array for each parameter path
    letters.json   how often each letter assignment stands in the training data

A run folder of `train` is such a folder too, with checkpoints and logs beside.
"""

import tomllib
import zipfile
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
from jaxcrystal.errors import DataError, RequestError
from jaxcrystal.files import write_atomically, write_text
from jaxcrystal.graph.neighbors import GraphConfig, ImageCapacity
from jaxcrystal.letters.frequencies import LetterFrequencies
from jaxcrystal.models.network import NetworkConfig, find_module, make_module
from jaxcrystal.parameters import from_arrays, to_arrays
from jaxcrystal.remote import local_copy
from jaxcrystal.score import ScoreFn, init_params, make_score

FORMAT = "jaxcrystal-model-1"
_SETTINGS, _WEIGHTS, _LETTERS = FILES = ("model.toml", "weights.npz", "letters.json")

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

        Coordinates and distances are float32 in all of them: see `models.dimenet.DimeNetConfig`.

        Raises:
          RequestError: no such precision, or the network is not DimeNet++.
        """
        if self.network.module:
            raise RequestError(
                f"the precision of the network {self.network.module} is its own setting: it is not DimeNet++"
            )
        try:
            dimenet = replace(self.network.dimenet, precision=precision)
        except ValueError as error:
            raise RequestError(str(error)) from error
        return replace(self, network=replace(self.network, dimenet=dimenet), module=None)

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
        network, schedule, params, letters, info = _read(root, path)
    model = Model(network, schedule, params, letters, info, _given_module(root, network, module))
    _require_fitting(root, model, complete)
    return model


def _read(root: str | Path, path: Path) -> tuple[NetworkConfig, NoiseSchedule, Any, LetterFrequencies, dict]:
    """Returns what the files of a model at `path` hold; `root` is what errors call it."""
    if not (path / _SETTINGS).exists():
        raise DataError(f"{root} holds no model: there is no {_SETTINGS} in it")
    try:
        settings = tomllib.loads((path / _SETTINGS).read_text(encoding="utf-8"))
        if settings.get("format") != FORMAT:
            raise ValueError(f"its format is {settings.get('format')!r}, this version reads {FORMAT!r}")
        network = from_dict(NetworkConfig, _with_new_names(settings["network"]))
        schedule = from_dict(NoiseSchedule, settings["schedule"])
        with np.load(path / _WEIGHTS, allow_pickle=False) as arrays:
            params = from_arrays(arrays)
        letters = LetterFrequencies.load(path / _LETTERS)
        return network, schedule, params, letters, dict(settings["info"])
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{root} holds a model that cannot be read: {error}") from error


def _with_new_names(network: dict[str, Any]) -> dict[str, Any]:
    """Returns the settings of a network with the names that those of earlier versions have now."""
    dimenet = dict(network.get("dimenet", {}))
    if "activations" in dimenet:
        dimenet["precision"] = dimenet.pop("activations")
    return network | {"dimenet": dimenet}


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


def _require_fitting(root: str | Path, model: Model, complete: bool) -> None:
    """Raises DataError where weights are missing, too many, of another shape, or not finite."""
    crystal = jax.tree.map(jnp.asarray, pad_and_stack([empty(1)], 1))
    crystal = jax.tree.map(lambda array: array[0], crystal)
    cond = {name: jnp.zeros(()) for name in model.conditions} or None
    like = jax.eval_shape(
        lambda key: init_params(key, model.module, model.graph, crystal, cond), jax.random.key(0)
    )
    wanted, found = (
        {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
        for tree in (like, model.params)
    )
    kind = type(model.module).__name__
    if not complete:
        wanted = {name: leaf for name, leaf in wanted.items() if name in found}
    for name in sorted({*wanted} ^ {*found}):
        word = "lacks" if name in wanted else "has besides"
        raise DataError(f"{root}: the weights do not fit the network {kind}: weights.npz {word} {name}")
    for name in sorted(wanted):
        if found[name].shape != wanted[name].shape:
            raise DataError(
                f"{root}: the weights do not fit the network {kind}: {name} has the shape "
                f"{found[name].shape}, expected {wanted[name].shape}"
            )
        if not np.isfinite(found[name]).all():
            raise DataError(f"{root}: the weights are damaged: {name} is not finite")
