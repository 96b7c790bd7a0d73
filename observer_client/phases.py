"""Where the time of a step goes, measured on sampled steps around the forward pass and the optimizer.

The hooks hang in the model only while steps are sampled: the first `QUICK_STEPS` of each window, fewer where they
would cost more than `SHARE_OF_TIME`, and all of it where a step takes so long that hooks are nothing beside it. A step
that is not sampled costs nothing at all.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

from observer_client.guard import harmless
from observer_client.hooks import Hook, OptimizerHooks, is_compiled, is_compiling
from observer_client.signal_records import Phases
from observer_client.steps import StepBook

if TYPE_CHECKING:
    import torch

QUICK_STEPS = 64
FEWEST_STEPS = 8
STEP_COST = 10e-6
"""Seconds that the four hooks of a sampled step take, at most."""
SHARE_OF_TIME = 0.003
"""What the samples of a window may take of its time, as far as the window before tells it."""
LONG_STEP = 0.005
"""Seconds of a step from which all steps of a window are sampled."""
MOST_STEPS = 4096
LEFT_OUT = 0.02
"""Share of the samples with the longest wait that are left out, one at least: a checkpoint is no wait for data."""


@dataclass(slots=True)
class Sample:
    """One step, in seconds."""

    whole: float
    data: float
    forward: float | None
    backward: float | None
    optimizer: float | None


class PhaseWatch:
    """Samples steps of a model. ``look`` is shown the arguments of training passes while it returns True.

    The wait for data is the time from the end of one `Observer.step` to the model's next forward pass.
    """

    def __init__(self, steps: StepBook, look: Callable[[Any, Any], bool | None]) -> None:
        self._steps = steps
        self._look = look
        self._looks = False
        self._model: weakref.ref[torch.nn.Module] | None = None
        self._handles: list[Any] = []
        self._optimizers = OptimizerHooks(self._steps_now, self._stepped)
        self._samples: list[Sample] = []
        self._on_host = True
        self._spent = 0.0
        """Seconds that looks at the arguments took in this window."""
        self._since: float | None = None
        self._budget = float("inf")
        """Seconds that this window may be spent on."""
        self._updated = 0.0
        """Clock when an optimizer last stepped: that may be after the call of `Observer.step`."""
        self._forget()

    def _forget(self) -> None:
        self._began: float | None = None
        self._waited = self._forward = self._output = self._before = self._after = 0.0

    @harmless
    def watch(self, model: torch.nn.Module) -> None:
        """Watch ``model`` from its next forward pass on."""
        self.leave()
        self._model, self._since = weakref.ref(model), perf_counter()
        self._hang()

    def _hang(self) -> None:
        model = self._model() if self._model else None
        if model is None or is_compiled(model):
            return
        # Where another thread steps an optimizer right now, this window does without.
        self._optimizers.hang()
        weights = next(iter(model.parameters()), None)
        self._on_host = weights is None or weights.device.type == "cpu"
        self._looks = True
        self._handles = [
            model.register_forward_pre_hook(Hook(self._begins), with_kwargs=True),
            model.register_forward_hook(Hook(self._ended)),
        ]

    @harmless
    def _begins(self, module: Any, args: Any, kwargs: Any) -> None:
        if is_compiling():
            return
        now = perf_counter()
        if not module.training or not _torch().is_grad_enabled():
            # Validation in between: what is under way is no ordinary step.
            self._forget()
            return
        if self._looks:
            self._show(args, kwargs)
        fresh = self._steps.fresh
        end = fresh[-1][0] if fresh else None
        if end is None:
            self._forget()
        elif end != self._began:
            self._finish(end)
            if self._handles:
                self._began, self._waited = end, max(0.0, now - max(end, self._steps.late, self._updated))
                self._forward = perf_counter()
                self._output = self._before = self._after = 0.0

    def _show(self, args: Any, kwargs: Any) -> None:
        began = perf_counter()
        self._looks = bool(self._look(args, kwargs))
        self._spent += perf_counter() - began
        if self._spent > self._budget:
            self._looks = False

    @harmless
    def _ended(self, module: Any, args: Any, output: Any) -> None:
        if not is_compiling() and self._began is not None:
            self._output = perf_counter()

    @harmless
    def _steps_now(self, optimizer: object, args: object, kwargs: object) -> None:
        if not is_compiling() and self._began is not None and not self._before:
            self._before = perf_counter()

    @harmless
    def _stepped(self, optimizer: object, args: object, kwargs: object) -> None:
        if not is_compiling():
            self._after = self._updated = perf_counter()

    def _finish(self, end: float) -> None:
        """Keep the step that ended at ``end``, if its beginning was seen."""
        if self._began is None:
            return
        ordered = self._forward < self._output < self._before < self._after <= end
        told = self._on_host and ordered
        self._samples.append(
            Sample(
                whole=end - self._began,
                data=self._waited,
                forward=self._output - self._forward if told else None,
                backward=self._before - self._output if told else None,
                optimizer=self._after - self._before if told else None,
            )
        )
        self._forget()
        count = len(self._samples)
        # The median: a first step that prepares everything makes the others no longer.
        quick = count == self._quota() and median([each.whole for each in self._samples]) < LONG_STEP
        if quick or count >= MOST_STEPS:
            self.leave()

    def _quota(self) -> int:
        """Return how many steps to sample where they are quick."""
        return int(min(QUICK_STEPS, max(FEWEST_STEPS, self._budget / STEP_COST)))

    @harmless
    def read(self) -> tuple[Phases, float] | None:
        """Return the phases since the last call and the share of the time spent waiting for data; sample anew."""
        samples = sorted(self._samples, key=lambda sample: sample.data)
        self._samples = []
        self._plan(perf_counter())
        self.leave()
        self._hang()
        kept = samples[: len(samples) - max(1, int(len(samples) * LEFT_OUT))]
        whole = sum(each.whole for each in kept)
        if not kept or whole <= 0:
            return None
        waited = sum(each.data for each in kept)
        phases = Phases(
            steps=len(kept),
            data_seconds=waited / len(kept),
            forward_seconds=_mean([each.forward for each in kept]),
            backward_seconds=_mean([each.backward for each in kept]),
            optimizer_seconds=_mean([each.optimizer for each in kept]),
        )
        return phases, min(1.0, waited / whole)

    def _plan(self, now: float) -> None:
        """Begin a window: it is as long as the one before, as a rule."""
        self._budget = float("inf") if self._since is None else (now - self._since) * SHARE_OF_TIME
        self._since, self._spent = now, 0.0

    def leave(self) -> None:
        """Take the hooks away."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._optimizers.leave()
        self._forget()


def _mean(values: list[float | None]) -> float | None:
    known = [each for each in values if each is not None]
    return sum(known) / len(known) if known else None


def _torch() -> Any:
    import torch  # A hook runs in a model, so torch is there.

    return torch
