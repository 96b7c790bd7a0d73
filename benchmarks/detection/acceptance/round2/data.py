"""Data of the second round: float32 in about unit scale unless a docstring says otherwise, labels int64."""

from __future__ import annotations

import math
import zlib
from functools import cache

import numpy as np
import torch
from sklearn import datasets
from torch import Tensor

from benchmarks.detection.acceptance import text
from benchmarks.detection.acceptance.text import passages
from benchmarks.detection.data import Split, split

TOPICS = ("compound", "types", "formatstrings", "string-methods", "debugger")


def topics(seed: int, samples: int = 900, length: int = 48) -> Split:
    """Passages of the language reference as letters, samples x 48, and which of five chapters they come from."""
    made = torch.Generator().manual_seed(seed)
    label = torch.randint(len(TOPICS), (samples,), generator=made)
    x = torch.stack([passages(name, samples, length, made) for name in TOPICS])
    return split(x[label, torch.arange(samples)], label, seed)


@cache
def _words(topic: str) -> Tensor:
    return torch.tensor([zlib.crc32(word.encode()) % 500 for word in text.reference(topic).split()])


def chapters(seed: int, samples: int = 800, length: int = 20) -> Split:
    """Passages of twenty words, numbers below 500, and which of five chapters they come from."""
    made = torch.Generator().manual_seed(seed)
    label = torch.randint(len(TOPICS), (samples,), generator=made)
    starts = [int(torch.randint(len(_words(TOPICS[one])) - length, (1,), generator=made)) for one in label]
    x = [_words(TOPICS[one])[at : at + length] for one, at in zip(label, starts, strict=True)]
    return split(torch.stack(x), label, seed)


def reference(seed: int, samples: int = 700, length: int = 32) -> Split:
    """Passages of the language reference as letters and the next letters, both samples x 32."""
    windows = passages("specialnames", samples, length + 1, torch.Generator().manual_seed(seed))
    return split(windows[:, :-1], windows[:, 1:], seed)


def chords(seed: int, samples: int = 700) -> Split:
    """Log spectrograms of noisy triads, 1 x 24 x 10, and whether they are major, minor, diminished or suspended."""
    made = torch.Generator().manual_seed(seed)
    label = torch.randint(4, (samples,), generator=made)
    steps = torch.tensor([[0, 4, 7], [0, 3, 7], [0, 3, 6], [0, 5, 7]])[label]
    root = torch.randint(7, (samples, 1), generator=made)
    pitch = 0.07 * 2 ** ((steps + root) / 12)
    time = torch.arange(544)
    phase = 2 * math.pi * torch.rand(samples, 3, 1, generator=made)
    tones = (2 * math.pi * pitch[:, :, None] * time + phase).sin()
    loud = 0.5 + torch.rand(samples, 3, 1, generator=made)
    sound = (tones * loud).sum(1) + 0.3 * torch.randn(samples, len(time), generator=made)
    found = torch.stft(sound, 256, 32, window=torch.hann_window(256), center=False, return_complex=True)
    image = found.abs()[:, 16:40].log1p()
    return split(((image - image.mean()) / image.std()).unsqueeze(1), label, seed)


def clips(seed: int, samples: int = 600, frames: int = 6, side: int = 12) -> Split:
    """Films of a dot that moves, 1 x 6 x 12 x 12, and in which of four directions."""
    made = torch.Generator().manual_seed(seed)
    label = torch.randint(4, (samples,), generator=made)
    way = torch.tensor([[0, 1], [0, -1], [1, 0], [-1, 0]])[label]
    start = torch.randint(side, (samples, 2), generator=made)
    place = (start[:, None] + way[:, None] * torch.arange(frames)[None, :, None]) % side
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    far = (row - place[..., 0, None, None]) ** 2 + (column - place[..., 1, None, None]) ** 2
    film = (-far / 2.0).exp() * 2 + 0.4 * torch.randn(samples, frames, side, side, generator=made)
    return split(film.unsqueeze(1), label, seed)


def beats(seed: int, samples: int = 500, length: int = 64) -> Split:
    """Signals with bursts, 1 x 64, and for each moment whether it is quiet, a slow or a fast burst."""
    made = np.random.default_rng(seed)
    x, y = made.normal(0, 0.3, (samples, length)), np.zeros((samples, length), np.int64)
    for one in range(samples):
        for kind in (1, 2):
            at, long = made.integers(0, 44), made.integers(10, 20)
            time = np.arange(long)
            x[one, at : at + long] += np.sin(time * (0.6 if kind == 1 else 1.9) + made.uniform(0, 6)) * 1.3
            y[one, at : at + long] = kind
    return split(torch.tensor(x[:, None], dtype=torch.float32), torch.tensor(y), seed)


def community(seed: int, nodes: int = 300, groups: int = 4) -> tuple[Tensor, Tensor, Split]:
    """Return features, nodes x 16, an adjacency matrix scaled by degrees, and the split of node numbers and groups."""
    made = torch.Generator().manual_seed(seed)
    label = torch.randint(groups, (nodes,), generator=made)
    chance = torch.where(label[:, None] == label, 0.08, 0.01)
    drawn = torch.triu(torch.rand(nodes, nodes, generator=made) < chance, 1).float()
    edges = drawn + drawn.T + torch.eye(nodes)
    root = edges.sum(1).rsqrt()
    center = torch.randn(groups, 16, generator=made)
    features = 0.35 * center[label] + torch.randn(nodes, 16, generator=made)
    return features, root[:, None] * edges * root, split(torch.arange(nodes), label, seed, 0.4)


def claims(seed: int, samples: int = 3000) -> Split:
    """Insurance claims, six numbers and a region code in 0..11; one in twelve is fraud (1.0), known from all."""
    made = torch.Generator().manual_seed(seed)
    numbers, region = torch.randn(samples, 6, generator=made), torch.randint(12, (samples, 1), generator=made)
    taste = torch.randn(12, generator=made)
    score = numbers[:, 0] * numbers[:, 1] + numbers[:, 2] + taste[region[:, 0]] - 0.5 * numbers[:, 3] ** 2
    score += 0.4 * torch.randn(samples, generator=made)
    fraud = (score > score.quantile(11 / 12)).float()
    return split(torch.cat([numbers, region.float()], 1), fraud.unsqueeze(1), seed)


def lifetimes(seed: int, samples: int = 1000) -> Split:
    """Eight features; the targets are a time and whether it is that of death (1) or of leaving the study (0)."""
    made = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, 8, generator=made)
    risk = (x[:, 0] + 0.7 * x[:, 1].tanh() * 2 - 0.8 * x[:, 2] * (x[:, 3] > 0)).exp()
    death = -torch.rand(samples, generator=made).log() / risk
    leaves = 3 * torch.rand(samples, generator=made)
    return split(x, torch.stack([death.minimum(leaves), (death <= leaves).float()], 1), seed)


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MARKS = " abcdefghijklmnopqrstuvwxyz0123456789-"


def dates(seed: int, samples: int = 900) -> Split:
    """``7 mar 1984`` and the beginning of its answer, samples x 21 symbols, and the answer ``1984-03-07`` (10)."""
    made = np.random.default_rng(seed)
    x, y = [], []
    for _ in range(samples):
        day, month, year = made.integers(1, 29), made.integers(0, 12), made.integers(1950, 2050)
        asked = f"{day} {_MONTHS[month]} {year}".ljust(11)
        answer = f"{year}-{month + 1:02}-{day:02}"
        x.append([MARKS.index(each) for each in f"{asked} {answer[:-1]}"])
        y.append([MARKS.index(each) for each in answer])
    return split(torch.tensor(x), torch.tensor(y), seed)


_LINES = [(0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6)]


def boards(seed: int, samples: int = 1500) -> Split:
    """Positions of noughts and crosses after six moves, 2 x 3 x 3; crosses can win (1), noughts (2), neither (0)."""
    made = torch.Generator().manual_seed(seed)
    order = torch.rand(samples, 9, generator=made).argsort(1)
    stones = torch.zeros(samples, 2, 9)
    stones.scatter_(2, torch.stack([order[:, 0:6:2], order[:, 1:6:2]], 1), 1.0)
    free = 1 - stones.sum(1)
    lines = torch.zeros(8, 9)
    for number, line in enumerate(_LINES):
        lines[number, list(line)] = 1.0
    threat = ((stones @ lines.T == 2) & ((free @ lines.T) == 1)[:, None]).any(2)
    label = torch.where(threat[:, 0], 1, torch.where(threat[:, 1], 2, 0))
    return split(stones.view(-1, 2, 3, 3), label, seed)


def swings(seed: int, samples: int = 700, times: int = 8) -> Split:
    """Angle and speed of a damped pendulum and where it is at eight later times, 16 numbers."""
    made = torch.Generator().manual_seed(seed)
    state = torch.stack([3 * torch.rand(samples, generator=made) - 1.5, torch.randn(samples, generator=made)], 1)
    seen, now = [], state.clone()
    for place in range(times * 20):
        now = now + 0.02 * torch.stack([now[:, 1], -2 * now[:, 0].sin() - 0.15 * now[:, 1]], 1)
        if place % 20 == 19:
            seen.append(now)
    return split(state, torch.cat(seen, 1) + 0.03 * torch.randn(samples, 2 * times, generator=made), seed)


def demand(seed: int, samples: int = 1500) -> Split:
    """Weekday, season, price and weather as 11 numbers, and a demand whose spread depends on them."""
    made = torch.Generator().manual_seed(seed)
    day = torch.nn.functional.one_hot(torch.randint(7, (samples,), generator=made), 7).float()
    other = torch.randn(samples, 4, generator=made)
    level = (day * torch.tensor([0, 0.2, 0.1, 0.3, 0.9, 1.4, 1.0])).sum(1) - 0.6 * other[:, 0] + (2 * other[:, 1]).sin()
    spread = 0.3 + 0.5 * torch.sigmoid(2 * other[:, 2])
    y = level + spread * torch.randn(samples, generator=made)
    return split(torch.cat([day, other], 1), y.unsqueeze(1), seed)


def hastie(seed: int, samples: int = 1500) -> Split:
    """Ten normal features; the class says whether they lie far from the origin."""
    x, y = datasets.make_hastie_10_2(samples, random_state=seed)
    return split(torch.tensor(x, dtype=torch.float32), torch.tensor((y > 0).astype(np.int64)), seed)


def invaders(seed: int, samples: int = 800, side: int = 12) -> Split:
    """Symmetric sprites of six kinds with missing pixels and noise, 1 x 12 x 12."""
    shapes = torch.rand(6, side, side // 2, generator=torch.Generator().manual_seed(77)) < 0.45
    shapes = torch.cat([shapes, shapes.flip(2)], 2).float()
    made = torch.Generator().manual_seed(seed)
    label = torch.randint(6, (samples,), generator=made)
    images = shapes[label] * (torch.rand(samples, side, side, generator=made) < 0.75)
    moves = torch.randint(-2, 3, (samples,), generator=made).tolist()
    images = torch.stack([image.roll(move, 1) for image, move in zip(images, moves, strict=True)])
    return split((images + 0.35 * torch.randn(images.shape, generator=made)).unsqueeze(1), label, seed)


def placed_discs(seed: int, samples: int = 600, side: int = 16) -> Split:
    """A disc or a ring in noise, 1 x 16 x 16; the targets are the kind (0, 1), place and size, 4 numbers."""
    made = torch.Generator().manual_seed(seed)
    kind = torch.randint(2, (samples,), generator=made).float()
    place = 0.25 + 0.5 * torch.rand(samples, 2, generator=made)
    size = 0.1 + 0.12 * torch.rand(samples, generator=made)
    row, column = torch.meshgrid(torch.linspace(0, 1, side), torch.linspace(0, 1, side), indexing="ij")
    far = ((row - place[:, 0, None, None]) ** 2 + (column - place[:, 1, None, None]) ** 2).sqrt()
    inside = far <= size[:, None, None]
    hollow = (far < 0.5 * size[:, None, None]) & (kind[:, None, None] > 0)
    images = (inside & ~hollow).float() + 0.25 * torch.randn(samples, side, side, generator=made)
    return split(images.unsqueeze(1), torch.stack([kind, *place.T, size], 1), seed)


def tiles(seed: int, samples: int = 1200) -> Split:
    """Points of the black fields of a four by four board, in -2..2; the targets are not used."""
    made = torch.Generator().manual_seed(seed)
    points = 4 * torch.rand(4 * samples, 2, generator=made) - 2
    black = points[points.floor().sum(1) % 2 == 0][:samples]
    return split(black, torch.zeros(len(black), 1), seed)
