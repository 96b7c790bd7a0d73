"""Data: scikit-learn's small sets and made-up ones. All tensors are float32 in about unit scale, labels int64."""

from __future__ import annotations

import math

import numpy as np
import torch
from sklearn import datasets
from torch import Tensor
from torch.utils.data import TensorDataset

Split = tuple[TensorDataset, TensorDataset]
"""Training and validation data."""


def split(x: Tensor, y: Tensor, seed: int, share: float = 0.25) -> Split:
    """Shuffle and hold out ``share`` of the samples."""
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    held_out = int(len(x) * share)
    val, kept = order[:held_out], order[held_out:]
    return TensorDataset(x[kept], y[kept]), TensorDataset(x[val], y[val])


def digits(seed: int) -> Split:
    """1,797 handwritten digits, 1 x 8 x 8, 10 classes."""
    found = datasets.load_digits()
    return split(_floats(found.images / 16).unsqueeze(1), torch.tensor(found.target), seed)


def breast_cancer(seed: int) -> Split:
    """569 samples of 30 standardized features, 2 classes."""
    found = datasets.load_breast_cancer()
    return split(_standardized(found.data), torch.tensor(found.target), seed)


def wine(seed: int) -> Split:
    """178 samples of 13 standardized features, 3 classes."""
    found = datasets.load_wine()
    return split(_standardized(found.data), torch.tensor(found.target), seed)


def diabetes(seed: int) -> Split:
    """442 samples of 10 features, a standardized target."""
    found = datasets.load_diabetes()
    return split(_standardized(found.data), _standardized(found.target[:, None]), seed)


def friedman(seed: int, samples: int = 1200) -> Split:
    """Friedman's first regression problem: 10 features, a standardized target with noise."""
    x, y = datasets.make_friedman1(samples, noise=1.0, random_state=seed)
    return split(_standardized(x), _standardized(y[:, None]), seed)


def plane(seed: int, samples: int = 800) -> Split:
    """A plane over 10 features with little noise; the target is standardized."""
    x, y = datasets.make_regression(samples, 10, n_informative=6, noise=10.0, random_state=seed)
    return split(_standardized(x), _standardized(y[:, None]), seed)


def shapes(seed: int, samples: int = 1000, side: int = 16) -> Split:
    """Noisy outlines of a disc, a square, a cross and stripes, 1 x 16 x 16, 4 classes."""
    made = torch.Generator().manual_seed(seed)
    label = torch.randint(4, (samples,), generator=made)
    center = torch.rand(2, samples, 1, 1, generator=made) * side / 3 + side / 3
    radius = torch.rand(samples, 1, 1, generator=made) * side / 6 + side / 6
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    dy, dx = (row - center[0]).abs(), (column - center[1]).abs()
    figures = torch.stack(
        [
            (dy**2 + dx**2).sqrt() <= radius,
            torch.maximum(dy, dx) <= radius,
            (torch.minimum(dy, dx) <= 1) & (torch.maximum(dy, dx) <= radius),
            (torch.maximum(dy, dx) <= radius) & (row % 3 == 0),
        ]
    )
    images = figures[label, torch.arange(samples)].float()
    images += 0.3 * torch.randn(samples, side, side, generator=made)
    return split(images.unsqueeze(1), label, seed)


def waves(seed: int, samples: int = 900, length: int = 32) -> Split:
    """Noisy sine, square and saw-tooth waves of random frequency and phase, length x 1, 3 classes."""
    made = torch.Generator().manual_seed(seed)
    label = torch.randint(3, (samples,), generator=made)
    frequency = torch.rand(samples, 1, generator=made) * 2 + 1.5
    phase = torch.rand(samples, 1, generator=made)
    turn = torch.arange(length) / length * frequency + phase
    sine = (2 * math.pi * turn).sin()
    kinds = torch.stack([sine, sine.sign(), 2 * (turn % 1) - 1])
    signal = kinds[label, torch.arange(samples)] + 0.25 * torch.randn(samples, length, generator=made)
    return split(signal.unsqueeze(-1), label, seed)


def order_of_marks(seed: int, samples: int = 1000, length: int = 20) -> Split:
    """Sequences of noise with two marks, length x 3; the class is the order in which they come (4 classes)."""
    made = torch.Generator().manual_seed(seed)
    x = 0.2 * torch.randn(samples, length, 3, generator=made)
    first = torch.randint(0, length // 2, (samples,), generator=made)
    second = torch.randint(length // 2, length, (samples,), generator=made)
    kinds = torch.randint(2, (2, samples), generator=made)
    each = torch.arange(samples)
    x[each, first, kinds[0]] += 2
    x[each, second, kinds[1]] += 2
    return split(x, 2 * kinds[0] + kinds[1], seed)


_NAMES = ("the tall miller", "a grey heron", "our old baker", "the young smith", "a small fox", "the night watch")
_DEEDS = ("counts", "carries", "paints", "hides", "follows", "mends")
_THINGS = ("nine copper bells", "the river stones", "a broken ladder", "two wet sails", "his winter coat", "the lamp")


def tales(seed: int, length: int = 24, samples: int = 900) -> Split:
    """Sentences of a small grammar as characters: inputs and next characters, both samples x length, 27 symbols."""
    made = np.random.default_rng(seed)
    words = [f"{made.choice(_NAMES)} {made.choice(_DEEDS)} {made.choice(_THINGS)} " for _ in range(1200)]
    return _windows("".join(words), length, samples, seed)


def sums(seed: int, length: int = 24, samples: int = 900) -> Split:
    """Counting exercises in words as characters, shaped like `tales`."""
    names = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    made = np.random.default_rng(seed)
    pairs = made.integers(0, 5, (1500, 2))
    return _windows(" ".join(f"{names[a]} and {names[b]} is {names[a + b]}" for a, b in pairs), length, samples, seed)


SYMBOLS = 27
"""The blank and the letters a to z."""


def _windows(text: str, length: int, samples: int, seed: int) -> Split:
    codes = torch.tensor([0 if each == " " else ord(each) - ord("a") + 1 for each in text])
    starts = torch.randint(len(codes) - length - 1, (samples,), generator=torch.Generator().manual_seed(seed))
    windows = codes[starts[:, None] + torch.arange(length + 1)]
    return split(windows[:, :-1], windows[:, 1:], seed)


def _floats(values: np.ndarray) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)


def _standardized(values: np.ndarray) -> Tensor:
    return _floats((values - values.mean(0)) / values.std(0))
