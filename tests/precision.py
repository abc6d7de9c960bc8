"""Double precision for a while, with every jax that this package admits."""

from contextlib import AbstractContextManager

import jax


def double_precision(enabled: bool = True) -> AbstractContextManager[None]:
    """Returns a context in which jax computes in float64 (or, if not enabled, float32), in this thread only.

    `jax.enable_x64` is missing from the oldest releases we admit, and the name that they
    have instead is deprecated in the newest.
    """
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(enabled)
    from jax.experimental import enable_x64  # type: ignore[attr-defined]

    return enable_x64(enabled)
