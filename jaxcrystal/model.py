"""A trained model as a folder: settings, weights and letter frequencies.

    model.toml     network and schedule, and how it was trained
    weights.npz    averaged weights, float32, one array for each parameter path
    letters.json   how often each letter assignment stands in the training data

A run folder of `train` is such a folder too, with checkpoints and logs beside.
"""

import tomllib
import zipfile
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from jaxcrystal.config import from_dict
from jaxcrystal.diffusion.schedules import NoiseSchedule
from jaxcrystal.errors import DataError
from jaxcrystal.files import write_atomically, write_text
from jaxcrystal.letters.frequencies import LetterFrequencies
from jaxcrystal.parameters import from_arrays, to_arrays
from jaxcrystal.score import NetworkConfig

FORMAT = "jaxcrystal-model-1"

#: Å. Steps are better spent above: the last one, which takes the noise out, does the rest.
_LEAST_SAMPLED = 0.05


@dataclass(frozen=True, eq=False)
class Model:
    """A score network with its weights and what sampling needs beside them.

    Attributes:
      network: graph and network settings.
      schedule: the noise levels it was trained for.
      params: averaged weights.
      letters: frequencies of letter assignments in the training data.
      info: `elements` (atomic numbers seen in training), `data`, `steps`, losses, ...
    """

    network: NetworkConfig
    schedule: NoiseSchedule
    params: Any
    letters: LetterFrequencies
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def sampling_schedule(self) -> NoiseSchedule:
        """The levels to sample with: of those it was trained for, down to 0.05 Å."""
        return self.schedule.down_to(_LEAST_SAMPLED)

    def save(self, folder: str | Path) -> None:
        """Writes the three files, each whole or not at all."""
        folder = Path(folder)
        arrays = {path: array.astype(np.float32) for path, array in to_arrays(self.params).items()}
        settings = {
            "format": FORMAT,
            "network": asdict(self.network),
            "schedule": asdict(self.schedule),
            "info": self.info,
        }
        write_atomically(folder / "weights.npz", lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]
        self.letters.save(folder / "letters.json")
        write_text(folder / "model.toml", tomli_w.dumps(settings))


def load_model(folder: str | Path | None = None) -> Model:
    """Reads a model folder, or the bundled model.

    Raises:
      DataError: no model there, or one that cannot be read.
    """
    root = Path(str(files("jaxcrystal") / "bundled")) if folder is None else Path(folder)
    if not (root / "model.toml").exists():
        raise DataError(f"{root} holds no model: there is no model.toml in it")
    try:
        settings = tomllib.loads((root / "model.toml").read_text(encoding="utf-8"))
        if settings.get("format") != FORMAT:
            raise ValueError(f"its format is {settings.get('format')!r}, this version reads {FORMAT!r}")
        with np.load(root / "weights.npz", allow_pickle=False) as arrays:
            params = from_arrays(arrays)
        return Model(
            from_dict(NetworkConfig, settings["network"]),
            from_dict(NoiseSchedule, settings["schedule"]),
            params,
            LetterFrequencies.load(root / "letters.json"),
            settings["info"],
        )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{root} holds a model that cannot be read: {error}") from error
