"""What both trainings share: scikit-learn's handwritten digits and a small CNN."""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

BATCH_SIZE = 64
HELD_OUT = 360


class DigitsNet(nn.Module):
    """Two convolutions and a linear layer for images of 8 x 8 pixels, one channel, values 0 to 1."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.pool2 = nn.AdaptiveAvgPool2d(2)
        self.head = nn.Linear(32 * 4, 10)

    def forward(self, images: Tensor) -> Tensor:
        features = self.pool1(self.conv1(images).relu())
        features = self.pool2(self.conv2(features).relu())
        return self.head(features.flatten(1))


def digits(seed: int) -> tuple[DataLoader[tuple[Tensor, ...]], Tensor, Tensor]:
    """Return a loader of training batches, and the images and labels held out for validation."""
    data = load_digits()
    images = torch.tensor(data.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.tensor(data.target)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    images, labels = images[order], labels[order]
    train = TensorDataset(images[HELD_OUT:], labels[HELD_OUT:])
    loader = DataLoader(train, batch_size=BATCH_SIZE, shuffle=True, drop_last=True)
    return loader, images[:HELD_OUT], labels[:HELD_OUT]
