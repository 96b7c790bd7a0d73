"""Networks of families that the other parts do not have, for images, sets, graphs and tables."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Excited(nn.Module):
    """A depthwise-separable convolution whose channels are weighted by what the image as a whole shows."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.depth = nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False)
        self.norm_depth = nn.BatchNorm2d(inputs)
        self.squeeze, self.excite = nn.Linear(inputs, inputs // 2), nn.Linear(inputs // 2, inputs)
        self.point = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.norm_point = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.hardswish(self.norm_depth(self.depth(x)))
        weight = self.excite(self.squeeze(x.mean((2, 3))).relu()).sigmoid()
        return functional.hardswish(self.norm_point(self.point(x * weight[:, :, None, None])))


class Mobile(nn.Module):
    """A network for telephones: separable convolutions, squeeze and excitation."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.entry = nn.Conv2d(3, 16, 3, padding=1)
        self.stages = nn.Sequential(Excited(16, 24, 2), Excited(24, 32, 2))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.1)
        self.classifier = nn.Linear(32, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.dropout(self.pool(self.stages(self.entry(images).relu())).flatten(1)))


class Dense(nn.Module):
    """Convolutions that each see the outputs of all before them."""

    def __init__(self, classes: int, growth: int = 8) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(1 + growth * at, growth, 3, padding=1) for at in range(3))
        self.norms = nn.ModuleList(nn.GroupNorm(2, growth) for _ in range(3))
        self.shrink = nn.MaxPool2d(2)
        self.transition = nn.Conv2d(1 + 3 * growth, 24, 1)
        self.later = nn.Conv2d(24, 24, 3, padding=1)
        self.pool = nn.AdaptiveMaxPool2d((3, 2))
        self.out = nn.Linear(144, classes)

    def forward(self, x: Tensor) -> Tensor:
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = torch.cat([x, norm(layer(x)).relu()], 1)
        x = self.later(self.shrink(self.transition(x)).relu()).relu()
        return self.out(self.pool(x).flatten(1))


class Mixing(nn.Module):
    """Mixes places, then channels, each by a small perceptron."""

    def __init__(self, places: int, width: int) -> None:
        super().__init__()
        self.norm_places, self.norm_channels = nn.LayerNorm(width), nn.LayerNorm(width)
        self.places = nn.Sequential(nn.Linear(places, 24), nn.GELU(), nn.Linear(24, places))
        self.channels = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.places(self.norm_places(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.norm_channels(x))


class Mixer(nn.Module):
    """Patches of 3 x 3 that are mixed by perceptrons alone."""

    def __init__(self, classes: int, width: int = 32) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 3, stride=3)
        self.mixers = nn.Sequential(Mixing(16, width), Mixing(16, width))
        self.norm = nn.LayerNorm(width)
        self.classifier = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2)
        return self.classifier(self.norm(self.mixers(x)).mean(1))


class Unet(nn.Module):
    """Two scales down and up again with a bridge; two logits a pixel."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.down1, self.down2 = self._pair(1, width), self._pair(width, 2 * width)
        self.bottom = self._pair(2 * width, 2 * width)
        self.up2 = nn.ConvTranspose2d(2 * width, 2 * width, 2, stride=2)
        self.merge2 = self._pair(4 * width, width)
        self.up1 = nn.ConvTranspose2d(width, width, 2, stride=2)
        self.merge1 = self._pair(2 * width, width)
        self.pixel = nn.Conv2d(width, 2, 1)

    @staticmethod
    def _pair(inputs: int, outputs: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.InstanceNorm2d(outputs), nn.LeakyReLU(0.1))

    def forward(self, images: Tensor) -> Tensor:
        first = self.down1(images)
        second = self.down2(functional.avg_pool2d(first, 2))
        x = self.up2(self.bottom(functional.avg_pool2d(second, 2)))
        x = self.up1(self.merge2(torch.cat([x, second], 1)))
        return self.pixel(self.merge1(torch.cat([x, first], 1)))


class Bag(nn.Module):
    """The mean of word vectors, judged by a perceptron."""

    def __init__(self, words: int, classes: int, width: int = 24) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(words, width, mode="mean")
        self.hidden = nn.Linear(width, 48)
        self.classifier = nn.Linear(48, classes)

    def forward(self, codes: Tensor) -> Tensor:
        return self.classifier(functional.gelu(self.hidden(self.words(codes))))


class Points(nn.Module):
    """The same perceptron for each point, the maximum over all points, another perceptron."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.each = nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 64), nn.ReLU())
        self.whole = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, classes))

    def forward(self, points: Tensor) -> Tensor:
        return self.whole(self.each(points).amax(1))


class Graph(nn.Module):
    """Two rounds of messages between neighbors; features are the degrees, the mean over nodes is judged."""

    def __init__(self, classes: int, width: int = 32) -> None:
        super().__init__()
        self.enter = nn.Linear(2, width)
        self.message1, self.own1 = nn.Linear(width, width), nn.Linear(width, width)
        self.message2, self.own2 = nn.Linear(width, width), nn.Linear(width, width)
        self.norm = nn.LayerNorm(2 * width)
        self.classifier = nn.Linear(2 * width, classes)

    def forward(self, edges: Tensor) -> Tensor:
        degree = edges.sum(2, keepdim=True)
        triangles = (edges @ edges * edges).sum(2, keepdim=True)
        x = self.enter(torch.cat([degree / 4, triangles / 6], 2)).relu()
        share = edges / degree.clamp(min=1)
        x = (self.message1(share @ x) + self.own1(x)).relu()
        x = (self.message2(share @ x) + self.own2(x)).relu()
        return self.classifier(self.norm(torch.cat([x.mean(1), x.amax(1)], 1)))


class Factors(nn.Module):
    """User and item vectors, their product and a perceptron of both."""

    def __init__(self, users: int = 60, items: int = 50, width: int = 8) -> None:
        super().__init__()
        self.user, self.item = nn.Embedding(users, width), nn.Embedding(items, width)
        self.hidden = nn.Linear(2 * width, 32)
        self.score = nn.Linear(32 + width, 1)

    def forward(self, pairs: Tensor) -> Tensor:
        user, item = self.user(pairs[:, 0]), self.item(pairs[:, 1])
        deep = self.hidden(torch.cat([user, item], 1)).relu()
        return self.score(torch.cat([deep, user * item], 1))


class Sine(nn.Module):
    """A linear layer under a sine (Sitzmann et al. 2020)."""

    def __init__(self, inputs: int, outputs: int, frequency: float) -> None:
        super().__init__()
        self.linear, self.frequency = nn.Linear(inputs, outputs), frequency
        nn.init.uniform_(self.linear.weight, -((6 / inputs) ** 0.5) / frequency, (6 / inputs) ** 0.5 / frequency)

    def forward(self, x: Tensor) -> Tensor:
        return (self.frequency * self.linear(x)).sin()


def siren(inputs: int, outputs: int, width: int = 48) -> nn.Module:
    """Three sine layers and a linear one."""
    return nn.Sequential(Sine(inputs, width, 3.0), Sine(width, width, 3.0), nn.Linear(width, outputs))


class Experts(nn.Module):
    """Four perceptrons, mixed by a gate that sees the sample."""

    def __init__(self, inputs: int, classes: int, experts: int = 4) -> None:
        super().__init__()
        self.gate = nn.Linear(inputs, experts)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(inputs, 24), nn.SiLU(), nn.Linear(24, 24)) for _ in range(experts)
        )
        self.norm = nn.LayerNorm(24)
        self.classifier = nn.Linear(24, classes)

    def forward(self, x: Tensor) -> Tensor:
        shares = self.gate(x).softmax(1)
        answers = torch.stack([expert(x) for expert in self.experts], 1)
        return self.classifier(self.norm((shares.unsqueeze(2) * answers).sum(1)))


def table(inputs: int, outputs: int, width: int = 48, dropout: float = 0.1) -> nn.Module:
    """A perceptron with batch normalization, ELU and dropout, as for tables."""
    return nn.Sequential(
        nn.Linear(inputs, width),
        nn.BatchNorm1d(width),
        nn.ELU(),
        nn.Dropout(dropout),
        nn.Linear(width, width),
        nn.BatchNorm1d(width),
        nn.ELU(),
        nn.Linear(width, outputs),
    )
