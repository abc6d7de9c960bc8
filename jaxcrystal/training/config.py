"""Settings of a training run, as its TOML file holds them."""

from dataclasses import dataclass
from typing import Annotated

from jaxcrystal.config import Checked
from jaxcrystal.diffusion.schedules import NoiseSchedule
from jaxcrystal.limits import NAME, SEED, SITES, SPACE_GROUP, Named, Within
from jaxcrystal.models.network import NetworkConfig

#: Updates, and numbers of them.
_STEPS, _ANY_STEPS = Within(1, 10**9), Within(0, 10**9)
_SHARE = Within(0, 1)


@dataclass(frozen=True)
class DataConfig(Checked):
    """The data that are trained on.

    Attributes:
      train: prepared file; `aflow` is pymatgen's prototype library.
      validation: prepared file; empty: no validation.
      max_sites: larger structures are left out.
      min_space_group: groups below are left out; 16: neither triclinic nor monoclinic structures.
      cond: columns of the file that the network gets as conditions, separated by commas (`jaxcrystal prepare
        --keep`); structures that lack one are left out. DimeNet++ ignores them.
      device_gib: GiB of each device that the structures may take. They live there if they fit, and
        a batch is a choice of rows; else batches are made on the host, ahead of their turn.
    """

    train: Annotated[str, NAME] = "aflow"
    validation: Annotated[str, Named(optional=True)] = ""
    max_sites: Annotated[int, SITES] = 20
    min_space_group: Annotated[int, SPACE_GROUP] = 1
    device_gib: Annotated[float, Within(0, 10_000)] = 1.0
    cond: str = ""

    @property
    def conditions(self) -> tuple[str, ...]:
        """The names of the columns in `cond`."""
        return tuple(name.strip() for name in self.cond.split(",") if name.strip())


@dataclass(frozen=True)
class OptimizerConfig(Checked):
    """Adam with linear warm-up and cosine decay, clipping and an average of the weights.

    Attributes:
      steps: updates in all.
      batch_size: structures an update, over all devices.
      learning_rate: at its peak.
      warmup_steps: from 0 to the peak.
      final_fraction: of the peak, at the end.
      clip_norm: of the gradient.
      ema_decay: of the averaged weights, which are what is sampled with.
      constrained_share: share of the updates with sites held on their Wyckoff positions;
        the others leave all sites free.
      untied_share: share of the structures of a batch whose two noise levels are drawn one by
        one, from all that the named schedules span, rather than as the schedule pairs them.
    """

    steps: Annotated[int, _STEPS] = 20_000
    batch_size: Annotated[int, Within(1, 10**6)] = 64
    learning_rate: Annotated[float, Within(0, 10, above=True)] = 1e-3
    warmup_steps: Annotated[int, _ANY_STEPS] = 500
    final_fraction: Annotated[float, _SHARE] = 0.01
    clip_norm: Annotated[float, Within(0, 10**9, above=True)] = 1.0
    ema_decay: Annotated[float, Within(0, 1, below=True)] = 0.999
    constrained_share: Annotated[float, _SHARE] = 0.5
    untied_share: Annotated[float, _SHARE] = 0.0


@dataclass(frozen=True)
class LogConfig(Checked):
    """How often a run reports and saves, in updates.

    Attributes:
      every: rows of the training log.
      validate_every: validation by level; 0: only at the end.
      validation_structures: of the validation file, spread evenly.
      checkpoint_every: saved states.
      keep: saved states kept. The weights of least validation loss stay too, in `best`.
      tensorboard: write the losses for TensorBoard too (needs tensorboardX).
    """

    every: Annotated[int, _STEPS] = 100
    validate_every: Annotated[int, _ANY_STEPS] = 2_000
    validation_structures: Annotated[int, Within(1, 10**9)] = 256
    checkpoint_every: Annotated[int, _STEPS] = 1_000
    keep: Annotated[int, Within(1, 10**6)] = 2
    tensorboard: bool = False


@dataclass(frozen=True)
class TrainConfig(Checked):
    """A whole training run, as its TOML file holds it.

    Attributes:
      out: run folder, or its URL; holds the model, its checkpoints and its logs.
      seed: of weights, batches and noise.
      start_from: model folder whose weights the run starts from; empty: random weights. Its
        network must be the same, but may have fewer interaction blocks (those that it lacks are
        fresh, and begin by adding nothing to the outputs) and another `graph.merge_distance`.
      joint: coordinates and lattice are noised together and both losses come from one
        evaluation; off: the paper's coordinate term, which sees clean cells only, at
        twice the cost. Validation reports the paper's terms either way.
    """

    out: Annotated[str, NAME] = "runs/model"
    seed: Annotated[int, SEED] = 0
    start_from: Annotated[str, Named(optional=True)] = ""
    joint: bool = True
    data: DataConfig = DataConfig()
    network: NetworkConfig = NetworkConfig()
    schedule: NoiseSchedule = NoiseSchedule()
    optimizer: OptimizerConfig = OptimizerConfig()
    log: LogConfig = LogConfig()
