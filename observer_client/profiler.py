"""One profiled step: how long forward, backward and optimizer took, and what the processors did meanwhile."""

from __future__ import annotations

import os
import warnings
from time import perf_counter
from typing import Any

from observer_client.guard import harmless
from observer_client.hooks import is_compiled
from observer_client.layertimes import LayerRanges, layer_times
from observer_client.record import LayerTime, OperationShare, Profile


def silence_kineto() -> None:
    """Keep PyTorch's profiler from writing on stderr at every use; only works before its first use."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")


class StepProfile:
    """Profiles one step. Whatever fails in here, the step itself goes on.

    Marks are points in time on the device that does the work (CUDA events, where CUDA is in use), so the shares
    are right although a GPU lags behind the program. Where another profiler is already running, only the marks
    are taken.
    """

    def __init__(self, step: int) -> None:
        self._step = step
        self._marks: list[tuple[str, Any]] = []
        self._cuda: Any = None
        self._profiler: Any = None
        self._before: Any = None
        self._after: Any = None
        self._totals: tuple[float, float] | None = None
        self._ranges: LayerRanges | None = None
        self._layers: list[LayerTime] = []

    @harmless
    def start(self, on_cuda: bool, model: Any = None) -> None:
        """Start watching; ``on_cuda`` says where the model lies. The layers of ``model`` are timed."""
        import torch  # The step to profile is torch's, so it is there.

        self._cuda = torch.cuda if on_cuda else None
        if torch._C._autograd._profiler_enabled():
            # The user profiles: a second profiler would end theirs.
            return
        activities = [torch.profiler.ProfilerActivity.CPU]
        if self._cuda:
            activities.append(torch.profiler.ProfilerActivity.CUDA)
        profiler = torch.profiler.profile(activities=activities)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            profiler.start()
        self._profiler = profiler
        if model is not None and not is_compiled(model):
            self._ranges = LayerRanges(model)

    @harmless
    def mark(self, name: str) -> None:
        """Note that what was under way since the last mark is called ``name``."""
        if self._cuda is None:
            self._marks.append((name, perf_counter()))
        else:
            event = self._cuda.Event(enable_timing=True)
            event.record()
            self._marks.append((name, event))

    @harmless
    def stop(self) -> None:
        """Stop watching; called on any way out of the step."""
        ranges, self._ranges = self._ranges, None
        if ranges is not None:
            ranges.leave()
        profiler, self._profiler = self._profiler, None
        if profiler is None:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            profiler.stop()
        events = profiler.key_averages()
        cpu = sum(event.self_cpu_time_total for event in events) / 1000
        # Called self_cuda_time_total before torch 2.4.
        device = sum(getattr(event, "self_device_time_total", 0) for event in events) / 1000
        self._totals = cpu, device
        if ranges is not None:
            self._layers = layer_times(profiler.events())

    @harmless
    def watch_optimizer(self) -> None:
        """Time the next step of an optimizer too: the first that comes."""
        from torch.optim import optimizer  # As above.

        self._before = optimizer.register_optimizer_step_pre_hook(self._optimizer_begins)
        self._after = optimizer.register_optimizer_step_post_hook(self._optimizer_ended)

    # The hooks stay until the epoch is read: PyTorch goes through its hooks while it calls one.
    def _optimizer_begins(self, *unused: object) -> None:
        if self._marks and self._marks[-1][0] == "backward_pass":
            self.mark("between")

    def _optimizer_ended(self, *unused: object) -> None:
        if self._marks and self._marks[-1][0] == "between":
            self.mark("optimizer_step")

    @harmless
    def leave_optimizer(self) -> None:
        """Take the hooks away."""
        for hook in (self._before, self._after):
            if hook is not None:
                hook.remove()
        self._before = self._after = None

    @harmless
    def read(self) -> Profile:
        """Return what was seen. May wait for the device."""
        self.leave_optimizer()
        spans: dict[str, float] = {}
        for (_, begin), (name, end) in zip(self._marks, self._marks[1:], strict=False):
            spans[name] = spans.get(name, 0.0) + self._milliseconds(begin, end)
        spans.pop("between", None)
        whole = sum(spans.values())
        forward, backward = spans.get("forward_pass"), spans.get("backward_pass")
        profile = Profile(step=self._step, forward_ms=forward, backward_ms=backward)
        if self._totals is not None:
            profile.total_cpu_time_ms, profile.total_cuda_time_ms = self._totals
        if forward is not None and backward:
            profile.fwd_bwd_ratio = forward / backward
        profile.per_layer = _with_shares(self._layers, (forward or 0.0) + (backward or 0.0))
        for name, spent in spans.items():
            share = 100.0 * spent / whole if whole else None
            profile.operation_categories[name] = OperationShare(
                time_ms=spent, pct_cuda=share if self._cuda else None, pct_cpu=None if self._cuda else share
            )
        return profile

    def _milliseconds(self, begin: Any, end: Any) -> float:
        if self._cuda is None:
            return float(end - begin) * 1000
        end.synchronize()
        return float(begin.elapsed_time(end))


def _with_shares(layers: list[LayerTime], whole_ms: float) -> list[LayerTime]:
    """Fill in each layer's share, in percent, of the step's forward and backward time."""
    times = [(each.forward_ms or 0.0) + (each.backward_ms or 0.0) for each in layers]
    # Clocks differ where events of a GPU gave the whole: no share is beyond it.
    whole_ms = max(whole_ms, sum(times))
    for each, spent in zip(layers, times, strict=True):
        each.pct_total = 100.0 * spent / whole_ms if whole_ms else None
    return layers
