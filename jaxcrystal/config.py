"""Reads TOML files into frozen dataclasses, and writes them back.

A configuration is a frozen dataclass whose fields are numbers, strings, booleans or
further such dataclasses, so that it is hashable and can be a static argument. Each part
of the package owns the dataclass of its settings; this module only reads and writes.
"""

import tomllib
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar

import numpy as np
import tomli_w

from jaxcrystal.errors import DataError, JaxcrystalError
from jaxcrystal.files import read_text
from jaxcrystal.limits import Bounds, Within, shown

T = TypeVar("T")
#: Bytes of the largest file of settings or orders that is read.
_LARGEST = 8 * 2**20
#: Whole numbers beyond are no floats.
_HUGE = 10**300
#: What a value of each type is called in errors.
_CALLED = {int: "a whole number", float: "a number", str: "a text", bool: "true or false",
           int | None: "a whole number", tuple[int, ...]: "whole numbers"}  # fmt: skip
#: Numbers of each type, those of numpy too.
_NUMBERS = {int: int | np.integer, float: float | np.floating}


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


class Checked:
    """A frozen dataclass whose fields keep to the bounds that stand in their types."""

    def __post_init__(self) -> None:
        """Raises ValueError for the first field that is out of bounds."""
        for name, refusal in refusals(self):
            raise ValueError(f"{name} {refusal}")


def refusals(settings: Any) -> Iterator[tuple[str, str]]:
    """Yields the fields of a dataclass that are out of their bounds, each with what is wrong; None is in."""
    kind: Any = type(settings)
    for name, hint, bounds in _bounds(kind):
        value = getattr(settings, name)
        refused = None if value is None else refusal(value, hint, bounds)
        if refused is not None:
            yield name, refused


def refusal(value: Any, hint: Any, bounds: Bounds) -> str | None:
    """Returns what is wrong with a value, such as `is 2.5; expected a whole number`; None: nothing is.

    Args:
      value: a number or name, or several.
      hint: its type: that of numbers is checked.
      bounds: that it must keep to.
    """
    if isinstance(bounds, Within) and not fits(value, hint):
        return f"is {shown(value)}; expected {_CALLED.get(hint, 'numbers')}"
    return bounds.refusal(value)


@lru_cache
def _bounds(kind: Any) -> list[tuple[str, Any, Bounds]]:
    hints = typing.get_type_hints(kind, include_extras=True)
    annotated = ((name, hint) for name, hint in hints.items() if typing.get_origin(hint) is Annotated)
    return [(name, hint.__origin__, hint.__metadata__[0]) for name, hint in annotated]


def fits(value: Any, hint: Any) -> bool:
    """Returns whether a value as TOML has it is of a type: numbers, texts, lists and tables of them.

    Numbers of numpy are numbers, too.
    """
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, UnionType):
        return any(fits(value, each) for each in inner)
    if origin is tuple:
        return isinstance(value, list | tuple) and all(fits(item, inner[0]) for item in value)
    if origin is Mapping:
        return isinstance(value, Mapping) and all(fits(item, inner[1]) for item in value.values())
    if hint is NoneType or isinstance(value, bool):
        return value is None or hint is bool
    if hint is float and isinstance(value, int | np.integer):
        return -_HUGE < int(value) < _HUGE
    return isinstance(value, _NUMBERS.get(hint, hint))


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
            raise ConfigError(f"unknown setting {shown(full)}: expected one of {', '.join(sorted(known))}")
        expected = hints[name]
        if is_dataclass(expected):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{full} is {shown(value)}; expected a table of settings")
            arguments[name] = from_dict(typing.cast(type, expected), value, f"{full}.")
            continue
        if expected is Settings:
            if not isinstance(value, Mapping) or any(map(_holds_table, value.values())):
                raise ConfigError(f"{full} is {shown(value)}; expected a table without tables in it")
            arguments[name] = Settings(value)
            continue
        if not fits(value, expected):
            raise ConfigError(f"{full} is {shown(value)}; expected {_CALLED[expected]}")
        arguments[name] = float(value) if expected is float else value
    try:
        return kind(**arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where.rstrip('.') or 'configuration'}: {error}") from error


def load(kind: type[T], path: str | Path, overrides: Sequence[str] = ()) -> T:
    """Reads a TOML file, with `key.subkey=value` overrides on top.

    Raises:
      ConfigError: no such file, not TOML, or a setting that `from_dict` refuses.
    """
    values = read_toml(path)
    for override in overrides:
        _apply(values, override)
    return from_dict(kind, values)


def read_toml(path: str | Path) -> dict[str, Any]:
    """Returns what a TOML file holds.

    Raises:
      ConfigError: no such file, one that no one has written by hand, or not TOML.
    """
    try:
        return parse_toml(read_text(path, _LARGEST))
    except DataError as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    except ValueError as error:
        raise ConfigError(f"cannot read {path}, it is not TOML: {error}") from error


def parse_toml(text: str) -> dict[str, Any]:
    """Returns what TOML holds.

    Raises:
      ValueError: it is not TOML, or nested too deeply.
    """
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _apply(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise ConfigError(f"cannot read {shown(override)}: expected key=value, such as training.steps=1000")
    try:
        value = parse_toml(f"value = {text}")["value"]
    except ValueError:
        value = text  # a bare word is a string
    *parents, last = key.strip().split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise ConfigError(f"{key} is not a setting: {parent} is not a table")
    values[last] = value


def to_toml(config: Any, **others: Any) -> str:
    """Returns the whole configuration, defaults included, as TOML, with some settings replaced by others."""
    return tomli_w.dumps(to_dict(config) | others)


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
