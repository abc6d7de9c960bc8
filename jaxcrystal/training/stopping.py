"""Stops a run between two updates on SIGTERM and SIGINT, with its state saved."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

import jax
from jax.experimental import multihost_utils

from jaxcrystal.errors import JaxcrystalError

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(JaxcrystalError):
    """A run that a signal ended; `code` is the exit code for it."""

    def __init__(self, number: int, step: int) -> None:
        name = signal.Signals(number).name
        super().__init__(f"stopped by {name} after step {step}; its state is saved: go on with --resume")
        self.code = 128 + number


class StopRequest:
    """Remembers a signal while a run is on; a second one acts at once, as without this handler.

    The processes of a run on several hosts must stop after the same update: there jax's
    coordination service receives SIGTERM, in whichever process, and decides after which.
    """

    def __init__(self) -> None:
        self._number: int | None = None
        self._previous: dict[int, Any] = {}
        self._several = jax.process_count() > 1

    def __enter__(self) -> "StopRequest":
        # Signals reach the main thread only, which is also the only one that may listen.
        if not self._several and threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._remember) for number in _SIGNALS}
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._restore()

    def after(self, step: int) -> int | None:
        """Returns the signal that ends the run after `step` updates, or None."""
        if self._several:
            return signal.SIGTERM if multihost_utils.reached_preemption_sync_point(step) else None
        return self._number

    def _remember(self, number: int, _: FrameType | None) -> None:
        self._number = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}
