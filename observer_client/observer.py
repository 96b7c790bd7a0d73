"""`Observer`: a few lines in a training loop."""

from __future__ import annotations

import atexit
import itertools
import os
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

from observer_client import forks, signals
from observer_client.config import ObserverConfig
from observer_client.environment import devices
from observer_client.epochs import EpochWriter
from observer_client.guard import harmless
from observer_client.logs import CrashWatch, LogTap, crash_line, last_words, log_line
from observer_client.losses import loss_of, takes_targets
from observer_client.modelwatch import ModelWatch
from observer_client.opening import opening
from observer_client.profiler import StepProfile, silence_kineto
from observer_client.rates import RateReader
from observer_client.record import Ending, LogLine, plain
from observer_client.recording import Recording
from observer_client.runfile import write_run
from observer_client.sender import Outcome
from observer_client.steps import COLLECT_AT, StepBook
from observer_client.window import snapshot, told

if TYPE_CHECKING:
    import torch


class Observer:
    """Observes one training run.

    Nothing of ours reaches the training: after construction no method raises an error of its own, and none waits
    for the network but `close`. In another process than the one that made it (a forked data loader worker, a
    pickled copy) an Observer does nothing.

    Args:
        project_id: number of the project at the server.
        config: what to observe and where to send it.
        run_name: shown in lists; by default the script's name and the time.
        project: name of the project, made if the server allows; for those who do not know the number.
        optimizer: where the learning rate is read; by default the one that steps the registered model.
        tags: words to find the run by.

    Raises ValueError for a config that makes no sense.
    """

    def __init__(
        self,
        project_id: int | None = None,
        config: ObserverConfig | None = None,
        run_name: str | None = None,
        *,
        project: str | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        tags: list[str] | None = None,
    ) -> None:
        self.config = config or ObserverConfig()
        self.key = str(uuid4())
        self.outcome: Outcome | None = None
        """What became of the run, after `close`."""
        self._live = False
        self._lock = threading.RLock()
        self._steps = StepBook(self.config.steps_per_window)
        self._line_numbers = itertools.count(1)
        self._device_told = False
        self._exit: tuple[str, str | None] = ("finished", None)
        self._ended = False
        self._epochs = EpochWriter(self.config, self._steps)
        self._layers, self._signals = self._epochs.layers, self._epochs.signals
        self._rates = RateReader()
        self._model = ModelWatch(lambda found: self._write("architecture", found))
        self._recording: Recording | None = None
        self._tap: LogTap | None = None
        self._crashes: CrashWatch | None = None
        if self.config.mode != "disabled":
            self._open(project_id=project_id, project=project, run_name=run_name, tags=tags or [])
            if optimizer is not None:
                self._use_optimizer(optimizer)

    @harmless
    def _open(self, **names: Any) -> None:
        config = self.config
        self._recording = Recording(config, opening(self.key, config, **names), self._progress)
        self._live = True
        forks.living.add(self)
        atexit.register(self._at_exit)
        if config.track_profiler:
            silence_kineto()
        if config.capture_logs:
            self._tap = LogTap(config.log_level, self._keep_line)
        if config.capture_exceptions:
            self._crashes = CrashWatch(self._crashed, self._hurt)

    @property
    def url(self) -> str | None:
        """The run's page, None until the server answered."""
        return self._recording.spool.address.get("url") if self._recording else None

    @property
    def session_id(self) -> int | None:
        """The run's number at the server, None until it answered."""
        return self._recording.spool.address.get("id") if self._recording else None

    @property
    def folder(self) -> Path | None:
        """Where the run is recorded, None when disabled."""
        return self._recording.spool.folder if self._recording else None

    @harmless
    def register_model(
        self, model: torch.nn.Module, optimizer: torch.optim.Optimizer | None = None, example_input: Any = None
    ) -> None:
        """Tell the model: its layers are recorded now, their order when the first forward pass is seen.

        With an ``example_input`` (a tuple: several arguments) the model is run on it once, without gradients.
        """
        if not self._live:
            return
        if optimizer is not None:
            self._use_optimizer(optimizer)
        self._model.watch(model, example_input)
        if self.config.track_learning_rate:
            self._rates.find(model)
        if self.config.track_layer_health:
            self._layers.watch(model)
        if self.config.track_phases:
            self._signals.phases.watch(model)

    @harmless
    def _use_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        if self.config.track_learning_rate:
            self._rates.use(optimizer)

    @harmless
    def log_hyperparameters(self, values: Any = None, **more: Any) -> None:
        """Record hyperparameters: a mapping, a namespace or a dataclass, and keywords. Later values win."""
        given = values if values is None or isinstance(values, Mapping) else plain(values)
        if given is not None and not isinstance(given, Mapping):
            given = vars(values)
        self._write("update", {"hyperparameters": {**(given or {}), **more}})

    data = signals.data
    watch_data = signals.watch_data
    observe_predictions = signals.observe_predictions
    observe_scaler = signals.observe_scaler
    clip_grad_norm_ = signals.clip_grad_norm_

    def should_profile(self, step: int) -> bool:
        """Say whether to call `profile_step` for this step: once an epoch, at ``config.profile_at_step``.

        ``step`` counts within the epoch, since the start of training, or on from a resumed one: all are understood.
        """
        if not self._live or not self.config.track_profiler or self._epochs.profile is not None:
            return False
        self._steps.begin()
        return self.config.profile_at_step in (step, self._steps.here)

    def profile_step(
        self,
        model: torch.nn.Module,
        x: Any,
        y: Any,
        criterion: Callable[[Any, Any], torch.Tensor] | None = None,
        *,
        backward: Callable[[torch.Tensor], object] | None = None,
    ) -> tuple[Any, torch.Tensor]:
        """Run one step, forward and backward, under the profiler; return ``(logits, loss)``.

        The gradients are those of an ordinary step. ``backward`` replaces ``loss.backward()``, for instance by
        ``lambda loss: scaler.scale(loss).backward()``. The loss is ``criterion(logits, y)``, else what the model
        returns as loss, else cross-entropy for integer ``y`` and mean squared error for floating ``y``.

        Raises what the model raises, TypeError or ValueError when no loss fits ``y``.
        """
        profile = StepProfile(self._steps.total)
        self._begin_profile(profile, model)
        try:
            output = model(x, y) if criterion is None and takes_targets(model) else model(x)
            logits, loss = loss_of(output, y, criterion)
            self._layers.note_loss(loss, y)
            profile.mark("forward_pass")
            loss.backward() if backward is None else backward(loss)
            profile.mark("backward_pass")
        finally:
            self._end_profile(profile)
        if self.config.track_per_class_metrics:
            self.observe_predictions(logits, y, split="train")
        return logits, loss

    @harmless
    def _begin_profile(self, profile: StepProfile, model: Any) -> None:
        if self._live and self.config.track_profiler:
            self._steps.begin()
            began = perf_counter()
            self._layers.spare()
            weights = next(iter(model.parameters()), None)
            profile.start(weights is not None and weights.is_cuda, model)
            self._steps.skip(perf_counter() - began)
        profile.mark("between")

    @harmless
    def _end_profile(self, profile: StepProfile) -> None:
        began = perf_counter()
        profile.stop()
        if self._live and self.config.track_profiler:
            if self._epochs.profile is not None:
                self._epochs.profile.leave_optimizer()
            profile.watch_optimizer()
            self._epochs.profile = profile
        self._steps.skip(perf_counter() - began)

    @harmless
    def step(
        self,
        step: int | None = None,
        loss: Any = None,
        batch_size: int | None = None,
        *,
        grad_norm: Any = None,
        lr: float | None = None,
        clipped: bool | None = None,
        **extra: Any,
    ) -> None:
        """Record a training step. Costs a few microseconds; never waits for a device.

        ``loss`` and ``grad_norm`` are tensors or numbers, ``batch_size`` the samples of the step, ``clipped`` says
        whether the gradient was clipped. ``step`` may be any number: steps are counted here.
        """
        now = perf_counter()
        if not self._live:
            return
        fresh = self._steps.fresh
        rate = self._rates.changed() if lr is None else told("lr", lr)
        norm = None if grad_norm is None else told("grad_norm", grad_norm)
        if type(batch_size) is not int and batch_size is not None:
            batch_size = told("batch_size", batch_size)
        self._layers.left -= 1
        if self._layers.left < 0:
            measured = self._layers.turn(now, loss)
            self._steps.late = perf_counter()
            norm = snapshot(measured) if norm is None else norm
        fresh.append((now, loss if type(loss) is float else snapshot(loss), batch_size, norm, rate, clipped))
        if len(fresh) >= COLLECT_AT:
            self._steps.collect()
        if extra:
            raise TypeError(f"step records no {', '.join(extra)}; give epoch metrics to flush")

    @harmless
    def flush(
        self,
        val_metrics: Mapping[str, Any] | None = None,
        *,
        epoch: int | None = None,
        lr: float | None = None,
        **metrics: Any,
    ) -> None:
        """End an epoch: reduce its steps to one record and hand it over.

        ``val_metrics`` and keywords are the epoch's metrics by name (``val_loss=0.4``). ``epoch`` sets the number
        where it is not the next one, as after a resume. May be called at any interval.
        """
        if not self._live:
            return
        now = perf_counter()
        with self._lock:
            window = self._steps.turn(now)
            number = self._epochs.number(epoch)
        # A model that was never run whole shows no order: its hooks must not stay.
        self._model.close()
        record = self._epochs.write(number, window, now, {} if val_metrics is None else val_metrics, metrics)
        record.learning_rate = self._rates.current() if lr is None else told("lr", lr)
        self._write("epoch", record)
        self._tell_devices()

    @harmless
    def _tell_devices(self) -> None:
        if not self._device_told and (found := devices()):
            self._device_told = True
            self._write("update", {"environment": found})

    @harmless
    def log(self, message: str, level: str = "INFO") -> None:
        """Add a line to the session's log."""
        self._keep_line(log_line(str(message), level))

    @harmless
    def export(self, path: str | os.PathLike[str]) -> Path | None:
        """Write all that was recorded so far to ``path`` as one JSON document, for ``mldiag check`` or an archive.

        Missing folders are made. Returns the path, None when that failed or nothing is recorded (mode disabled).
        """
        if self._recording is None:
            return None
        target = Path(path)
        write_run(self._recording.spool.everything(), target)
        return target

    def close(self) -> None:
        """End the run: flush what is left, wait for the delivery (``config.close_seconds``), say the score."""
        self._close("finished", None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._crashed(error)
            self._close(*last_words(error))

    @harmless
    def _close(self, status: str, reason: str | None) -> None:
        recording = self._recording
        if not self._live or recording is None:
            return
        self._end(status, reason)
        self._live = False
        self._leave()
        self.outcome = recording.finish()

    @harmless
    def _end(self, status: str, reason: str | None) -> None:
        """Record the end, once. Quick: this may be the last thing that the process does."""
        if self._ended:
            return
        self._ended = True
        if self._steps.here:
            self.flush()
        self._model.close()
        self._write("ending", Ending(status=status, reason=reason, ended_at=datetime.now(UTC).isoformat()))

    @harmless
    def _leave(self) -> None:
        """Take back everything that was hung into the process."""
        atexit.unregister(self._at_exit)
        forks.living.discard(self)
        for part in (self._tap, self._crashes, self._epochs, self._rates):
            if part is not None:
                part.close()

    def _at_exit(self) -> None:
        self._close(*self._exit)

    @harmless
    def _crashed(self, error: BaseException) -> None:
        """Note what ends the run: an exception nobody caught, or an exit code."""
        if not self._live:
            return
        self._exit = last_words(error)
        if not isinstance(error, SystemExit):
            if self._exit[0] == "crashed":
                self._keep_line(crash_line(error))
            self._end(*self._exit)

    @harmless
    def _hurt(self, error: BaseException) -> None:
        self._keep_line(crash_line(error))

    def _keep_line(self, line: LogLine) -> None:
        line.seq = next(self._line_numbers)
        self._write("log", line)

    def _write(self, kind: str, data: Any) -> None:
        if self._live and self._recording is not None:
            self._recording.write(kind, data)

    def _progress(self) -> dict[str, Any]:
        return {"epoch": self._epochs.next, "step": self._steps.total}

    def _forked(self) -> None:
        """Fall silent in a forked child, where locks may be held by threads that do not exist there."""
        self._live = False
        self._lock = threading.RLock()
        self._steps.forget_locks()
        if self._recording is not None:
            self._recording.spool.forget()

    def __reduce__(self) -> tuple[Callable[[], Observer], tuple[()]]:
        # A dataset or a model may hold on to the Observer: its copies in other processes stay silent.
        return _silent, ()


def _silent() -> Observer:
    return Observer(config=ObserverConfig(mode="disabled"))
