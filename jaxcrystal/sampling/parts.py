"""Finishes, checks and writes the parts of a run, here or in a worker process, without a device."""

from typing import NamedTuple

import numpy as np

from jaxcrystal.crystal import Crystal
from jaxcrystal.requests.candidates import Candidate
from jaxcrystal.sampling.run_folder import RunFolder
from jaxcrystal.structures.finished import Drawn, finish
from jaxcrystal.structures.summary import GroupCheck


class Part(NamedTuple):
    """A part of a run that has been sampled; of numpy arrays, so that it can be pickled.

    Attributes:
      folder: of the run.
      number: of the part.
      candidates: its structures, in their order.
      drawn: the sampler's result of each.
      merge_distance: Å; see `finished.finish`.
      formats: of the files.
      check: which groups are looked for.
    """

    folder: RunFolder
    number: int
    candidates: list[Candidate]
    drawn: list[Drawn]
    merge_distance: float
    formats: tuple[str, ...]
    check: GroupCheck


def without_padding(candidate: Candidate, template: Crystal, drawn: Drawn, merge_distance: float) -> Drawn:
    """Returns what is kept of a structure until its part is complete: not the batch that it is a row of."""
    del candidate, merge_distance
    sites = len(template.species)
    frames = None
    if drawn.frames is not None:
        frames = np.array(drawn.frames[0][:, :sites]), np.array(drawn.frames[1])
    coords = np.array(drawn.frac_coords[:sites])
    return drawn._replace(frac_coords=coords, lattice_params=np.array(drawn.lattice_params), frames=frames)


def write_part(part: Part) -> None:
    """Finishes the structures of a part and writes it, whole or not at all.

    Raises:
      DataError: it cannot be written.
    """
    samples = [
        finish(candidate, candidate.template(), drawn, part.merge_distance)
        for candidate, drawn in zip(part.candidates, part.drawn, strict=True)
    ]
    part.folder.write(part.number, samples, part.formats, part.check)
