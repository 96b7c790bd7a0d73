"""Sound trainings: a model, its data, and settings that work. Those of the two parts share no model and no data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.detection import data, models
from benchmarks.detection.training import Setup, adam

Builder = Callable[[int], Setup]
"""Builds a training from a seed; weights and batches come from torch's global generator, seeded by the caller."""


def hits(output: Tensor, targets: Tensor) -> float:
    """Return the share of right answers, for one answer a sample or one a symbol."""
    return float((output.argmax(1) == targets).float().mean())


def _classifier(model: nn.Module, split: data.Split, classes: int, **settings: Any) -> Setup:
    told = {"loss": "cross_entropy", "num_classes": classes, **settings.pop("told", {})}
    return Setup(
        model=model,
        train=split[0],
        val=split[1],
        criterion=nn.CrossEntropyLoss(),
        accuracy=hits,
        told=told,
        **settings,
    )


def _regression(model: nn.Module, split: data.Split, **settings: Any) -> Setup:
    return Setup(model=model, train=split[0], val=split[1], criterion=nn.MSELoss(), told={"loss": "mse"}, **settings)


def _unsure(model: nn.Module, split: data.Split, **settings: Any) -> Setup:
    told = {"loss": "gaussian_nll"}
    return Setup(model=model, train=split[0], val=split[1], criterion=gaussian_nll, told=told, **settings)


def _contrastive(model: nn.Module, split: data.Split) -> Setup:
    """Each sample is to find its own second view among those of the batch."""

    def loss(similarities: Tensor, _: Tensor) -> Tensor:
        return functional.cross_entropy(similarities, torch.arange(len(similarities)))

    return Setup(model=model, train=split[0], val=split[1], criterion=loss, rate=2e-3, told={"loss": "info_nce"})


def _reconstructing(split: data.Split) -> data.Split:
    train, val = (torch.utils.data.TensorDataset(part.tensors[0], part.tensors[0]) for part in split)
    return train, val


def gaussian_nll(output: Tensor, targets: Tensor) -> Tensor:
    """Return the mean negative log-likelihood; below zero once the model is sure and right."""
    mean, log_variance = output.chunk(2, 1)
    return functional.gaussian_nll_loss(mean, targets, log_variance.clamp(-8, 8).exp())


# --- tuning part --------------------------------------------------------------------------------------------


def digits_mlp(seed: int) -> Setup:
    return _classifier(models.mlp(64, 10), data.digits(seed), 10, rate=2e-3, epochs=16)


def digits_cnn(seed: int) -> Setup:
    return _classifier(models.Cnn(8, 10), data.digits(seed), 10, rate=3e-3, epochs=12)


def digits_functional(seed: int) -> Setup:
    return _classifier(models.FunctionalCnn(10), data.digits(seed), 10, rate=4e-3, epochs=12)


def cancer_mlp(seed: int) -> Setup:
    model = models.mlp(30, 2, width=24)
    return _classifier(model, data.breast_cancer(seed), 2, rate=1e-3, epochs=16, batch_size=32)


def diabetes_mlp(seed: int) -> Setup:
    model = models.mlp(10, 1, width=16)
    weight_decay = {"weight_decay": 0.1}
    return _regression(
        model,
        data.diabetes(seed),
        rate=1e-3,
        epochs=16,
        batch_size=32,
        optimizer=lambda rate: adam(rate, **weight_decay),
    )


def marks_gru(seed: int) -> Setup:
    return _classifier(models.Recurrent(nn.GRU, 3, 4), data.order_of_marks(seed), 4, rate=3e-3, epochs=14)


def tales_gpt(seed: int) -> Setup:
    model = models.Gpt(data.SYMBOLS, 24)
    for weight in model.parameters():
        if weight.ndim == 2:
            nn.init.normal_(weight, std=0.05)
    return _classifier(model, data.tales(seed), data.SYMBOLS, rate=3e-3, epochs=12, batch_size=32, clip=1.0)


def digits_vae(seed: int) -> Setup:
    train, val = _reconstructing(data.digits(seed))
    return Setup(
        model=models.Vae(64), train=train, val=val, criterion=vae_loss(lambda: 1.0), rate=2e-3, told={"loss": "elbo"}
    )


def vae_loss(weight: Callable[[], float]) -> Callable[[Any, Tensor], Tensor]:
    """Return the loss of a variational autoencoder, its divergence weighted by what ``weight`` says at the time."""

    def loss(output: tuple[Tensor, Tensor, Tensor], x: Tensor) -> Tensor:
        found, mean, log_variance = output
        divergence = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(1).mean()
        error = (found - x).square().flatten(1).sum(1).mean()
        return 5 * error + weight() * divergence

    return loss


def plane_nll(seed: int) -> Setup:
    return _unsure(models.Gaussian(10, 24), data.plane(seed), rate=2e-3, epochs=16)


def digits_twin(seed: int) -> Setup:
    return _contrastive(models.Twin(64), data.digits(seed))


# --- held-out part ------------------------------------------------------------------------------------------


def shapes_resnet(seed: int) -> Setup:
    model = models.resnet(4)
    return _classifier(model, data.shapes(seed, 1600), 4, rate=2e-3, epochs=12, optimizer=_decaying)


def shapes_vit(seed: int) -> Setup:
    model = models.Vit(16, 4)
    return _classifier(model, data.shapes(seed, 1600), 4, rate=1e-3, epochs=12, optimizer=_decaying)


def wine_mlp(seed: int) -> Setup:
    # So few samples are soon learned by heart.
    model = models.mlp(13, 3, width=12, depth=1, activation=nn.GELU)
    return _classifier(model, data.wine(seed), 3, rate=3e-3, epochs=14, batch_size=16, optimizer=_decaying)


def _decaying(rate: float) -> Any:
    return adam(rate, weight_decay=0.2)


def waves_conv(seed: int) -> Setup:
    return _classifier(models.WaveNet(3), data.waves(seed), 3, rate=4e-3, epochs=15)


def waves_lstm(seed: int) -> Setup:
    return _classifier(models.Recurrent(nn.LSTM, 1, 3), data.waves(seed), 3, rate=3e-3, epochs=15)


def sums_lstm(seed: int) -> Setup:
    return _classifier(models.CharLstm(data.SYMBOLS), data.sums(seed), data.SYMBOLS, rate=4e-3, epochs=10, clip=1.0)


def friedman_mlp(seed: int) -> Setup:
    model = models.mlp(10, 1, width=32, depth=3, activation=nn.SiLU)
    return _regression(model, data.friedman(seed), rate=2e-3, epochs=18)


def friedman_nll(seed: int) -> Setup:
    return _unsure(models.Gaussian(10), data.friedman(seed), rate=1.5e-3, epochs=16)


def waves_twin(seed: int) -> Setup:
    return _contrastive(models.Twin(32, width=48), data.waves(seed))


def shapes_autoencoder(seed: int) -> Setup:
    train, val = _reconstructing(data.shapes(seed))
    return _regression(models.Autoencoder(256), (train, val), rate=2e-3, epochs=15)


def shapes_vae(seed: int) -> Setup:
    train, val = _reconstructing(data.shapes(seed))
    return Setup(
        model=models.Vae(256), train=train, val=val, criterion=vae_loss(lambda: 1.0), rate=2e-3, told={"loss": "elbo"}
    )
