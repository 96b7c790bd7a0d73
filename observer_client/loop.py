"""What the training loop does, from a few steps of each window: facts, where figures would only give hints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from observer_client.backward import BackwardProbe
from observer_client.layout import Layer
from observer_client.lossgraph import LossFacts, facts_of
from observer_client.modes import ModeTap
from observer_client.record import Loop

if TYPE_CHECKING:
    import torch

MOST_LOSSES = 4
"""Losses of one window whose graph is looked at: they are all made by the same lines."""
MOST_STEPS = 8
"""Steps for which a validation is waited for where the last window ended."""


class LoopWatch:
    """Collects the facts of one window, then begins anew. Waits for a device in `read` only."""

    def __init__(self) -> None:
        self.probe: BackwardProbe | None = None
        """Waits for two steps of the optimizer; None once they have come."""
        self.validation: ModeTap | None = None
        self._probed: BackwardProbe | None = None
        self._ours: set[int] = set()
        self._held: dict[int, set[int]] = {}
        """What optimizers hold, for as long as the probe waits."""
        self._losses: list[LossFacts] = []
        self._masked: Any = None
        self._evaluating: int | None = None
        self._waited = 0

    def begin(self, layers: Sequence[Layer]) -> None:
        """Begin a window of a model that has ``layers``."""
        self._leave()
        self._held = {}
        self._ours = {id(each()) for layer in layers for each in layer.parameters}
        self._losses, self._masked, self._evaluating, self._waited = [], None, None, 0
        self.probe = self._probed = BackwardProbe(layers)

    def before(self, optimizer: torch.optim.Optimizer) -> None:
        """Note that ``optimizer`` is about to step."""
        if self.probe is not None:
            self.probe.before(self._held_by(optimizer))

    def after(self, optimizer: torch.optim.Optimizer) -> None:
        """Note that ``optimizer`` has stepped."""
        if self.probe is None:
            return
        held = self._held_by(optimizer)
        self.probe.after(held, not held.isdisjoint(self._ours))
        if self.probe.done:
            self.probe.leave()
            self.probe = None

    def _held_by(self, optimizer: torch.optim.Optimizer) -> set[int]:
        held = self._held.get(id(optimizer))
        if held is None:
            held = {id(each) for group in optimizer.param_groups for each in group["params"]}
            self._held[id(optimizer)] = held
        return held

    def note_loss(self, loss: Any, labels: Any = None) -> None:
        """Look at the graph of ``loss``, and with ``labels`` at how many of them it leaves out."""
        if len(self._losses) >= MOST_LOSSES:
            return
        facts = facts_of(loss)
        if facts is None:
            return
        self._losses.append(facts)
        if facts.ignored_label is not None and hasattr(labels, "is_floating_point") and labels.numel():
            self._masked = (labels == facts.ignored_label).float().mean()

    def note_modes(self, tap: ModeTap) -> None:
        """Take what a sampled step showed."""
        self._evaluating = max(self._evaluating or 0, tap.evaluating)

    def expect_validation(self, model: torch.nn.Module) -> None:
        """Watch for passes without gradients from now to the end of the window, or for a few steps."""
        if self.validation is None and not self._waited:
            self.validation = ModeTap(model)

    def step(self) -> None:
        """Note a step meanwhile: the window goes on."""
        if self.validation is None:
            return
        self.validation.step()
        self._waited += 1
        if self._waited > MOST_STEPS:
            self.validation.leave()
            self.validation = None

    def read(self) -> Loop:
        """Return the facts of the window. Waits for the devices."""
        found = Loop(evaluating_modules=self._evaluating)
        if self._probed is not None:
            probe = self._probed
            found.backward_passes, found.optimizer_steps = probe.passes, probe.steps
            found.other_optimizer_steps = probe.other_steps
            found.gradients_kept, kept = probe.kept()
            if kept:
                found.gradients_kept = all(bool(each) for each in kept)
        if self.validation is not None:
            found.validating_in_training_mode = self.validation.validates_in_training_mode
        if self._losses:
            self._say_losses(found)
        if self._masked is not None:
            found.labels_masked = float(self._masked)
        self._leave()
        return found

    def _say_losses(self, found: Loop) -> None:
        kinds = [each.kind for each in self._losses]
        found.losses_seen = len(kinds)
        found.cross_entropy, found.squared_error = kinds.count("cross_entropy"), kinds.count("squared_error")
        found.binary_cross_entropy = kinds.count("binary_cross_entropy")
        found.summed = sum(each.summed for each in self._losses)
        found.normalized_twice = any(each.normalized_twice for each in self._losses)

    def _leave(self) -> None:
        if self._probed is not None:
            self._probed.leave()
        if self.validation is not None:
            self.validation.leave()
        self.probe = self._probed = self.validation = None

    def close(self) -> None:
        """Take all hooks away."""
        self._leave()
