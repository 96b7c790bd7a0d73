"""What healthy trainings of the acceptance part do differently."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer, lr_scheduler
from torch.utils.data import TensorDataset

from benchmarks.detection.acceptance.workloads import nesterov
from benchmarks.detection.training import Setup, train
from observer_client import Observer, ObserverConfig


def with_nesterov(setup: Setup) -> None:
    setup.rate, setup.optimizer = setup.rate * 15, nesterov


def adagrad(setup: Setup) -> None:
    setup.rate, setup.optimizer = setup.rate * 8, lambda rate: lambda weights: torch.optim.Adagrad(weights, lr=rate)


def rmsprop(setup: Setup) -> None:
    setup.optimizer = lambda rate: lambda weights: torch.optim.RMSprop(weights, lr=rate)
    setup.rate *= 0.7


class Lion(Optimizer):
    """Steps of one size, in the direction of the momentum's signs (Chen et al. 2023)."""

    def __init__(self, weights: Any, rate: float) -> None:
        super().__init__(weights, {"lr": rate, "betas": (0.9, 0.99)})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                mean = self.state[weight].setdefault("mean", torch.zeros_like(weight))
                weight -= group["lr"] * mean.lerp(weight.grad, 0.1).sign()
                mean.lerp_(weight.grad, 0.01)


def lion(setup: Setup) -> None:
    setup.rate, setup.optimizer = setup.rate / 6, lambda rate: lambda weights: Lion(weights, rate)


def triangles(optimizer: Any, steps: int) -> Any:
    """Three triangles between a fifth of the rate and the rate."""
    high = optimizer.param_groups[0]["lr"]
    return lr_scheduler.CyclicLR(optimizer, high / 5, high, max(1, steps // 6), cycle_momentum=False)


def warm_up_stable_decay(optimizer: Any, steps: int) -> Any:
    def share(at: int) -> float:
        done = at / steps
        return min(1.0, (done + 0.01) / 0.1) if done < 0.7 else max(0.02, (1 - done) / 0.3)

    return lr_scheduler.LambdaLR(optimizer, share)


def square_root_decay(optimizer: Any, steps: int) -> Any:
    """A long warm-up and the decay of the first transformer."""
    rising = steps // 4
    return lr_scheduler.LambdaLR(optimizer, lambda at: min((at + 1) / rising, (rising / (at + 1)) ** 0.5))


def on_plateau(setup: Setup) -> None:
    """The rate is divided by three as soon as the training loss of an epoch is not the best of the last two."""
    made: list[Any] = []
    seen: list[float] = []
    inner = setup.criterion

    def remember(optimizer: Optimizer, _: int) -> None:
        made.append(lr_scheduler.ReduceLROnPlateau(optimizer, factor=1 / 3, patience=1))

    def watched(output: Any, y: Tensor) -> Tensor:
        loss = inner(output, y)
        if setup.model.training:
            seen.append(float(loss))
        return loss

    def react(_: int) -> None:
        made[-1].step(sum(seen) / len(seen))
        seen.clear()

    # The loop must not advance what steps by epochs.
    setup.schedule = remember  # type: ignore[assignment]
    setup.criterion = watched
    setup.on_epoch.append(react)


def _pretrain(setup: Setup) -> None:
    train(setup, Observer(config=ObserverConfig(mode="disabled")))
    setup.told |= {"pretrained": True}


def biases_only(setup: Setup) -> None:
    """After pre-training only biases and normalization are trained (Ben Zaken et al. 2022)."""
    _pretrain(setup)
    for name, weight in setup.model.named_parameters():
        weight.requires_grad_(weight.ndim == 1 or name.startswith("classifier"))
    last = next(module for module in reversed(list(setup.model.modules())) if isinstance(module, nn.Linear))
    last.reset_parameters()
    setup.told |= {"trainable": "biases, norms and the classifier"}
    setup.epochs = 8


def gradual_unfreezing(setup: Setup) -> None:
    """A third of the run trains the classifier of a pre-trained network, the rest trains all of it."""
    _pretrain(setup)
    last = next(module for module in reversed(list(setup.model.modules())) if isinstance(module, nn.Linear))
    last.reset_parameters()
    kept = {id(weight) for weight in last.parameters()}
    others = [weight for weight in setup.model.parameters() if id(weight) not in kept]
    for weight in others:
        weight.requires_grad_(False)
    # The optimizer knows all of them from the start; what is frozen has no gradient and stays.
    setup.optimized = lambda model: [weight.requires_grad_(True) for weight in model.parameters()]
    setup.on_batch.append(lambda step, x, y: _freeze(others, step < setup.steps // 3, (x, y)))
    setup.rate /= 3
    setup.told |= {"unfreezing": "after a third of the steps"}


def _freeze(weights: list[nn.Parameter], frozen: bool, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    for weight in weights:
        weight.requires_grad_(not frozen)
    return batch


def fine_tuned(setup: Setup) -> None:
    _pretrain(setup)
    setup.rate, setup.epochs = setup.rate / 8, 4


def resumed(setup: Setup) -> None:
    _pretrain(setup)
    del setup.told["pretrained"]
    setup.told |= {"resumed_from": "epoch-10.ckpt"}
    setup.rate, setup.epochs = setup.rate / 2, 8


def mixed_up(setup: Setup) -> None:
    """Pairs of samples are blended (Zhang et al. 2018): training is harder than validation."""

    def soft(output: Tensor, y: Tensor) -> Tensor:
        return functional.cross_entropy(output, y)

    def blend(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        share = float(torch.distributions.Beta(0.4, 0.4).sample())
        order = torch.randperm(len(x))
        answers = functional.one_hot(y, setup.told["num_classes"]).float()
        return share * x + (1 - share) * x[order], share * answers + (1 - share) * answers[order]

    setup.criterion = soft
    setup.on_batch.append(blend)
    setup.told |= {"mixup": 0.4}


def heavy_dropout(setup: Setup) -> None:
    for module in setup.model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.5
    setup.told |= {"dropout": 0.5}


def focal(setup: Setup) -> None:
    """Easy samples hardly count (Lin et al. 2017): the loss gets tiny."""

    def loss(output: Tensor, y: Tensor) -> Tensor:
        each = functional.cross_entropy(output, y, reduction="none")
        return ((1 - (-each).exp()) ** 2 * each).mean()

    setup.criterion = loss
    setup.told |= {"loss": "focal"}


def weighed_minority(setup: Setup) -> None:
    """Of one class one in seven is left, and its loss counts seven times as much."""
    for part in (setup.train, setup.val):
        if part is not None:
            x, y = part.tensors
            kept = (y != 0) | (torch.rand(len(y)) < 1 / 7)
            part.tensors = (x[kept], y[kept])
    weights = torch.ones(setup.told["num_classes"])
    weights[0] = 7.0
    setup.criterion = nn.CrossEntropyLoss(weight=weights)
    setup.told |= {"class_weights": weights.tolist()}


def large_units(setup: Setup) -> None:
    """Targets in units in which they are hundreds, under a robust loss."""
    for part in (setup.train, setup.val):
        if part is not None:
            part.tensors = (part.tensors[0], 200 * part.tensors[1] + 900)
    last = next(module for module in reversed(list(setup.model.modules())) if isinstance(module, nn.Linear))
    with torch.no_grad():
        last.weight *= 200
        last.bias.fill_(900.0)
    setup.criterion, setup.clip = nn.HuberLoss(delta=100.0), None
    setup.told |= {"loss": "huber"}
    setup.optimizer = lambda rate: (
        lambda weights: torch.optim.Adam(
            [{"params": weights[:-2]}, {"params": weights[-2:], "lr": 200 * rate}], lr=rate
        )
    )


def outliers(setup: Setup) -> None:
    """Noise with heavy tails: single batches have a loss far above the rest, all through the run."""
    for part in (setup.train, setup.val):
        if part is not None:
            x, y = part.tensors
            part.tensors = (x, y + 0.1 * torch.distributions.StudentT(2.0).sample(y.shape))


def rarely_validated(setup: Setup) -> None:
    kept = setup.val
    setup.on_epoch.append(lambda epoch: setattr(setup, "val", kept if epoch % 3 == 2 else None))


def distilled(setup: Setup) -> None:
    """A second network learns from the answers of the first, softened."""
    teacher = type(setup.model)(setup.told["num_classes"])
    student, setup.model = setup.model, teacher
    _pretrain(setup)
    teacher.eval()
    setup.model = student
    del setup.told["pretrained"]
    for part in (setup.train, setup.val):
        if part is not None:
            with torch.no_grad():
                part.tensors = (part.tensors[0], (teacher(part.tensors[0]) / 2).softmax(1))

    def loss(output: Tensor, answers: Tensor) -> Tensor:
        return 4 * functional.kl_div((output / 2).log_softmax(1), answers, reduction="batchmean")

    setup.criterion, setup.accuracy = loss, None
    setup.told = {"loss": "distillation"}


def later_classes(setup: Setup) -> None:
    """Two of the classes come in only after an eighth of the steps: the loss jumps, as planned."""
    x, y = setup.train.tensors
    known = torch.nonzero(y >= 2).squeeze(1)

    def replace(step: int, batch: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if step >= setup.steps // 8:
            return batch, labels
        chosen = known[torch.randint(len(known), (len(labels),))]
        return x[chosen], y[chosen]

    setup.on_batch.append(replace)
    setup.told |= {"curriculum": "two more classes from an eighth of the steps on"}


def growing_batches(setup: Setup) -> None:
    """The batch doubles twice instead of the rate falling (Smith et al. 2018)."""

    def bigger(epoch: int) -> None:
        if epoch in (setup.epochs // 3, 2 * setup.epochs // 3):
            setup.batch_size *= 2

    first = setup.batch_size
    setup.loader = lambda ready: _Anew(ready)
    setup.on_epoch.append(bigger)
    setup.told |= {"batch_size_schedule": [first, 2 * first, 4 * first]}


class _Anew:
    """Asks for the batches of the size that is wanted by now."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup

    def __iter__(self) -> Any:
        return iter(self.setup.batches())


def smooth_start(setup: Setup) -> None:
    """Each epoch begins with a pause, as loaders start their workers; every fifth ends with a checkpoint."""
    per_epoch = setup.steps // setup.epochs

    def wait(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        if step % per_epoch == 0:
            time.sleep(0.06)
        return x, y

    setup.on_batch.append(wait)
    setup.on_epoch.append(lambda epoch: time.sleep(0.35) if epoch % 5 == 4 else None)


def noisy_inputs(setup: Setup) -> None:
    """Strong augmentation while training, none while validating."""
    setup.on_batch.append(lambda step, x, y: (x + 0.5 * torch.randn_like(x), y))


def one_pass(setup: Setup) -> None:
    """Everything is seen once, in a single epoch."""
    x, y = setup.train.tensors
    times = 8
    setup.train = TensorDataset(x.repeat(times, *[1] * (x.ndim - 1)), y.repeat(times, *[1] * (y.ndim - 1)))
    setup.epochs, setup.batch_size = 1, 32
