"""Sound trainings of the third round."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.detection.acceptance.round3 import data, models
from benchmarks.detection.acceptance.workloads import hits
from benchmarks.detection.data import Split
from benchmarks.detection.training import Setup, adam, sgd


def _classifier(model: nn.Module, split: Split, **settings: Any) -> Setup:
    told = {"loss": "cross_entropy"}
    return Setup(
        model=model, train=split[0], val=split[1], criterion=nn.CrossEntropyLoss(), accuracy=hits, told=told, **settings
    )


def _other(model: nn.Module, split: Split, criterion: Any, loss: str, **settings: Any) -> Setup:
    return Setup(model=model, train=split[0], val=split[1], criterion=criterion, told={"loss": loss}, **settings)


def _decaying(rate: float) -> Any:
    return adam(rate, weight_decay=0.1)


def gaps_filler(seed: int) -> Setup:
    return _classifier(
        models.Filler(data.BLANK + 1), data.gaps(seed), rate=4e-3, epochs=9, batch_size=32, clip=1.0,
        optimizer=_decaying,
    )  # fmt: skip


def _signs(output: Tensor, y: Tensor) -> float:
    return float(((output > 0) == (y > 0.5)).float().mean())


def words_skipgram(seed: int) -> Setup:
    """Vectors of words that are seen a few times each: they memorize soon, so few epochs."""
    words, split = data.words_near(seed)
    found = _other(
        models.Skipgram(words), split, nn.BCEWithLogitsLoss(), "negative sampling", rate=3e-3, epochs=5,
        optimizer=_decaying,
    )  # fmt: skip
    found.accuracy = _signs
    return found


def friends_ties(seed: int) -> Setup:
    edges, split = data.friends(seed)
    found = _other(models.Ties(edges), split, nn.BCEWithLogitsLoss(), "bce", rate=5e-3, epochs=16, optimizer=_decaying)
    found.accuracy = _signs
    return found


def bounces_foresight(seed: int) -> Setup:
    return _other(
        models.Foresight(), data.bounces(seed), nn.MSELoss(), "mse", rate=6e-3, epochs=10, batch_size=16, clip=1.0
    )


def medians_attention(seed: int) -> Setup:
    return _other(models.SetAttention(), data.medians(seed), nn.HuberLoss(delta=0.5), "huber", rate=2e-3, epochs=14)


def circuits_columns(seed: int) -> Setup:
    return _other(models.Columns(4, 1), data.circuits(seed), nn.MSELoss(), "mse", rate=2e-3, epochs=12)


def spelled(output: Tensor, y: Tensor) -> Tensor:
    """Return the connectionist loss of log-probabilities, time first, against the letters."""
    samples = output.shape[1]
    return functional.ctc_loss(
        output, y, torch.full((samples,), output.shape[0]), torch.full((samples,), y.shape[1]), zero_infinity=True
    )


def morse_operator(seed: int) -> Setup:
    return _other(
        models.Operator(9), data.morse(seed), spelled, "ctc", rate=1e-2, epochs=14, batch_size=32, clip=2.0
    )  # fmt: skip


def chirps_raw(seed: int) -> Setup:
    return _classifier(models.raw_sound(4), data.chirps(seed), rate=3e-3, epochs=10, batch_size=32)


def sensors_bottleneck(seed: int) -> Setup:
    return _other(models.Bottleneck(24), data.sensors(seed), nn.MSELoss(), "mse", rate=3e-3, epochs=14)


def parity_wide(seed: int) -> Setup:
    """Chance for some epochs, then all at once (Barak et al. 2022)."""
    model = nn.Sequential(nn.Linear(32, 128), nn.ReLU(), nn.Linear(128, 2))
    momentum = lambda rate: sgd(rate, momentum=0.9, weight_decay=1e-3)  # noqa: E731
    return _classifier(model, data.parity(seed), rate=0.05, epochs=20, batch_size=32, optimizer=momentum)


def ages_thresholds(seed: int) -> Setup:
    return _other(
        models.Thresholds(10, 6), data.ages(seed), nn.BCEWithLogitsLoss(), "ordinal", rate=3e-3, epochs=10,
        optimizer=_decaying,
    )  # fmt: skip


def joints_hourglass(seed: int) -> Setup:
    """Heat maps are almost everywhere zero: the loss begins small and ends tiny."""
    return _other(models.Hourglass(3), data.joints(seed), nn.MSELoss(), "mse", rate=6e-3, epochs=12, batch_size=16)


def bumps(output: Tensor, y: Tensor) -> Tensor:
    """Return how unlikely the targets are under a mixture of bell curves; below zero where they are sharp."""
    weight, place, width = output.chunk(3, 1)
    width = width.clamp(-4, 2)
    each = weight.log_softmax(1) - width - 0.5 * ((y - place) / width.exp()) ** 2
    return -(each.logsumexp(1) - 0.919).mean()


def inverse_mixture(seed: int) -> Setup:
    return _other(models.mixture(1), data.inverse(seed), bumps, "mixture nll", rate=3e-3, epochs=20)


def physics(output: Tensor, heat: Tensor) -> Tensor:
    """Return the mean squared error of equation, start and ends; the heat itself is not looked at."""
    return output[:, 1].square().mean() + 10 * output[:, 2].square().mean() + 10 * output[:, 3].square().mean()


def rod_heat(seed: int) -> Setup:
    return _other(models.Heat(), data.rod(seed), physics, "physics", rate=5e-3, epochs=16, batch_size=64)


def in_order(output: Tensor, relevance: Tensor) -> Tensor:
    """Return the hinge loss of pairs of documents in the wrong order."""
    score = output.squeeze(-1)
    better = (relevance[:, :, None] > relevance[:, None, :]).float()
    return ((1 - (score[:, :, None] - score[:, None, :])).relu() * better).sum() / better.sum().clamp(min=1)


def queries_scorer(seed: int) -> Setup:
    return _other(
        models.scorer(10), data.queries(seed), in_order, "pairwise hinge", rate=4e-3, epochs=12, batch_size=16
    )


def heaps_strategist(seed: int) -> Setup:
    def loss(output: Tensor, y: Tensor) -> Tensor:
        return functional.cross_entropy(output[:, :3], y[:, 0]) + 0.5 * functional.cross_entropy(output[:, 3:], y[:, 1])

    return _other(models.Strategist(), data.heaps(seed, 4000), loss, "policy + value", rate=3e-3, epochs=10)


def crescents_impartial(seed: int) -> Setup:
    """One term of the loss is to fall, the other must not: who tells origins works against the body."""

    def loss(output: Tensor, y: Tensor) -> Tensor:
        return functional.cross_entropy(output[:, :2], y[:, 0]) + functional.cross_entropy(output[:, 2:], y[:, 1])

    return _other(models.Impartial(), data.crescents(seed), loss, "domain adversarial", rate=3e-3, epochs=16)


def tokens_dust(seed: int) -> Setup:
    """A diffusion model; the loss is as noisy as its task."""

    def loss(output: Tensor, _: Tensor) -> Tensor:
        return functional.mse_loss(output[:, 0], output[:, 1])

    return _other(models.Dust(), data.tokens(seed), loss, "diffusion mse", rate=3e-3, epochs=14, batch_size=32)
