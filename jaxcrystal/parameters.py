"""Converts the parameters of a network to named arrays, as files hold them, and back."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def names_of(params: Any) -> list[str]:
    """Returns the path of each leaf of parameters, such as `hidden/kernel`."""
    paths = jax.tree_util.tree_leaves_with_path(params)
    return ["/".join(str(key.key) for key in path) for path, _ in paths]


def to_arrays(params: Any) -> dict[str, np.ndarray]:
    """Returns parameters as one array for each path."""
    return dict(zip(names_of(params), map(np.asarray, jax.tree.leaves(params)), strict=True))


def from_arrays(arrays: Mapping[str, np.ndarray]) -> Any:
    """Returns the parameters that `to_arrays` was given, in float32."""
    params: dict[str, Any] = {}
    for path, array in arrays.items():
        *parents, name = path.split("/")
        table = params
        for parent in parents:
            table = table.setdefault(parent, {})
        table[name] = jnp.asarray(array, jnp.float32)
    return params
