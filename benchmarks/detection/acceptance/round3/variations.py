"""Habits of the third round that change a sound training and leave it sound."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from torch.optim import Optimizer, lr_scheduler
from torch.optim.swa_utils import SWALR
from torch.utils.data import TensorDataset, WeightedRandomSampler

from benchmarks.detection.acceptance.fronts import Script
from benchmarks.detection.training import Setup, Twist


def optimized_by(build: Callable[[Any, float], Optimizer], rate: float) -> Twist:
    """Another optimizer, at its own rate."""

    def twist(setup: Setup) -> None:
        setup.rate, setup.optimizer = rate, lambda value: lambda weights: build(weights, value)

    return twist


def nadam(weights: Any, rate: float) -> Optimizer:
    return torch.optim.NAdam(weights, rate, weight_decay=0.05, decoupled_weight_decay=True)


class Slow(torch.optim.AdamW):
    """Looks ahead: every fifth step half way back to where the last five began (Zhang et al. 2019)."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        found = super().step(closure)
        for weight in (each for group in self.param_groups for each in group["params"]):
            state = self.state[weight]
            if "slow" not in state:
                state["slow"], state["fast_steps"] = weight.clone(), 0
            state["fast_steps"] += 1
            if state["fast_steps"] % 5 == 0:
                weight.copy_(state["slow"].lerp_(weight, 0.5))
        return found


def inverse_time(optimizer: Any, steps: int) -> Any:
    return lr_scheduler.LambdaLR(optimizer, lambda at: 1 / (1 + 6 * at / steps))


def held_then_averaged(optimizer: Any, steps: int) -> Any:
    return SWALR(optimizer, optimizer.param_groups[0]["lr"] / 4, anneal_epochs=max(1, steps // 4))


def warm_then_constant(optimizer: Any, steps: int) -> Any:
    return lr_scheduler.LinearLR(optimizer, 0.01, 1.0, max(1, steps // 8))


def steps_of_three(optimizer: Any, steps: int) -> Any:
    return lr_scheduler.MultiStepLR(optimizer, [steps // 2, steps * 3 // 4, steps * 9 // 10], 0.2)


def normalized(setup: Setup) -> None:
    """Spectral norms on all linear layers but the last."""
    layers = [each for each in setup.model.modules() if isinstance(each, nn.Linear)]
    for layer in layers[:-1]:
        parametrizations.spectral_norm(layer)


def weight_normalized(setup: Setup) -> None:
    for layer in [each for each in setup.model.modules() if isinstance(each, nn.Conv1d | nn.Conv2d | nn.Linear)]:
        parametrizations.weight_norm(layer)


def pruned(setup: Setup) -> None:
    """At half of the run the smallest half of the weights is taken out; the rest learns on (Han et al. 2015)."""

    def cut(epoch: int) -> None:
        if epoch == setup.epochs // 2:
            for layer in [each for each in setup.model.modules() if isinstance(each, nn.Linear)][:-1]:
                prune.l1_unstructured(layer, "weight", 0.5)

    setup.on_epoch.append(cut)
    setup.told |= {"pruning": 0.5}


def _weights(optimizer: Optimizer) -> list[nn.Parameter]:
    return [weight for group in optimizer.param_groups for weight in group["params"]]


def value_clipped(setup: Setup) -> None:
    """Each number of the gradient is clipped, not the norm."""

    def clip(optimizer: Optimizer, steps: int) -> Any:
        optimizer.register_step_pre_hook(
            lambda each, *_: nn.utils.clip_grad_value_(
                [w for group in each.param_groups for w in group["params"]], 0.05
            )
        )
        return lr_scheduler.ConstantLR(optimizer, 1.0)

    setup.schedule = clip


def attacked(setup: Setup) -> None:
    """Inputs are moved against the model, so that validation is better than training (Goodfellow et al. 2015)."""

    def move(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        x = x.clone().requires_grad_()
        loss = setup.criterion(setup.model(x), y)
        slope = torch.autograd.grad(loss, x)[0]
        return (x + 0.12 * slope.sign()).detach(), y

    setup.on_batch.append(move)
    setup.told |= {"adversarial_training": 0.12}


def sampled_evenly(setup: Setup) -> None:
    """One class is seven times as rare as the others; the sampler makes up for it."""
    x, y = setup.train.tensors
    kept = (y != 1) | (torch.rand(len(y)) < 1 / 7)
    setup.train = TensorDataset(x[kept], y[kept])
    share = torch.bincount(y[kept]).float()
    weights = (1 / share)[y[kept]]
    setup.loader = lambda ready: torch.utils.data.DataLoader(
        ready.train, ready.batch_size, sampler=WeightedRandomSampler(weights.tolist(), len(weights)), drop_last=True
    )


def naturally_rare(setup: Setup) -> None:
    """One class is four times as rare as the others, in validation as well, and it is learned."""
    for part in (setup.train, setup.val):
        if part is not None:
            x, y = part.tensors
            kept = (y != 2) | (torch.rand(len(y)) < 1 / 4)
            part.tensors = (x[kept], y[kept])


def hard_ones(setup: Setup) -> None:
    """Only the harder half of each batch counts: the training loss is twice the validation loss and more."""
    each = nn.CrossEntropyLoss(reduction="none")
    plain = setup.criterion

    def loss(output: Tensor, y: Tensor) -> Tensor:
        if not output.requires_grad:
            return plain(output, y)
        losses = each(output, y).flatten()
        return losses.topk(max(1, len(losses) // 2)).values.mean()

    setup.criterion = loss
    setup.told |= {"ohem": 0.5}


def in_units(setup: Setup) -> None:
    """Nobody scaled the target: it is in thousands, and so is the loss."""
    for part in (setup.train, setup.val):
        if part is not None:
            part.tensors = (part.tensors[0], 30.0 * part.tensors[1] + 100.0)
    last = [each for each in setup.model.modules() if isinstance(each, nn.Linear)][-1]
    nn.init.constant_(last.bias, 100.0)
    setup.rate *= 2


def learned_before(share: float, epochs: int) -> Twist:
    """A checkpoint of the same training is loaded; it goes on at a share of the rate."""

    def twist(setup: Setup) -> None:
        for steps in Script(setup).epochs():
            for _ in steps:
                pass
        setup.rate, setup.epochs = setup.rate * share, epochs
        setup.told |= {"checkpoint": "last.ckpt"}

    return twist


def new_task(setup: Setup) -> None:
    """Trained for one thing, then for another: the labels change at a third of the run, as planned."""
    x, y = setup.train.tensors
    classes = int(y.max()) + 1
    change = lambda step, x, y: (x, (y + 1) % classes if step < setup.steps // 3 else y)  # noqa: E731
    setup.on_batch.append(change)
    setup.told |= {"phases": "pretext, then task"}


def adapters_only(setup: Setup) -> None:
    """A small new branch beside frozen layers; it begins with an output of zero (Houlsby et al. 2019)."""
    for steps in Script(setup).epochs():
        for _ in steps:
            pass
    setup.model.requires_grad_(False)
    width = setup.model.reader.shape[-1]  # type: ignore[union-attr]
    for layer in setup.model.encoder.layers:  # type: ignore[union-attr]
        layer.linear2 = nn.Sequential(layer.linear2, _Adapter(width))
    for part in (setup.train, setup.val):
        if part is not None:
            part.tensors = (part.tensors[0], part.tensors[1].tanh())
    setup.told |= {"adapters": 4}


class _Adapter(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, 6), nn.Linear(6, width)
        nn.init.zeros_(self.up.weight), nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.up(self.down(x).relu())


def growing_length(setup: Setup) -> None:
    """Sequences begin short: eight letters, then sixteen, then all."""

    def cut(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        part = 4 * step // setup.steps
        return (x, y) if part >= 2 else (x[..., : 128 * (part + 1)], y)

    setup.on_batch.append(cut)
    setup.told |= {"curriculum": "length"}


def validated_rarely(every: int) -> Twist:
    def twist(setup: Setup) -> None:
        kept = setup.val
        setup.val = None
        setup.on_epoch.append(lambda epoch: setattr(setup, "val", kept if epoch % every == every - 1 else None))

    return twist


def windowed(parts: int) -> Twist:
    """One long pass, flushed and validated ``parts`` times."""

    def twist(setup: Setup) -> None:
        x, y = setup.train.tensors
        times = setup.epochs
        setup.train = TensorDataset(x.repeat(times, *[1] * (x.ndim - 1)), y.repeat(times, *[1] * (y.ndim - 1)))
        setup.epochs = 1
        setup.flush_every = setup.steps // parts

    return twist
