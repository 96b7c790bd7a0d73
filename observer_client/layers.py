"""The health of each layer, from a few sampled steps of each window.

A step that is not sampled costs a counter and two calls that return at once. A sampled one queues its work where
the tensors live; everything is read back with one transfer a device when the window closes.
"""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

from observer_client.activations import ActivationTap
from observer_client.figures import Group
from observer_client.gradients import GradientTap
from observer_client.guard import harmless
from observer_client.hooks import is_compiled, is_compiling
from observer_client.layerstats import Samples
from observer_client.layout import Bank, Parts, banks, parts_of
from observer_client.record import LayerHealth

if TYPE_CHECKING:
    import torch

USUAL_STEPS = 15
SHARE_OF_TIME = 0.005
"""What our own code in a sampled step may take of the training's time, where nobody said how often to sample. That
there are hooks at all takes about as much again, so that sampling costs about 1 %."""
PATIENCE = 64
"""Steps that a sample waits for an optimizer: of gradient accumulation, or of a loop that has none."""
NEVER = 2**62


@dataclass(slots=True)
class _Sample:
    """A step that is being sampled."""

    gradients: GradientTap
    activations: ActivationTap | None
    waited: int = 0


class LayerWatch:
    """Samples the first step of each window, and then one in ``every``; 0 says about one in `USUAL_STEPS`, fewer
    where the model is so small that this would cost more than `SHARE_OF_TIME`.

    Gradients and updates are measured where an optimizer steps, outputs of layers in the forward pass. Keeps
    neither model nor optimizers alive and changes nothing about them.
    """

    def __init__(self, every: int) -> None:
        self.left = NEVER
        """Steps until `turn` is to be called; below zero it is due."""
        self._every = every
        self._model: weakref.ref[torch.nn.Module] | None = None
        self._hooks: list[Any] = []
        self._parts = Parts()
        self._followed: set[str] = set()
        self._banks: list[Bank] | None = None
        self._sample: _Sample | None = None
        self._samples = Samples(of_the_start=True)
        self._earlier: dict[Any, Group] = {}
        self._spent = 0.0
        self._since: float | None = None
        self._pause = 1
        self._bypassed = False

    @harmless
    def watch(self, model: torch.nn.Module) -> None:
        """Watch ``model`` from the next step on."""
        from torch.optim.optimizer import (  # The model is torch's, so it is there.
            register_optimizer_step_post_hook,
            register_optimizer_step_pre_hook,
        )

        self._drop()
        self._model, self._bypassed = weakref.ref(model), False
        if not self._hooks:
            self._hooks = [
                register_optimizer_step_pre_hook(self._before_step),
                register_optimizer_step_post_hook(self._after_step),
            ]
        self._renew(of_the_start=True)
        self._open(with_activations=True)

    def _renew(self, *, of_the_start: bool) -> None:
        """Begin a window: look at the model anew, since layers and devices may have changed."""
        model = self._model() if self._model else None
        self._parts = Parts() if model is None else parts_of(model)
        self._bypassed = self._bypassed or (model is not None and is_compiled(model))
        self._banks, self._samples = None, Samples(of_the_start=of_the_start)

    def _open(self, *, with_activations: bool) -> None:
        model = self._model() if self._model else None
        self.left = NEVER
        if model is None or not self._parts.layers:
            return
        began = perf_counter()
        if self._banks is None:
            self._banks = banks(self._parts.layers)
        tap = None
        if with_activations and not self._bypassed:
            tap = ActivationTap(model, self._parts, self._followed, with_inputs=self._samples.full == 0)
        self._sample = _Sample(GradientTap(self._banks, with_updates=self._samples.count == 0), tap)
        self.left = 0
        self._spent = perf_counter() - began

    @harmless
    def _before_step(self, optimizer: torch.optim.Optimizer, args: object, kwargs: object) -> None:
        sample = self._sample
        if sample is None or is_compiling():
            return
        if sample.gradients.knows(optimizer):
            return
        began = perf_counter()
        try:
            if sample.gradients.before(optimizer) and sample.activations is not None:
                sample.activations.leave()
        except Exception:
            # A parameter that moved to another device, for instance: the next window looks again.
            self._drop()
            raise
        self._spent += perf_counter() - began

    @harmless
    def _after_step(self, optimizer: torch.optim.Optimizer, args: object, kwargs: object) -> None:
        sample = self._sample
        if sample is None or not sample.gradients.measured or is_compiling():
            return
        began = perf_counter()
        sample.gradients.after()
        self._spent += perf_counter() - began

    @harmless
    def turn(self, now: float) -> Any:
        """End the step that is sampled, or begin one; return the norm of all gradients, None when not measured.

        Called when ``left`` says so, with the clock at the end of a step.
        """
        sample = self._sample
        if sample is None:
            self._open(with_activations=True)
            return None
        sample.waited += 1
        if not sample.gradients.measured and sample.waited < PATIENCE:
            self.left = 0
            return None
        norm = sample.gradients.total()
        whole = sample.activations is not None
        self._finish()
        self._plan(now, whole)
        return norm

    def _finish(self) -> None:
        sample, self._sample, self.left = self._sample, None, NEVER
        if sample is None:
            return
        began = perf_counter()
        groups: dict[Any, Group] = {}
        if sample.activations is not None:
            sample.activations.leave()
            self._bypassed = self._bypassed or sample.activations.is_bypassed
            self._followed = sample.activations.followed
            self._spent += sample.activations.spent
            groups = sample.activations.groups(self._earlier, with_correlations=self._samples.full == 0)
            if groups:
                for group in self._earlier.values():
                    group.means = None
                self._earlier = groups
            self._samples.varies.update(sample.activations.varies)
        self._samples.add(sample.gradients.readings(), list(groups.values()))
        self._spent += perf_counter() - began

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
            self.left = wait - 1

    @harmless
    def spare(self) -> None:
        """Hang no hooks into the model for this step, which is profiled; its gradients are measured all the same."""
        if self._model is None:
            return
        if self._sample is not None and self._sample.activations is not None:
            self._sample.activations.leave()
            self._sample.activations = None
        elif self._sample is None:
            self._open(with_activations=False)

    @harmless
    def read(self) -> LayerHealth | None:
        """Return the health of the layers since the last call, and sample the next step. Waits for the devices."""
        if self._model is None:
            return None
        if self._sample is not None and self._sample.gradients.measured:
            self._finish()
        self._drop()
        health = self._samples.health(self._parts.layers, self._banks or [])
        self._since = None
        self._renew(of_the_start=health is None)
        self._open(with_activations=True)
        return health

    def _drop(self) -> None:
        if self._sample is not None and self._sample.activations is not None:
            self._sample.activations.leave()
        self._sample, self.left = None, NEVER

    def close(self) -> None:
        """Take everything out of the model and the optimizers."""
        self._drop()
        self._model = None
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
