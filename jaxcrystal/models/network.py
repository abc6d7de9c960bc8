"""Makes the network of a model: DimeNet++, or any Flax module that gives two numbers for each edge.

The settings of a network can be written to TOML and read back; a module of one's own is named by
where it is defined, `package.module:Class`, and its settings are the fields of the class.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from importlib import import_module
from typing import Any

from jaxcrystal.config import Settings
from jaxcrystal.errors import DataError, RequestError
from jaxcrystal.graph.neighbors import GraphConfig
from jaxcrystal.models.dimenet import DimeNet, DimeNetConfig

#: Fields that every Flax module has.
_FLAX_FIELDS = ("parent", "name")


@dataclass(frozen=True)
class NetworkConfig:
    """Which graph, and which network on it.

    Attributes:
      graph: which atoms are neighbours.
      dimenet: sizes of DimeNet++; not used where `module` names another network.
      module: `package.module:Class` of a Flax module; empty: DimeNet++.
      settings: fields of that class; those left out have its defaults. A field `cutoff` that is
        left out is the graph's (Å).
    """

    graph: GraphConfig = GraphConfig()
    dimenet: DimeNetConfig = DimeNetConfig()
    module: str = ""
    settings: Settings = Settings()

    def __post_init__(self) -> None:
        if not self.module and (self.dimenet.num_outputs, self.dimenet.edge_outputs) != (2, True):
            raise ValueError(
                f"dimenet has num_outputs = {self.dimenet.num_outputs} and edge_outputs = "
                f"{str(self.dimenet.edge_outputs).lower()}; a score needs 2 numbers for each edge"
            )

    def with_precision(self, precision: str) -> "NetworkConfig":
        """Returns the settings with the products of the layers in `float32`, `tf32` or `bfloat16`.

        Raises:
          RequestError: no such precision, or the network is not DimeNet++.
        """
        if self.module:
            raise RequestError(
                f"the precision of the network {self.module} is its own setting: it is not DimeNet++"
            )
        try:
            return replace(self, dimenet=replace(self.dimenet, precision=precision))
        except ValueError as error:
            raise RequestError(str(error)) from error

    def with_module(self, module: Any) -> "NetworkConfig":
        """Returns the settings that make a module.

        Args:
          module: Flax module, or its class (with the settings that are here).

        Raises:
          DataError: a field of the module that TOML cannot hold.
        """
        if isinstance(module, type):
            return replace(self, module=_name(module))
        if type(module) is DimeNet and module.cutoff == self.graph.cutoff:
            return replace(self, dimenet=module.config, module="", settings=Settings())
        settings = _settings_of(module)
        if settings.get("cutoff") == self.graph.cutoff:
            del settings["cutoff"]
        return replace(self, module=_name(type(module)), settings=Settings(settings))


def with_new_names(network: dict[str, Any]) -> dict[str, Any]:
    """Returns the settings of a network with the names that those of earlier versions have now."""
    dimenet = dict(network.get("dimenet", {}))
    if "activations" in dimenet:
        dimenet["precision"] = dimenet.pop("activations")
    return network | {"dimenet": dimenet}


def make_module(network: NetworkConfig, kind: type | None = None) -> Any:
    """Returns the Flax module of some settings.

    Args:
      network: the settings.
      kind: class of the module; default: DimeNet++, or the class that `network.module` names.

    Raises:
      RequestError: `network.module` names no Flax module, or its class refuses the settings.
    """
    if not network.module and kind is None:
        return DimeNet(network.dimenet, network.graph.cutoff)
    kind = find_module(network.module) if kind is None else kind
    settings = dict(network.settings)
    if "cutoff" in {field.name for field in fields(kind)}:
        settings.setdefault("cutoff", network.graph.cutoff)
    try:
        return kind(**settings)
    except TypeError as error:
        raise RequestError(
            f"the network {_name(kind)} does not take its settings {settings}: {error}"
        ) from error


def find_module(name: str) -> type:
    """Imports the class of a network.

    Args:
      name: `package.module:Class`.

    Raises:
      RequestError: there is no such class, or it is no Flax module.
    """
    import flax.linen as nn

    where, separator, kind_name = name.partition(":")
    if not (separator and where and kind_name):
        raise RequestError(f"the network {name!r} should be named package.module:Class")
    try:
        kind: Any = import_module(where)
        for part in kind_name.split("."):
            kind = getattr(kind, part, None)
    except Exception as error:  # a module of the user's may raise anything
        raise RequestError(f"cannot import {where} for the network {name}: {error}") from error
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise RequestError(f"{name} is no Flax module: expected package.module:Class of one")
    return kind


def _name(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _settings_of(module: Any) -> dict[str, Any]:
    """Returns the fields of a module that are not their defaults."""
    settings = {}
    for field in fields(module):
        value = getattr(module, field.name)
        if field.name in _FLAX_FIELDS or value == field.default:
            continue
        if not _fits_toml(value):
            raise DataError(
                f"the field {field.name} of the network {_name(type(module))} is {value!r}: a model file "
                "holds numbers, texts, booleans and lists of them; make it the default of a class"
            )
        settings[field.name] = value
    return settings


def _fits_toml(value: Any) -> bool:
    if isinstance(value, Mapping):
        return False
    if isinstance(value, tuple | list):
        return all(_fits_toml(item) for item in value)
    return isinstance(value, str | bool | int | float)
