"""What is done to a sound training of the acceptance part to break it; other values and places than elsewhere."""

from __future__ import annotations

import copy
import time
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer, lr_scheduler
from torch.utils.data import TensorDataset

from benchmarks.detection.training import Setup, Twist, adam, sgd

WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d)


def weighted(model: nn.Module) -> dict[str, nn.Module]:
    """Return the linear and convolutional layers by name, the last one left out."""
    found = [(name, each) for name, each in model.named_modules() if isinstance(each, WEIGHTED)]
    return dict(found[:-1])


def _nth(model: nn.Module, place: int) -> tuple[str, nn.Module]:
    return list(weighted(model).items())[place]


def _last(model: nn.Module) -> tuple[str, nn.Module]:
    return [(name, each) for name, each in model.named_modules() if isinstance(each, nn.Linear)][-1]


# --- optimization -------------------------------------------------------------------------------------------


def rate_too_high(setup: Setup) -> None:
    """A misplaced decimal point, twice."""
    setup.rate, setup.clip, setup.schedule = setup.rate * 150, None, None


def rate_jumps(setup: Setup) -> None:
    """Resuming went wrong: from three fifths of the steps on the rate is 150 times as high."""

    def jump(step: int, optimizer: Optimizer) -> None:
        if step == setup.steps * 3 // 5:
            for group in optimizer.param_groups:
                group["lr"] *= 150

    setup.on_step.append(jump)
    setup.clip = setup.schedule = None


def rate_too_low(setup: Setup) -> None:
    setup.rate, setup.schedule = 2e-7, None


def rate_stuck_at_zero(setup: Setup) -> None:
    """A half cosine over one epoch, held at its end for all others."""
    one = max(2, setup.steps // setup.epochs)

    def share(at: int) -> float:
        return 0.5 + 0.5 * float(torch.tensor(min(at, one) / one * torch.pi).cos())

    setup.schedule = lambda optimizer, steps: lr_scheduler.LambdaLR(optimizer, share)


def warm_up_per_epoch(setup: Setup) -> None:
    """A warm-up of 400 steps that is advanced once an epoch."""
    made: list[Any] = []

    def remember(optimizer: Optimizer, _: int) -> None:
        made.append(lr_scheduler.LinearLR(optimizer, 1e-4, 1.0, 400))

    setup.schedule = remember  # type: ignore[assignment]  # The loop must not advance it.
    setup.on_epoch.append(lambda epoch: made[-1].step())
    setup.told |= {"schedule": "warm-up of 400 steps"}


def rate_grows(setup: Setup) -> None:
    """Decay with the reciprocal of what was meant."""
    setup.epochs, setup.clip = max(16, setup.epochs), None
    setup.schedule = lambda optimizer, steps: lr_scheduler.LambdaLR(optimizer, lambda at: 1500 ** (at / steps))


def oscillates(setup: Setup) -> None:
    setup.optimizer, setup.rate, setup.clip = lambda rate: sgd(rate, momentum=0.98), 0.8, None


def clipped_away(setup: Setup) -> None:
    """A clipping norm for another loss scale."""
    setup.optimizer, setup.rate, setup.clip = lambda rate: sgd(rate, momentum=0.9), 0.05, 2e-4


def over_regularized(setup: Setup) -> None:
    setup.optimizer = lambda rate: adam(rate, weight_decay=0.15 / rate)


def overfits(setup: Setup) -> None:
    x, y = setup.train.tensors
    setup.train = TensorDataset(x[:60], y[:60])
    setup.batch_size, setup.epochs, setup.rate = 12, 70, setup.rate * 3


def wrong_labels(setup: Setup) -> None:
    """Two of five labels are those of other samples."""
    x, y = setup.train.tensors
    wrong = torch.rand(len(y)) < 0.4
    y = y.clone()
    y[wrong] = y[wrong][torch.randperm(int(wrong.sum()))]
    setup.train = TensorDataset(x, y)
    setup.epochs, setup.rate = 60, setup.rate * 2


def shuffled_labels(setup: Setup) -> None:
    """Inputs and labels were sorted differently."""
    x, y = setup.train.tensors
    setup.train = TensorDataset(x, y.roll(17, 0))
    setup.epochs *= 2


# --- layers and initialization ------------------------------------------------------------------------------


def large_weights(setup: Setup) -> None:
    with torch.no_grad():
        for weight in setup.model.parameters():
            if weight.ndim > 1:
                weight *= 12


def zero_weights(setup: Setup) -> None:
    layers = [each for each in setup.model.modules() if isinstance(each, WEIGHTED)]
    for layer in layers:
        for weight in layer.parameters():
            nn.init.zeros_(weight)
    setup.at_fault = frozenset(weighted(setup.model))


def _replaced(setup: Setup, layers: list[nn.Module]) -> None:
    setup.model = nn.Sequential(nn.Flatten(), *layers)


def deep_tanh(setup: Setup) -> None:
    """Sixteen layers whose weights are a third of what they should be."""
    inputs, outputs = setup.train.tensors[0][0].numel(), _last(setup.model)[1].out_features
    layers: list[nn.Module] = []
    for place in range(16):
        linear = nn.Linear(inputs if place == 0 else 24, 24)
        with torch.no_grad():
            linear.weight *= 0.6
        layers += [linear, nn.Tanh()]
    _replaced(setup, [*layers, nn.Linear(24, outputs)])
    # The last few layers still get a gradient.
    setup.at_fault = frozenset(str(1 + 2 * place) for place in range(11))


def dead_units(setup: Setup) -> None:
    """The bias of a layer before a ReLU came from another model."""
    name, layer = _nth(setup.model, 0)
    nn.init.constant_(layer.bias, -25.0)
    setup.at_fault = frozenset({name, name.replace(".0", ".1")})


def saturated(setup: Setup) -> None:
    """Tanh layers behind weights that are far too large."""
    inputs, outputs = setup.train.tensors[0][0].numel(), _last(setup.model)[1].out_features
    first = nn.Linear(inputs, 40)
    with torch.no_grad():
        first.weight *= 150
    _replaced(setup, [first, nn.Tanh(), nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, outputs)])
    setup.at_fault = frozenset({"1", "2"})


def detached(place: int) -> Twist:
    """Return a twist that cuts the graph behind a layer; all that learned through that one alone is at fault."""

    def twist(setup: Setup) -> None:
        layer = _nth(setup.model, place)[1]
        layer.register_forward_hook(lambda module, inputs, output: output.detach())
        x, y = setup.train.tensors
        setup.criterion(setup.model(x[:8]), y[:8]).backward()
        setup.at_fault = frozenset(
            name
            for name, each in setup.model.named_modules()
            if (own := list(each.parameters(recurse=False))) and all(weight.grad is None for weight in own)
        )
        setup.model.zero_grad()

    return twist


def half_frozen(setup: Setup) -> None:
    """A loop over parameters that was meant for the pre-trained model: the first half never learns."""
    layers = weighted(setup.model)
    names = list(layers)[: max(2, len(layers) // 2)]
    for name in names:
        layers[name].requires_grad_(False)
    setup.at_fault = frozenset(names)


def oversized_head(setup: Setup) -> None:
    channels, tall, wide = setup.train.tensors[0].shape[1:]
    outputs = _last(setup.model)[1].out_features
    setup.model = nn.Sequential(
        nn.Conv2d(channels, 12, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(12, 20, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(20 * (tall // 2) * (wide // 2), 400),
        nn.ReLU(),
        nn.Linear(400, outputs),
    )
    setup.epochs, setup.rate, setup.optimizer = 3, 1e-3, adam
    setup.at_fault = frozenset({"6"})


def no_pooling(setup: Setup) -> None:
    channels, tall, wide = setup.train.tensors[0].shape[1:]
    outputs = _last(setup.model)[1].out_features
    layers: list[nn.Module] = []
    for place in range(5):
        layers += [nn.Conv2d(channels if place == 0 else 10, 10, 3, padding=1), nn.ReLU()]
    setup.model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(10 * tall * wide, outputs))
    setup.epochs, setup.rate, setup.optimizer = 4, 2e-3, adam
    setup.at_fault = frozenset(str(2 * place) for place in range(5))


# --- mistakes in the code -----------------------------------------------------------------------------------


def other_model(setup: Setup) -> None:
    """The model was copied for the optimizer."""
    copied = copy.deepcopy(setup.model)
    for weight in copied.parameters():
        weight.grad = torch.zeros_like(weight)
    setup.optimized = lambda model: copied.parameters()


def layer_not_optimized(setup: Setup) -> None:
    """The second layer was added later and forgotten."""
    name, layer = _nth(setup.model, 1)
    left_out = {id(weight) for weight in layer.parameters()}
    setup.optimized = lambda model: [weight for weight in model.parameters() if id(weight) not in left_out]
    setup.at_fault = frozenset({name})


def double_softmax(setup: Setup) -> None:
    name, layer = _last(setup.model)
    setup.model.set_submodule(name, nn.Sequential(layer, nn.Softmax(dim=-1)))


def negated(setup: Setup) -> None:
    right = setup.criterion
    setup.criterion = lambda output, y: -right(output, y)


def summed(setup: Setup) -> None:
    setup.criterion = nn.CrossEntropyLoss(reduction="sum")


def runs_out_of_memory(setup: Setup) -> None:
    def fail(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        if step == setup.steps * 7 // 10:
            raise torch.OutOfMemoryError(
                "CUDA out of memory. Tried to allocate 512.00 MiB. GPU 0 has a total capacity of 23.68 GiB of which "
                "311.81 MiB is free."
            )
        return x, y

    setup.on_batch.append(fail)


# --- data, memory and time ----------------------------------------------------------------------------------


def masked_labels(setup: Setup) -> None:
    """The collator masks every label."""
    setup.on_batch.append(lambda step, x, y: (x, torch.full_like(y, -100)))


def wild_batch(setup: Setup) -> None:
    """At three fifths of the run one batch comes in raw units."""
    setup.on_batch.append(lambda step, x, y: (x * 400 + 100 if step == setup.steps * 3 // 5 else x, y))


def nan_batch(setup: Setup) -> None:
    """At two fifths of the run a file cannot be read: half a batch is missing."""

    def spoil(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        if step == setup.steps * 2 // 5:
            x = x.clone()
            x[: len(x) // 2] = float("nan")
        return x, y

    setup.on_batch.append(spoil)


def raw_units(setup: Setup) -> None:
    for part in (setup.train, setup.val):
        if part is not None:
            part.tensors = (part.tensors[0] * 500 + 300, *part.tensors[1:])


def rare_class(setup: Setup) -> None:
    """Of the last class one sample in fifty is left to train on."""
    x, y = setup.train.tensors
    kept = (y != y.max()) | (torch.rand(len(y)) < 0.02)
    setup.train = TensorDataset(x[kept], y[kept])


def leak(setup: Setup) -> None:
    """Four fifths of the validation data are training data."""
    if setup.val is None:
        raise ValueError("there is no validation data to leak into")
    (x, y), (val_x, val_y) = setup.train.tensors, setup.val.tensors
    copied = len(val_y) * 4 // 5
    setup.val = TensorDataset(torch.cat([x[-copied:], val_x[copied:]]), torch.cat([y[-copied:], val_y[copied:]]))


def slows_a_little(setup: Setup) -> None:
    """Each step takes 16 ms, and 19.5 ms from two fifths of the run on."""
    setup.on_step.append(lambda step, _: time.sleep(0.016 if step < 0.4 * setup.steps else 0.0195))


def hoards(setup: Setup) -> None:
    """Some 450 MB over the run: every step's graph is kept, as by a sum of losses that is never detached."""
    kept: list[Tensor] = []
    size = 450 * 1024 * 256 // setup.steps
    setup.on_step.append(lambda step, _: kept.append(torch.ones(size)))
