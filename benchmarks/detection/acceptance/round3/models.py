"""Networks of the third round."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class Scale(nn.Module):
    """Root mean square normalization (Zhang and Sennrich 2019)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * self.weight


class GatedBlock(nn.Module):
    """Attention without a mask and a gated layer, each behind a scale."""

    def __init__(self, width: int, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = Scale(width), Scale(width)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.gate, self.up = nn.Linear(width, 2 * width, bias=False), nn.Linear(width, 2 * width, bias=False)
        self.down = nn.Linear(2 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            each.unflatten(-1, (self.heads, -1)).transpose(1, 2) for each in self.qkv(self.before(x)).chunk(3, -1)
        )
        x = x + self.out(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        inner = self.between(x)
        return x + self.down(functional.silu(self.gate(inner)) * self.up(inner))


class Filler(nn.Module):
    """Guesses hidden letters; the answer is samples x symbols x length, through the embedding's own weights."""

    def __init__(self, symbols: int, width: int = 32, length: int = 24) -> None:
        super().__init__()
        self.embedding, self.place = nn.Embedding(symbols, width), nn.Parameter(0.02 * torch.randn(length, width))
        nn.init.normal_(self.embedding.weight, 0.0, 0.1)
        self.blocks = nn.Sequential(GatedBlock(width), GatedBlock(width))
        self.norm = Scale(width)

    def forward(self, x: Tensor) -> Tensor:
        seen = self.norm(self.blocks(self.embedding(x) + self.place))
        return functional.linear(seen, self.embedding.weight).transpose(1, 2)


class Skipgram(nn.Module):
    """Two vectors for each word; their product says whether words go together (Mikolov et al. 2013)."""

    def __init__(self, words: int, width: int = 24) -> None:
        super().__init__()
        self.inner, self.outer = nn.Embedding(words, width), nn.Embedding(words, width)
        self.bias = nn.Parameter(torch.zeros(1))
        for each in (self.inner, self.outer):
            nn.init.normal_(each.weight, 0.0, 0.2)

    def forward(self, pairs: Tensor) -> Tensor:
        return (self.inner(pairs[:, 0]) * self.outer(pairs[:, 1])).sum(1) + self.bias


class Ties(nn.Module):
    """Vectors of nodes through two graph convolutions; the product of two says whether they know each other."""

    def __init__(self, edges: Tensor, width: int = 24) -> None:
        super().__init__()
        self.register_buffer("edges", edges)
        self.features = nn.Parameter(0.3 * torch.randn(len(edges), width))
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, pairs: Tensor) -> Tensor:
        codes = self.edges @ self.second((self.edges @ self.first(self.features)).tanh())
        return (codes[pairs[:, 0]] * codes[pairs[:, 1]]).sum(1) + self.bias


class Foresight(nn.Module):
    """A recurrence whose state is a picture (Ballas et al. 2016) and what comes next."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.gates = nn.Conv2d(1 + width, 2 * width, 3, padding=1)
        self.news = nn.Conv2d(1 + width, width, 3, padding=1)
        self.out = nn.Conv2d(width, 1, 3, padding=1)
        self.width = width

    def forward(self, film: Tensor) -> Tensor:
        state = film.new_zeros(len(film), self.width, *film.shape[2:])
        for frame in film.split(1, 1):
            keep, reset = torch.sigmoid(self.gates(torch.cat([frame, state], 1))).chunk(2, 1)
            news = torch.tanh(self.news(torch.cat([frame, reset * state], 1)))
            state = keep * state + (1 - keep) * news
        return self.out(state).squeeze(1)


class SetAttention(nn.Module):
    """Items look at each other and a seed gathers them (Lee et al. 2019)."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.enter = nn.Linear(1, width)
        self.among = nn.MultiheadAttention(width, 4, batch_first=True)
        self.norm, self.body = nn.LayerNorm(width), nn.Sequential(nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, width))
        self.seed, self.gather = (
            nn.Parameter(torch.randn(1, 1, width)),
            nn.MultiheadAttention(width, 4, batch_first=True),
        )
        self.out = nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        items = self.enter(x)
        items = self.norm(items + self.among(items, items, items, need_weights=False)[0])
        items = items + self.body(items)
        seed = self.seed.expand(len(x), -1, -1)
        return self.out(self.gather(seed, items, items, need_weights=False)[0].squeeze(1))


class Columns(nn.Module):
    """Each column a token, and a token that reads them (Gorishniy et al. 2021)."""

    def __init__(self, columns: int, outputs: int, width: int = 24) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(columns, width) / width**0.5)
        self.bias = nn.Parameter(torch.zeros(columns, width))
        self.reader = nn.Parameter(0.1 * torch.randn(1, 1, width))
        layer = nn.TransformerEncoderLayer(width, 3, 48, dropout=0.05, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, outputs))

    def forward(self, x: Tensor) -> Tensor:
        cells = x[..., None] * self.weight + self.bias
        return self.head(self.encoder(torch.cat([self.reader.expand(len(x), -1, -1), cells], 1))[:, 0])


class Operator(nn.Module):
    """Hears Morse code: convolutions and a recurrence, log-probabilities for each moment (time first)."""

    def __init__(self, symbols: int) -> None:
        super().__init__()
        self.ear = nn.Sequential(nn.Conv1d(1, 24, 5, padding=2), nn.ReLU(), nn.Conv1d(24, 32, 5, stride=2, padding=2))
        self.recurrence = nn.LSTM(32, 32, bidirectional=True)
        self.classifier = nn.Linear(64, symbols)

    def forward(self, x: Tensor) -> Tensor:
        heard = self.ear(x).relu().movedim(2, 0)
        return self.classifier(self.recurrence(heard)[0]).log_softmax(2)


def raw_sound(classes: int) -> nn.Module:
    """Strided convolutions over a raw signal (Dai et al. 2017)."""
    return nn.Sequential(
        nn.Conv1d(1, 16, 16, stride=4, padding=6), nn.BatchNorm1d(16), nn.ReLU(), nn.MaxPool1d(2),
        nn.Conv1d(16, 24, 5, padding=2), nn.BatchNorm1d(24), nn.ReLU(), nn.MaxPool1d(2),
        nn.Conv1d(24, 32, 3, padding=1), nn.BatchNorm1d(32), nn.ReLU(),
        nn.AdaptiveAvgPool1d(4), nn.Flatten(), nn.Linear(128, classes),
    )  # fmt: skip


class Bottleneck(nn.Module):
    """Puts back what noise took away, through six numbers (Vincent et al. 2010)."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(columns, 40), nn.SELU(), nn.Linear(40, 6))
        self.decoder = nn.Sequential(nn.Linear(6, 40), nn.SELU(), nn.Linear(40, columns))

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.rand_like(x) < 0.2 if self.training else torch.zeros_like(x, dtype=torch.bool)
        return self.decoder(self.encoder(x.masked_fill(hidden, 0.0)))


class Maxout(nn.Module):
    """The largest of several linear answers (Goodfellow et al. 2013)."""

    def __init__(self, inputs: int, outputs: int, pieces: int = 3) -> None:
        super().__init__()
        self.linear, self.pieces = nn.Linear(inputs, outputs * pieces), pieces

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).unflatten(-1, (-1, self.pieces)).amax(-1)


class Thresholds(nn.Module):
    """One score, and the points at which it passes from one rank to the next (Cao et al. 2020)."""

    def __init__(self, inputs: int, ranks: int) -> None:
        super().__init__()
        self.body = nn.Sequential(Maxout(inputs, 32), nn.LayerNorm(32), Maxout(32, 24))
        self.score, self.steps = nn.Linear(24, 1, bias=False), nn.Parameter(torch.linspace(1.5, -1.5, ranks - 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.score(self.body(x)) + self.steps


class Hourglass(nn.Module):
    """Down and up again, with a way past (Newell et al. 2016): heat maps."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU())
        self.inner = nn.Sequential(
            nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.Upsample(scale_factor=2),
            nn.Conv2d(32, 16, 3, padding=1), nn.ReLU(), nn.Upsample(scale_factor=2),
        )  # fmt: skip
        self.out = nn.Conv2d(32, maps, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        seen = self.enter(x)
        return self.out(torch.cat([seen, self.inner(seen)], 1))


def mixture(inputs: int, bumps: int = 5) -> nn.Module:
    """Weights, places and widths of bell curves."""
    return nn.Sequential(nn.Linear(inputs, 40), nn.Tanh(), nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, 3 * bumps))


class Heat(nn.Module):
    """A field over place and time; asked for the field it answers also how far it is from the equation of heat."""

    def __init__(self) -> None:
        super().__init__()
        self.field = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return field, error of the equation, error at the start and at the ends, samples x 4."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            heat = self.field(x)
            slope = torch.autograd.grad(heat.sum(), x, create_graph=True)[0]
            bend = torch.autograd.grad(slope[:, 0].sum(), x, create_graph=True)[0][:, :1]
        start, end = x.detach().clone(), x.detach().clone()
        start[:, 1] = 0.0
        end[:, 0] = (end[:, 0] > 0.5).float()
        first = self.field(start) - (math.pi * start[:, :1]).sin()
        return torch.cat([heat, slope[:, 1:] - 0.1 * bend, first, self.field(end)], 1)


def scorer(columns: int) -> nn.Module:
    return nn.Sequential(nn.Linear(columns, 48), nn.Softplus(), nn.Linear(48, 24), nn.Softplus(), nn.Linear(24, 1))


class Strategist(nn.Module):
    """A common body, a head for the move and one for who wins, 3 + 2 numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(26, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU())
        self.move, self.outcome = nn.Linear(96, 3), nn.Linear(96, 2)

    def forward(self, x: Tensor) -> Tensor:
        seen = self.body(x)
        return torch.cat([self.move(seen), self.outcome(seen)], 1)


class _Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return -0.3 * gradient


class Impartial(nn.Module):
    """Tells classes and must not know where a sample comes from (Ganin et al. 2016), 2 + 2 numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU())
        self.kind, self.origin = nn.Linear(40, 2), nn.Sequential(nn.Linear(40, 20), nn.ReLU(), nn.Linear(20, 2))

    def forward(self, x: Tensor) -> Tensor:
        seen = self.body(x)
        return torch.cat([self.kind(seen), self.origin(_Reversed.apply(seen))], 1)


class Dust(nn.Module):
    """Says which noise was added to a picture, knowing how much (Ho et al. 2020)."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(8, width), nn.SiLU(), nn.Linear(width, width))
        self.enter, self.middle = nn.Conv2d(1, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        self.norms = nn.ModuleList([nn.GroupNorm(4, width) for _ in range(2)])
        self.deep, self.out = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the guess beside the noise, samples x 2 x side x side."""
        share, noise = torch.rand(len(x), 1, 1, 1), torch.randn_like(x)
        mixed = (share * math.pi / 2).cos() * x + (share * math.pi / 2).sin() * noise
        turns = share.flatten(1) * 2.0 ** torch.arange(4) * math.pi / 2
        moment = self.time(torch.cat([turns.sin(), turns.cos()], 1))[..., None, None]
        seen = self.enter(mixed) + moment
        seen = seen + self.middle(functional.silu(self.norms[0](seen)))
        seen = seen + self.deep(functional.silu(self.norms[1](seen)))
        return torch.cat([self.out(functional.silu(seen)), noise], 1)
