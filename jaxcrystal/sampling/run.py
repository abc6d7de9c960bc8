"""Runs a long sampling into a folder: it can be killed at any moment and goes on where it was."""

import hashlib
import time
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import jax
import numpy as np

from jaxcrystal.diffusion.langevin import LangevinConfig
from jaxcrystal.environment import num_cpus
from jaxcrystal.errors import DataError
from jaxcrystal.model import Model
from jaxcrystal.requests.candidates import Candidate, Candidates
from jaxcrystal.sampling.batches import WINDOW, Shape, by_shape
from jaxcrystal.sampling.parts import Part, without_padding, write_part
from jaxcrystal.sampling.run_folder import PART_SIZE, RunFolder, Shard, digest, parts_of
from jaxcrystal.sampling.stream import progress_bar, sample_stream
from jaxcrystal.structures.finished import Drawn
from jaxcrystal.structures.summary import GroupCheck
from jaxcrystal.workers import Workers

#: Seconds between two checks of what the other processes have written.
_WAIT = 0.5
#: Up to so many parts, starting a worker process takes longer than the work.
_FEW = 2
#: Worker processes that are started unasked: eight finish thousands of crystals a second.
_MOST_WORKERS = 8
#: Structures of a part that is one file of arrays, which holds many as quickly as few, or that is drawn
#: on an accelerator, which draws as many in the time of a few.
LARGE_PART_SIZE = 1024


@dataclass(frozen=True)
class RunSettings:
    """How a run samples and writes.

    To the last bit, structures depend on config, seed, the device and the rows of a batch: `batch_size`,
    or, where it is None, what `counts_of` and the device's memory lead to.

    Attributes:
      config: of the sampler.
      seed: 0 to 2³² - 1.
      batch_size: structures computed together on each device; None: what suits it.
      formats: some of `writers.FORMATS`.
      check: which groups of the structures are looked for: `usual`, `strict` or `none`.
      workers: processes that finish and write structures beside the devices; 0: this process does
        it; None: one for each CPU, at most 8, beside an accelerator, and one where CPUs are the
        devices. Two parts or fewer are written by this process.
      part_size: structures that are written together; None: 32, or 1024 where they are arrays or drawn on
        an accelerator.
    """

    config: LangevinConfig
    seed: int = 0
    batch_size: int | None = None
    formats: tuple[str, ...] = ("cif",)
    check: GroupCheck = "usual"
    workers: int | None = None
    part_size: int | None = None

    @property
    def per_part(self) -> int:
        """Structures of a part of the folder."""
        if self.part_size is not None:
            return self.part_size
        large = self.formats == ("npz",) or jax.default_backend() != "cpu"
        return LARGE_PART_SIZE if large else PART_SIZE

    def num_parts(self, structures: int) -> int:
        """Returns the number of parts of a run of so many structures."""
        return -(-structures // self.per_part)

    def in_parts(self, parts: Collection[int], structures: int) -> int:
        """Returns the number of structures in some parts of a run of so many."""
        last = self.num_parts(structures) - 1
        return len(parts) * self.per_part - (last in parts) * (-structures % self.per_part)


def open_run(candidates: Candidates, model: Model, out: str | Path, settings: RunSettings) -> RunFolder:
    """Makes a run folder, or opens that of the same run.

    Args:
      candidates: of `requests.candidates.make_candidates`.
      model: trained.
      out: path or URL of a new or empty folder, or of one of the same run.
      settings: see `RunSettings`.

    Raises:
      DataError: the folder is not ours, holds another run or cannot be written.
    """
    return RunFolder(out, _describe(candidates, model, settings))


def sample_to_folder(
    folder: RunFolder,
    candidates: Candidates,
    model: Model,
    settings: RunSettings,
    progress: bool = False,
    shard: Shard = Shard(),  # noqa: B008 (a constant)
) -> None:
    """Samples what a run folder lacks.

    Every part is written as soon as it is complete and then left alone, so that memory does not
    grow with the run. The processes of several hosts (`jax.distributed`) take turns at the
    parts, in one folder that they share, on a disk or at a URL; each uses its own devices.

    Args:
      folder: of `open_run`, with the same candidates, model and settings.
      candidates: of `requests.candidates.make_candidates`.
      model: trained.
      settings: see `RunSettings`.
      progress: show a bar.
      shard: which parts of the run are sampled. Jobs with all shards of a run need nothing of
        each other; the one that finds all parts there at its end writes the summary.

    Raises:
      DataError: the folder cannot be written.
    """
    number = settings.num_parts(len(candidates))
    ours = shard.parts(number)[jax.process_index() :: jax.process_count()]
    there = folder.parts()
    missing = [part for part in ours if part not in there]
    total, done = (settings.in_parts(parts, len(candidates)) for parts in (ours, there.intersection(ours)))
    # Parts that are being drawn.
    parts: dict[int, list[Candidate]] = {}
    part_of: dict[int, int] = {}

    def todo() -> Iterator[Candidate]:
        for part, members in parts_of(candidates, missing, settings.per_part):
            parts[part] = members
            part_of.update((candidate.place, part) for candidate in members)
            yield from members

    # What is finished in a worker is the same to the last bit as what is finished here.
    stream = sample_stream(
        *(todo(), model, settings.seed, settings.config, settings.batch_size),
        finished=without_padding,
        counts=counts_of(candidates, settings),
    )
    drawn: dict[int, dict[int, Drawn]] = defaultdict(dict)
    bar = progress_bar(stream, total, done, disable=not progress)
    with Workers(write_part, _num_workers(settings, len(missing))) as workers:
        for candidate, row in bar:
            part = part_of.pop(candidate.place)
            drawn[part][candidate.place] = row
            if len(drawn[part]) == len(parts[part]):
                rows, members = drawn.pop(part), parts.pop(part)
                ordered = [rows[member.place] for member in members]
                merge_distance = model.graph.merge_distance
                workers.give(
                    Part(
                        *(folder, part, members, ordered, merge_distance),
                        *(settings.formats, settings.check),
                    )
                )
    _finish(folder, number, shard)


def counts_of(candidates: Candidates, settings: RunSettings) -> dict[Shape, int]:
    """Returns the structures of each shape that can be drawn together in every job of a run.

    A job with few parts draws no batch that is larger than one of them, most of which would be empty. A run
    of more than a window has as many of every shape as a part has.
    """
    if len(candidates) > WINDOW:
        return defaultdict(lambda: settings.per_part)
    shapes = by_shape(candidates)
    return {shape: min(len(members), settings.per_part) for shape, members in shapes.items()}


def _finish(folder: RunFolder, total: int, shard: Shard) -> None:
    """Waits for the other processes of this job; writes the summary if the parts of all jobs are there."""
    ours = shard.parts(total)[jax.process_index() :: jax.process_count()]
    while not folder.complete:
        folder.require_ours()
        there = folder.parts()
        if lost := sorted({*ours} - there):
            raise DataError(f"part {lost[0]} of {folder.path} was removed while the run was on")
        if jax.process_index() == 0 and there.issuperset(range(total)):
            folder.finish(total)
        elif shard.count > 1 and there.issuperset(shard.parts(total)):
            return
        else:
            time.sleep(_WAIT)
    folder.require_ours()


def _num_workers(settings: RunSettings, parts: int) -> int:
    if parts <= _FEW:
        return 0
    usual = 1 if jax.default_backend() == "cpu" else min(num_cpus(), _MOST_WORKERS)
    return min(usual if settings.workers is None else settings.workers, parts)


def _describe(candidates: Candidates, model: Model, settings: RunSettings) -> dict[str, object]:
    """Returns all that the files of a run depend on; the number of devices and hosts is not among it."""
    weights = hashlib.sha256(repr((model.network, model.schedule)).encode())
    for leaf in jax.tree.leaves(model.params):
        weights.update(np.ascontiguousarray(leaf).tobytes())
    return {
        "structures": len(candidates),
        "orders": digest(candidates),
        "seed": settings.seed,
        "model": weights.hexdigest()[:16],
        "sampler": asdict(settings.config),
        "batch_size": settings.batch_size,
        "platform": jax.default_backend(),
        "formats": list(settings.formats),
    } | _unusual(candidates, settings)


def _unusual(candidates: Candidates, settings: RunSettings) -> dict[str, object]:
    """Returns what not every run has."""
    found: dict[str, object] = {}
    if candidates.cond:
        found["cond"] = dict(candidates[0].cond)
    if settings.per_part != PART_SIZE:
        found["part_size"] = settings.per_part
    if settings.check != "usual":
        found["check"] = settings.check
    return found
