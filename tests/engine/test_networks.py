"""Architectures as the real client records them: their kind, and what the checks say of sound and of faulty ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from diagnostics.engine import IssueCategory, Run, diagnose
from observer_client import Observer, ObserverConfig
from tests.engine import networks as known
from tests.engine.tools import BOTH
from tests.engine.trainings import run_of

pytestmark = [pytest.mark.xdist_group("networks"), pytest.mark.filterwarnings("ignore:enable_nested_tensor")]


def recorded(folder, model, example=None, **told):
    """Return the run of an observer that was shown ``model``."""
    config = ObserverConfig(mode="offline", directory=str(folder), quiet=True)
    with Observer(run_name="run", config=config) as observer:
        observer.register_model(model, example_input=example)
        observer.log_hyperparameters(told)
        return run_of(observer.export(folder / "run.json"))


def complaints(run, profile="robust"):
    issues = diagnose(run, profile=profile).issues
    return {issue.check_id: issue for issue in issues if issue.category == IssueCategory.architecture}


@pytest.fixture(scope="module")
def references(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("references")
    return {name: recorded(folder, make(), example()) for name, (_, make, example) in known.REFERENCES.items()}


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name, (kind, *_) in known.REFERENCES.items()])
def test_kind(name, kind, references):
    assert references[name].blueprint.kind == kind


@pytest.mark.parametrize("name", known.REFERENCES)
def test_reference_has_no_architecture_issue(name, references):
    assert complaints(references[name]) == {}


@pytest.mark.parametrize("name", known.REFERENCES)
def test_kind_is_known_before_the_first_pass(name, tmp_path):
    kind, make, _ = known.REFERENCES[name]
    run = recorded(tmp_path, make())
    assert run.blueprint.kind == kind and complaints(run) == {}


def wide_head():
    return nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 784, 64))


def bottleneck():
    convs = [nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 256, 5, padding=2), nn.ReLU()]
    return nn.Sequential(*convs, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 10))


def unpooled():
    convs = [nn.Conv2d(8 if place else 1, 8, 3, padding=1) for place in range(4)]
    return nn.Sequential(*convs, nn.Flatten(), nn.Linear(8 * 784, 10))


def large_kernel():
    return nn.Sequential(nn.Conv2d(1, 16, 9, padding=4), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16 * 196, 10))


def explosion():
    convs = [nn.Conv2d(1, 64, 3, 2), nn.ReLU(), nn.Conv2d(64, 64, 3, 2), nn.AdaptiveAvgPool2d(1)]
    return nn.Sequential(*convs, nn.Flatten(), nn.Linear(64, 10))


class Embedded(nn.Module):
    def __init__(self, embedding, head):
        super().__init__()
        self.embedding, self.head = embedding, head

    def forward(self, x):
        x = self.head(self.embedding(x))
        return x[0] if isinstance(x, tuple) else x


def wide_embedding():
    return Embedded(nn.Embedding(50, 512), nn.Linear(512, 50))


def deep_lstm():
    return Embedded(nn.Embedding(100, 32), nn.LSTM(32, 48, 6, batch_first=True))


def wide_lstm():
    return Embedded(nn.Identity(), nn.LSTM(4, 512, batch_first=True))


class Bare(nn.Module):
    """Attention without any normalization."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(nn.MultiheadAttention(128, 2, batch_first=True) for _ in range(3))

    def forward(self, x):
        for block in self.blocks:
            x = x + block(x, x, x)[0]
        return x


def narrow_heads():
    return nn.Sequential(nn.LayerNorm(128), nn.TransformerEncoderLayer(128, 32, 256, batch_first=True))


def frames():
    return torch.rand(2, 5, 128)


FAULTY = {
    "fc-dominates": (wide_head, lambda: known.images(1, 28)),
    "conv-bottleneck": (bottleneck, lambda: known.images(1, 28)),
    "missing-pooling": (unpooled, lambda: known.images(1, 28)),
    "large-kernel": (large_kernel, lambda: known.images(1, 28)),
    "early-channel-explosion": (explosion, lambda: known.images(1, 28)),
    "embedding-dimension": (wide_embedding, lambda: known.tokens(8, 50)),
    "num-layers": (deep_lstm, known.tokens),
    "hidden-size-ratio": (wide_lstm, lambda: torch.rand(2, 5, 4)),
    "layer-norm-placement": (Bare, frames),
    "attention-head-count": (narrow_heads, frames),
}


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize("check_id", FAULTY)
def test_faulty_architecture_is_named(check_id, profile, tmp_path):
    make, example = FAULTY[check_id]
    assert check_id in complaints(recorded(tmp_path, make(), example()), profile)


@pytest.mark.parametrize("check_id", [name for name in FAULTY if name not in ("layer-norm-placement", "fc-dominates")])
def test_fix_mends_the_architecture(check_id, tmp_path):
    make, example = FAULTY[check_id]
    model = make()
    fix = complaints(recorded(tmp_path, model, example()))[check_id].fix
    exec(fix, {"model": model, "torch": torch})
    assert check_id not in complaints(recorded(tmp_path, model, example()))
    model(example())


def test_position_table_is_made_long_enough(tmp_path):
    model = known.Gpt(depth=1)
    fix = complaints(recorded(tmp_path, model, known.tokens(), block_size=128))["position-encoding"].fix
    exec(fix, {"model": model, "torch": torch})
    assert complaints(recorded(tmp_path, model, known.tokens(), block_size=128)) == {}


def rates(*values):
    return [{"epoch": at, "learning_rate": rate} for at, rate in enumerate(values)]


@pytest.mark.parametrize(
    ("name", "learning_rates", "found"),
    [
        pytest.param("BERT", (1e-3, 1e-3, 1e-3), True, id="no warm-up"),
        pytest.param("BERT", (1e-4, 1e-3, 5e-4), False, id="warmed up"),
        pytest.param("BERT", (), False, id="nothing logged"),
        pytest.param("GPT", (1e-3, 1e-3, 1e-3), False, id="normalized before"),
        pytest.param("translator", (1e-3, 1e-3, 1e-3), False, id="of both kinds, normalized before"),
    ],
)
def test_normalization_after_attention(name, learning_rates, found, references):
    run = Run.from_epochs(rates(*learning_rates), architecture=references[name].architecture)
    assert ("layer-norm-placement" in complaints(run)) is found


def test_guide_needs_no_learning_rate_to_name_the_place_of_normalization(references):
    found = complaints(references["BERT"], "guide")["layer-norm-placement"]
    assert str(found.severity) == "info" and "6" not in found.title and found.metric_value == 6


def test_normalization_moves_before_attention(references, tmp_path):
    model = known.Bert()
    fix = complaints(references["BERT"], "guide")["layer-norm-placement"].fix
    exec(fix, {"model": model, "torch": torch})
    assert "layer-norm-placement" not in complaints(recorded(tmp_path, model, known.tokens()), "guide")
