"""How long each layer took, forward and backward, in one profiled step.

Hooks name the stretch of each layer's forward pass. The backward pass has no such stretches: there an operation is
found by its sequence number, which is that of the forward operation that it belongs to.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from observer_client.architecture import layers_of
from observer_client.guard import harmless
from observer_client.hooks import Hook, is_compiling
from observer_client.record import LayerTime

if TYPE_CHECKING:
    import torch

PREFIX = "mldiag layer "
_BACKWARD = "autograd::engine::evaluate_function"


class LayerRanges:
    """Names each layer's forward pass to the profiler, until `leave`."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._open: list[tuple[str, Any]] = []
        self._handles: list[Any] = []
        for name, layer in layers_of(model):
            self._handles.append(layer.register_forward_pre_hook(Hook(self._enter(name))))
            # Also where the layer raises: a stretch that stays open would swallow the others.
            self._handles.append(layer.register_forward_hook(Hook(self._exit(name)), always_call=True))

    def _enter(self, name: str) -> Any:
        @harmless
        def begins(module: object, inputs: object) -> None:
            if not is_compiling():
                from torch.profiler import record_function  # The layer is torch's, so it is there.

                stretch = record_function(PREFIX + name)
                stretch.__enter__()
                self._open.append((name, stretch))

        return begins

    def _exit(self, name: str) -> Any:
        @harmless
        def ended(module: object, inputs: object, output: object) -> None:
            if not is_compiling() and self._open and self._open[-1][0] == name:
                self._open.pop()[1].__exit__(None, None, None)

        return ended

    def leave(self) -> None:
        """Take the hooks away."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()


def layer_times(events: Iterable[Any]) -> list[LayerTime]:
    """Return forward and backward milliseconds of each layer, in the order in which the layers ran.

    Times are those of the GPU where anything ran there, else of the CPU. What runs in a layer within a layer
    counts for the inner one.
    """
    host = [each for each in events if each.device_type.name == "CPU"]
    on_device = any(_device_us(each) for each in host)
    forward, owners = _forward(host, on_device)
    backward = dict.fromkeys(forward, 0.0)
    for each in host:
        if each.name.startswith(_BACKWARD) and (name := owners.get(each.sequence_nr)) is not None:
            backward[name] += _device_us(each) if on_device else each.cpu_time_total
    return [
        LayerTime(name=name, forward_ms=spent / 1000, backward_ms=backward[name] / 1000)
        for name, spent in forward.items()
    ]


def _forward(events: Iterable[Any], on_device: bool) -> tuple[dict[str, float], dict[int, str]]:
    """Return microseconds by layer, and the layer of each sequence number."""
    spent: dict[str, float] = {}
    owners: dict[int, str] = {}
    open_at: dict[int, list[tuple[str, float]]] = {}
    for each in sorted(events, key=lambda event: (event.time_range.start, -event.time_range.end)):
        if each.name.startswith(_BACKWARD):
            continue
        around = open_at.setdefault(each.thread, [])
        while around and around[-1][1] <= each.time_range.start:
            around.pop()
        if each.name.startswith(PREFIX):
            name = each.name.removeprefix(PREFIX)
            took = _device_us(each) if on_device else each.cpu_time_total
            spent[name] = spent.get(name, 0.0) + took
            if around:
                spent[around[-1][0]] -= took
            around.append((name, each.time_range.end))
        elif around and each.sequence_nr >= 0:
            owners.setdefault(each.sequence_nr, around[-1][0])
    return spent, owners


def _device_us(event: Any) -> float:
    # Called cuda_time_total before torch 2.4.
    return float(getattr(event, "device_time_total", 0.0))
