"""Reads TOML files into frozen dataclasses, and writes them back.

A configuration is a frozen dataclass whose fields are numbers, strings, booleans or
further such dataclasses, so that it is hashable and can be a static argument. Each part
of the package owns the dataclass of its settings; this module only reads and writes.
"""

import tomllib
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import tomli_w

from jaxcrystal.errors import JaxcrystalError

T = TypeVar("T")


class Settings(tuple[tuple[str, Any], ...]):
    """Settings of something that this package does not know, in a hashable form.

    Made from a mapping or its pairs; `dict(settings)` gives it back, with lists as tuples.
    """

    def __new__(cls, settings: Mapping[str, Any] | Iterable[tuple[str, Any]] = ()) -> "Settings":
        """Sorts the settings by name."""
        pairs = sorted(dict(settings).items())
        return super().__new__(cls, ((name, _hashable(value)) for name, value in pairs))


class ConfigError(JaxcrystalError, ValueError):
    """A setting that does not exist or has the wrong type."""


def from_dict(kind: type[T], values: Mapping[str, Any], where: str = "") -> T:
    """Builds a configuration; what is not given keeps its default.

    Raises:
      ConfigError: an unknown setting, a wrong type, or a value the dataclass refuses.
    """
    hints = typing.get_type_hints(kind)
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    arguments: dict[str, Any] = {}
    for name, value in values.items():
        full = f"{where}{name}"
        if name not in known:
            raise ConfigError(f"unknown setting {full!r}: expected one of {', '.join(sorted(known))}")
        expected = hints[name]
        if is_dataclass(expected):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{full} is {value!r}; expected a table of settings")
            arguments[name] = from_dict(typing.cast(type, expected), value, f"{full}.")
            continue
        if expected is Settings:
            if not isinstance(value, Mapping) or any(map(_holds_table, value.values())):
                raise ConfigError(f"{full} is {value!r}; expected a table of settings without tables in it")
            arguments[name] = Settings(value)
            continue
        if expected is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
            raise ConfigError(f"{full} is {value!r}; expected {expected.__name__}")
        arguments[name] = value
    try:
        return kind(**arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where.rstrip('.') or 'configuration'}: {error}") from error


def load(kind: type[T], path: str | Path, overrides: Sequence[str] = ()) -> T:
    """Reads a TOML file, with `key.subkey=value` overrides on top.

    Raises:
      ConfigError: no such file, not TOML, or a setting that `from_dict` refuses.
    """
    try:
        values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    for override in overrides:
        _apply(values, override)
    return from_dict(kind, values)


def _apply(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise ConfigError(f"cannot read {override!r}: expected key=value, such as training.steps=1000")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word is a string
    *parents, last = key.strip().split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise ConfigError(f"{key} is not a setting: {parent} is not a table")
    values[last] = value


def to_toml(config: Any) -> str:
    """Returns the whole configuration, defaults included, as TOML."""
    return tomli_w.dumps(to_dict(config))


def to_dict(config: Any) -> dict[str, Any]:
    """Returns a configuration as nested dictionaries of what TOML can hold; empty `Settings` are left out."""
    values: dict[str, Any] = {}
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            values[field.name] = to_dict(value)
        elif isinstance(value, Settings):
            if value:
                values[field.name] = {name: _listed(item) for name, item in value}
        else:
            values[field.name] = value
    return values


def _holds_table(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_holds_table, value))
    return isinstance(value, Mapping)


def _hashable(value: Any) -> Any:
    return tuple(map(_hashable, value)) if isinstance(value, list | tuple) else value


def _listed(value: Any) -> Any:
    return [_listed(item) for item in value] if isinstance(value, tuple) else value
