"""Runs a training: updates, validation, logs and checkpoints."""

import sys
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from jaxcrystal.background import Background
from jaxcrystal.config import to_toml
from jaxcrystal.data.batches import BucketSampler
from jaxcrystal.data.dataset import Dataset
from jaxcrystal.data.prepare import load_or_prepare
from jaxcrystal.errors import DataError
from jaxcrystal.models.network import make_module
from jaxcrystal.remote import is_url
from jaxcrystal.training.checkpoints import Checkpoints, Progress
from jaxcrystal.training.config import DataConfig, TrainConfig
from jaxcrystal.training.export import Exporter, first_params
from jaxcrystal.training.figures import draw_losses
from jaxcrystal.training.folder import claim, digest, require_new, require_there
from jaxcrystal.training.inputs import Inputs, Shape
from jaxcrystal.training.logs import Logs, require_tensorboard
from jaxcrystal.training.mirror import Mirror
from jaxcrystal.training.objective import learning_rate_schedule, make_optimizer
from jaxcrystal.training.parallel import data_mesh, is_main, main_first, place, replicated
from jaxcrystal.training.step import Metrics, TrainState, init_state, is_finite
from jaxcrystal.training.stopping import Stopped, StopRequest
from jaxcrystal.training.updates import compile_updates
from jaxcrystal.training.validation import trained_loss, validate


def train(config: TrainConfig, resume: bool = False, progress: bool = True, module: Any = None) -> Path | str:
    """Trains a model, from the start or from the last checkpoint of its run folder.

    A run that was killed and is resumed ends with the same bits as one that was not (on one
    device; a GPU repeats itself with XLA_FLAGS=--xla_gpu_deterministic_ops=true).

    Args:
      config: the whole run.
      resume: go on from `config.out`'s last checkpoint, or begin again where it has none yet.
      progress: show a bar with structures/s and the time left.
      module: Flax module of the network (see `score.make_score`), or its class; default: what
        `config.network` says.
    Returns:
      The run folder, a path or the URL; it is a model folder with checkpoints and logs.
    Raises:
      DataError: unusable data, a run folder in use, nothing to resume, another configuration,
        a loss that became non-finite, a file that cannot be written.
      Stopped: SIGTERM or SIGINT came; the state is saved.
    """
    if module is not None:
        config = replace(config, network=config.network.with_module(module))
    if module is None or isinstance(module, type):
        module = make_module(config.network, module)
    if not is_url(config.out):
        _train(config, Path(config.out), resume, progress, module)
        return Path(config.out)
    with Mirror(config.out) as mirror:
        _train(config, mirror.folder, resume, progress, module, mirror)
    return config.out


def _train(
    config: TrainConfig, out: Path, resume: bool, progress: bool, module: Any, mirror: Mirror | None = None
) -> None:
    """Trains in a folder on the disk: see `train`.

    Args:
      config: of the run.
      out: the folder.
      resume: go on with the run in it.
      progress: show a bar.
      module: Flax module.
      mirror: of the folder, where the run is at a URL; each process has a folder of its own then.
    """
    optimizer, main = config.optimizer, is_main()
    if config.log.tensorboard:
        require_tensorboard()
    if not resume:
        main_first(lambda: require_new(out))
    mesh = data_mesh(optimizer.batch_size)
    dataset = load_or_prepare(config.data.train)
    indices = usable(dataset, config.data, config.data.train)
    validation = _validation_set(config)
    with ExitStack() as stack:
        sampler = BucketSampler(
            dataset.num_sites, optimizer.batch_size, config.seed, optimizer.constrained_share, indices
        )
        chosen = dataset.select(indices)
        inputs = Inputs(dataset, indices, sampler, config.data.device_gib, mesh, config.data.conditions)
        stack.enter_context(closing(inputs))
        params, steps_before = first_params(config, *inputs.first(), module)
        # All that it is made of has been read: a name that was wrong leaves no folder.
        main_first(lambda: _claim(config, out, resume, mirror, stack))
        if mirror is not None and resume and not main:
            mirror.fetch()
        exporter = Exporter(config, out, module, chosen, steps_before)
        state, done = place(init_state(params, make_optimizer(optimizer)), replicated(mesh)), Progress()
        agree = {
            "configuration": to_toml(config, out=""),
            "data": digest(chosen, config.data.conditions),
        }
        checkpoints = stack.enter_context(
            Checkpoints(out / "checkpoints", config.log.keep, agree, apart=mirror is not None)
        )
        restored = checkpoints.restore(state) if resume else None
        if restored is not None:
            state, done = restored
            if mirror is not None:  # it was read by each process for itself
                state = place(state, replicated(mesh))
        first = int(state.step)
        logs = stack.enter_context(closing(Logs(out, first, config.log.tensorboard, main)))
        steps = range(first, optimizer.steps)
        updates = stack.enter_context(closing(compile_updates(config, module, inputs, state, steps, mesh)))
        if progress and main:
            print(_summary(inputs, sampler, len(chosen)), file=sys.stderr)
        show = progress and main
        run = _Run(config, inputs, updates, validation, checkpoints, logs, exporter, show, mirror)
        with StopRequest() as stop:
            state = run.steps(state, done, stop)
        checkpoints.wait()
        exporter.save(state, done)
    if main and draw_losses(out) is None and progress:
        print("no losses.png: it needs matplotlib, pip install 'jaxcrystal[eval]'", file=sys.stderr)
    if main and mirror is not None:
        mirror.push()


def _claim(config: TrainConfig, out: Path, resume: bool, mirror: Mirror | None, stack: ExitStack) -> None:
    if mirror is None:
        claim(config, out, resume, stack)
        return
    if resume:
        mirror.fetch()
    else:
        mirror.require_empty()
    claim(config, out, resume, stack)
    mirror.push()


def usable(dataset: Dataset, config: DataConfig, called: str = "the data set") -> np.ndarray:
    """Returns the structures that can be trained on: of a size and group, with all conditions known.

    Args:
      dataset: prepared structures.
      config: which of them are wanted.
      called: what errors call the data set.

    Raises:
      DataError: there are none.
    """
    fits = (dataset.num_sites <= config.max_sites) & (dataset.space_group >= config.min_space_group)
    for column in dataset.conditions(config.conditions).values():
        fits &= np.isfinite(column)
    if not fits.any():
        known = f" and a number in {config.cond}" if config.conditions else ""
        raise DataError(
            f"no structure of {called} has at most {config.max_sites} inequivalent sites, a space group of "
            f"at least {config.min_space_group}{known}"
        )
    return np.flatnonzero(fits)


def _validation_set(config: TrainConfig) -> Dataset | None:
    if not config.data.validation:
        return None
    dataset = load_or_prepare(config.data.validation)
    return dataset.select(usable(dataset, config.data, config.data.validation))


def _summary(inputs: Inputs, sampler: BucketSampler, structures: int) -> str:
    devices = jax.device_count()
    each = "the device" if devices == 1 else f"each of {devices} devices"
    return (
        f"{structures} structures; {100 * sampler.padding_share:.0f} % of the site slots are padding; "
        f"{inputs.gib:.2g} GiB on {each if inputs.resident else 'the host'}"
    )


@dataclass(frozen=True)
class _Run:
    """The parts that a run is made of."""

    config: TrainConfig
    inputs: Inputs
    updates: Background[Shape, Any]
    validation: Dataset | None
    checkpoints: Checkpoints
    logs: Logs
    exporter: Exporter
    show: bool
    mirror: Mirror | None

    def steps(self, state: TrainState, done: Progress, stop: StopRequest) -> TrainState:
        """Updates the state to the end of the run; `done` is kept up to date."""
        log, total = self.config.log, self.config.optimizer.steps
        started = time.perf_counter() - done.seconds
        # Metrics stay on the device until a row of the log needs them: the host runs ahead.
        pending: list[Any] = [tuple(values) for values in done.pending]
        first = int(state.step)
        since = (first, done.seconds)
        bar = tqdm(total=total, initial=first, unit="step", disable=not self.show, file=sys.stderr)
        with bar:
            for step in range(first, total):
                batch = self.inputs.at(step)
                update = self.updates[batch.shape]
                state, metrics = update(state, batch.crystals, batch.rows, batch.cond)
                pending.append(_logged(metrics))
                bar.update()
                number, last = step + 1, step + 1 == total
                if number % log.every == 0 or last:
                    seconds = time.perf_counter() - started
                    losses = self._log(number, pending, seconds)
                    # The pace since the last row: the first one waits for compilation.
                    rate = (number - since[0]) * self.config.optimizer.batch_size / (seconds - since[1])
                    bar.set_postfix_str(f"{rate:.0f} structures/s, {losses}")
                    pending, since = [], (number, seconds)
                if _due(number, log.validate_every, last):
                    self._validate(number, state, done, bar)
                signal = stop.after(number)
                if _due(number, log.checkpoint_every, last) or signal is not None:
                    done.seconds = time.perf_counter() - started
                    done.pending = [[float(value) for value in values] for values in pending]
                    self._save(state, done)
                if signal is not None and not last:
                    self.checkpoints.wait()
                    raise Stopped(signal, number)
        return state

    def _log(self, number: int, pending: list[Any], seconds: float) -> str:
        """Writes a row of the log; returns its losses in words."""
        mean = np.mean(np.array(jax.device_get(pending), np.float32), axis=0)
        coords, lattice, norm, cut_share = (float(value) for value in mean)
        if not np.isfinite(mean).all():
            raise self._diverged(number)
        optimizer = self.config.optimizer
        rate = float(learning_rate_schedule(optimizer)(number - 1))
        structures = number * optimizer.batch_size
        row = (number, structures, round(seconds, 1), rate, coords, lattice, norm, cut_share)
        self.logs.update(row)
        return f"coords {coords:.3f}, lattice {lattice:.3f}"

    def _validate(self, number: int, state: TrainState, done: Progress, bar: tqdm) -> None:
        if self.validation is None:
            return
        config = self.config
        # Every process of a run measures the same, on one of its devices: there is no one to wait for.
        model, count = self.exporter.model(state, done), config.log.validation_structures
        losses = validate(model, config.schedule, self.validation, count)
        self.logs.validation(number, losses)
        done.validation = {f"{x.sites}_{k}": v for x in losses for k, v in x.means().items()}
        done.validation |= {f"{x.sites}_cut_share": round(x.cut_share, 5) for x in losses}
        loss = trained_loss(losses, config.optimizer.constrained_share)
        if np.isfinite(loss) and (done.best is None or loss < done.best[0]):
            done.best = (loss, number)
            self.exporter.save_best(state, done)
        if self.show:
            for result in losses:
                bar.write(f"step {number}: {result.describe()}", file=sys.stderr)

    def _save(self, state: TrainState, done: Progress) -> None:
        if not bool(is_finite(state)):
            raise self._diverged(int(state.step))
        if is_main():
            require_there(self.exporter.out, self.config.out)
        self.checkpoints.save(state, done)
        self.exporter.save(state, done)
        if self.mirror is not None and is_main():
            self.checkpoints.wait()
            self.mirror.push()

    def _diverged(self, number: int) -> DataError:
        self.checkpoints.wait()
        last = self.checkpoints.latest
        kept = "there is no checkpoint yet" if last is None else f"the last good checkpoint is step {last}"
        return DataError(
            f"the loss or the weights became non-finite by step {number}; {kept} in {self.config.out}: "
            "start again from its model (start_from) with a smaller optimizer.learning_rate"
        )


def _logged(metrics: Metrics) -> tuple[Any, ...]:
    """Returns what the log keeps of an update: two losses, norm of the gradient, share of cut sites."""
    losses, reported = metrics.losses, metrics.reported
    return losses["coords"], losses["lattice"], metrics.gradient_norm, reported["cut_share"]


def _due(number: int, every: int, last: bool) -> bool:
    return last or (every > 0 and number % every == 0)
