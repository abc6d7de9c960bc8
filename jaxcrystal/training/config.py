"""Settings of a training run, as its TOML file holds them."""

from dataclasses import dataclass

from jaxcrystal.diffusion.schedules import NoiseSchedule
from jaxcrystal.models.network import NetworkConfig


@dataclass(frozen=True)
class DataConfig:
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

    train: str = "aflow"
    validation: str = ""
    max_sites: int = 20
    min_space_group: int = 1
    device_gib: float = 1.0
    cond: str = ""

    @property
    def conditions(self) -> tuple[str, ...]:
        """The names of the columns in `cond`."""
        return tuple(name.strip() for name in self.cond.split(",") if name.strip())


@dataclass(frozen=True)
class OptimizerConfig:
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

    steps: int = 20_000
    batch_size: int = 64
    learning_rate: float = 1e-3
    warmup_steps: int = 500
    final_fraction: float = 0.01
    clip_norm: float = 1.0
    ema_decay: float = 0.999
    constrained_share: float = 0.5
    untied_share: float = 0.0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1:
            raise ValueError(f"steps {self.steps} and batch_size {self.batch_size} must be at least 1")
        for name in ("constrained_share", "untied_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}; it is a share from 0 to 1")


@dataclass(frozen=True)
class LogConfig:
    """How often a run reports and saves, in updates.

    Attributes:
      every: rows of the training log.
      validate_every: validation by level; 0: only at the end.
      validation_structures: of the validation file, spread evenly.
      checkpoint_every: saved states.
      keep: saved states kept. The weights of least validation loss stay too, in `best`.
      tensorboard: write the losses for TensorBoard too (needs tensorboardX).
    """

    every: int = 100
    validate_every: int = 2_000
    validation_structures: int = 256
    checkpoint_every: int = 1_000
    keep: int = 2
    tensorboard: bool = False

    def __post_init__(self) -> None:
        for name in ("every", "checkpoint_every", "keep", "validation_structures"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.validate_every < 0:
            raise ValueError(f"validate_every is {self.validate_every}; 0 validates only at the end")


@dataclass(frozen=True)
class TrainConfig:
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

    out: str = "runs/model"
    seed: int = 0
    start_from: str = ""
    joint: bool = True
    data: DataConfig = DataConfig()
    network: NetworkConfig = NetworkConfig()
    schedule: NoiseSchedule = NoiseSchedule()
    optimizer: OptimizerConfig = OptimizerConfig()
    log: LogConfig = LogConfig()
