"""The health of each layer, from a few sampled steps of each window.

A step that is not sampled costs a counter and two calls that return at once. A sampled one queues its work where
the tensors live; everything is read back with one transfer a device when the window closes.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

from observer_client.activations import ActivationTap
from observer_client.attention import AttentionTap
from observer_client.extras import Extras, ExtraWatch
from observer_client.figures import Group
from observer_client.gradients import GradientTap
from observer_client.guard import harmless
from observer_client.hooks import OptimizerHooks, is_compiled, is_compiling
from observer_client.layerstats import Samples, fill_changes
from observer_client.layout import Bank, Parts, banks, parts_of
from observer_client.loop import LoopWatch
from observer_client.modes import ModeTap
from observer_client.record import LayerHealth, LayerStats, Loop
from observer_client.updates import Fingerprints

if TYPE_CHECKING:
    import torch

USUAL_STEPS = 15
SHARE_OF_TIME = 0.005
"""What our own code in a sampled step may take of the training's time, where nobody said how often to sample. That
there are hooks at all takes about as much again, so that sampling costs about 1 %."""
PATIENCE = 64
"""Steps that a sample waits for an optimizer: of gradient accumulation, or of a loop that has none."""
NEVER = 2**62


def _nothing() -> None:
    pass


@dataclass(slots=True)
class _Sample:
    """A step that is being sampled."""

    gradients: GradientTap
    activations: ActivationTap | None
    modes: ModeTap | None = None
    attention: AttentionTap | None = None
    waited: int = 0

    def leave(self) -> None:
        """Take everything out of the model."""
        for each in (self.activations, self.modes, self.attention):
            if each is not None:
                each.leave()

    def rest(self) -> ActivationTap | None:
        """Do the same, but for what can be used again for the next sample: that is returned."""
        for each in (self.modes, self.attention):
            if each is not None:
                each.leave()
        if self.activations is not None:
            self.activations.rest()
        return self.activations


class LayerWatch:
    """Samples the first step of each window, and then one in ``every``; 0 says about one in `USUAL_STEPS`, fewer
    where the model is so small that this would cost more than `SHARE_OF_TIME`.

    Gradients and updates are measured where an optimizer steps, outputs of layers in the forward pass. Keeps
    neither model nor optimizers alive and changes nothing about them.
    """

    def __init__(self, every: int, extras: Extras | None = None) -> None:
        self.left = NEVER
        """Steps until `turn` is to be called; below zero it is due."""
        self.catch_up: Callable[[], object] = _nothing
        """Called before ``left`` is read or set: whoever counts steps may do so in bundles."""
        self._every = every
        self._extras = ExtraWatch(extras or Extras())
        self._model: weakref.ref[torch.nn.Module] | None = None
        self._hooks = OptimizerHooks(self._before_step, self._after_step)
        self._parts = Parts()
        self._followed: set[str] = set()
        self._banks: list[Bank] | None = None
        self._sample: _Sample | None = None
        self._resting: ActivationTap | None = None
        """What stays in the model from one step to the next where each is sampled."""
        self._samples = Samples(of_the_start=True)
        self._earlier: dict[Any, Group] = {}
        self._spent = 0.0
        self.spent = 0.0
        """Seconds that samples took of the training's thread, until somebody sets it to zero."""
        self._since: float | None = None
        self._pause = 1
        self._bypassed = False
        self._loop = LoopWatch()
        self._prints = Fingerprints()
        self._steps = self._here = 0
        """Steps before this window, and in it when ``left`` was set last, to ``_set``."""
        self._set = NEVER
        self._sample_at = self._end_at = NEVER
        """Steps of this window after which a step is to be sampled, and after which a validation is to come."""

    @harmless
    def watch(self, model: torch.nn.Module) -> None:
        """Watch ``model`` from the next step on."""
        self._drop()
        self._model, self._bypassed = weakref.ref(model), False
        self._prints = Fingerprints()
        self._renew(of_the_start=True)
        self._compare()
        self._open(with_activations=True)

    def _compare(self) -> list[tuple[Bank, torch.Tensor, set[str]]]:
        if self._banks is None:
            self._banks = banks(self._parts.layers)
        return self._prints.compare(self._banks)

    def _renew(self, *, of_the_start: bool) -> None:
        """Begin a window: look at the model anew, since layers and devices may have changed."""
        model = self._model() if self._model else None
        self._parts = Parts() if model is None else parts_of(model)
        self._bypassed = self._bypassed or (model is not None and is_compiled(model))
        self._banks, self._samples = None, Samples(of_the_start=of_the_start)
        self._extras.begin()
        self._loop.begin(self._parts.layers)

    def _wait(self, steps: int) -> None:
        """Have `turn` called after so many steps."""
        self._count()
        self._sample_at = self._here + steps
        self._arm()

    def _arm(self) -> None:
        awake = self._loop.validation is not None or (self._loop.probe is not None and self._here < PATIENCE)
        first = self._here + 1 if awake else min(self._sample_at, self._end_at)
        self.left = self._set = max(0, first - self._here - 1)

    def _count(self) -> None:
        """Bring ``_here`` up to date."""
        self.catch_up()
        self._here += self._set - self.left
        self._set = self.left

    def _open(self, *, with_activations: bool) -> None:
        model = self._model() if self._model else None
        self._wait(NEVER)
        if model is None:
            return
        if not self._hooks.hang():
            # Whoever calls from within an optimizer's step gets the next sample when that is over.
            self._wait(1)
            return
        if not self._parts.layers:
            return
        began = perf_counter()
        if self._banks is None:
            self._banks = banks(self._parts.layers)
        tap = modes = attention = None
        if with_activations and not self._bypassed:
            tap = self._tap(model)
            modes = ModeTap(model)
            attention = self._extras.attention(model)
        gradients = GradientTap(self._banks, with_updates=self._samples.count == 0)
        self._sample = _Sample(gradients, tap, modes, attention)
        self._wait(1)
        self._spent = perf_counter() - began

    def _tap(self, model: torch.nn.Module) -> ActivationTap:
        tap, self._resting = self._resting, None
        with_inputs = self._samples.full == 0
        if tap is None:
            return ActivationTap(model, self._parts, self._followed, with_inputs=with_inputs)
        tap.again(self._followed, with_inputs=with_inputs)
        return tap

    def _let_go(self, sample: _Sample) -> None:
        if self._every == 1:
            self._resting = sample.rest()
        else:
            sample.leave()

    @harmless
    def _before_step(self, optimizer: torch.optim.Optimizer, args: object, kwargs: object) -> None:
        sample = self._sample
        if (sample is None and self._loop.probe is None) or is_compiling():
            return
        began = perf_counter()
        self._loop.before(optimizer)
        if sample is None or sample.gradients.knows(optimizer):
            return
        try:
            if sample.gradients.before(optimizer):
                self._let_go(sample)
                if self._samples.count == 0:
                    self._extras.take_gradients(self._banks or [], optimizer)
        except Exception:
            # A parameter that moved to another device, for instance: the next window looks again.
            self._drop()
            raise
        self._spent += perf_counter() - began

    @harmless
    def _after_step(self, optimizer: torch.optim.Optimizer, args: object, kwargs: object) -> None:
        sample = self._sample
        if (sample is None and self._loop.probe is None) or is_compiling():
            return
        began = perf_counter()
        self._loop.after(optimizer)
        if sample is not None and sample.gradients.measured:
            sample.gradients.after()
        self._spent += perf_counter() - began

    @harmless
    def turn(self, now: float, loss: Any = None) -> Any:
        """End the step that is sampled, or begin one; return the norm of all gradients, None when not measured.

        Called when ``left`` says so, with the clock at the end of a step, and its loss.
        """
        self._count()
        self._loop.step()
        if self._here >= self._end_at:
            self._expect_validation()
        if self._here < self._sample_at:
            self._arm()
            self._rest()
            return None
        sample = self._sample
        if sample is None:
            self._open(with_activations=True)
            return None
        self._loop.note_loss(loss)
        sample.waited += 1
        if not sample.gradients.measured and sample.waited < PATIENCE:
            self._wait(1)
            return None
        norm = sample.gradients.total()
        whole = sample.activations is not None
        self._finish()
        self._plan(now, whole)
        self._rest()
        return norm

    def _rest(self) -> None:
        """Take the hooks of the optimizers away until the next sample."""
        # A compiled training would be compiled again.
        if self._sample is None and self._loop.probe is None and not self._bypassed:
            self._hooks.rest()

    def _expect_validation(self) -> None:
        self._end_at = NEVER
        model = self._model() if self._model else None
        if model is not None and not self._bypassed:
            self._loop.expect_validation(model)

    @harmless
    def note_loss(self, loss: Any, labels: Any) -> None:
        """Look at the loss of the step that is profiled."""
        if self._model is not None:
            self._loop.note_loss(loss, labels)

    def _finish(self) -> None:
        sample, self._sample = self._sample, None
        self._wait(NEVER)
        if sample is None:
            return
        began = perf_counter()
        groups: dict[Any, Group] = {}
        self._let_go(sample)
        if sample.modes is not None and sample.gradients.measured:
            self._loop.note_modes(sample.modes)
        self._extras.take_pass(sample.activations, sample.attention)
        if sample.activations is not None:
            self._bypassed = self._bypassed or sample.activations.is_bypassed
            self._followed = sample.activations.followed
            self._spent += sample.activations.spent
            groups = sample.activations.groups(self._earlier, with_correlations=self._samples.full == 0)
            if groups:
                for group in self._earlier.values():
                    group.means = None
                self._earlier = groups
            self._samples.varies.update(sample.activations.varies)
        self._samples.add(sample.gradients.readings(), list(groups.values()), self._steps + max(0, self._here - 1))
        self._spent += perf_counter() - began
        self.spent += self._spent

    def _plan(self, now: float, whole: bool) -> None:
        """Choose the next step to sample."""
        wait = (self._every or USUAL_STEPS) * self._samples.stride - 1
        if not self._every and self._since is not None:
            seconds = (now - self._since - self._spent) / self._pause
            wait = max(wait, math.ceil(self._spent / max(seconds, 1e-9) / SHARE_OF_TIME) - 1)
        self._since, self._pause = now, wait + 1
        if wait == 0 or not (whole or self._samples.full or self._bypassed):
            # The profiled step shows no outputs: the next one does.
            self._pause = 1
            self._open(with_activations=True)
        else:
            self._wait(wait)

    @harmless
    def spare(self) -> None:
        """Hang no hooks into the model for this step, which is profiled; its gradients are measured all the same."""
        if self._model is None:
            return
        if self._sample is not None:
            self._sample.leave()
            self._sample.activations = self._sample.modes = self._sample.attention = None
        else:
            self._open(with_activations=False)

    @harmless
    def read(self) -> LayerHealth | None:
        """Return the health of the layers since the last call, and sample the next step. Waits for the devices."""
        if self._model is None:
            return None
        if self._sample is not None and self._sample.gradients.measured:
            self._finish()
        self._drop()
        changes = self._compare()
        health = self._samples.health(self._parts.layers, self._banks or [])
        if health is None and self._here and changes:
            # Steps, and no optimizer came by: that nothing changes is the one thing to say.
            layers = {each.name: LayerStats(trainable=each.trainable) for each in self._parts.layers}
            health = LayerHealth(layers=layers)
        if health is not None:
            fill_changes(health.layers, changes, self._samples.still)
            self._extras.fill(health)
        self._since = None
        self._renew(of_the_start=self._samples.count == 0)
        # An epoch has as many steps as the one before, as a rule.
        self._steps, self._here, self._end_at = self._steps + self._here, 0, self._here or NEVER
        self._open(with_activations=True)
        return health

    @harmless
    def read_loop(self) -> Loop | None:
        """Return what the loop did since the last call; to be called before `read`."""
        return None if self._model is None else self._loop.read()

    def _drop(self) -> None:
        if self._sample is not None:
            self._sample.leave()
        if self._resting is not None:
            self._resting.leave()
            self._resting = None
        self._sample = None
        self._wait(NEVER)

    def close(self) -> None:
        """Take everything out of the model and the optimizers."""
        self._drop()
        self._loop.close()
        self._model = None
        self._hooks.leave()
