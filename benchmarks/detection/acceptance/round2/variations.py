"""Habits of the second round that change a sound training and leave it sound."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.detection.acceptance.fronts import Script, loader_of
from benchmarks.detection.training import Setup
from observer_client import Observer


def adafactor(setup: Setup) -> None:
    """The rate is relative to the size of the weights (Shazeer and Stern 2018)."""
    setup.rate, setup.optimizer = 0.02, lambda rate: lambda weights: torch.optim.Adafactor(weights, lr=rate)


def adamax(setup: Setup) -> None:
    setup.rate, setup.optimizer = setup.rate * 1.5, lambda rate: lambda weights: torch.optim.Adamax(weights, lr=rate)


def centered_rmsprop(setup: Setup) -> None:
    setup.rate *= 0.3
    setup.optimizer = lambda rate: lambda weights: torch.optim.RMSprop(weights, rate, centered=True, momentum=0.5)


def grouped_rates(setup: Setup) -> None:
    """Biases and norms are not decayed, and the last layer learns five times as fast."""

    def build(rate: float) -> Any:
        def make(weights: Any) -> Any:
            *body, last, bias = weights
            small, large = ([each for each in body if (each.ndim > 1) is big] for big in (False, True))
            return torch.optim.AdamW(
                [
                    {"params": large, "weight_decay": 0.05},
                    {"params": small, "weight_decay": 0.0},
                    {"params": [last, bias], "lr": 5 * rate},
                ],
                lr=rate,
            )

        return make

    setup.optimizer = build


def exponential(optimizer: Any, steps: int) -> Any:
    return lr_scheduler.ExponentialLR(optimizer, 0.03 ** (1 / steps))


def restarts_growing(optimizer: Any, steps: int) -> Any:
    return lr_scheduler.CosineAnnealingWarmRestarts(optimizer, max(1, steps // 7), T_mult=2)


def averaged(setup: Setup) -> None:
    """What is validated is a moving average of the weights, which lags behind at first."""
    script = Script(setup)
    average = torch.optim.swa_utils.AveragedModel(
        setup.model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.97)
    )

    def run(ready: Setup, observer: Observer) -> None:
        observer.register_model(ready.model, script.optimizer)
        ema = copy.copy(ready)
        for steps in script.epochs():
            for loss in steps:
                average.update_parameters(ready.model)
                observer.step(loss=loss)
            ema.model, script.setup = average, ema
            found = script.validated()
            script.setup = ready
            observer.flush(found)

    setup.loop = run


def tiny_validation(setup: Setup) -> None:
    """Twelve samples to validate on: what they say jumps about."""
    if setup.val is not None:
        setup.val = TensorDataset(*(each[:12] for each in setup.val.tensors))


def noise_known(setup: Setup) -> None:
    """A tenth of the training labels is wrong, and everybody knows: few epochs, smoothing, decay."""
    x, y = setup.train.tensors
    y, wrong = y.clone(), torch.rand(len(y)) < 0.1
    y[wrong] = y[wrong][torch.randperm(int(wrong.sum()))]
    setup.train = TensorDataset(x, y)
    smooth, plain = nn.CrossEntropyLoss(label_smoothing=0.1), setup.criterion
    setup.criterion = lambda output, y: (smooth if output.requires_grad else plain)(output, y)
    setup.told |= {"label_smoothing": 0.1}


class _Streamed:
    """A number of batches that differs from epoch to epoch, as from a stream of files."""

    def __init__(self, batches: Any) -> None:
        self.batches, self.passes = batches, 0

    def __iter__(self) -> Iterator[Any]:
        self.passes += 1
        wanted = max(3, len(self.batches) * (5 + self.passes * 7 % 6) // 10)
        for number, batch in enumerate(self.batches):
            if number == wanted:
                return
            yield batch


def streamed(setup: Setup) -> None:
    setup.loader = lambda ready: _Streamed(loader_of(ready))


def cut_out(setup: Setup) -> None:
    """Strong augmentation: a large square is blanked and the picture is shifted; nothing of it in validation."""

    def change(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        side = x.shape[-1]
        x = x.roll(tuple(torch.randint(-2, 3, (2,)).tolist()), (-2, -1)).clone()
        row, column = torch.randint(side // 2, (2,)).tolist()
        x[..., row : row + side // 2, column : column + side // 2] = 0.0
        return x, y

    setup.on_batch.append(change)
    setup.told |= {"augmentation": "cutout, shift"}


def easy_first(setup: Setup) -> None:
    """Batches begin with what a glance can tell and get noisier: the training loss rises on its way."""
    share = lambda step: min(1.0, step / (0.7 * setup.steps))  # noqa: E731
    setup.on_batch.append(lambda step, x, y: (x + 0.35 * share(step) * torch.randn_like(x), y))
    setup.told |= {"curriculum": "noise grows"}


def _learned(setup: Setup, epochs: int) -> None:
    """Train before the observer comes, on labels in another order: the body is used to the inputs, not the task."""
    kept, setup.epochs = setup.epochs, epochs
    x, y = setup.train.tensors
    real, setup.train = setup.train, TensorDataset(x, (y + 1) % (int(y.max()) + 1))
    for steps in Script(setup).epochs():
        for _ in steps:
            pass
    setup.train, setup.epochs = real, kept
    setup.told |= {"init_from": "base.pt"}


def _head(model: nn.Module) -> nn.Linear:
    return [each for each in model.modules() if isinstance(each, nn.Linear)][-1]


def backbone_frozen(setup: Setup) -> None:
    """Only a new last layer learns, of a network that was trained for something else."""
    _learned(setup, 4)
    for weight in setup.model.parameters():
        weight.requires_grad_(False)
    head = _head(setup.model)
    head.reset_parameters()
    for weight in head.parameters():
        weight.requires_grad_(True)
    setup.told |= {"freeze_backbone": True}


def fine_tuned_gently(setup: Setup) -> None:
    """A thirtieth of the rate over all of a trained network: the loss begins low and moves little."""
    kept = setup.epochs
    for steps in Script(setup).epochs():
        for _ in steps:
            pass
    setup.epochs, setup.rate = max(4, kept // 2), setup.rate / 30
    setup.told |= {"init_from": "base.pt", "fine_tune": True}


def two_speeds(setup: Setup) -> None:
    """A trained body at a twentieth of the rate of its new head."""
    _learned(setup, 3)
    head = _head(setup.model)
    head.reset_parameters()
    kept = {id(each) for each in head.parameters()}

    def build(rate: float) -> Any:
        return lambda weights: torch.optim.AdamW(
            [
                {"params": [each for each in weights if id(each) not in kept], "lr": rate / 20},
                {"params": [each for each in weights if id(each) in kept]},
            ],
            lr=rate,
        )

    setup.optimizer = build


def dropping(share: float) -> Any:
    """Return a twist that sets all dropout to ``share``, or puts it before the last layer."""

    def twist(setup: Setup) -> None:
        found = [each for each in setup.model.modules() if isinstance(each, nn.Dropout)]
        for each in found:
            each.p = share
        if not found:
            name = [name for name, each in setup.model.named_modules() if isinstance(each, nn.Linear)][-1]
            setup.model.set_submodule(name, nn.Sequential(nn.Dropout(share), _head(setup.model)))

    return twist


def balanced(setup: Setup) -> None:
    """Rare positives count eleven times."""
    setup.criterion = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(11.0))
    setup.told |= {"pos_weight": 11.0}


def long_windows(setup: Setup) -> None:
    """One pass over many samples; somebody flushes every so often and validates then."""
    x, y = setup.train.tensors
    setup.train = TensorDataset(x.repeat(6, *[1] * (x.ndim - 1)), y.repeat(6, *[1] * (y.ndim - 1)))
    setup.epochs = 1
    setup.flush_every = max(5, setup.steps // 10)


def workers(setup: Setup) -> None:
    """Loading in processes of its own, started anew in each epoch."""
    setup.loader = lambda ready: DataLoader(ready.train, ready.batch_size, shuffle=True, num_workers=2, drop_last=True)
    setup.epochs = min(setup.epochs, 5)
