"""Small networks of many families. Layers have speaking names: faults are injected into them by name."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def mlp(inputs: int, outputs: int, width: int = 64, depth: int = 2, activation: type[nn.Module] = nn.ReLU) -> nn.Module:
    """Flatten, ``depth`` hidden layers ("hidden0", "act0", ...), "head"."""
    model = nn.Sequential()
    model.add_module("flatten", nn.Flatten())
    for place in range(depth):
        model.add_module(f"hidden{place}", nn.Linear(inputs if place == 0 else width, width))
        model.add_module(f"act{place}", activation())
    model.add_module("head", nn.Linear(width, outputs))
    return model


class Cnn(nn.Module):
    """Two convolutions with batch normalization, pooling and dropout, for 1 x side x side."""

    def __init__(self, side: int, classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(8)
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(16)
        self.pool2 = nn.AdaptiveAvgPool2d(2)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(64, classes)

    def forward(self, images: Tensor) -> Tensor:
        features = self.pool1(self.norm1(self.conv1(images)).relu())
        features = self.pool2(self.norm2(self.conv2(features)).relu())
        return self.head(self.dropout(features.flatten(1)))


class FunctionalCnn(nn.Module):
    """Three convolutions whose pooling is done by functions, which no hook sees."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1)
        self.conv3 = nn.Conv2d(16, 24, 3, padding=1)
        self.head = nn.Linear(24, classes)

    def forward(self, images: Tensor) -> Tensor:
        features = functional.max_pool2d(self.conv1(images).relu(), 2)
        features = functional.max_pool2d(self.conv2(features).relu(), 2)
        return self.head(self.conv3(features).relu().mean((2, 3)))


class Residual(nn.Module):
    """A convolution around which the input is added again."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.norm2(self.conv2(self.norm1(self.conv1(x)).relu()))).relu()


def resnet(classes: int, width: int = 8) -> nn.Module:
    """A stem that halves the image, two residual blocks, global pooling."""
    model = nn.Sequential()
    model.add_module("stem", nn.Conv2d(1, width, 3, stride=2, padding=1))
    model.add_module("block1", Residual(width))
    model.add_module("block2", Residual(width))
    model.add_module("pool", nn.AdaptiveAvgPool2d(1))
    model.add_module("flatten", nn.Flatten())
    model.add_module("head", nn.Linear(width, classes))
    return model


class Recurrent(nn.Module):
    """A GRU or LSTM that reads samples x length x features and judges by its last state."""

    def __init__(self, kind: type[nn.GRU] | type[nn.LSTM], features: int, classes: int, width: int = 32) -> None:
        super().__init__()
        self.rnn = kind(features, width, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.rnn(x)[0][:, -1]))


class Attention(nn.Module):
    """Causal self-attention with one projection for queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        parts = self.qkv(x).view(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(*parts, is_causal=True)
        return self.out(mixed.transpose(1, 2).reshape(batch, length, width))


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Gpt(nn.Module):
    """A decoder-only transformer over characters: samples x length in, logits samples x symbols x length out."""

    def __init__(self, symbols: int, length: int, width: int = 32, depth: int = 2, heads: int = 2) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(symbols, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, symbols, bias=False)

    def forward(self, codes: Tensor) -> Tensor:
        x = self.tokens(codes) + self.places(torch.arange(codes.shape[1]))
        return self.head(self.norm(self.blocks(x))).transpose(1, 2)


class CharLstm(nn.Module):
    """An LSTM over characters, shaped like `Gpt`."""

    def __init__(self, symbols: int, width: int = 48) -> None:
        super().__init__()
        self.tokens = nn.Embedding(symbols, width)
        self.rnn = nn.LSTM(width, width, batch_first=True)
        self.head = nn.Linear(width, symbols)

    def forward(self, codes: Tensor) -> Tensor:
        return self.head(self.rnn(self.tokens(codes))[0]).transpose(1, 2)


class Vit(nn.Module):
    """A vision transformer: patches of 4 x 4, PyTorch's own encoder layers, mean over the patches."""

    def __init__(self, side: int, classes: int, width: int = 32) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, 4, stride=4)
        self.places = nn.Parameter(0.02 * torch.randn((side // 4) ** 2, width))
        layer = nn.TransformerEncoderLayer(width, 2, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2) + self.places
        return self.head(self.encoder(x).mean(1))


class WaveNet(nn.Module):
    """Dilated one-dimensional convolutions for samples x length x 1."""

    def __init__(self, classes: int, width: int = 16) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(1, width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, padding=2, dilation=2)
        self.conv3 = nn.Conv1d(width, width, 3, padding=4, dilation=4)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x.transpose(1, 2)).relu()
        x = x + self.conv2(x).relu()
        x = x + self.conv3(x).relu()
        return self.head(x.mean(2))


class Autoencoder(nn.Module):
    """Squeezes flat images through a bottleneck; returns what came out."""

    def __init__(self, inputs: int, code: int = 8, width: int = 64) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, code))
        self.decoder = nn.Sequential(nn.Linear(code, width), nn.ReLU(), nn.Linear(width, inputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x)).view_as(x)


class Vae(nn.Module):
    """A variational autoencoder; returns the reconstruction, and mean and log-variance of the code."""

    def __init__(self, inputs: int, code: int = 4, width: int = 64) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, 2 * code))
        self.decoder = nn.Sequential(nn.Linear(code, width), nn.ReLU(), nn.Linear(width, inputs))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_variance = self.encoder(x).chunk(2, 1)
        noise = torch.randn_like(mean) if self.training else torch.zeros_like(mean)
        code = mean + noise * (0.5 * log_variance).exp()
        return self.decoder(code).view_as(x), mean, log_variance


class Gaussian(nn.Module):
    """A regression that also says how sure it is: samples x 2, mean and log-variance."""

    def __init__(self, inputs: int, width: int = 48) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh())
        self.head = nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


class Twin(nn.Module):
    """Embeds two noisy views of each sample; returns their cosine similarities, samples x samples, over 0.2."""

    def __init__(self, inputs: int, width: int = 64, code: int = 16) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, code))

    def forward(self, x: Tensor) -> Tensor:
        views = [functional.normalize(self.body(x + 0.3 * torch.randn_like(x)), dim=1) for _ in range(2)]
        return views[0] @ views[1].T / 0.2


class LowRank(nn.Module):
    """A frozen linear layer and a trainable update of low rank, zero at first (LoRA)."""

    def __init__(self, base: nn.Linear, rank: int = 4) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.lora_a = nn.Linear(base.in_features, rank, bias=False)
        self.lora_b = nn.Linear(rank, base.out_features, bias=False)
        nn.init.zeros_(self.lora_b.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.lora_b(self.lora_a(x))
