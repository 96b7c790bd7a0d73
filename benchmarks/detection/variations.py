"""What healthy trainings do differently: options that people use, and things that look alarming and are not."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler
from torch.utils.data import TensorDataset

from benchmarks.detection import workloads as at
from benchmarks.detection.models import LowRank
from benchmarks.detection.training import Setup, Twist, sgd, train
from observer_client import Observer, ObserverConfig


def changed(**settings: Any) -> Twist:
    """Return a twist that overrides fields of the setup."""

    def twist(setup: Setup) -> None:
        for name, value in settings.items():
            setattr(setup, name, value)

    return twist


def scaled(**factors: float) -> Twist:
    """Return a twist that multiplies numeric fields."""

    def twist(setup: Setup) -> None:
        for name, factor in factors.items():
            old = getattr(setup, name)
            setattr(setup, name, type(old)(old * factor))

    return twist


def in_turn(*twists: Twist) -> Twist:
    def twist(setup: Setup) -> None:
        for each in twists:
            each(setup)

    return twist


def momentum(setup: Setup) -> None:
    setup.rate, setup.optimizer = setup.rate * 20, lambda rate: sgd(rate, momentum=0.9)


def cosine(optimizer: Any, steps: int) -> Any:
    return lr_scheduler.CosineAnnealingLR(optimizer, steps)


def one_cycle(optimizer: Any, steps: int) -> Any:
    # The run may end a step later than planned where a batch is short.
    return lr_scheduler.OneCycleLR(optimizer, 4 * optimizer.param_groups[0]["lr"], steps + 60)


def restarts(optimizer: Any, steps: int) -> Any:
    return lr_scheduler.CosineAnnealingWarmRestarts(optimizer, max(1, steps // 4))


def staircase(optimizer: Any, steps: int) -> Any:
    return lr_scheduler.MultiStepLR(optimizer, [steps // 2, steps * 3 // 4])


def warm_up_then_linear(optimizer: Any, steps: int) -> Any:
    rising = max(1, steps // 10)
    return lr_scheduler.LambdaLR(
        optimizer, lambda at: min((at + 1) / rising, max(0.0, (steps - at) / (steps - rising)))
    )


def _pretrain(setup: Setup, epochs: int) -> None:
    """Train the model unseen, as whoever published its weights did."""
    told, setup.epochs = setup.epochs, epochs
    train(setup, Observer(config=ObserverConfig(mode="disabled")))
    setup.epochs = told


def head_only(setup: Setup) -> None:
    _pretrain(setup, setup.epochs)
    for weight in setup.model.parameters():
        weight.requires_grad_(False)
    setup.model.head.reset_parameters()
    setup.model.head.requires_grad_(True)
    setup.told |= {"pretrained": True, "trainable": "head"}


def low_rank(setup: Setup) -> None:
    _pretrain(setup, setup.epochs)
    for module in list(setup.model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear) and name != "head":
                setattr(module, name, LowRank(child))
    setup.rate, setup.epochs = setup.rate / 4, 8
    for name, weight in setup.model.named_parameters():
        weight.requires_grad_("lora" in name or "head" in name)
    setup.told |= {"pretrained": True, "peft": "lora", "rank": 4}


def fine_tuned(setup: Setup) -> None:
    _pretrain(setup, setup.epochs)
    setup.rate, setup.epochs = setup.rate / 10, 5
    setup.told |= {"pretrained": True}


def overconfident(setup: Setup) -> None:
    """Five epochs of fine-tuning in which the loss on other data may rise while the answers get better."""
    x, y = setup.train.tensors
    wrong = torch.rand(len(y)) < 0.15
    y[wrong] = torch.randint(int(y.max()) + 1, (int(wrong.sum()),))
    setup.train = TensorDataset(x, y)
    setup.rate, setup.epochs = setup.rate * 1.5, 5


def label_smoothing(setup: Setup) -> None:
    setup.criterion = nn.CrossEntropyLoss(label_smoothing=0.2)
    setup.told |= {"label_smoothing": 0.2}


def weight_rises(rises: Callable[[float], float]) -> Twist:
    """Return a twist by which the weight of the divergence follows ``rises`` of the run's progress (0 to 1)."""

    def twist(setup: Setup) -> None:
        done = [0]
        setup.on_step.append(lambda step, _: done.__setitem__(0, step))
        setup.criterion = at.vae_loss(lambda: rises(done[0] / setup.steps))
        setup.told |= {"kl_warm_up": True}

    return twist


def sparse(setup: Setup) -> None:
    """Each hidden unit is silent for four of five samples, and each for others."""
    x = setup.train.tensors[0]
    with torch.no_grad():
        for name, module in setup.model.named_children():
            if name.startswith("hidden"):
                module.bias -= module(x).quantile(0.8, dim=0)
            x = module(x)


def pauses(setup: Setup) -> None:
    """A checkpoint is written every fourth epoch."""
    setup.on_epoch.append(lambda epoch: time.sleep(0.25) if epoch % 4 == 3 else None)


def compiles(setup: Setup) -> None:
    """The first step takes long, as with `torch.compile`."""

    def wait(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        if step == 0:
            time.sleep(0.8)
        return x, y

    setup.on_batch.append(wait)


def curriculum(setup: Setup) -> None:
    """Half-way through, the inputs become noisier: the loss rises, as planned."""

    def harder(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return (x + 0.15 * torch.randn_like(x), y) if step > setup.steps // 2 else (x, y)

    setup.on_batch.append(harder)
    setup.told |= {"curriculum": "noise from half of the steps on"}


def varying_length(setup: Setup) -> None:
    """Every batch is cut to its own length."""

    def cut(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        length = 8 + (step * 7) % (x.shape[1] - 7)
        return x[:, :length], y[:, :length] if y.ndim > 1 else y

    setup.on_batch.append(cut)


def half_precision(setup: Setup) -> None:
    """Mixed precision whose loss scale begins too high: some first steps are skipped, as they should be."""
    setup.precision, setup.scaler = torch.float16, torch.amp.GradScaler("cpu", init_scale=2.0**24)
    setup.told |= {"amp": "fp16"}


def resumed(setup: Setup) -> None:
    """A run that goes on from a checkpoint starts low and gains little."""
    _pretrain(setup, setup.epochs // 2)
    setup.told |= {"resumed_from": "last.pt"}


def windows(setup: Setup) -> None:
    """One pass over the data, flushed every few steps, as language models are trained."""
    setup.epochs = 4
    x, y = setup.train.tensors
    setup.train = TensorDataset(x.repeat(3, 1), y.repeat(3, 1))
    setup.flush_every, setup.batch_size = 12, 16


def ordinary(_: Setup) -> None:
    pass
