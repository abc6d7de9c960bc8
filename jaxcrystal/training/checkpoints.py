"""Saved training states (orbax), so that a stopped run goes on where it was."""

import logging
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import orbax.checkpoint as ocp

from jaxcrystal.errors import DataError
from jaxcrystal.training.step import TrainState


class Checkpoints:
    """The last states of a run, in `folder`; writing goes on in the background."""

    def __init__(self, folder: Path, keep: int) -> None:
        logging.getLogger("absl").setLevel(logging.WARNING)  # orbax reports every save
        self._folder = folder
        try:
            self._manager = ocp.CheckpointManager(
                folder.absolute(),
                options=ocp.CheckpointManagerOptions(max_to_keep=keep, create=True),
            )
        except OSError as error:
            raise DataError(f"cannot write checkpoints in {folder}: {error}") from error

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._manager.wait_until_finished()
        self._manager.close()

    def save(self, state: TrainState) -> None:
        """Saves a state under its step."""
        step = int(state.step)
        if step not in self._manager.all_steps():
            self._manager.save(step, args=ocp.args.StandardSave(_as_tree(state)))

    def restore(self, like: TrainState) -> TrainState:
        """Returns the last saved state.

        Raises:
          DataError: there is none, or it does not fit the network of the configuration.
        """
        step = self._manager.latest_step()
        if step is None:
            raise DataError(f"there is no checkpoint in {self._folder} to resume from")
        try:
            tree = self._manager.restore(step, args=ocp.args.StandardRestore(_as_tree(like)))
        except (ValueError, KeyError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"cannot resume from step {step} in {self._folder}: {reason}") from error
        return TrainState(**tree)


def _as_tree(state: TrainState) -> dict[str, Any]:
    tree = state._asdict()
    return jax.tree.map(jax.numpy.asarray, tree)
