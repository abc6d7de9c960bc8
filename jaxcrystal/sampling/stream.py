"""Samples structure after structure: orders in, finished crystals out."""

import logging
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from jaxcrystal.config import refusal
from jaxcrystal.crystal import Crystal
from jaxcrystal.diffusion.presets import make_config
from jaxcrystal.diffusion.settings import LangevinConfig
from jaxcrystal.elements import SYMBOLS
from jaxcrystal.errors import RequestError
from jaxcrystal.limits import BATCH_SIZE
from jaxcrystal.model import Model
from jaxcrystal.requests.candidates import Candidate
from jaxcrystal.requests.orders import Order
from jaxcrystal.sampling.batches import WINDOW, Batch, Shape, by_shape, make_batch
from jaxcrystal.sampling.programs import Programs, Size, is_out_of_memory
from jaxcrystal.structures.finished import Drawn, finish
from jaxcrystal.symmetry.groups import FAMILIES, group_tables
from jaxcrystal.symmetry.lattice import has_free_angles
from jaxcrystal.text import counted

_log = logging.getLogger(__name__)


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
    """Returns finished structures, shape by shape, a batch behind the devices.

    Candidates are taken `WINDOW` by `WINDOW`, and those of a shape that do not fill a batch wait for others.
    A batch that does not fit the memory of a device is cut in half, and so are those after it. A
    warning says what the model was not trained on, of the first window.

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
    return (
        (candidate, finished(candidate, template, output.row(row), model.graph.merge_distance))
        for batch, output in batches
        for row, (candidate, template) in enumerate(zip(batch.candidates, batch.crystals, strict=True))
    )


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
    """Returns batches with what was drawn, as NumPy arrays, one behind the devices.

    Args:
      candidates, model, seed, config, batch_size, random_start, counts: see `sample_stream`.
      on_device: makes of `tables`, a batch and what was drawn the arrays that are yielded in place of it.
      tables: pytree of arrays for `on_device`, of which every device gets a copy once.

    Raises: see `sample_stream`.
    """
    require_batch_size(batch_size)
    waiting = _Waiting(candidates)
    first = [candidate for members in waiting.members.values() for candidate in members]
    if not first:
        return iter(())
    if not random_start:
        require_conditions(model, [name for name, _ in first[0].cond])
        warn_of_unseen(list(dict.fromkeys(candidate.order for candidate in first)), model)
    config = config or make_config(model.sampling_schedule)
    return _batches(waiting, model, seed, config, batch_size, random_start, counts, on_device, tables)


def warn_of_unseen(orders: Sequence[Order], model: Model) -> None:
    """Says in one line what is ordered and the model was not trained on, if there is anything."""
    never_seen = ", ".join(unseen(orders, model))
    if never_seen and jax.process_index() == 0:
        _log.warning(
            "jaxcrystal: warning: the model has never seen %s: do not rely on its crystals of them",
            never_seen,
        )
    strange = sum(
        order.mode in ("ranked", "nearest") and not order.is_known(model.letters) for order in orders
    )
    if strange and jax.process_index() == 0:
        _log.warning(
            "jaxcrystal: warning: the training data has no structure of the group and site counts of %s: "
            "letters are drawn site by site there",
            counted(strange, "order"),
        )


def unseen(orders: Sequence[Order], model: Model) -> list[str]:
    """Returns what is ordered and the model's data does not have: elements, families with free angles."""
    seen = set(model.info.get("elements", range(1, len(SYMBOLS))))
    found = [SYMBOLS[z] for z in sorted({z for order in orders for z in order.elements} - seen)]
    families = group_tables().family
    trained = {int(families[group]) for group in model.letters.assignments}
    asked = {int(families[order.space_group]) for order in orders if has_free_angles(order.space_group)}
    return found + [f"{FAMILIES[family]} crystals" for family in sorted(asked - trained) if trained]


def _batches(
    waiting: "_Waiting",
    model: Model,
    seed: int,
    config: LangevinConfig,
    batch_size: int | None,
    random_start: bool,
    counts: Mapping[Shape, int] | None,
    on_device: Callable[[Any, Batch, Drawn], Any] | None,
    tables: Any,
) -> Iterator[tuple[Batch, Any]]:
    """Yields what `sample_batches` says."""
    todo = {shape: len(members) for shape, members in waiting.members.items()}
    running: tuple[Batch, Size, Any] | None = None
    devices = jax.local_devices()
    with closing(Programs(model, config, todo, devices, batch_size, random_start, counts)) as programs:
        params, tables = programs.on_each_device((model.params, tables))

        def ran_out(batch: Batch, size: Size, error: jax.errors.JaxRuntimeError) -> None:
            """Puts a batch that was too large back, to be drawn in smaller ones."""
            if not is_out_of_memory(error):
                raise error
            programs.shrink(size, error)
            waiting.members[batch.shape].extendleft(reversed(batch.candidates))

        while (shape := waiting.next_shape(programs.rows)) or running:
            started = None
            if shape:
                size, members = programs.size(shape), waiting.members[shape]
                rows = size[1]
                batch = make_batch(shape, [members.popleft() for _ in range(min(rows, len(members)))], rows)
                try:
                    output = programs[size](
                        *(params, np.uint32(seed), batch.hashes, batch.numbers),
                        *(batch.templates, batch.cond),
                    )
                    started = batch, size, output if on_device is None else on_device(tables, batch, output)
                except jax.errors.JaxRuntimeError as error:
                    ran_out(batch, size, error)
            if running is not None:
                # The devices compute while the batch before is finished on the host.
                batch, size, output = running
                try:
                    output = jax.tree.map(np.asarray, output)
                except jax.errors.JaxRuntimeError as error:
                    ran_out(batch, size, error)
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
      RequestError: they are no whole number, or out of bounds.
    """
    refused = None if batch_size is None else refusal(batch_size, int, BATCH_SIZE)
    if refused:
        raise RequestError(f"batch_size {refused}")


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
