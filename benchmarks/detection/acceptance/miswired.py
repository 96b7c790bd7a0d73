"""Networks and loops gone wrong, by how far; each function returns a twist that breaks a sound training."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.detection.training import Setup, Twist

Build = Callable[[], nn.Module]


def named(model: nn.Module, name: str) -> nn.Module:
    return model.get_submodule(name)


def drawn(deviation: float) -> Twist:
    """All matrices from a normal distribution of one width, as in an old script."""

    def twist(setup: Setup) -> None:
        for weight in setup.model.parameters():
            if weight.ndim > 1:
                nn.init.normal_(weight, 0.0, deviation)

    return twist


def constant(names: tuple[str, ...], value: float) -> Twist:
    """Some layers begin with one value everywhere."""

    def twist(setup: Setup) -> None:
        for name in names:
            for weight in named(setup.model, name).parameters():
                nn.init.constant_(weight, value)
        setup.at_fault = frozenset(names)

    return twist


def rebuilt(build: Build, at_fault: tuple[str, ...], **settings: Any) -> Twist:
    """Another network for the same data."""

    def twist(setup: Setup) -> None:
        setup.model, setup.at_fault = build(), frozenset(at_fault)
        for name, value in settings.items():
            setattr(setup, name, value)

    return twist


def biased(name: str, value: float, at_fault: tuple[str, ...]) -> Twist:
    def twist(setup: Setup) -> None:
        nn.init.constant_(named(setup.model, name).bias, value)  # type: ignore[arg-type]
        setup.at_fault = frozenset(at_fault)

    return twist


def detached_after(name: str, at_fault: tuple[str, ...]) -> Twist:
    """A ``.detach()`` that was left in the forward pass after debugging."""

    def twist(setup: Setup) -> None:
        def cut(module: nn.Module, inputs: Any, output: Any) -> Any:
            return tuple(each.detach() for each in output) if isinstance(output, tuple) else output.detach()

        named(setup.model, name).register_forward_hook(cut)
        setup.at_fault = frozenset(at_fault)

    return twist


def frozen(names: tuple[str, ...]) -> Twist:
    def twist(setup: Setup) -> None:
        for name in names:
            named(setup.model, name).requires_grad_(False)
        setup.at_fault = frozenset(names)

    return twist


def gradients_kept(every: int) -> Twist:
    """Gradients are cleared once in ``every`` steps, though each of these steps is taken."""

    def twist(setup: Setup) -> None:
        setup.clears_gradients = lambda step: step % every == every - 1

    return twist


def never_stepped(setup: Setup) -> None:
    setup.steps_optimizer = lambda step: False


def optimizer_of_copy(setup: Setup) -> None:
    """The optimizer was made before the model was loaded anew."""
    old = copy.deepcopy(setup.model)
    for weight in old.parameters():
        weight.grad = torch.zeros_like(weight)
    setup.optimized = lambda model: old.parameters()


def not_optimized(names: tuple[str, ...]) -> Twist:
    """The optimizer was given the other layers only."""

    def twist(setup: Setup) -> None:
        left_out = {id(each) for name in names for each in named(setup.model, name).parameters()}
        setup.optimized = lambda model: [each for each in model.parameters() if id(each) not in left_out]
        setup.at_fault = frozenset(names)

    return twist


def softmax_in(name: str, dim: int) -> Twist:
    """The last layer already ends in probabilities."""

    def twist(setup: Setup) -> None:
        setup.model.set_submodule(name, nn.Sequential(named(setup.model, name), nn.Softmax(dim)))

    return twist


def softmax_outside(dim: int) -> Twist:
    """Probabilities are made in the loop, before the loss."""

    def twist(setup: Setup) -> None:
        inner = setup.criterion
        setup.criterion = lambda output, y: inner(output.softmax(dim), y)

    return twist


def negated(setup: Setup) -> None:
    right = setup.criterion
    setup.criterion = lambda output, y: -right(output, y)


def criterion(build: Callable[[], Any]) -> Twist:
    def twist(setup: Setup) -> None:
        setup.criterion = build()

    return twist


def eval_after_validation(setup: Setup) -> None:
    """``model.train()`` stands before the loop over epochs: from the second one on everything is in evaluation."""
    calls: list[int] = []

    def mode(model: nn.Module) -> None:
        calls.append(0)
        model.train(len(calls) == 1)

    setup.train_mode = mode


def never_eval(setup: Setup) -> None:
    """Nobody calls ``model.eval()``."""
    setup.val_mode = lambda model: model.train()


def half_precision(factor: float) -> Twist:
    """A loss too large for float16, whatever the scale."""

    def twist(setup: Setup) -> None:
        setup.precision, setup.scaler = torch.float16, torch.amp.GradScaler("cpu", init_scale=2.0**40)
        setup.gradient_factor, setup.told = factor, setup.told | {"precision": "fp16"}

    return twist


def out_of_memory(at: float, message: str) -> Twist:
    def twist(setup: Setup) -> None:
        def fail(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            if step == int(setup.steps * at):
                raise torch.OutOfMemoryError(message)
            return x, y

        setup.on_batch.append(fail)

    return twist
