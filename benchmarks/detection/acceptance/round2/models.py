"""Networks of the second round."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class Gaze(nn.Module):
    """Convolutions of three widths over letters, the strongest answer of each (Kim 2014)."""

    def __init__(self, symbols: int, classes: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(symbols, 16)
        self.convolutions = nn.ModuleList([nn.Conv1d(16, 24, width) for width in (3, 4, 5)])
        self.dropout = nn.Dropout(0.3)
        self.classifier = nn.Linear(72, classes)

    def forward(self, x: Tensor) -> Tensor:
        letters = self.embedding(x).transpose(1, 2)
        return self.classifier(self.dropout(torch.cat([each(letters).relu().amax(2) for each in self.convolutions], 1)))


class Space(nn.Module):
    """A diagonal state space, applied as a long convolution (Gu et al. 2022)."""

    def __init__(self, width: int, states: int = 8) -> None:
        super().__init__()
        self.decay = nn.Parameter(torch.rand(width, states).mul(2).sub(3))
        self.turn = nn.Parameter(math.pi * torch.arange(states).repeat(width, 1) / 2)
        self.read = nn.Parameter(torch.randn(width, states) / states)
        self.norm, self.mix = nn.LayerNorm(width), nn.Linear(width, 2 * width)

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[1]
        time = torch.arange(length)
        kernel = (-self.decay.exp()[..., None] * time).exp() * (self.turn[..., None] * time).cos()
        answer = torch.fft.rfft((self.read[..., None] * kernel).sum(1), n=2 * length)
        signal = torch.fft.rfft(self.norm(x).transpose(1, 2), n=2 * length)
        seen = torch.fft.irfft(signal * answer, n=2 * length)[..., :length].transpose(1, 2)
        return x + functional.glu(self.mix(functional.gelu(seen)), -1)


class StateSpaces(nn.Module):
    """Letters to next letters; the answer is samples x symbols x length."""

    def __init__(self, symbols: int, width: int = 40) -> None:
        super().__init__()
        self.embedding = nn.Embedding(symbols, width)
        self.layers = nn.Sequential(Space(width), Space(width))
        self.norm, self.classifier = nn.LayerNorm(width), nn.Linear(width, symbols)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.norm(self.layers(self.embedding(x)))).transpose(1, 2)


class Listener(nn.Module):
    """Convolutions over a spectrogram, then a recurrence over its time."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.MaxPool2d((2, 1)),
            nn.Conv2d(12, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d((2, 1)),
        )  # fmt: skip
        self.recurrence = nn.GRU(96, 32, batch_first=True, bidirectional=True)
        self.classifier = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        seen = self.convolutions(x).flatten(1, 2).transpose(1, 2)
        return self.classifier(self.recurrence(seen)[0].mean(1))


def film(classes: int) -> nn.Module:
    """Convolutions over space and time."""
    return nn.Sequential(
        nn.Conv3d(1, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.SiLU(), nn.MaxPool3d((1, 2, 2)),
        nn.Conv3d(8, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.SiLU(), nn.MaxPool3d(2),
        nn.Flatten(), nn.Linear(432, 32), nn.SiLU(), nn.Linear(32, classes),
    )  # fmt: skip


class Slices(nn.Module):
    """A U of one-dimensional convolutions: a class for each moment."""

    def __init__(self, classes: int, width: int = 12) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv1d(1, width, 5, padding=2), nn.BatchNorm1d(width), nn.LeakyReLU())
        self.deep = nn.Sequential(nn.Conv1d(width, 24, 5, padding=2), nn.BatchNorm1d(24), nn.LeakyReLU())
        self.up = nn.ConvTranspose1d(24, width, 4, stride=4)
        self.classifier = nn.Conv1d(2 * width, classes, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        wide = self.down(x)
        return self.classifier(torch.cat([wide, self.up(self.deep(functional.max_pool1d(wide, 4)))], 1))


class Neighbors(nn.Module):
    """Two graph convolutions over all nodes (Kipf and Welling 2017); asked for numbers of nodes."""

    def __init__(self, features: Tensor, edges: Tensor, classes: int) -> None:
        super().__init__()
        self.register_buffer("features", features)
        self.register_buffer("edges", edges)
        self.first, self.second = nn.Linear(features.shape[1], 24), nn.Linear(24, classes)
        self.dropout = nn.Dropout(0.5)

    def forward(self, nodes: Tensor) -> Tensor:
        hidden = self.dropout((self.edges @ self.first(self.features)).relu())
        return (self.edges @ self.second(hidden))[nodes]


class WideAndDeep(nn.Module):
    """A linear model beside a deep one over numbers and an embedded code (Cheng et al. 2016)."""

    def __init__(self, numbers: int, codes: int) -> None:
        super().__init__()
        self.code, self.wide = nn.Embedding(codes, 6), nn.Linear(numbers + 6, 1)
        self.deep = nn.Sequential(
            nn.Linear(numbers + 6, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Dropout(0.2),
            nn.Linear(48, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        row = torch.cat([x[:, :-1], self.code(x[:, -1].long())], 1)
        return self.wide(row) + self.deep(row)


class Translator(nn.Module):
    """A recurrent encoder and decoder with attention between them (Bahdanau et al. 2015)."""

    def __init__(self, symbols: int, asked: int, width: int = 48) -> None:
        super().__init__()
        self.asked, self.embedding = asked, nn.Embedding(symbols, 24)
        self.encoder = nn.GRU(24, width, batch_first=True)
        self.decoder = nn.GRU(24, width, batch_first=True)
        self.query, self.classifier = nn.Linear(width, width), nn.Linear(2 * width, symbols)

    def forward(self, x: Tensor) -> Tensor:
        seen, last = self.encoder(self.embedding(x[:, : self.asked]))
        states, _ = self.decoder(self.embedding(x[:, self.asked :]), last)
        where = (self.query(states) @ seen.transpose(1, 2) / states.shape[-1] ** 0.5).softmax(-1)
        return self.classifier(torch.cat([states, where @ seen], 2)).transpose(1, 2)


class Highway(nn.Module):
    """Layers that carry part of their input past themselves (Srivastava et al. 2015)."""

    def __init__(self, inputs: int, outputs: int, width: int = 40, depth: int = 4) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(inputs, width), nn.Linear(width, outputs)
        self.bodies = nn.ModuleList([nn.Linear(width, width) for _ in range(depth)])
        self.gates = nn.ModuleList([nn.Linear(width, width) for _ in range(depth)])
        for gate in self.gates:
            nn.init.constant_(gate.bias, -1.0)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for body, gate in zip(self.bodies, self.gates, strict=True):
            x = x + torch.sigmoid(gate(x)) * (body(x).relu() - x)
        return self.last(x)


class Flowing(nn.Module):
    """A learned differential equation, followed in steps to eight times (Chen et al. 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Sequential(nn.Linear(2, 40), nn.Tanh(), nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, 2))

    def forward(self, x: Tensor) -> Tensor:
        seen = []
        for _ in range(8):
            for _ in range(2):
                middle = x + 0.1 * self.slope(x)
                x = x + 0.2 * self.slope(middle)
            seen.append(x)
        return torch.cat(seen, 1)


class Quantized(nn.Module):
    """An autoencoder whose codes are drawn to a book of them (van den Oord et al. 2017)."""

    def __init__(self, entries: int = 24, width: int = 12) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 24, 4, stride=2, padding=1), nn.ReLU(), nn.Conv2d(24, width, 4, stride=2, padding=1)
        )
        self.book = nn.Embedding(entries, width)
        nn.init.normal_(self.book.weight, 0.0, 0.5)
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(width, 24, 4, stride=2, padding=1), nn.ReLU(),
            nn.ConvTranspose2d(24, 1, 4, stride=2, padding=1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the images and what codes and book are apart."""
        code = self.encoder(x).movedim(1, -1)
        chosen = self.book(torch.cdist(code.reshape(-1, code.shape[-1]), self.book.weight).argmin(1)).view_as(code)
        apart = functional.mse_loss(chosen, code.detach()) + functional.mse_loss(code, chosen.detach())
        return self.decoder((code + (chosen - code).detach()).movedim(-1, 1)), apart


class Sights(nn.Module):
    """A small network with average pooling for sprites."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.GELU(), nn.AvgPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.GELU(), nn.AvgPool2d(2), nn.Flatten(),
        )  # fmt: skip
        self.classifier = nn.LazyLinear(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.body(x))


class Twins(nn.Module):
    """Two augmented views through one encoder; one predicts the other, which is not followed (Chen and He 2021)."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(144, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 24))
        self.predictor = nn.Sequential(nn.Linear(24, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 24))

    def forward(self, x: Tensor) -> Tensor:
        """Return how far the views are apart, as the negative cosine of each sample."""
        first, second = (self.encoder(x * (torch.rand_like(x) < 0.8) + 0.2 * torch.randn_like(x)) for _ in range(2))
        near = functional.cosine_similarity
        return -(near(self.predictor(first), second.detach()) + near(self.predictor(second), first.detach())) / 2


class Several(nn.Module):
    """A kind, a place and a size from one image; the last two answers weigh the losses (Kendall et al. 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 12, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(12, 24, 3, stride=2, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Linear(384, 48), nn.ReLU(),
        )  # fmt: skip
        self.kind, self.box, self.doubt = nn.Linear(48, 1), nn.Linear(48, 3), nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        seen = self.body(x)
        return torch.cat([self.kind(seen), self.box(seen), self.doubt.expand(len(x), 2)], 1)


def judge_of_boards(outputs: int) -> nn.Module:
    """Two convolutions over a board of nine fields and a wide layer."""
    return nn.Sequential(
        nn.Conv2d(2, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(288, 64), nn.ReLU(), nn.Linear(64, outputs),
    )  # fmt: skip


def plain(inputs: int, outputs: int, width: int = 48) -> nn.Module:
    return nn.Sequential(
        nn.Linear(inputs, width), nn.ELU(), nn.Linear(width, width), nn.ELU(), nn.Linear(width, outputs)
    )
