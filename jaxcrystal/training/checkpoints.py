"""Saves and restores training states (orbax), so that a stopped run goes on exactly where it was.

checkpoints/STEP/state    weights, their average, the optimiser's moments and the step
checkpoints/STEP/about    format, configuration, digest of the data, `Progress`

Batches and noise are functions of (seed, step), so that the step stands for both. A
checkpoint gets its name once it is whole: a kill or a full disk leaves the older ones.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

from jaxcrystal.errors import DataError, one_line
from jaxcrystal.training.parallel import is_main
from jaxcrystal.training.step import TrainState

FORMAT = 2


@dataclass
class Progress:
    """What is saved of a run beside its state.

    Attributes:
      seconds: of training so far.
      pending: what the log keeps of the updates since its last row.
      validation: means of the last validation.
      best: the least validation loss so far, and the step of it; None before the first.
    """

    seconds: float = 0.0
    pending: list[list[float]] = field(default_factory=list)
    validation: dict[str, float] = field(default_factory=dict)
    best: tuple[float, int] | None = None


class Checkpoints:
    """The last states of a run, in `folder`; writing goes on in the background.

    Args:
      folder: of the checkpoints.
      keep: states kept.
      run: what a state must agree on with the run that takes it up: name and value.
      apart: every process has a folder of its own, and the main one alone saves; otherwise they
        share one.

    Raises:
      DataError: the folder cannot be written.
    """

    def __init__(self, folder: Path, keep: int, run: dict[str, str], apart: bool = False) -> None:
        logging.getLogger("absl").setLevel(logging.CRITICAL)  # orbax reports every save
        self._folder, self._run = folder, run
        self._apart = apart and jax.process_count() > 1
        processes = ocp.options.MultiprocessingOptions()
        if self._apart:  # orbax waits for nobody, and takes no arrays that others have too
            me = jax.process_index()
            processes = ocp.options.MultiprocessingOptions(me, {me}, f"process{me}")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._manager = ocp.CheckpointManager(
                folder.absolute(),
                options=ocp.CheckpointManagerOptions(
                    max_to_keep=keep,
                    create=not self._apart,
                    cleanup_tmp_directories=True,
                    multiprocessing_options=processes,
                ),
                item_names=("state", "about"),
            )
        except OSError as error:
            raise DataError(f"cannot write checkpoints in {folder}: {error}") from error

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        try:
            with self._reported():
                self._manager.close()
        except DataError:
            if kind is None:
                raise  # else the first error is the one to tell

    @property
    def latest(self) -> int | None:
        """The step of the last whole checkpoint on the disk."""
        return max((int(path.name) for path in self._folder.glob("*") if path.name.isdigit()), default=None)

    def save(self, state: TrainState, progress: Progress) -> None:
        """Saves a state under its step.

        Raises:
          DataError: this one, or the one before it, could not be written.
        """
        step = int(state.step)
        if step in self._manager.all_steps() or (self._apart and not is_main()):
            return
        # Copies: the next update takes the state's memory while the background still reads.
        copies = jax.device_get(state._asdict()) if self._apart else _copied(state._asdict())
        about = {"format": FORMAT, "run": self._run, "progress": asdict(progress)}
        with self._reported():
            self._manager.save(
                step,
                args=ocp.args.Composite(state=ocp.args.StandardSave(copies), about=ocp.args.JsonSave(about)),
            )

    def wait(self) -> None:
        """Returns when what was saved is on the disk.

        Raises:
          DataError: it could not be written.
        """
        with self._reported():
            self._manager.wait_until_finished()
            self._manager.check_for_errors()

    def restore(self, like: TrainState) -> tuple[TrainState, Progress] | None:
        """Returns the last saved state, or None if there is none.

        Args:
          like: a state of the run, for shapes and devices.

        Raises:
          DataError: it is of another version or run, or damaged.
        """
        step = self._manager.latest_step()
        if step is None:
            return None
        about = self._about(step)
        for name, value in self._run.items():
            if about["run"].get(name) != value:
                raise DataError(
                    f"cannot resume from step {step} in {self._folder}: the {name} differs from that of "
                    "the run; a run resumes unchanged"
                )
        with self._readable(step):
            wanted = jax.device_get(like._asdict()) if self._apart else like._asdict()
            args = ocp.args.Composite(state=ocp.args.StandardRestore(wanted))
            tree = self._manager.restore(step, args=args)["state"]
            told = about["progress"]
            best = None if told["best"] is None else (told["best"][0], told["best"][1])
        return TrainState(**tree), Progress(**(told | {"best": best}))

    def _about(self, step: int) -> dict[str, Any]:
        place = self._folder / str(step)
        if not (place / "about").exists():
            if not any(item.is_dir() for item in place.iterdir()):
                with self._readable(step):
                    raise DataError("there is no checkpoint in it")
            raise DataError(
                f"cannot resume from step {step} in {self._folder}: another version of jaxcrystal wrote it"
            )
        with self._readable(step):
            args = ocp.args.Composite(about=ocp.args.JsonRestore())
            about: dict[str, Any] = self._manager.restore(step, args=args)["about"]
        if about.get("format") != FORMAT:
            raise DataError(
                f"cannot resume from step {step} in {self._folder}: its format is {about.get('format')}, "
                f"this version of jaxcrystal reads {FORMAT}"
            )
        return about

    @contextmanager
    def _readable(self, step: int) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # orbax raises whatever its libraries do
            others = [n for n in self._manager.all_steps() if n != step]
            older = f"; without the folder {step} it resumes from step {max(others)}" if others else ""
            raise DataError(
                f"cannot resume from step {step} in {self._folder}: {one_line(error)}{older}"
            ) from error

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # orbax raises whatever its threads did
            last = self.latest
            kept = "there is none yet" if last is None else f"that of step {last} is whole"
            raise DataError(
                f"cannot write a checkpoint in {self._folder}: {one_line(error)}; {kept}"
            ) from error


@jax.jit
def _copied(tree: Any) -> Any:
    return jax.tree.map(jnp.copy, tree)
