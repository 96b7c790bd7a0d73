"""Networks of families that the other parts do not have, for sequences and densities."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm


class GatedConvolutions(nn.Module):
    """A language model of causal gated convolutions (Dauphin et al. 2017); output and input share their weights."""

    def __init__(self, symbols: int, width: int = 48) -> None:
        super().__init__()
        self.tokens = nn.Embedding(symbols, width)
        nn.init.normal_(self.tokens.weight, std=0.1)
        self.layers = nn.ModuleList(nn.Conv1d(width, 2 * width, 3) for _ in range(4))
        self.norm = nn.LayerNorm(width)

    def forward(self, codes: Tensor) -> Tensor:
        x = self.tokens(codes).transpose(1, 2)
        for layer in self.layers:
            x = x + functional.glu(layer(functional.pad(x, (2, 0))), 1)
        return (self.norm(x.transpose(1, 2)) @ self.tokens.weight.T).transpose(1, 2)


class PostNorm(nn.Module):
    """A causal transformer of PyTorch's own layers, normalized after each of them."""

    def __init__(self, symbols: int, length: int, width: int = 48) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(symbols, width), nn.Embedding(length, width)
        layer = nn.TransformerEncoderLayer(width, 4, 96, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.predict = nn.Linear(width, symbols)

    def forward(self, codes: Tensor) -> Tensor:
        length = codes.shape[1]
        later = nn.Transformer.generate_square_subsequent_mask(length)
        x = self.tokens(codes) + self.places(torch.arange(length))
        return self.predict(self.encoder(x, mask=later, is_causal=True)).transpose(1, 2)


class Temporal(nn.Module):
    """Dilated causal convolutions with normalized weights (Bai et al. 2018) that forecast the next values."""

    def __init__(self, ahead: int, width: int = 24) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv1d(1 if at == 0 else width, width, 3, dilation=2**at)) for at in range(4)
        )
        self.forecast = nn.Linear(width, ahead)

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        for at, layer in enumerate(self.layers):
            new = layer(functional.pad(x, (2 * 2**at, 0))).relu()
            x = new if at == 0 else x + new
        return self.forecast(x[:, :, -1])


class Elman(nn.Module):
    """A plain recurrent network that gives one number for a sequence."""

    def __init__(self, features: int, width: int = 48) -> None:
        super().__init__()
        self.rnn = nn.RNN(features, width, batch_first=True)
        self.total = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.total(self.rnn(x)[0][:, -1])


class Flow(nn.Module):
    """Six affine couplings (Dinh et al. 2017) of points in the plane; returns the log-density of each."""

    def __init__(self, width: int = 32, couplings: int = 6) -> None:
        super().__init__()
        self.couplings = nn.ModuleList(
            nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 2))
            for _ in range(couplings)
        )

    def forward(self, x: Tensor) -> Tensor:
        left, right = x.chunk(2, 1)
        volume = torch.zeros(len(x))
        for coupling in self.couplings:
            scale, shift = coupling(left).chunk(2, 1)
            scale = scale.tanh()
            left, right = right * scale.exp() + shift, left
            volume = volume + scale.squeeze(1)
        return volume - 0.5 * (left**2 + right**2).sum(1) - math.log(2 * math.pi)


class Denoiser(nn.Module):
    """Adds noise of a random strength to points and guesses it (Ho et al. 2020); returns guess and noise."""

    def __init__(self, width: int = 64, levels: int = 50) -> None:
        super().__init__()
        self.register_buffer("kept", torch.cos(torch.linspace(0.05, 0.97, levels) * math.pi / 2) ** 2)
        self.strength = nn.Embedding(levels, 16)
        self.body = nn.Sequential(
            nn.Linear(18, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2)
        )

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor]:
        level = torch.randint(len(self.kept), (len(points),))
        noise = torch.randn_like(points)
        kept = self.kept[level].unsqueeze(1)
        mixed = kept.sqrt() * points + (1 - kept).sqrt() * noise
        return self.body(torch.cat([mixed, self.strength(level)], 1)), noise


class Embedder(nn.Module):
    """Puts images of the same class close together on a sphere."""

    def __init__(self, inputs: int, code: int = 16) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(inputs, 96), nn.PReLU(), nn.Linear(96, code))

    def forward(self, images: Tensor) -> Tensor:
        return functional.normalize(self.body(images), dim=1)
