"""How long a rank works on a step before it must wait for the others.

In data parallel training every rank waits in the backward pass for the slowest one, so all steps last equally long.
What tells them apart comes before: from the end of the optimizer's step to the end of the next forward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

from observer_client.guard import harmless
from observer_client.hooks import Hook, is_compiled, is_compiling

if TYPE_CHECKING:
    import torch

MOST_STEPS = 512
MOST_EVENTS = 64
FEWEST_STEPS = 4


class WorkClock:
    """Takes the time of a model's steps, on a GPU by its own clock. ``first`` is called before the first pass."""

    def __init__(self, model: torch.nn.Module, first: Callable[[], object]) -> None:
        self._first: Callable[[], object] | None = first
        self._stepped: Any = None
        self._spans: list[tuple[Any, Any]] = []
        self._handles: list[Any] = []
        weights = next(iter(model.parameters()), None)
        self._on_gpu = weights is not None and weights.is_cuda
        self._most = MOST_EVENTS if self._on_gpu else MOST_STEPS
        if not is_compiled(model):
            from torch.optim.optimizer import register_optimizer_step_post_hook

            self._handles = [
                model.register_forward_pre_hook(Hook(self._begins)),
                model.register_forward_hook(Hook(self._ended)),
                register_optimizer_step_post_hook(self._steps),
            ]

    @harmless
    def _begins(self, module: Any, args: object) -> None:
        if self._first is not None and _trains(module):
            first, self._first = self._first, None
            first()

    @harmless
    def _ended(self, module: Any, args: object, output: object) -> None:
        if self._stepped is not None and _trains(module):
            # Of several passes before the next step, the first one counts.
            began, self._stepped = self._stepped, None
            self._spans.append((began, self._now()))

    @harmless
    def _steps(self, optimizer: object, args: object, kwargs: object) -> None:
        if len(self._spans) < self._most and not is_compiling():
            self._stepped = self._now()

    def _now(self) -> Any:
        if not self._on_gpu:
            return perf_counter()
        import torch  # The model is on a GPU, so it is there.

        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def read(self) -> float | None:
        """Return the median in seconds since the last call, None when too few steps were seen."""
        spans, self._spans, self._stepped = self._spans, [], None
        if self._on_gpu:
            seconds = [began.elapsed_time(ended) / 1000 for began, ended in spans if ended.query()]
        else:
            seconds = [ended - began for began, ended in spans]
        return median(seconds) if len(seconds) >= FEWEST_STEPS else None

    def leave(self) -> None:
        """Take the hooks away."""
        for handle in self._handles:
            handle.remove()
        self._handles = []


def _trains(module: Any) -> bool:
    import torch  # A hook runs in a model, so it is there.

    return bool(not is_compiling() and module.training and torch.is_grad_enabled())
