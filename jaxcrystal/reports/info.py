"""Describes models, data files and the installation, for the terminal."""

from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import jax
import numpy as np

from jaxcrystal import __version__
from jaxcrystal.data.dataset import Dataset
from jaxcrystal.elements import SYMBOLS
from jaxcrystal.model import load_model
from jaxcrystal.score import count_params
from jaxcrystal.symmetry.groups import hermann_mauguin

_PACKAGES = ("jax", "jaxlib", "flax", "numpy", "pymatgen", "spglib")


def describe_installation() -> str:
    """Returns versions and devices."""
    words = [f"jaxcrystal {__version__}"]
    for package in _PACKAGES:
        try:
            words.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            words.append(f"{package} missing")
    devices = Counter(f"{device.platform} ({device.device_kind})" for device in jax.devices())
    listed = ", ".join(f"{count} × {name}" for name, count in devices.items())
    return f"{', '.join(words)}\ndevices: {listed}"


def describe_model(folder: str | Path | None = None, module: str | None = None) -> str:
    """Returns what a model is and how it was trained; the bundled one by default.

    Args:
      folder: of the model.
      module: `package.module:Class` of its network, where that is not DimeNet++.

    Raises:
      DataError: there is no model.
    """
    model = load_model(folder, module)
    schedule, info = model.schedule, dict(model.info)
    sampled, elements = model.sampling_schedule, info.pop("elements", [])
    describe = getattr(model.module, "describe", lambda: f"settings {dict(model.network.settings)}")
    lines = [
        f"model: {folder or 'bundled'}",
        f"network: {type(model.module).__name__}, {count_params(model.params):,} numbers; {describe()}; "
        f"the nearest {model.graph.max_neighbors} atoms within {model.graph.cutoff:g} Å",
        f"noise: {schedule.levels} levels, σ_X {schedule.coords_max:g} to {schedule.coords_min:g} Å, "
        f"σ_L {schedule.lattice_max:g} to {schedule.lattice_min:g}",
        f"sampled: down to σ_X {sampled.coords_min:g} Å and σ_L {sampled.lattice_min:.3g}",
        f"letters: of structures in {len(model.letters.assignments)} space groups",
        f"elements seen ({len(elements)}): {' '.join(SYMBOLS[z] for z in elements)}",
    ]
    return "\n".join(lines + [f"{name}: {value}" for name, value in info.items()])


def describe_data(path: str | Path) -> str:
    """Returns what a prepared data file holds.

    Raises:
      DataError: it is none.
    """
    dataset = Dataset.load(path, any_cell=True)
    groups, counts = np.unique(dataset.space_group, return_counts=True)
    common = np.argsort(-counts, kind="stable")[:8]
    elements = sorted({int(z) for z in dataset.species})
    known = int(np.isfinite(dataset.formation_energy_per_atom).sum())
    sites = dataset.num_sites if len(dataset) else np.zeros(1, int)
    lines = [
        f"data: {path}",
        f"structures: {len(dataset):,}, {known:,} with a formation energy",
        f"inequivalent sites: {int(np.median(sites))} (median), {int(np.percentile(sites, 90))} (90 %), "
        f"{int(sites.max())} (most)",
        "commonest groups: "
        + ", ".join(f"{groups[i]} {hermann_mauguin(int(groups[i]))} ({counts[i]:,})" for i in common),
        f"elements ({len(elements)}): {' '.join(SYMBOLS[z] for z in elements)}",
    ]
    return "\n".join(lines + [f"{name}: {value}" for name, value in dataset.info.items()])
