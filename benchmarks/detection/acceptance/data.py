"""Data that no threshold was tuned on. All tensors are float32 in about unit scale, labels int64."""

from __future__ import annotations

import math

import numpy as np
import torch
from sklearn import datasets
from torch import Tensor
from torch.utils.data import TensorDataset

from benchmarks.detection.data import Split, split


def textures(seed: int, samples: int = 900, side: int = 12) -> Split:
    """Colored gratings of five directions and widths under noise, 3 x 12 x 12, 5 classes."""
    made = torch.Generator().manual_seed(seed)
    label = torch.randint(5, (samples,), generator=made)
    angle = label * math.pi / 5 + 0.12 * torch.randn(samples, generator=made)
    phase = 2 * math.pi * torch.rand(samples, 1, 1, generator=made)
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    across = angle.cos()[:, None, None] * column + angle.sin()[:, None, None] * row
    wave = (across * (0.9 + 0.1 * label[:, None, None]) + phase).sin()
    color = 0.5 + 0.5 * torch.rand(samples, 3, 1, 1, generator=made)
    images = wave.unsqueeze(1) * color + 0.6 * torch.randn(samples, 3, side, side, generator=made)
    return split(images, label, seed)


_SEGMENTS = ("abcdef", "bc", "abged", "abgcd", "fgbc", "afgcd", "afgedc", "abc", "abcdefg", "abcdfg")
_STROKES = {
    "a": (slice(1, 3), slice(2, 7)),
    "b": (slice(2, 6), slice(6, 8)),
    "c": (slice(6, 10), slice(6, 8)),
    "d": (slice(9, 11), slice(2, 7)),
    "e": (slice(6, 10), slice(1, 3)),
    "f": (slice(2, 6), slice(1, 3)),
    "g": (slice(5, 7), slice(2, 7)),
}


def glyphs(seed: int, samples: int = 1000) -> Split:
    """The ten digits of a seven-segment display, shifted and noisy, 1 x 14 x 12."""
    made = torch.Generator().manual_seed(seed)
    shapes = torch.zeros(10, 14, 12)
    for digit, strokes in enumerate(_SEGMENTS):
        for stroke in strokes:
            shapes[digit][_STROKES[stroke]] = 1.0
    label = torch.randint(10, (samples,), generator=made)
    shifts = torch.randint(3, (samples, 2), generator=made)
    images = torch.stack(
        [shapes[one].roll(tuple(shift), (0, 1)) for one, shift in zip(label, shifts.tolist(), strict=True)]
    )
    images = images * (0.6 + 0.4 * torch.rand(samples, 1, 1, generator=made))
    return split((images + 0.35 * torch.randn(images.shape, generator=made)).unsqueeze(1), label, seed)


def ellipses(seed: int, samples: int = 360, side: int = 24) -> Split:
    """Two blurred ellipses in noise, 1 x 24 x 24, and for each pixel whether it lies in one."""
    made = torch.Generator().manual_seed(seed)
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    inside = torch.zeros(samples, side, side, dtype=torch.bool)
    for _ in range(2):
        y, x = (4 + (side - 8) * torch.rand(2, samples, 1, 1, generator=made)).unbind(0)
        tall, wide = (2 + 4 * torch.rand(2, samples, 1, 1, generator=made)).unbind(0)
        inside |= ((row - y) / tall) ** 2 + ((column - x) / wide) ** 2 <= 1
    images = inside.float() + 0.5 * torch.randn(samples, side, side, generator=made)
    return split(images.unsqueeze(1), inside.long(), seed)


def votes(seed: int, samples: int = 1200, length: int = 24) -> Split:
    """Sequences of 40 words; each word votes for one of 4 classes, the majority wins."""
    made = torch.Generator().manual_seed(seed)
    words = torch.randint(40, (samples, length), generator=made)
    leaning = torch.randint(4, (samples,), generator=made)
    follows = torch.rand(samples, length, generator=made) < 0.25
    words = torch.where(follows, words // 4 * 4 + leaning[:, None], words)
    counts = torch.stack([(words % 4 == side).sum(1) for side in range(4)], 1)
    return split(words, counts.argmax(1), seed)


def clouds(seed: int, samples: int = 900, points: int = 32) -> Split:
    """Points on a sphere, a cube, a torus or a cylinder, points x 3, scaled and noisy, 4 classes."""
    made = np.random.default_rng(seed)
    label = made.integers(0, 4, samples)
    u, v = made.uniform(0, 2 * math.pi, (2, samples, points))
    height = made.uniform(-1, 1, (samples, points))
    flat = np.sqrt(1 - height**2)
    sphere = np.stack([flat * np.cos(u), flat * np.sin(u), height], -1)
    cube = made.uniform(-1, 1, (samples, points, 3))
    cube /= np.abs(cube).max(-1, keepdims=True)
    ring = 0.7 + 0.3 * np.cos(v)
    torus = np.stack([ring * np.cos(u), ring * np.sin(u), 0.3 * np.sin(v)], -1)
    cylinder = np.stack([0.8 * np.cos(u), 0.8 * np.sin(u), height], -1)
    chosen = np.stack([sphere, cube, torus, cylinder])[label, np.arange(samples)]
    chosen = chosen * made.uniform(0.8, 1.2, (samples, 1, 1)) + made.normal(0, 0.05, chosen.shape)
    return split(torch.tensor(chosen, dtype=torch.float32), torch.tensor(label), seed)


def graphs(seed: int, samples: int = 800, nodes: int = 12) -> Split:
    """Adjacency matrices, nodes x nodes, of random graphs, rings with chords, and two communities; 3 classes."""
    made = np.random.default_rng(seed)
    label = made.integers(0, 3, samples)
    place = np.arange(nodes)
    near = np.minimum(abs(place[:, None] - place), nodes - abs(place[:, None] - place))
    together = (place[:, None] < nodes // 2) == (place < nodes // 2)
    chances = np.stack([np.full((nodes, nodes), 0.33), np.where(near <= 2, 0.8, 0.08), np.where(together, 0.65, 0.08)])
    drawn = np.triu(made.random((samples, nodes, nodes)) < chances[label], 1)
    edges = drawn | drawn.transpose(0, 2, 1)
    order = np.argsort(made.random((samples, nodes)), 1)
    edges = np.take_along_axis(np.take_along_axis(edges, order[:, :, None], 1), order[:, None, :], 2)
    return split(torch.tensor(edges, dtype=torch.float32), torch.tensor(label), seed)


_VERBS = ("boil", "grate", "fold", "toast", "whisk", "chop", "simmer")
_FOODS = ("plums", "rice", "butter", "leeks", "walnuts", "trout", "oats", "quinces")
_ENDS = ("until soft", "for an hour", "with salt", "over low heat", "and serve cold")


def recipes(seed: int, length: int = 28, samples: int = 900) -> Split:
    """Kitchen instructions as characters: inputs and next characters, both samples x length, 27 symbols."""
    made = np.random.default_rng(seed)
    text = " ".join(f"{made.choice(_VERBS)} the {made.choice(_FOODS)} {made.choice(_ENDS)}" for _ in range(1500))
    codes = torch.tensor([0 if each == " " else ord(each) - ord("a") + 1 for each in text])
    starts = torch.randint(len(codes) - length - 1, (samples,), generator=torch.Generator().manual_seed(seed))
    windows = codes[starts[:, None] + torch.arange(length + 1)]
    return split(windows[:, :-1], windows[:, 1:], seed)


def reversals(seed: int, samples: int = 1400, length: int = 5) -> Split:
    """Digits, a mark (10) and the digits backwards; labels of the question are -100, as a prompt's are masked."""
    made = torch.Generator().manual_seed(seed)
    question = torch.randint(10, (samples, length), generator=made)
    whole = torch.cat([question, torch.full((samples, 1), 10), question.flip(1)], 1)
    targets = whole[:, 1:].clone()
    targets[:, :length] = -100
    return split(whole[:, :-1], targets, seed)


def series(seed: int, samples: int = 900, length: int = 32, ahead: int = 4) -> Split:
    """Seasonal autoregressive series, length x 1, and the next four values."""
    made = np.random.default_rng(seed)
    time = np.arange(length + ahead) + made.uniform(0, 12, (samples, 1))
    season = np.sin(2 * math.pi * time / 12) * made.uniform(0.5, 1.5, (samples, 1))
    values = np.zeros((samples, length + ahead))
    for place in range(1, length + ahead):
        values[:, place] = 0.8 * values[:, place - 1] + made.normal(0, 0.15, samples)
    both = torch.tensor(season + values, dtype=torch.float32)
    return split(both[:, :length, None], both[:, length:], seed)


def ratings(seed: int, samples: int = 4000, users: int = 60, items: int = 50) -> Split:
    """A user and an item, samples x 2 numbers, and how much the one likes the other, standardized."""
    made = torch.Generator().manual_seed(seed)
    taste, kind = torch.randn(users, 3, generator=made), torch.randn(items, 3, generator=made)
    user, item = torch.randint(users, (samples,), generator=made), torch.randint(items, (samples,), generator=made)
    liked = (taste[user] * kind[item]).sum(1) / 1.7 + 0.3 * torch.randn(samples, generator=made)
    return split(torch.stack([user, item], 1), liked.unsqueeze(1), seed)


def roll(seed: int, samples: int = 1200) -> Split:
    """Points of a rolled-up sheet, 3 coordinates, and where they lie along it."""
    x, y = datasets.make_swiss_roll(samples, noise=0.1, random_state=seed)
    return split(_standardized(x), _standardized(y[:, None]), seed)


def tags(seed: int, samples: int = 1200) -> Split:
    """Word counts of 24 words and which of 6 tags apply, 0 or 1 as float32."""
    x, y = datasets.make_multilabel_classification(
        n_samples=samples, n_features=24, n_classes=6, n_labels=2, random_state=seed
    )
    x_train, y_train = _standardized(x), torch.tensor(y, dtype=torch.float32)
    return split(x_train, y_train, seed)


def mixture(seed: int, samples: int = 1500) -> Split:
    """Twenty features, 5 classes of two clusters each."""
    x, y = datasets.make_classification(
        samples, 20, n_informative=10, n_classes=5, n_clusters_per_class=2, class_sep=1.6, random_state=seed
    )
    return split(_standardized(x), torch.tensor(y, dtype=torch.int64), seed)


def shells(seed: int, samples: int = 1500) -> Split:
    """Six features of nested shells around the origin, 3 classes."""
    x, y = datasets.make_gaussian_quantiles(n_samples=samples, n_features=6, n_classes=3, random_state=seed)
    return split(_standardized(x), torch.tensor(y, dtype=torch.int64), seed)


def moons(seed: int, samples: int = 1500) -> Split:
    """Points of two interleaved half circles; the targets are not used."""
    x, y = datasets.make_moons(samples, noise=0.08, random_state=seed)
    return split(_standardized(x), torch.tensor(y, dtype=torch.int64), seed)


def iris(seed: int) -> Split:
    """150 flowers of 4 measures, 3 classes."""
    found = datasets.load_iris()
    return split(_standardized(found.data), torch.tensor(found.target), seed)


def counts(seed: int, samples: int = 1200) -> Split:
    """Eight features and a count that is Poisson-distributed around the exponential of a sum of bends."""
    made = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, 8, generator=made)
    rate = (0.8 * x[:, 0].sin() + 0.5 * x[:, 1] * (x[:, 2] > 0) + 0.8).exp()
    return split(x, torch.poisson(rate, generator=made).unsqueeze(1), seed)


def additions(seed: int, samples: int = 1500, length: int = 6) -> Split:
    """Sequences of a number and a mark, length x 2; the target is the sum of the two marked numbers."""
    made = torch.Generator().manual_seed(seed)
    number = torch.rand(samples, length, generator=made)
    places = torch.rand(samples, length, generator=made).argsort(1)[:, :2]
    mark = torch.zeros(samples, length).scatter_(1, places, 1.0)
    return split(torch.stack([number, mark], 2), (number * mark).sum(1, keepdim=True), seed)


def spiral(seed: int, samples: int = 1500) -> TensorDataset:
    """Points of a noisy spiral in the plane; the targets are not used."""
    made = torch.Generator().manual_seed(seed)
    turn = 3 * math.pi * (0.2 + 0.8 * torch.rand(samples, generator=made))
    points = torch.stack([turn * turn.cos(), turn * turn.sin()], 1) / 5
    return TensorDataset(points + 0.05 * torch.randn(samples, 2, generator=made), torch.zeros(samples, 1))


def _standardized(values: np.ndarray) -> Tensor:
    return torch.tensor((values - values.mean(0)) / values.std(0), dtype=torch.float32)
