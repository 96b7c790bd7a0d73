"""What is done to a sound training to break it. Each function changes a `Setup` before it is run."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer, lr_scheduler
from torch.utils.data import TensorDataset

from benchmarks.detection.models import Cnn
from benchmarks.detection.training import Setup, adam, sgd

WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d)


def hidden_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return the linear and convolutional layers before the head, by name."""
    return {name: each for name, each in model.named_modules() if isinstance(each, WEIGHTED) and name != "head"}


def first_layer(model: nn.Module) -> tuple[str, nn.Module]:
    return next(iter(hidden_layers(model).items()))


# --- optimization -------------------------------------------------------------------------------------------


def rate_too_high(setup: Setup) -> None:
    setup.rate, setup.optimizer, setup.clip = 3.0, sgd, None


def rate_jumps(setup: Setup) -> None:
    """The learning rate is set far too high half-way through."""

    def jump(step: int, optimizer: Optimizer) -> None:
        if step == setup.steps // 2:
            for group in optimizer.param_groups:
                group["lr"] *= 200

    setup.on_step.append(jump)
    setup.clip = None


def rate_stuck_at_zero(setup: Setup) -> None:
    """The schedule was planned for a twentieth of the steps that are made."""
    setup.schedule = lambda optimizer, steps: lr_scheduler.LambdaLR(
        optimizer, lambda at: max(0.0, 1 - at / max(1, steps // 20))
    )


def schedule_per_epoch(setup: Setup) -> None:
    """One cycle over all steps, but advanced once an epoch: the rate stays at the start of its warm-up."""
    made: list[Any] = []

    def remember(optimizer: Optimizer, steps: int) -> None:
        made.append(lr_scheduler.OneCycleLR(optimizer, optimizer.param_groups[0]["lr"], steps + 60, div_factor=1000))

    setup.schedule = remember  # type: ignore[assignment]  # The loop must not advance it.
    setup.on_epoch.append(lambda epoch: made[-1].step())
    setup.told |= {"schedule": "OneCycleLR"}


def rate_grows(setup: Setup) -> None:
    """The schedule multiplies where it should divide."""
    setup.optimizer, setup.rate, setup.epochs, setup.clip = sgd, 0.02, 24, None
    setup.schedule = lambda optimizer, steps: lr_scheduler.ExponentialLR(optimizer, 2000 ** (1 / steps))


def oscillates(setup: Setup) -> None:
    """At the edge of stability: progress is made and thrown away again."""
    setup.optimizer, setup.rate, setup.clip = lambda rate: sgd(rate, momentum=0.97), 0.6, None


def clipped_away(setup: Setup) -> None:
    setup.optimizer, setup.rate, setup.clip = sgd, 0.05, 1e-3


def over_regularized(setup: Setup) -> None:
    setup.optimizer = lambda rate: adam(rate, weight_decay=50.0)


def overfits(setup: Setup) -> None:
    """Far too few samples for far too long."""
    x, y = setup.train.tensors
    setup.train = TensorDataset(x[:80], y[:80])
    setup.batch_size, setup.epochs, setup.rate = 16, 80, setup.rate * 4


def wrong_labels(setup: Setup) -> None:
    x, y = setup.train.tensors
    wrong = torch.rand(len(y)) < 0.3
    setup.train = TensorDataset(x, torch.where(wrong, y[torch.randperm(len(y))], y))
    setup.epochs, setup.rate = 50, setup.rate * 3


def shuffled_labels(setup: Setup) -> None:
    x, y = setup.train.tensors
    setup.train = TensorDataset(x, y[torch.randperm(len(y))])
    setup.epochs *= 2


# --- layers and initialization ------------------------------------------------------------------------------


def large_weights(setup: Setup) -> None:
    for weight in setup.model.parameters():
        if weight.ndim > 1:
            nn.init.normal_(weight, std=2.0)


def zero_weights(setup: Setup) -> None:
    for weight in setup.model.parameters():
        nn.init.zeros_(weight)
    setup.at_fault = frozenset(hidden_layers(setup.model))


def deep_sigmoids(setup: Setup) -> None:
    x, y = setup.train.tensors
    inputs, outputs = x[0].numel(), setup.model.head.out_features
    model = nn.Sequential(nn.Flatten())
    for place in range(12):
        model.add_module(f"deep{place}", nn.Linear(inputs if place == 0 else 32, 32))
        model.add_module(f"squash{place}", nn.Sigmoid())
    model.add_module("head", nn.Linear(32, outputs))
    setup.model = model
    # The last few layers still get a gradient.
    setup.at_fault = frozenset(f"deep{place}" for place in range(8))


def dead_units(setup: Setup) -> None:
    name, layer = first_layer(setup.model)
    if isinstance(setup.model, Cnn) or not hasattr(setup.model, "norm1"):
        following = getattr(setup.model, "norm1", layer)
        nn.init.constant_(following.bias if following is not layer else layer.bias, -10.0)
    setup.at_fault = frozenset({name, "norm1", "act0"})


def saturated(setup: Setup) -> None:
    """The first layer's outputs are so large that its tanh has no slope."""
    name, layer = first_layer(setup.model)
    with torch.no_grad():
        layer.weight *= 200
    setup.at_fault = frozenset({name, "body.1"})


def detached(setup: Setup) -> None:
    """A layer's output is cut from the graph, as by a stray ``.detach()`` or ``.data``."""
    name, layer = first_layer(setup.model)
    layer.register_forward_hook(lambda module, inputs, output: output.detach())
    setup.at_fault = frozenset({name})


def frozen(setup: Setup) -> None:
    for layer in hidden_layers(setup.model).values():
        layer.requires_grad_(False)
    setup.at_fault = frozenset(hidden_layers(setup.model))


def oversized_head(setup: Setup) -> None:
    """Features are flattened instead of pooled, into a layer that is far too wide."""
    side, classes = setup.train.tensors[0].shape[-1], setup.model.head.out_features
    setup.model = nn.Sequential()
    for name, layer in (
        ("conv1", nn.Conv2d(1, 8, 3, padding=1)),
        ("act1", nn.ReLU()),
        ("pool1", nn.MaxPool2d(2)),
        ("conv2", nn.Conv2d(8, 16, 3, padding=1)),
        ("act2", nn.ReLU()),
        ("flatten", nn.Flatten()),
        ("wide", nn.Linear(16 * (side // 2) ** 2, 256)),
        ("act3", nn.ReLU()),
        ("head", nn.Linear(256, classes)),
    ):
        setup.model.add_module(name, layer)
    setup.epochs, setup.rate, setup.optimizer = 3, 1e-3, adam
    setup.at_fault = frozenset({"wide"})


def no_pooling(setup: Setup) -> None:
    """Four convolutions at the full size of the image, and all that they leave into the head."""
    side, classes = setup.train.tensors[0].shape[-1], setup.model.head.out_features
    model = nn.Sequential()
    for place in range(4):
        model.add_module(f"conv{place}", nn.Conv2d(1 if place == 0 else 8, 8, 3, padding=1))
        model.add_module(f"act{place}", nn.ReLU())
    model.add_module("flatten", nn.Flatten())
    model.add_module("head", nn.Linear(8 * side**2, classes))
    setup.model, setup.epochs, setup.rate, setup.optimizer = model, 4, 3e-3, adam
    setup.at_fault = frozenset(f"conv{place}" for place in range(4))


# --- mistakes in the code -----------------------------------------------------------------------------------


def other_model(setup: Setup) -> None:
    """The optimizer was made before the model was made anew."""
    earlier = copy.deepcopy(setup.model)
    setup.optimized = lambda model: earlier.parameters()
    for weight in earlier.parameters():
        weight.grad = torch.zeros_like(weight)


def layer_not_optimized(setup: Setup) -> None:
    name, layer = first_layer(setup.model)
    left_out = {id(weight) for weight in layer.parameters()}
    setup.optimized = lambda model: [weight for weight in model.parameters() if id(weight) not in left_out]
    setup.at_fault = frozenset({name})


def double_softmax(setup: Setup) -> None:
    setup.model.head = nn.Sequential(setup.model.head, nn.Softmax(dim=1))


def negated(setup: Setup) -> None:
    right = setup.criterion
    setup.criterion = lambda output, y: -right(output, y)


def summed(setup: Setup) -> None:
    setup.criterion = nn.CrossEntropyLoss(reduction="sum")


def always_evaluating(setup: Setup) -> None:
    setup.train_mode = nn.Module.eval


def never_evaluating(setup: Setup) -> None:
    setup.val_mode = nn.Module.train


def overflowing(setup: Setup) -> None:
    """Gradients that float16 cannot hold whatever the scale: every step is skipped."""
    setup.precision, setup.scaler = torch.float16, torch.amp.GradScaler("cpu", init_scale=2.0**100)
    setup.gradient_factor = 1e30
    setup.told |= {"amp": "fp16"}


def crashes(setup: Setup) -> None:
    def fail(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        if step == setup.steps // 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.40 GiB. GPU 0 has 0 bytes free.")
        return x, y

    setup.on_batch.append(fail)


# --- data, memory and time ----------------------------------------------------------------------------------


def masked_labels(setup: Setup) -> None:
    """The mask that hides the prompt hides everything; -100 is what `torch.nn.CrossEntropyLoss` leaves out."""
    setup.on_batch.append(lambda step, x, y: (x, torch.full_like(y, -100)))


def _at_half(setup: Setup, spoil: Callable[[Tensor], Tensor]) -> None:
    def spoil_one(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return (spoil(x), y) if step == setup.steps // 2 else (x, y)

    setup.on_batch.append(spoil_one)


def wild_batch(setup: Setup) -> None:
    _at_half(setup, lambda x: x * 1000)


def nan_batch(setup: Setup) -> None:
    def spoil(x: Tensor) -> Tensor:
        x = x.clone()
        x[0] = float("nan")
        return x

    _at_half(setup, spoil)


def unscaled_inputs(setup: Setup) -> None:
    for part in (setup.train, setup.val):
        if part is not None:
            part.tensors = (part.tensors[0] * 800, *part.tensors[1:])


def rare_class(setup: Setup) -> None:
    """Of one class 2 % of the samples are left in the training data."""
    x, y = setup.train.tensors
    kept = (y != 0) | (torch.rand(len(y)) < 0.02)
    setup.train = TensorDataset(x[kept], y[kept])


def leak(setup: Setup) -> None:
    """Nine tenths of the validation data are training data."""
    if setup.val is None:
        raise ValueError("there is no validation data to leak into")
    (x, y), (val_x, val_y) = setup.train.tensors, setup.val.tensors
    copied = len(val_y) * 9 // 10
    setup.val = TensorDataset(torch.cat([x[:copied], val_x[copied:]]), torch.cat([y[:copied], val_y[copied:]]))


class Slow:
    """Waits where a loader would: between asking for a batch and getting it."""

    def __init__(self, batches: Iterable[Any], start: float, seconds: float) -> None:
        self.batches, self.start, self.seconds, self.given = batches, start, seconds, 0

    def __iter__(self) -> Iterator[Any]:
        for batch in self.batches:
            if self.given >= self.start:
                time.sleep(self.seconds)
            self.given += 1
            yield batch


def slow_loader(from_share: float, seconds: float) -> Callable[[Setup], None]:
    """Return a twist: each batch takes ``seconds`` longer to load once ``from_share`` of the run is done."""

    def twist(setup: Setup) -> None:
        inner = setup.loader
        setup.loader = lambda ready: Slow(inner(ready) if inner else ready.batches(), from_share * ready.steps, seconds)

    return twist


def slow_steps(from_share: float, seconds: float) -> Callable[[Setup], None]:
    """Return a twist: each step computes ``seconds`` longer once ``from_share`` of the run is done."""

    def twist(setup: Setup) -> None:
        setup.on_step.append(lambda step, _: time.sleep(seconds) if step >= from_share * setup.steps else None)

    return twist


def memory_leak(setup: Setup) -> None:
    """Some 400 MB over the run, kept as a list of results that nobody reads."""
    kept: list[Tensor] = []
    megabytes = max(1, 400 // setup.steps)
    every = max(1, setup.steps // 400)

    def keep(step: int, _: Optimizer) -> None:
        if step % every == 0:
            kept.append(torch.ones(megabytes * 1024 * 256))

    setup.on_step.append(keep)
