"""Runs a long sampling into a folder: it can be killed at any moment and goes on where it was."""

import hashlib
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import jax
import numpy as np

from jaxcrystal.diffusion.langevin import LangevinConfig
from jaxcrystal.model import Model
from jaxcrystal.requests.candidates import Candidate
from jaxcrystal.sampling.run_folder import PART_SIZE, RunFolder, Shard, cut_in_parts, digest
from jaxcrystal.sampling.stream import progress_bar, sample_stream
from jaxcrystal.structures.finished import Sample

#: Seconds between two checks of what the other processes have written.
_WAIT = 0.5


@dataclass(frozen=True)
class RunSettings:
    """How a run samples and writes; structures depend on all of it but the formats.

    Attributes:
      config: of the sampler.
      seed: 0 to 2³² - 1.
      batch_size: structures computed together on each device; None: what suits it.
      formats: some of `writers.FORMATS`.
      part_size: structures that are written together.
    """

    config: LangevinConfig
    seed: int = 0
    batch_size: int | None = None
    formats: tuple[str, ...] = ("cif",)
    part_size: int = PART_SIZE

    def num_parts(self, structures: int) -> int:
        """Returns the number of parts of a run of so many structures."""
        return -(-structures // self.part_size)


def open_run(
    candidates: Sequence[Candidate], model: Model, out: str | Path, settings: RunSettings
) -> RunFolder:
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
    candidates: Sequence[Candidate],
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
    parts = cut_in_parts(candidates, settings.part_size)
    ours = shard.parts(len(parts))[jax.process_index() :: jax.process_count()]
    there = folder.parts()
    missing = [part for part in ours if part not in there]
    part_of = {candidate.place: part for part in missing for candidate in parts[part]}
    todo = [candidate for part in missing for candidate in parts[part]]
    total = sum(len(parts[part]) for part in ours)
    stream = sample_stream(todo, model, settings.seed, settings.config, settings.batch_size)
    finished: dict[int, dict[int, Sample]] = defaultdict(dict)
    bar = progress_bar(stream, total, total - len(todo), disable=not progress)
    for candidate, sample in bar:
        part = part_of[candidate.place]
        finished[part][candidate.place] = sample
        if len(finished[part]) == len(parts[part]):
            samples = finished.pop(part)
            folder.write(part, [samples[member.place] for member in parts[part]], settings.formats)
    _finish(folder, len(parts), shard)


def _finish(folder: RunFolder, total: int, shard: Shard) -> None:
    """Waits for the other processes of this job; writes the summary if the parts of all jobs are there."""
    while not folder.complete:
        there = folder.parts()
        if jax.process_index() == 0 and there.issuperset(range(total)):
            folder.finish(total)
        elif shard.count > 1 and there.issuperset(shard.parts(total)):
            return
        else:
            time.sleep(_WAIT)


def _describe(candidates: Sequence[Candidate], model: Model, settings: RunSettings) -> dict[str, object]:
    """Returns all that the files of a run depend on; the number of devices and hosts is not among it."""
    weights = hashlib.sha256(repr((model.network, model.schedule)).encode())
    for leaf in jax.tree.leaves(model.params):
        weights.update(np.ascontiguousarray(leaf).tobytes())
    about: dict[str, object] = {
        "structures": len(candidates),
        "orders": digest(candidates),
        "seed": settings.seed,
        "model": weights.hexdigest()[:16],
        "sampler": asdict(settings.config),
        "batch_size": settings.batch_size,
        "platform": jax.default_backend(),
        "formats": list(settings.formats),
    }
    if settings.part_size != PART_SIZE:
        about["part_size"] = settings.part_size
    if candidates and candidates[0].cond:
        about["cond"] = dict(candidates[0].cond)
    return about
