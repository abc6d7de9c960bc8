"""Samples structure after structure: orders in, finished crystals out."""

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from jaxcrystal.crystal import Crystal
from jaxcrystal.diffusion.langevin import LangevinConfig
from jaxcrystal.errors import RequestError
from jaxcrystal.model import Model
from jaxcrystal.requests.candidates import Candidate
from jaxcrystal.sampling.batches import WINDOW, Batch, Shape, by_shape, make_batch
from jaxcrystal.sampling.programs import Programs, is_out_of_memory
from jaxcrystal.structures.finished import Drawn, finish


def sample_stream(
    candidates: Iterable[Candidate],
    model: Model,
    seed: int = 0,
    config: LangevinConfig | None = None,
    batch_size: int | None = None,
    random_start: bool = False,
    finished: Callable[[Candidate, Crystal, Drawn, float], Any] = finish,
    counts: Mapping[Shape, int] | None = None,
) -> Iterator[tuple[Candidate, Any]]:
    """Yields finished structures, shape by shape, a batch behind the devices.

    Candidates are taken `WINDOW` by `WINDOW`, and those of a shape that do not fill a batch wait for others.
    A batch that does not fit the memory of a device is cut in half, and so are those after it.

    Args:
      candidates: of `make_candidates`; gone through once.
      model: trained.
      seed: 0 to 2³² - 1.
      config: sampler settings.
      batch_size: rows of every batch on each device.
      random_start: yield what sampling would start from.
      finished: makes what is yielded beside each candidate: by default, its `Sample`.
      counts: structures of each shape from which the rows of a batch follow; default: those of the first
        window of these candidates. Give those of the whole run where a part of it is to have the bits
        that it has there.

    Raises:
      RequestError: a batch size below 1, or conditions that are not the model's.
      DataError: one structure is too much for the memory.
    """
    batches = sample_batches(candidates, model, seed, config, batch_size, random_start, counts)
    for batch, output in batches:
        for row, (candidate, template) in enumerate(zip(batch.candidates, batch.crystals, strict=True)):
            yield candidate, finished(candidate, template, output.row(row), model.graph.merge_distance)


def sample_batches(
    candidates: Iterable[Candidate],
    model: Model,
    seed: int = 0,
    config: LangevinConfig | None = None,
    batch_size: int | None = None,
    random_start: bool = False,
    counts: Mapping[Shape, int] | None = None,
    on_device: Callable[[Any, Batch, Drawn], Any] | None = None,
    tables: Any = None,
) -> Iterator[tuple[Batch, Any]]:
    """Yields batches with what was drawn, as NumPy arrays, one behind the devices.

    Args:
      candidates, model, seed, config, batch_size, random_start, counts: see `sample_stream`.
      on_device: makes of `tables`, a batch and what was drawn the arrays that are yielded in place of it.
      tables: pytree of arrays for `on_device`, of which every device gets a copy once.

    Raises: see `sample_stream`.
    """
    require_batch_size(batch_size)
    waiting = _Waiting(candidates)
    if not waiting.members:
        return
    if not random_start:
        members = next(iter(waiting.members.values()))
        require_conditions(model, [name for name, _ in members[0].cond])
    config = config or LangevinConfig(model.sampling_schedule)
    todo = {shape: len(members) for shape, members in waiting.members.items()}
    running: tuple[Batch, Any] | None = None
    devices = jax.local_devices()
    with closing(Programs(model, config, todo, devices, batch_size, random_start, counts)) as programs:
        params, tables = programs.on_each_device((model.params, tables))

        def ran_out(batch: Batch, error: jax.errors.JaxRuntimeError) -> None:
            """Puts a batch that was too large back, to be drawn in smaller ones."""
            if not is_out_of_memory(error):
                raise error
            programs.shrink(batch.shape, error)
            waiting.members[batch.shape].extendleft(reversed(batch.candidates))

        while (shape := waiting.next_shape(programs.rows)) or running:
            started = None
            if shape:
                rows, members = programs.rows(shape), waiting.members[shape]
                batch = make_batch(shape, [members.popleft() for _ in range(min(rows, len(members)))], rows)
                try:
                    output = programs[shape](
                        *(params, np.uint32(seed), batch.hashes, batch.numbers),
                        *(batch.templates, batch.cond),
                    )
                    started = batch, output if on_device is None else on_device(tables, batch, output)
                except jax.errors.JaxRuntimeError as error:
                    ran_out(batch, error)
            if running is not None:
                # The devices compute while the batch before is finished on the host.
                batch, output = running
                try:
                    output = jax.tree.map(np.asarray, output)
                except jax.errors.JaxRuntimeError as error:
                    ran_out(batch, error)
                else:
                    yield batch, output
            running = started


class _Waiting:
    """Candidates that are still to be drawn, of the windows that have been taken.

    Attributes:
      members: shape -> its candidates, small shapes of a window first.
    """

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        self.members: dict[Shape, deque[Candidate]] = {}
        self._source = iter(candidates)
        self._more = True
        self._take()

    def next_shape(self, rows: Callable[[Shape], int]) -> Shape | None:
        """Returns a shape whose next batch is full, or, where none is to come, begun; None at the end."""
        while True:
            for shape, members in self.members.items():
                if len(members) >= (rows(shape) if self._more else 1):
                    return shape
            if not self._more:
                return None
            self._take()

    def _take(self) -> None:
        window = list(islice(self._source, WINDOW))
        for shape, members in by_shape(window).items():
            self.members.setdefault(shape, deque()).extend(members)
        self._more = len(window) == WINDOW


def progress_bar(
    stream: Iterator[tuple[Candidate, Any]], total: int, done: int = 0, disable: bool = False
) -> Iterator[tuple[Candidate, Any]]:
    """Shows a bar with structures/s and the time left while structures come.

    Args:
      stream: of `sample_stream`.
      total: structures of the whole run.
      done: structures that it had before.
      disable: show nothing.
    """
    return iter(
        tqdm(
            stream,
            total=total,
            initial=done,
            desc="sample",
            unit=" structures",
            disable=disable,
            file=sys.stderr,
        )
    )


def require_batch_size(batch_size: int | None) -> None:
    """Checks the rows of a batch on each device.

    Raises:
      RequestError: there are less than one.
    """
    if batch_size is not None and batch_size < 1:
        raise RequestError(f"batch_size is {batch_size}; it must be at least 1")


def require_conditions(model: Model, names: Sequence[str]) -> None:
    """Checks the names of conditions.

    Raises:
      RequestError: they are not those that the model was trained with.
    """
    if set(names) != set(model.conditions):
        known = f"the conditions {', '.join(model.conditions)}" if model.conditions else "no conditions"
        raise RequestError(
            f"the model takes {known}; got {', '.join(names) or 'nothing'} "
            "(--cond NAME=VALUE, cond= in Python)"
        )
