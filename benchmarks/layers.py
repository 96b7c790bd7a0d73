"""What the layers' health costs: ``python -m benchmarks.layers [--steps N]``.

Two twins of a model are trained in turn, in blocks, in one process: one is observed, the other is not. A ratio is the
mean of observed over unobserved blocks, without the tenth at either end. "noise" observes neither; "fused" is the
floor: the norms of all gradients and weights, and mean, variance and largest value of each output, by as few calls of
torch as there can be, at every step, read once at the end. No window ends here, so the limit on samples a window, which
makes a long window cheaper than any figure below, is lifted.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from time import perf_counter, process_time

import torch

from observer_client import Observer, ObserverConfig, layerstats

BLOCK = 15


class Twin:
    """A model in training."""

    def __init__(self, depth: int, width: int) -> None:
        parts = [part for _ in range(depth - 1) for part in (torch.nn.Linear(width, width), torch.nn.ReLU())]
        self.model = torch.nn.Sequential(*parts, torch.nn.Linear(width, 10))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-3, momentum=0.9)
        self.x, self.y = torch.randn(64, width), torch.randint(0, 10, (64,))

    def step(self, before: Callable[[], object] | None = None) -> torch.Tensor:
        loss = torch.nn.functional.cross_entropy(self.model(self.x), self.y)
        loss.backward()
        if before is not None:
            before()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss


def ratio(observed: Callable[[], object], plain: Callable[[], object], steps: int, clock: Callable[[], float]) -> float:
    """Return the median of observed over plain blocks, the order changing from pair to pair."""

    def block(step: Callable[[], object]) -> float:
        began = clock()
        for _ in range(BLOCK):
            step()
        return clock() - began

    for _ in range(4):
        block(observed), block(plain)
    ratios = []
    for pair in range(max(5, steps // BLOCK)):
        if pair % 2:
            first, second = block(observed), block(plain)
        else:
            second, first = block(plain), block(observed)
        ratios.append(first / second)
    # Not the median: it would leave out that some blocks have a sampled step and others have none.
    ratios.sort()
    return statistics.fmean(ratios[len(ratios) // 10 : -len(ratios) // 10 or None])


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


def observed(twin: Twin, folder: str, **settings: int) -> Callable[[], object]:
    """Return a step that an Observer is told of."""
    config = ObserverConfig(mode="offline", directory=folder, quiet=True, capture_logs=False, **settings)
    observer = Observer(config=config)
    observer.register_model(twin.model)
    return lambda: observer.step(0, twin.step(), batch_size=64)


def print_table(steps: int, depth: int = 30, width: int = 64) -> None:
    """Train each pair of twins for ``steps`` steps and print a line for it."""
    print(f"{depth} layers{'wall':>24}{'CPU':>14}{'over fused':>14}")
    floor = None
    layerstats.MOST = 10**6
    with tempfile.TemporaryDirectory() as folder:
        rows: list[tuple[str, Callable[[Twin], Callable[[], object]]]] = [
            ("noise", lambda twin: twin.step),
            ("fused, each step", fused),
            ("observed, each step", lambda twin: observed(twin, folder, layer_health_every=1)),
            ("observed, one in 15", lambda twin: observed(twin, folder, layer_health_every=15)),
            ("observed, by default", lambda twin: observed(twin, folder)),
        ]
        for name, make in rows:
            step, plain = make(Twin(depth, width)), Twin(depth, width).step
            wall, cpu = (ratio(step, plain, steps, clock) for clock in (perf_counter, process_time))
            floor = cpu - 1 if name.startswith("fused") else floor
            over = f"{(cpu - 1) / floor:14.2f}" if floor else " " * 14
            print(f"{name:22}{wall:11.3f}{cpu:14.3f}{over}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1_500, help="training steps for each ratio (default 1500)")
    parser.add_argument("--depth", type=int, default=30, help="layers (default 30)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print_table(options.steps, options.depth)


if __name__ == "__main__":
    main()
