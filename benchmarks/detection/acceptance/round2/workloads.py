"""Sound trainings of the second round, most of them with settings that somebody tried a few of."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

from benchmarks.detection.acceptance.round2 import data, models
from benchmarks.detection.acceptance.text import LETTERS
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


def topics_gaze(seed: int) -> Setup:
    return _classifier(models.Gaze(len(LETTERS), 5), data.topics(seed), rate=2e-3, epochs=12, batch_size=32)


def reference_spaces(seed: int) -> Setup:
    model = models.StateSpaces(len(LETTERS))
    return _classifier(model, data.reference(seed), rate=4e-3, epochs=8, batch_size=32, clip=1.0)


def chords_listener(seed: int) -> Setup:
    return _classifier(models.Listener(4), data.chords(seed), rate=3e-3, epochs=10, batch_size=32)


def clips_film(seed: int) -> Setup:
    return _classifier(models.film(4), data.clips(seed), rate=3e-3, epochs=10, batch_size=32)


def beats_slices(seed: int) -> Setup:
    return _classifier(models.Slices(3), data.beats(seed), rate=5e-3, epochs=12, batch_size=16)


def community_neighbors(seed: int) -> Setup:
    """All nodes at once: a step is an epoch."""
    features, edges, split = data.community(seed)
    model = models.Neighbors(features, edges, 4)
    decaying = lambda rate: adam(rate, weight_decay=0.05)  # noqa: E731
    return _classifier(model, split, rate=1e-2, epochs=40, batch_size=len(split[0]), optimizer=decaying)


def claims_wide(seed: int) -> Setup:
    """One sample in twelve is positive, as in the world; right by a threshold at one half."""

    def right(output: Tensor, y: Tensor) -> float:
        return float(((output > 0) == (y > 0.5)).float().mean())

    found = _other(
        models.WideAndDeep(6, 12), data.claims(seed), nn.BCEWithLogitsLoss(), "bce", rate=2e-3, epochs=10, batch_size=64
    )
    found.accuracy = right
    return found


def cox(risk: Tensor, targets: Tensor) -> Tensor:
    """Return the negative partial likelihood of who dies among those still there (Cox 1972)."""
    order = targets[:, 0].argsort(descending=True)
    score, died = risk[order, 0], targets[order, 1]
    return -((score - score.logcumsumexp(0)) * died).sum() / died.sum().clamp(min=1)


def lifetimes_cox(seed: int) -> Setup:
    return _other(
        models.plain(8, 1, 24), data.lifetimes(seed), cox, "cox", rate=1e-3, epochs=10, batch_size=128,
        optimizer=lambda rate: adam(rate, weight_decay=0.1),
    )  # fmt: skip


def dates_translator(seed: int) -> Setup:
    model = models.Translator(len(data.MARKS), 11)
    return _classifier(model, data.dates(seed), rate=4e-3, epochs=12, batch_size=32, clip=1.0)


def boards_judge(seed: int) -> Setup:
    return _classifier(models.judge_of_boards(3), data.boards(seed, 2000), rate=4e-3, epochs=14)


def swings_flowing(seed: int) -> Setup:
    return _other(models.Flowing(), data.swings(seed), nn.MSELoss(), "mse", rate=3e-3, epochs=10, batch_size=32)


def pinball(output: Tensor, y: Tensor) -> Tensor:
    """Return the loss whose minimum are the quantiles at 0.1, 0.5 and 0.9."""
    levels = torch.tensor([0.1, 0.5, 0.9])
    return torch.maximum(levels * (y - output), (levels - 1) * (y - output)).mean()


def demand_quantiles(seed: int) -> Setup:
    return _other(models.plain(11, 3), data.demand(seed), pinball, "pinball", rate=2e-3, epochs=14)


def hastie_highway(seed: int) -> Setup:
    return _classifier(models.Highway(10, 2), data.hastie(seed), rate=2e-3, epochs=12)


def invaders_sights(seed: int) -> Setup:
    model = models.Sights(6)
    model(torch.zeros(2, 1, 12, 12))
    momentum = lambda rate: sgd(rate, momentum=0.9, weight_decay=1e-3)  # noqa: E731
    return _classifier(model, data.invaders(seed), rate=0.03, epochs=10, batch_size=32, optimizer=momentum)


def invaders_hinge(seed: int) -> Setup:
    """A linear machine of many classes, by margins (Crammer and Singer 2001)."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, 6))
    found = _other(model, data.invaders(seed), nn.MultiMarginLoss(), "hinge", rate=5e-3, epochs=15, optimizer=_decaying)
    found.accuracy = hits
    return found


def invaders_quantized(seed: int) -> Setup:
    def loss(output: tuple[Tensor, Tensor], x: Tensor) -> Tensor:
        return functional.mse_loss(output[0], x) + output[1]

    train, val = (TensorDataset(part.tensors[0], part.tensors[0]) for part in data.invaders(seed))
    return _other(models.Quantized(), (train, val), loss, "mse + commitment", rate=1e-3, epochs=10)


def invaders_twins(seed: int) -> Setup:
    """Goes to -1 at best; the validation is the same loss."""
    return _other(
        models.Twins(), data.invaders(seed), lambda apart, _: apart.mean(), "negative cosine", rate=0.05, epochs=15,
        optimizer=lambda rate: sgd(rate, momentum=0.9, weight_decay=1e-4),
    )  # fmt: skip


def discs_several(seed: int) -> Setup:
    """May go below zero: a sure task adds the logarithm of a small variance."""

    def loss(output: Tensor, y: Tensor) -> Tensor:
        kind = functional.binary_cross_entropy_with_logits(output[:, 0], y[:, 0])
        box = functional.smooth_l1_loss(output[:, 1:4], y[:, 1:], beta=0.1)
        doubt = output[0, 4:]
        return kind * (-doubt[0]).exp() + box * (-doubt[1]).exp() + doubt.sum() / 2

    return _other(models.Several(), data.placed_discs(seed), loss, "uncertainty weighted", rate=2e-3, epochs=15)


def chapters_bert(seed: int) -> Setup:
    """A tiny BERT from scratch, of Transformers."""
    import transformers

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            settings = transformers.BertConfig(
                vocab_size=500, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                intermediate_size=64, max_position_embeddings=64, num_labels=5, attn_implementation="eager",
            )  # fmt: skip
            self.bert = transformers.BertForSequenceClassification(settings)

        def forward(self, x: Tensor) -> Tensor:
            return self.bert(input_ids=x).logits

    found = _classifier(Reader(), data.chapters(seed, 1200), rate=2e-3, epochs=6, batch_size=32, clip=1.0)
    found.accuracy = None
    return found


def _decaying(rate: float) -> Any:
    return adam(rate, weight_decay=0.1)
