"""Lets Ctrl-C end a command within seconds, whatever its threads and workers are at."""

import os
import signal
import threading
from types import FrameType

from jaxcrystal.commands.parser import say

#: Seconds for what is half done, such as the parts of a run that are being written.
_PATIENCE = 4.0


def end_soon_when_interrupted() -> None:
    """Gives the command a few seconds after the first Ctrl-C; the second one ends it at once.

    Otherwise Python waits for threads, such as those that compile. What is left half written is hidden, and
    worker processes end with this one. SIGTERM needs nothing of the kind: it ends a process at once.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where it is ignored
        signal.signal(signal.SIGINT, _interrupted)


def _interrupted(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    if _imports(frame):
        # Extension modules abort where an exception passes through their start; nothing is half done then
        # that the next command would not do again.
        say("interrupted")
        os._exit(128 + number)
    timer = threading.Timer(_PATIENCE, os._exit, [128 + number])
    timer.daemon = True
    timer.start()
    raise KeyboardInterrupt


def _imports(frame: FrameType | None) -> bool:
    """Returns whether a module is being imported in a frame or one of its callers."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
