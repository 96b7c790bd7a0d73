"""Data of the third round: float32 in about unit scale unless a docstring says otherwise, labels int64."""

from __future__ import annotations

import math

import numpy as np
import torch
from sklearn import datasets
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from benchmarks.detection.acceptance.text import LETTERS, passages, reference
from benchmarks.detection.data import Split, split

BLANK = len(LETTERS)
"""The symbol that stands for a hidden letter."""


def gaps(seed: int, samples: int = 1800, length: int = 24) -> Split:
    """Passages of twelve letters, each written twice, a sixth of the letters hidden; the targets are these or -100."""
    made = torch.Generator().manual_seed(seed)
    whole = passages("string-methods", samples, length // 2, made).repeat(1, 2)
    hidden = torch.rand(samples, length, generator=made) < 1 / 6
    hidden[:, 0] = True
    return split(torch.where(hidden, BLANK, whole), torch.where(hidden, whole, -100), seed)


def words_near(seed: int, samples: int = 6000) -> tuple[int, Split]:
    """Return the number of words, and pairs of words with 1.0 where they stood together, 0.0 where drawn at random."""
    made = torch.Generator().manual_seed(seed)
    found = reference("compound").replace(".", "").replace(",", "").split()
    known = sorted({each for each in found if found.count(each) > 4})
    codes = torch.tensor([known.index(each) for each in found if each in set(known)])
    at = torch.randint(2, len(codes) - 2, (samples,), generator=made)
    near = at + torch.tensor([-2, -1, 1, 2])[torch.randint(4, (samples,), generator=made)]
    real = torch.rand(samples, generator=made) < 0.4
    other = codes[torch.randint(len(codes), (samples,), generator=made)]
    pairs = torch.stack([codes[at], torch.where(real, codes[near], other)], 1)
    return len(known), split(pairs, real.float(), seed)


def friends(seed: int, nodes: int = 160) -> tuple[Tensor, Split]:
    """Return an adjacency matrix with a fifth of its edges taken out, and pairs of nodes with 1.0 for an edge."""
    made = torch.Generator().manual_seed(seed)
    place = torch.rand(nodes, 2, generator=made)
    near = torch.triu(torch.cdist(place, place) < 0.16, 1)
    edges = near.nonzero()
    edges = edges[torch.randperm(len(edges), generator=made)]
    shown = edges[len(edges) // 5 :]
    matrix = torch.eye(nodes)
    matrix[shown[:, 0], shown[:, 1]] = matrix[shown[:, 1], shown[:, 0]] = 1.0
    none = torch.randint(nodes, (len(edges), 2), generator=made)
    pairs, answer = torch.cat([edges, none]), torch.cat([torch.ones(len(edges)), torch.zeros(len(edges))])
    root = matrix.sum(1).rsqrt()
    return root[:, None] * matrix * root, split(pairs, answer, seed)


def bounces(seed: int, samples: int = 400, frames: int = 7, side: int = 10) -> Split:
    """Films of a bouncing ball, 6 x 10 x 10, and the frame that follows."""
    made = torch.Generator().manual_seed(seed)
    place = 1 + (side - 3) * torch.rand(samples, 2, generator=made)
    speed = 2.4 * torch.rand(samples, 2, generator=made) - 1.2
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    seen = []
    for _ in range(frames):
        far = (row - place[:, 0, None, None]) ** 2 + (column - place[:, 1, None, None]) ** 2
        seen.append((-far / 1.5).exp())
        place = place + speed
        speed = torch.where((place < 0.5) | (place > side - 1.5), -speed, speed)
    film = torch.stack(seen, 1) + 0.03 * torch.randn(samples, frames, side, side, generator=made)
    return split(film[:, :-1], film[:, -1], seed)


def medians(seed: int, samples: int = 900, items: int = 9) -> Split:
    """Sets of nine numbers and their median and range."""
    made = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, items, 1, generator=made) * (0.5 + torch.rand(samples, 1, 1, generator=made))
    values = x.squeeze(2)
    return split(x, torch.stack([values.median(1).values, values.amax(1) - values.amin(1) - 2], 1), seed)


def circuits(seed: int, samples: int = 1200) -> Split:
    """Four properties of a circuit and its impedance, all standardized (Friedman's second problem)."""
    x, y = datasets.make_friedman2(samples, noise=40.0, random_state=seed)
    return split(_standardized(x), _standardized(y[:, None]), seed)


_CODE = {"e": ".", "t": "-", "a": ".-", "n": "-.", "i": "..", "m": "--", "s": "...", "o": "---"}


def morse(seed: int, samples: int = 800, letters: int = 2) -> Split:
    """Noisy Morse signals, 1 x 48, and the two letters, 1..8."""
    made = np.random.default_rng(seed)
    y = made.integers(0, len(_CODE), (samples, letters))
    signals = []
    for row in y:
        parts: list[float] = [0.0] * int(made.integers(1, 4))
        for letter in row:
            for mark in list(_CODE.values())[letter]:
                parts += [1.0] * (2 if mark == "." else 5) + [0.0] * 2
            parts += [0.0] * 3
        signals.append(torch.tensor(parts[:48]))
    x = pad_sequence(signals, batch_first=True)
    x = torch.nn.functional.pad(x, (0, 48 - x.shape[1])) + 0.12 * torch.randn(
        samples, 48, generator=torch.Generator().manual_seed(seed)
    )
    return split(x.unsqueeze(1).float(), torch.tensor(y) + 1, seed)


def chirps(seed: int, samples: int = 700, length: int = 256) -> Split:
    """Sounds, 1 x 256, that rise, fall, tremble or hold their pitch, in noise."""
    made = torch.Generator().manual_seed(seed)
    label = torch.randint(4, (samples,), generator=made)
    time = torch.linspace(0, 1, length)
    pitch = 12 + 8 * torch.rand(samples, 1, generator=made)
    bend = torch.stack([0.5 * time**2, -0.3 * time**2, 0.02 * (24 * time).sin(), torch.zeros(length)])[label]
    phase = torch.rand(samples, 1, generator=made)
    sound = (2 * math.pi * (pitch * (time + bend) + phase)).sin()
    return split((sound + 0.5 * torch.randn(samples, length, generator=made)).unsqueeze(1), label, seed)


def sensors(seed: int, samples: int = 1200) -> Split:
    """Twenty-four correlated sensors, driven by five things; the targets are the same numbers."""
    made = torch.Generator().manual_seed(seed)
    hidden = torch.randn(samples, 5, generator=made)
    mixed = (hidden @ torch.randn(5, 24, generator=made)).tanh() + 0.2 * torch.randn(samples, 24, generator=made)
    return split(mixed, mixed, seed)


def parity(seed: int, samples: int = 3000, bits: int = 32) -> Split:
    """Thirty-two bits, -1 or 1; the class is the parity of three of them: nothing to hold on to for a while."""
    made = torch.Generator().manual_seed(seed)
    x = torch.randint(2, (samples, bits), generator=made).float() * 2 - 1
    return split(x, (x[:, 2] * x[:, 7] * x[:, 11] > 0).long(), seed)


def ages(seed: int, samples: int = 1200, levels: int = 6) -> Split:
    """Ten features and an age group, 0..5, as the thresholds that are passed, 5 numbers of 0 or 1."""
    made = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, 10, generator=made)
    age = x[:, 0] + 0.8 * x[:, 1] * x[:, 2] + 0.6 * x[:, 3].abs() + 0.3 * torch.randn(samples, generator=made)
    levels_at = torch.tensor([age.quantile(place / levels) for place in range(1, levels)])
    return split(x, (age[:, None] > levels_at).float(), seed)


def joints(seed: int, samples: int = 400, side: int = 16) -> Split:
    """Three spots of different widths in noise, 1 x 16 x 16, and heat maps of each, 3 x 16 x 16."""
    made = torch.Generator().manual_seed(seed)
    place = 2 + (side - 5) * torch.rand(samples, 3, 2, generator=made)
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    far = (row - place[..., 0, None, None]) ** 2 + (column - place[..., 1, None, None]) ** 2
    spots = (-far / torch.tensor([0.7, 4.0, 16.0])[:, None, None]).exp() * torch.tensor([1.5, 1.0, 0.8])[:, None, None]
    image = spots.sum(1) + 0.1 * torch.randn(samples, side, side, generator=made)
    return split(image.unsqueeze(1), (-far / 4.0).exp(), seed)


def inverse(seed: int, samples: int = 1200) -> Split:
    """Where a wave may have come from: one number in, several possible numbers out (Bishop 1994)."""
    made = torch.Generator().manual_seed(seed)
    y = torch.rand(samples, 1, generator=made)
    x = y + 0.3 * (2 * math.pi * y).sin() + 0.03 * torch.randn(samples, 1, generator=made)
    return split(2 * x - 1, 2 * y - 1, seed)


def rod(seed: int, samples: int = 1024) -> Split:
    """Places and times in the unit square where an equation of heat is to hold; the targets are the true heat."""
    made = torch.Generator().manual_seed(seed)
    x = torch.rand(samples, 2, generator=made)
    heat = (-0.1 * math.pi**2 * x[:, 1]).exp() * (math.pi * x[:, 0]).sin()
    return split(x, heat.unsqueeze(1), seed)


def queries(seed: int, samples: int = 500, items: int = 8) -> Split:
    """Queries with eight documents of ten features each, and how relevant these are, 0..3."""
    made = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, items, 10, generator=made)
    score = (
        x[..., 0] + x[..., 1] * x[..., 2] + 0.5 * x[..., 3].cos() + 0.4 * torch.randn(samples, items, generator=made)
    )
    return split(x, torch.bucketize(score, torch.tensor([0.0, 1.0, 2.0])).float(), seed)


def heaps(seed: int, samples: int = 1200) -> Split:
    """Positions of Nim and two clocks; the best heap (0..2), and 1 where the player to move wins.

    Three heaps of 0..7 are 24 bits. The clocks do not matter, but no two positions are the same.
    """
    made = torch.Generator().manual_seed(seed)
    x = torch.randint(8, (samples, 3), generator=made)
    total = x[:, 0] ^ x[:, 1] ^ x[:, 2]
    useful = (x ^ total[:, None]) < x
    best = torch.where(useful.any(1), useful.int().argmax(1), x.argmax(1))
    bits = torch.nn.functional.one_hot(x, 8).flatten(1).float()
    clocks = torch.randn(samples, 2, generator=made)
    return split(torch.cat([bits, clocks], 1), torch.stack([best, (total > 0).long()], 1), seed)


def crescents(seed: int, samples: int = 1000) -> Split:
    """Points of two interleaved half circles; half of them are turned and moved; the targets are class and origin."""
    x, y = datasets.make_moons(samples, noise=0.12, random_state=seed)
    moved = torch.arange(samples) % 2
    points = torch.tensor(x, dtype=torch.float32)
    turned = points @ torch.tensor([[0.82, 0.57], [-0.57, 0.82]]) + torch.tensor([0.3, -0.2])
    points = torch.where(moved[:, None] > 0, turned, points)
    return split(points, torch.stack([torch.tensor(y, dtype=torch.int64), moved], 1), seed)


def tokens(seed: int, samples: int = 800, side: int = 8) -> Split:
    """Pictures of plus signs, frames and diagonals, 1 x 8 x 8 in -1..1; the targets are the kinds (3)."""
    made = torch.Generator().manual_seed(seed)
    label = torch.randint(3, (samples,), generator=made)
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    at = torch.randint(2, 6, (samples, 1, 1), generator=made)
    size = torch.randint(1, 3, (samples, 1, 1), generator=made)
    dy, dx = (row - at).abs(), (column - at).abs()
    shapes = torch.stack([(dy == 0) | (dx == 0), torch.maximum(dy, dx) == size, (dy == dx) & (dy <= size + 1)])
    images = shapes[label, torch.arange(samples)].float() * 2 - 1
    return split((images + 0.15 * torch.randn(images.shape, generator=made)).unsqueeze(1), label, seed)


def _standardized(values: np.ndarray) -> Tensor:
    return torch.tensor((values - values.mean(0)) / values.std(0), dtype=torch.float32)
