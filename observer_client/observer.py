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

from observer_client import forks, profiling, runfile, signals, terminating
from observer_client.config import ObserverConfig
from observer_client.environment import devices
from observer_client.epochs import EpochWriter
from observer_client.guard import harmless
from observer_client.logs import CrashWatch, LogTap, crash_line, last_words, log_line
from observer_client.modelwatch import ModelWatch
from observer_client.opening import opening
from observer_client.past import Past, past_of
from observer_client.profiler import silence_kineto
from observer_client.ranks import follower_settings, rank
from observer_client.rates import RateReader
from observer_client.record import Ending, LogLine
from observer_client.recording import Recording
from observer_client.sender import Outcome
from observer_client.stepping import Stepper, silent, taker
from observer_client.steps import StepBook
from observer_client.weak import weakly
from observer_client.window import told

if TYPE_CHECKING:
    import torch

LAST_COMPARISON = 2.0
"""Seconds that `Observer.close` waits on rank 0 for what the other ranks tell of the last window."""


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
        resume: key or folder of an earlier run that goes on here, by default ``MLDIAG_RUN_KEY``. Epochs that are
            trained again replace the old ones.

    Raises ValueError for a config that makes no sense, or when ``resume`` is no run.
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
        resume: str | os.PathLike[str] | None = None,
    ) -> None:
        self.config = config or ObserverConfig()
        if rank():
            self.config = follower_settings(self.config)
        past = past_of(resume, self.config)
        self.key = past.key
        self.outcome: Outcome | None = None
        """What became of the run, after `close`."""
        self._live = False
        self._lock = threading.RLock()
        self._steps = StepBook(self.config.steps_per_window)
        self._line_numbers = itertools.count(past.lines + 1)
        self._device_told = False
        self._exit_hook = weakly(self._at_exit)
        self._exit: tuple[str, str | None] = ("finished", None)
        self._ended = False
        self._epochs = EpochWriter(self.config, self._steps, past)
        self._layers, self._signals = self._epochs.layers, self._epochs.signals
        self._rates = RateReader()
        self._stepper = Stepper(self._steps, self._layers, self._rates)
        on = self.config.mode != "disabled"
        self._take = taker(self._stepper, self._steps, self._rates, _STEP) if on else silent
        if type(self).step is _STEP and on:
            # Found before the method: a call less at every step.
            self.__dict__["step"] = self._take
        self._model = ModelWatch(weakly(self._write))
        self._recording: Recording | None = None
        self._tap: LogTap | None = None
        self._crashes: CrashWatch | None = None
        if self.config.mode != "disabled":
            self._open(past, project_id=project_id, project=project, run_name=run_name, tags=tags or [])
            if optimizer is not None:
                self._use_optimizer(optimizer)

    @harmless
    def _open(self, past: Past, **names: Any) -> None:
        config = self.config
        self._signals.ranks.open()
        if not self._signals.ranks.follows:
            self._recording = Recording(config, opening(past, config, **names), weakly(self._progress), past.folder)
            terminating.join(self)
        self._live = self._stepper.is_open = True
        forks.living.add(self)
        atexit.register(self._exit_hook)
        if config.track_profiler:
            silence_kineto()
        if config.capture_logs:
            self._tap = LogTap(config.log_level, weakly(self._keep_line))
        if config.capture_exceptions:
            self._crashes = CrashWatch(weakly(self._crashed), weakly(self._hurt))

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
        self._signals.ranks.watch(model)
        self._signals.scaler.seek(model)

    @harmless
    def _use_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        if self.config.track_learning_rate:
            self._rates.use(optimizer)

    log_hyperparameters = signals.log_hyperparameters
    data = signals.data
    watch_data = signals.watch_data
    observe_predictions = signals.observe_predictions
    observe_scaler = signals.observe_scaler
    clip_grad_norm_ = signals.clip_grad_norm_

    should_profile = profiling.should_profile
    profile_step = profiling.profile_step

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
        """Record a training step. Costs less than a microsecond; never waits for a device.

        ``loss`` and ``grad_norm`` are tensors or numbers, ``batch_size`` the samples of the step, ``clipped`` says
        whether the gradient was clipped. ``step`` may be any number: steps are counted here.
        Whoever keeps this method must keep the Observer, too: a run ends when nobody holds it.
        """
        given = {"grad_norm": grad_norm, "lr": lr, "clipped": clipped, **extra}
        self._take(step, loss, batch_size, **{name: value for name, value in given.items() if value is not None})

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

    export = runfile.export

    def close(self) -> None:
        """End the run: flush what is left, wait for the delivery (``config.close_seconds``), say the score."""
        self._close("finished", None)

    __del__ = terminating.dropped

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._crashed(error)
            self._close(*self._exit)

    @harmless
    def _close(self, status: str, reason: str | None) -> None:
        if not self._live:
            return
        self._end(status, reason)
        self._live = False
        self._stepper.close()
        self._leave()
        if self._recording is not None:
            self.outcome = self._recording.finish()

    @harmless
    def _end(self, status: str, reason: str | None) -> None:
        """Record the end, once. Quick: this may be the last thing that the process does."""
        if self._ended:
            return
        self._ended = True
        if self._steps.here:
            self.flush()
        self._model.close()
        self._compare_last(LAST_COMPARISON if status == "finished" else 0.0)
        status, reason = self._signals.ranks.ended(status, reason, self._keep_line)
        self._write("ending", Ending(status=status, reason=reason, ended_at=datetime.now(UTC).isoformat()))

    @harmless
    def _compare_last(self, seconds: float) -> None:
        record = self._signals.ranks.last_comparison(seconds)
        if record is not None:
            self._write("epoch", self._epochs.again(record))

    @harmless
    def _leave(self) -> None:
        """Take back everything that was hung into the process."""
        atexit.unregister(self._exit_hook)
        terminating.leave(self)
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
        self._signals.ranks.crashed(error)
        if not isinstance(error, SystemExit) or self._exit[0] != "killed":
            # What a signal began stays, whatever exit code its handler chose.
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
        # Rank 0 may wait for ever for one that crashed: then this thread is the only one that can tell.
        self._signals.ranks.hear(self._keep_line)
        return {"epoch": self._epochs.next, "step": self._epochs.steps_before + self._steps.total}

    def _forked(self) -> None:
        """Fall silent in a forked child, where locks may be held by threads that do not exist there."""
        self._live = False
        self._lock = threading.RLock()
        self._steps.forget_locks()
        self._stepper.close()
        if self._recording is not None:
            self._recording.spool.forget()

    def __reduce__(self) -> tuple[Callable[[], Observer], tuple[()]]:
        # A dataset or a model may hold on to the Observer: its copies in other processes stay silent.
        return _silent, ()


_STEP = Observer.step
"""The method as it is here, whatever somebody puts in its place."""


def _silent() -> Observer:
    return Observer(config=ObserverConfig(mode="disabled"))
