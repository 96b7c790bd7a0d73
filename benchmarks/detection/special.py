"""Sound trainings that need a loss or a loop of their own."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

from benchmarks.detection import data
from benchmarks.detection.training import Setup
from observer_client import Observer

_SYMBOLS = 5
_LENGTH = 24


class Reader(nn.Module):
    """A recurrent network that gives the logarithm of the probability of each symbol, or of none, at each place."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = nn.GRU(_SYMBOLS, 32, batch_first=True, bidirectional=True)
        self.head = nn.Linear(64, _SYMBOLS + 1)

    def forward(self, x: Tensor) -> Tensor:
        out, _ = self.memory(x)
        return functional.log_softmax(self.head(out), dim=-1)


def strokes(seed: int, samples: int = 900) -> data.Split:
    """Noisy strokes, length x 5, and the symbols in them, padded with 0. Of one in forty samples the symbols repeat too
    often to fit into the length, so that no path gives them and their loss is infinite."""
    made = torch.Generator().manual_seed(seed)
    x = 0.2 * torch.randn(samples, _LENGTH, _SYMBOLS, generator=made)
    y = torch.zeros(samples, _LENGTH, dtype=torch.int64)
    for sample in range(samples):
        count = int(torch.randint(3, 6, (1,), generator=made))
        symbols = torch.randint(_SYMBOLS, (count,), generator=made)
        starts = torch.randperm(_LENGTH // 3, generator=made)[:count].sort().values * 3
        for symbol, start in zip(symbols.tolist(), starts.tolist(), strict=True):
            x[sample, start : start + 2, symbol] += 1.5
        y[sample, :count] = symbols + 1
        if sample % 40 == 0:
            y[sample] = 1
    return data.split(x, y, seed)


def ctc(output: Tensor, targets: Tensor) -> Tensor:
    """Return the connectionist temporal classification loss; what is infinite counts as zero and trains nothing."""
    lengths = torch.full((len(output),), output.shape[1])
    return functional.ctc_loss(
        output.transpose(0, 1), targets, lengths, (targets > 0).sum(1), blank=0, zero_infinity=True
    )


def strokes_ctc(seed: int) -> Setup:
    train, val = strokes(seed)
    told = {"loss": "ctc"}
    return Setup(model=Reader(), train=train, val=val, criterion=ctc, rate=5e-3, epochs=14, batch_size=32, told=told)


class Pair(nn.Module):
    """A generator of points in the plane and a discriminator of them."""

    def __init__(self, noise: int = 8) -> None:
        super().__init__()
        self.noise = noise
        self.generator = nn.Sequential(nn.Linear(noise, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 2))
        self.discriminator = nn.Sequential(
            nn.Linear(2, 48), nn.LeakyReLU(0.2), nn.Linear(48, 48), nn.LeakyReLU(0.2), nn.Linear(48, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.discriminator(x)
        return made


def ring(seed: int, samples: int = 1024) -> TensorDataset:
    """Points on a noisy ring."""
    made = torch.Generator().manual_seed(seed)
    angle = 2 * math.pi * torch.rand(samples, generator=made)
    points = torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(samples, 2, generator=made)
    return TensorDataset(points, torch.zeros(samples, 1))


def ring_gan(seed: int) -> Setup:
    return Setup(
        model=Pair(),
        train=ring(seed),
        val=None,
        criterion=functional.binary_cross_entropy_with_logits,
        rate=5e-4,
        epochs=25,
        told={"loss": "adversarial"},
        loop=play,
    )


def play(setup: Setup, observer: Observer) -> None:
    """Train both sides in turn, each with its own optimizer; the loss that is logged is the sum of theirs."""
    pair: Pair = setup.model  # type: ignore[assignment]
    sides = (pair.discriminator, pair.generator)
    optimizers = [torch.optim.Adam(side.parameters(), setup.rate, betas=(0.5, 0.999)) for side in sides]
    observer.register_model(pair)
    observer.log_hyperparameters(
        {"learning_rate": setup.rate, "batch_size": setup.batch_size, "epochs": setup.epochs, **setup.told}
    )
    step = 0
    for _ in range(setup.epochs):
        for real, _ in setup.batches():
            losses = []
            for optimizer, loss_of in zip(optimizers, (_judging, _fooling), strict=True):
                optimizer.zero_grad()
                losses.append(loss_of(pair, real))
                losses[-1].backward()
                optimizer.step()
            observer.step(step, sum(losses).detach(), batch_size=len(real))
            step += 1
        observer.flush({})


def _judging(pair: Pair, real: Tensor) -> Tensor:
    made = pair.generator(torch.randn(len(real), pair.noise)).detach()
    right = functional.softplus(-pair.discriminator(real)) + functional.softplus(pair.discriminator(made))
    return right.mean()


def _fooling(pair: Pair, real: Tensor) -> Tensor:
    made = pair.generator(torch.randn(len(real), pair.noise))
    return functional.softplus(-pair.discriminator(made)).mean()
