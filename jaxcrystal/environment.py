"""Differences between releases of jax (wrong results, moved names), and CPU cores as its devices."""

import os
import warnings
from importlib.metadata import PackageNotFoundError, version

#: jax issue 39103 (sums of 32,769 rows and more, silently wrong), 0.10.2 only, and issues
#: 39257 and 40412 (a crash on reductions of rank 7 and more), both releases.
BROKEN_RELEASES = ("0.10.2", "0.11.0")


def broken_release() -> str | None:
    """Returns the installed jax or jaxlib release that is known to be broken, as `jax 0.10.2`."""
    for package in ("jax", "jaxlib"):
        try:
            release = version(package)
        except PackageNotFoundError:
            continue
        if release.split("+")[0] in BROKEN_RELEASES:
            return f"{package} {release}"
    return None


def warn_if_broken() -> None:
    """Warns where a broken release is installed in spite of the package's requirements."""
    found = broken_release()
    if found is not None:
        warnings.warn(
            f"{found} gives wrong results or crashes on the CPU (jax issues 39103, 39257, 40412): "
            "install another release, for example `pip install 'jax!=0.10.2,!=0.11.0'`",
            RuntimeWarning,
            stacklevel=3,
        )


#: Threads of XLA for each CPU device that takes part in sums over devices.
_THREADS_PER_DEVICE = 3
#: A device with fewer structures of a batch than this spends its time on small operations.
_LEAST_SHARE = 8


def use_all_cores(batch_size: int | None = None) -> None:
    """Makes every CPU core that this process may use a device of jax.

    The sampler and the training share a batch among the devices. One device uses several
    cores poorly: products of a few thousand rows are too small to be split. Call it before
    anything else of jax; where jax has been used already, or the number of devices is set
    in the environment, their number does not change.

    Args:
      batch_size: a batch of the training, which is shared equally: as many cores as can have
        equal parts of it, of no fewer than eight structures.
    """
    if "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        return
    import jax

    told = int(getattr(jax.config, "jax_num_cpu_devices", -1))  # JAX_NUM_CPU_DEVICES
    count = num_devices(num_cpus(), batch_size) if told == -1 else told
    if batch_size is not None:
        # A thread of XLA's pool sleeps while its device waits for the sums of the others. With no
        # more threads than devices a training came to a halt twice in forty minutes, all of
        # them asleep; with three times as many, not in an hour.
        os.environ.setdefault("PJRT_NPROC", str(_THREADS_PER_DEVICE * count))
    if told != -1:
        return
    try:
        jax.config.update("jax_num_cpu_devices", count)
    except RuntimeError:  # the devices exist already
        return


def num_devices(cores: int, batch_size: int | None) -> int:
    """Returns how many of some cores become devices: see `use_all_cores`."""
    if batch_size is None:
        return cores
    most = max(1, min(cores, batch_size // _LEAST_SHARE))
    return next(count for count in range(most, 0, -1) if batch_size % count == 0)


def num_cpus() -> int:
    """Returns the CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
