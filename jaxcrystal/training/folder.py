"""The folder of a training run: claims it, checks that a run to resume is the same, keeps the best model."""

import hashlib
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from jaxcrystal.config import ConfigError, load, to_dict, to_toml
from jaxcrystal.data.dataset import Dataset
from jaxcrystal.errors import DataError
from jaxcrystal.files import claim_folder, remove_partial, require_free, write_text
from jaxcrystal.folders import held
from jaxcrystal.model import Model
from jaxcrystal.remote import Objects, is_url
from jaxcrystal.training.config import TrainConfig

_CONFIG = "config.toml"
_ADVICE = "give another out=..., or --resume to go on with its run"


def holds_run(out: str) -> bool:
    """Returns whether there is a run to resume, at a path or URL.

    Raises:
      DataError: the URL cannot be read.
    """
    return Objects(out).exists(_CONFIG) if is_url(out) else (Path(out) / _CONFIG).exists()


def claim(config: TrainConfig, out: Path, resume: bool, stack: ExitStack) -> None:
    """Makes the run folder ours, without what a kill left half written; refuses another run's.

    Args:
      config: of the run.
      out: its folder on the disk.
      resume: a run is in it.
      stack: keeps other processes out of the folder until it is closed.

    Raises:
      DataError: the folder is in use, or holds no run or another one to resume.
    """
    saved = out / _CONFIG
    if resume:
        if not saved.exists():
            raise DataError(f"{config.out} holds no run to resume: there is no {_CONFIG} in it")
        _require_same(saved, config)
        stack.enter_context(held(out))
        remove_partial(out)
    else:
        claim_folder(out, _ADVICE, leftovers=True)
        stack.enter_context(held(out))
        write_text(saved, to_toml(config))


def require_there(out: Path, called: str) -> None:
    """Raises DataError where a run's folder was removed while it was on: nothing could resume it."""
    if not (out / _CONFIG).exists():
        raise DataError(f"{called} was removed, or its {_CONFIG} was, while the run was on")


def require_new(out: Path) -> None:
    """Checks the folder of a new run before anything is read for it.

    Raises:
      DataError: it is in use, or no folder.
    """
    require_free(out, _ADVICE, leftovers=True)


def save_best(model: Model, out: Path) -> None:
    """Writes a model to `out`/best, whole or not at all, in place of the one before."""
    best, new, old = out / "best", out / ".best.part", out / ".best.old.part"
    for left in (new, old):
        shutil.rmtree(left, ignore_errors=True)
    model.save(new)
    if best.exists():
        best.rename(old)
    new.rename(best)
    shutil.rmtree(old, ignore_errors=True)


def digest(dataset: Dataset, conditions: Sequence[str] = ()) -> str:
    """Returns a short digest of what is trained on, so that a run never resumes on other data.

    Args:
      dataset: the structures.
      conditions: names of the columns that the network gets.
    """
    content = hashlib.sha256()
    for name in ("space_group", "lattice_params", "num_sites", "species", "frac_coords", "letters"):
        content.update(np.ascontiguousarray(getattr(dataset, name)).tobytes())
    for column in dataset.conditions(conditions).values():
        content.update(np.ascontiguousarray(column).tobytes())
    return content.hexdigest()[:16]


def _require_same(saved: Path, config: TrainConfig) -> None:
    try:
        before = _flat(to_dict(load(TrainConfig, saved)))
    except ConfigError as error:
        raise DataError(f"cannot resume: {saved} is not of this version of jaxcrystal: {error}") from error
    now = _flat(to_dict(config))
    # Where the run stands is no part of what it is: its folder may have been moved.
    changed = [name for name in now if name != "out" and now[name] != before.get(name)]
    if changed:
        listed = ", ".join(f"{name} ({before.get(name)!r}, now {now[name]!r})" for name in changed)
        raise DataError(f"{saved} differs from the configuration given: {listed}; a run resumes unchanged")


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        inner = _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
        flat |= inner
    return flat
