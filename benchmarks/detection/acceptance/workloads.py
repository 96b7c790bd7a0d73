"""Sound trainings of the acceptance part: other models, other data, settings that work."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import lr_scheduler

from benchmarks.detection.acceptance import data, models, sequences
from benchmarks.detection.data import SYMBOLS, Split
from benchmarks.detection.training import Setup, adam, sgd


def hits(output: Tensor, targets: Tensor) -> float:
    """Return the share of right answers among those that count (-100 does not)."""
    counted = targets != -100
    return float((output.argmax(1) == targets)[counted].float().mean())


def _classifier(model: nn.Module, split: Split, classes: int, **settings: Any) -> Setup:
    told = {"loss": "cross_entropy", "num_classes": classes}
    criterion = nn.CrossEntropyLoss()
    return Setup(model=model, train=split[0], val=split[1], criterion=criterion, accuracy=hits, told=told, **settings)


def _other(model: nn.Module, split: Split, criterion: Any, loss: str, **settings: Any) -> Setup:
    return Setup(model=model, train=split[0], val=split[1], criterion=criterion, told={"loss": loss}, **settings)


def textures_mobile(seed: int) -> Setup:
    return _classifier(models.Mobile(5), data.textures(seed), 5, rate=3e-3, epochs=10, optimizer=_decaying)


def glyphs_dense(seed: int) -> Setup:
    return _classifier(models.Dense(10), data.glyphs(seed), 10, rate=2e-3, epochs=10)


def textures_mixer(seed: int) -> Setup:
    return _classifier(models.Mixer(5), data.textures(seed), 5, rate=1e-3, epochs=10, optimizer=_decaying)


def ellipses_unet(seed: int) -> Setup:
    return _classifier(models.Unet(), data.ellipses(seed), 2, rate=4e-3, epochs=10, batch_size=16)


def votes_bag(seed: int) -> Setup:
    return _classifier(models.Bag(40, 4), data.votes(seed), 4, rate=4e-3, epochs=14)


def clouds_points(seed: int) -> Setup:
    return _classifier(models.Points(4), data.clouds(seed), 4, rate=2e-3, epochs=16)


def graphs_messages(seed: int) -> Setup:
    return _classifier(models.Graph(3), data.graphs(seed), 3, rate=1e-3, epochs=14, optimizer=_decaying)


def recipes_convolutions(seed: int) -> Setup:
    model = sequences.GatedConvolutions(SYMBOLS)
    return _classifier(model, data.recipes(seed), SYMBOLS, rate=3e-3, epochs=10, batch_size=32, clip=1.0)


def reversals_transformer(seed: int) -> Setup:
    return _classifier(
        sequences.PostNorm(11, 10), data.reversals(seed), 11, rate=1.5e-3, epochs=16, batch_size=32, schedule=_warm_up
    )


def mixture_experts(seed: int) -> Setup:
    return _classifier(models.Experts(20, 5), data.mixture(seed), 5, rate=3e-3, epochs=14, optimizer=_decaying)


def shells_table(seed: int) -> Setup:
    return _classifier(models.table(6, 3), data.shells(seed), 3, rate=3e-3, epochs=16)


def iris_table(seed: int) -> Setup:
    model = nn.Sequential(nn.Linear(4, 12), nn.SiLU(), nn.Linear(12, 3))
    return _classifier(model, data.iris(seed), 3, rate=5e-3, epochs=30, batch_size=16, optimizer=_decaying)


def series_temporal(seed: int) -> Setup:
    return _other(sequences.Temporal(4), data.series(seed), nn.L1Loss(), "l1", rate=3e-3, epochs=12)


def ratings_factors(seed: int) -> Setup:
    return _other(models.Factors(), data.ratings(seed), nn.MSELoss(), "mse", rate=4e-3, epochs=12, optimizer=_decaying)


def roll_siren(seed: int) -> Setup:
    return _other(models.siren(3, 1), data.roll(seed), nn.MSELoss(), "mse", rate=1e-3, epochs=16)


def tags_table(seed: int) -> Setup:
    loss = nn.BCEWithLogitsLoss()
    return _other(
        models.table(24, 6), data.tags(seed), loss, "bce_with_logits", rate=2e-3, epochs=12, optimizer=_decaying
    )


def counts_poisson(seed: int) -> Setup:
    model = models.table(8, 1, width=32)
    return _other(model, data.counts(seed), nn.PoissonNLLLoss(), "poisson_nll", rate=3e-3, epochs=14)


def additions_elman(seed: int) -> Setup:
    model = sequences.Elman(2)
    return _other(model, data.additions(seed), nn.MSELoss(), "mse", rate=3e-3, epochs=20, batch_size=32, clip=1.0)


def moons_flow(seed: int) -> Setup:
    def loss(density: Tensor, _: Tensor) -> Tensor:
        return -density.mean()

    return _other(sequences.Flow(), data.moons(seed), loss, "nll", rate=3e-3, epochs=16)


def spiral_denoiser(seed: int) -> Setup:
    """Most of the noise cannot be guessed: the loss falls soon to a level and stays there, jumping about."""

    def loss(output: tuple[Tensor, Tensor], _: Tensor) -> Tensor:
        return functional.mse_loss(*output)

    split = data.spiral(seed), data.spiral(seed + 7, 500)
    return _other(sequences.Denoiser(), split, loss, "mse", rate=2e-3, epochs=20)


def textures_embedder(seed: int) -> Setup:
    """Each sample is drawn to the next of its class and pushed from the next of another, as far as a margin."""

    def loss(codes: Tensor, y: Tensor) -> Tensor:
        far = torch.cdist(codes, codes)
        same = y[:, None] == y
        other_self = same & ~torch.eye(len(y), dtype=torch.bool)
        nearest = torch.where(other_self, far, 4.0).amin(1)
        wrong = torch.where(same, 4.0, far).amin(1)
        return (nearest - wrong + 0.4).relu().mean()

    return _other(sequences.Embedder(3 * 144), data.textures(seed), loss, "triplet", rate=1e-3, epochs=10)


def _decaying(rate: float) -> Any:
    return adam(rate, weight_decay=0.1)


def _warm_up(optimizer: Any, steps: int) -> Any:
    return lr_scheduler.LinearLR(optimizer, 0.05, 1.0, max(1, steps // 10))


def nesterov(rate: float) -> Any:
    return sgd(rate, momentum=0.9, nesterov=True)
