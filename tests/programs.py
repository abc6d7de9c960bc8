"""Compiled programs of the tests: shared by all processes of a run, and not kept in memory."""

import ctypes
import gc
import os
import signal
import sys
import tempfile

import jax
import pytest

from jaxcrystal.sampling import programs

#: XLA makes programs of the same operations in a quarter of the time, and they run slower.
UNOPTIMISED = "--xla_backend_optimization_level=0"
if jax.__version_info__ < (0, 12):  # later ones end the process, as at any flag that XLA does not know
    UNOPTIMISED += " --xla_cpu_use_fusion_emitters=false"
#: The environment of a command that is killed: it must not leave half a program to the others.
READ_ONLY = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "1e9"}
#: The command line, with Ctrl-C as in a terminal: what a shell starts in the background ignores it.
INTERRUPTIBLE = [
    *(sys.executable, "-c"),
    "import signal, runpy; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "runpy.run_module('jaxcrystal.cli', run_name='__main__')",
]
#: Of each signal that ends a command: the exit codes that say so.
ENDED = {
    signal.SIGTERM: (-signal.SIGTERM, 143),  # a shell calls the first 143
    signal.SIGINT: (130, -signal.SIGINT),  # the second before there is anything to interrupt
    signal.SIGKILL: (-signal.SIGKILL,),
}


def share(config: pytest.Config) -> None:
    """Stores programs in one folder, for this process and, by the environment, for those that it starts.

    Without JAX_COMPILATION_CACHE_DIR the folder lasts as long as this run of the tests, so that
    what an earlier one compiled hides nothing. Tests marked `optimised` have programs as users have
    them if they are run alone, as `make test` does; compiling the others' would take half of its time.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if config.option.markexpr != "optimised" and UNOPTIMISED not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {UNOPTIMISED}".strip()
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        folder = tempfile.TemporaryDirectory(prefix="jaxcrystal-programs-", ignore_cleanup_errors=True)
        config.add_cleanup(folder.cleanup)
        os.environ["JAX_COMPILATION_CACHE_DIR"] = folder.name
    # Which line an operation comes from takes a tenth of the time of tracing it.
    os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")
    jax.config.update("jax_traceback_in_locations_limit", int(os.environ["JAX_TRACEBACK_IN_LOCATIONS_LIMIT"]))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    # XLA mistakes its own settings in a stored program for features that the processor lacks.
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
    seconds = float(os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", seconds)


def let_go() -> None:
    """Frees the compiled programs of this process; what is needed again is read from the folder."""
    programs.compiled.cache_clear()
    jax.clear_caches()
    gc.collect()
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):  # glibc keeps to itself what was freed
        library.malloc_trim(0)
