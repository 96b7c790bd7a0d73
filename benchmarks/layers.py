"""What the layers' health costs: ``python -m benchmarks.layers [--steps N]``.

Two twins of a model are trained in turn, in blocks, in one process: one is observed, the other is not. A ratio is the
mean of observed over unobserved blocks, without the tenth at either end. "noise" observes neither; "fused" is the
floor: the norms of all gradients and weights, and mean, variance and largest value of each output, by as few calls of
torch as there can be, at every step, read once at the end. No window ends here, so the limit on samples a window, which
makes a long window cheaper than any figure below, is lifted.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch

from benchmarks import recorders
from benchmarks.recorders import Recorder
from benchmarks.twins import Twin, perceptron, ratios
from observer_client import layerstats

BLOCK = 15


def fused(twin: Twin) -> Callable[[], object]:
    """Return a step that takes each layer's figures at every step, in the cheapest way."""
    outputs: list[torch.Tensor] = []
    kept: list[torch.Tensor] = []
    for module in twin.model:
        if isinstance(module, torch.nn.Linear):
            module.register_forward_hook(lambda module, inputs, output: outputs.append(output.detach()))

    def before() -> None:
        weights = [each.detach() for each in twin.model.parameters()]
        kept.append(torch.stack(torch._foreach_norm([each.grad for each in twin.model.parameters()])))
        kept.append(torch.stack(torch._foreach_norm(weights)))
        same = torch.stack(outputs[:-1])
        variance, mean = torch.var_mean(same, dim=(1, 2))
        kept.extend((variance, mean, same.amax((1, 2)), torch.stack(torch._foreach_max(outputs))))
        outputs.clear()
        if len(kept) > 5_000:
            kept.clear()

    return partial(twin.step, before)


def print_table(steps: int, depth: int = 30, width: int = 64) -> None:
    """Train each pair of twins for ``steps`` steps and print a line for it."""
    print(f"{depth} layers{'wall':>24}{'CPU':>14}{'over fused':>14}   goals: each step 1.2, by default CPU 1.02")
    floor = None
    layerstats.MOST = 10**6
    with tempfile.TemporaryDirectory() as folder, ExitStack() as closing:
        rows: list[tuple[str, Callable[[Twin], Callable[[], object]], int]] = [
            ("noise", lambda twin: twin.step, steps),
            ("fused, each step", fused, steps),
            ("observed, each step", told(recorders.observer, folder, closing, layer_health_every=1), steps),
            ("observed, one in 15", told(recorders.observer, folder, closing, layer_health_every=15), steps),
            ("observed, by default", told(recorders.observer, folder, closing), steps),
            *((name, told(make, folder, closing), steps // 15) for name, make in recorders.LAYER_PEERS.items()),
        ]
        for name, make, count in rows:
            try:
                step = make(perceptron(depth, width))
            except ImportError:
                print(f"{name:22}     absent")
                continue
            wall, cpu = ratios(step, perceptron(depth, width).step, count, BLOCK if count == steps else 1)
            floor = cpu - 1 if name.startswith("fused") else floor
            over = f"{(cpu - 1) / floor:14.2f}" if floor else " " * 14
            print(f"{name:22}{wall:11.3f}{cpu:14.3f}{over}", flush=True)
    print(f"{'cockpit':22}     {'not driven here' if find_spec('cockpit') else 'absent'}")


def told(
    make: Callable[..., Recorder], folder: str, closing: ExitStack, **settings: Any
) -> Callable[[Twin], Callable[[], object]]:
    """Return what makes a twin's step that is told to a recorder, which ``closing`` closes in the end."""

    def observed(twin: Twin) -> Callable[[], object]:
        recorder = make(folder, twin.model, **settings)
        closing.callback(recorder.close)
        return lambda: recorder.step(0, twin.step(recorder.before), batch_size=64)

    return observed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1_500, help="training steps for each ratio (default 1500)")
    parser.add_argument("--depth", type=int, default=30, help="layers (default 30)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print_table(options.steps, options.depth)


if __name__ == "__main__":
    main()
