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
from jaxcrystal.sampling.batches import by_shape
from jaxcrystal.sampling.run_folder import RunFolder, cut_in_parts, digest
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
    """

    config: LangevinConfig
    seed: int = 0
    batch_size: int | None = None
    formats: tuple[str, ...] = ("cif",)


def open_run(
    candidates: Sequence[Candidate], model: Model, out: str | Path, settings: RunSettings
) -> RunFolder:
    """Makes a run folder, or opens that of the same run.

    Args:
      candidates: of `requests.candidates.make_candidates`.
      model: trained.
      out: new or empty folder, or one of the same run.
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
) -> None:
    """Samples what a run folder lacks.

    Every part is written as soon as it is complete and then left alone, so that memory does not
    grow with the run. The processes of several hosts (`jax.distributed`) take turns at the
    parts, in one folder on a file system that they share; each uses its own devices.

    Args:
      folder: of `open_run`, with the same candidates, model and settings.
      candidates: of `requests.candidates.make_candidates`.
      model: trained.
      settings: see `RunSettings`.
      progress: show a bar.

    Raises:
      DataError: the folder cannot be written.
    """
    parts = cut_in_parts(candidates)
    process, processes = jax.process_index(), jax.process_count()
    ours = range(process, len(parts), processes)
    missing = [part for part in ours if not folder.has(part)]
    part_of = {candidate.place: part for part in missing for candidate in parts[part]}
    todo = [candidate for part in missing for candidate in parts[part]]
    total = sum(len(parts[part]) for part in ours)
    counts = {shape: len(members) for shape, members in by_shape(candidates).items()}
    stream = sample_stream(todo, model, settings.seed, settings.config, settings.batch_size, counts=counts)
    finished: dict[int, dict[int, Sample]] = defaultdict(dict)
    bar = progress_bar(stream, total, total - len(todo), disable=not progress)
    for candidate, sample in bar:
        part = part_of[candidate.place]
        finished[part][candidate.place] = sample
        if len(finished[part]) == len(parts[part]):
            samples = finished.pop(part)
            folder.write(part, [samples[member.place] for member in parts[part]], settings.formats)
    if process == 0 and not folder.complete:
        while not all(map(folder.has, range(len(parts)))):
            time.sleep(_WAIT)
        folder.finish(len(parts))
    while not folder.complete:
        time.sleep(_WAIT)


def _describe(candidates: Sequence[Candidate], model: Model, settings: RunSettings) -> dict[str, object]:
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
    } | ({"cond": dict(candidates[0].cond)} if candidates and candidates[0].cond else {})
