"""Classes that a model ignores."""

from __future__ import annotations

import pytest

from diagnostics.engine import Run
from observer_client.packed import pack
from observer_client.record import Epoch
from observer_client.signal_records import ClassCounts
from tests.engine.tools import BOTH, found, held_back, network

CHECK = "class-imbalance"


def counted(*classes, split="val", epochs=4):
    """Return a run whose epochs all counted these (support, predicted, correct) of each class."""
    support, predicted, correct = (list(each) for each in zip(*classes, strict=True))
    counts = {"support": support, "predicted": predicted, "correct": correct}
    return Run.from_epochs([{"classes": {split: counts}} for _ in range(epochs)])


FEW = Run.from_epochs(
    [
        {"classes": {"val": {"support": [n, 10], "predicted": [hits, 10 + n - hits], "correct": [hits, 7]}}}
        for n, hits in ((5, 1), (3, 0), (3, 0))
    ]
)
IGNORED = counted((40, 0, 0), (160, 200, 155))


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("run", "recall", "classes"),
    [
        pytest.param(IGNORED, 0.0, [0], id="never given"),
        pytest.param(counted((40, 0, 0), (160, 200, 155), split="train"), 0.0, [0], id="in training data"),
        pytest.param(counted((40, 8, 4), (160, 192, 156)), 0.1, [0], id="seldom given"),
        pytest.param(counted((50, 2, 2), (50, 1, 1), (400, 497, 398)), 0.02, [0, 1], id="two of three"),
    ],
)
def test_ignored(run, recall, classes, profile):
    (issue,) = found(CHECK, run, profile)
    assert issue.metric_value == pytest.approx(recall) and issue.evidence["classes"] == classes
    assert "class 0 has a recall" in issue.description


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    "run",
    [
        pytest.param(counted((40, 38, 36), (160, 162, 158)), id="all known"),
        pytest.param(counted((40, 28, 24), (160, 172, 156)), id="a harder class"),
        pytest.param(counted((40, 40, 12), (160, 160, 132)), id="confused, not ignored"),
        pytest.param(counted((2, 0, 0), (160, 162, 158)), id="too few samples"),
        pytest.param(counted((100, 0, 0), (100, 100, 50), (100, 200, 55)), id="nothing learned yet"),
        pytest.param(counted((0, 0, 0), (160, 160, 158)), id="a class without samples"),
        pytest.param(Run.from_epochs([{"classes": {"val": {"support": [9, 9], "correct": [9]}}}]), id="cut off"),
    ],
)
def test_not_ignored(run, profile):
    assert found(CHECK, run, profile) == []


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        pytest.param(counted((40, 0, 0), (160, 200, 155), epochs=2), "too few to have learned", id="early"),
        pytest.param(FEW, "by chance", id="by chance"),
    ],
)
def test_held_back(run, reason):
    assert found(CHECK, run) == [] and reason in held_back(CHECK, run)[0]


@pytest.mark.parametrize(("tokens", "reported"), [(2, 0), (5000, 1)], ids=["predicts tokens", "reads tokens"])
def test_tokens_are_no_classes(tokens, reported):
    embedding = ("embed", "Embedding", 100, {"category": "embedding", "num_embeddings": tokens})
    counts = {"support": [40, 160], "predicted": [0, 200], "correct": [0, 155]}
    run = Run.from_epochs([{"classes": {"val": counts}}] * 3, architecture=network(embedding))
    assert len(found(CHECK, run)) == reported


def test_validation_counts_before_training():
    good, bad = {"support": [90], "predicted": [90], "correct": [90]}, {"support": [10, 90], "predicted": [0, 100]}
    epochs = [{"classes": {"val": good, "train": bad | {"correct": [0, 90]}}} for _ in range(3)]
    assert found(CHECK, Run.from_epochs(epochs)) == []


def test_the_share_of_the_training_data_is_told():
    val = {"support": [40, 160], "predicted": [0, 200], "correct": [0, 155]}
    train = {"support": [2, 198], "predicted": [0, 200], "correct": [0, 198]}
    (issue,) = found(CHECK, Run.from_epochs([{"classes": {"val": val, "train": train}} for _ in range(3)]))
    assert "1.0% of the training data" in issue.description


def test_packed_counts_are_judged_alike():
    counts = ClassCounts(support=[40, 160], predicted=[0, 200], correct=[0, 155])
    run = Run.from_packed([pack(Epoch(epoch=number, classes={"val": counts})) for number in range(3)])
    assert len(found(CHECK, run)) == 1


@pytest.mark.parametrize(
    ("counts", "told", "reported"),
    [
        pytest.param(
            [(40, 0, 0), (160, 200, 155)], {"loss": "cross_entropy", "num_classes": 30}, 0, id="alphabet told"
        ),
        pytest.param([(40, 0, 0), (160, 200, 155)], {"loss": "cross_entropy", "num_classes": 2}, 1, id="other classes"),
        pytest.param([(40, 0, 0)] + [(40, 40, 38)] * 120, {}, 0, id="a vocabulary"),
        pytest.param([(40, 0, 0)] + [(40, 40, 38)] * 12, {}, 1, id="a few classes of words"),
    ],
)
def test_a_vocabulary_is_no_set_of_classes(counts, told, reported):
    support, predicted, correct = (list(each) for each in zip(*counts, strict=True))
    embedding = ("embed", "Embedding", 100, {"category": "embedding", "num_embeddings": 30})
    epoch = {"classes": {"val": {"support": support, "predicted": predicted, "correct": correct}}}
    run = Run.from_epochs([epoch] * 3, architecture=network(embedding), hyperparameters=told)
    assert len(found(CHECK, run)) == reported


def rare(in_training, val_loss=(0.2, 0.2, 0.2, 0.2)):
    """Return a run that never gives a class which is 2 % of the validation data."""
    epochs = []
    for loss in val_loss:
        train = {"support": [in_training, 1000], "predicted": [0, 1000 + in_training], "correct": [0, 1000]}
        val = {"support": [20, 980], "predicted": [0, 1000], "correct": [0, 980]}
        classes = {"val": val} | ({} if in_training is None else {"train": train})
        epochs.append({"loss": {"val": {"val_loss": loss}}, "classes": classes})
    return Run.from_epochs(epochs)


@pytest.mark.parametrize(
    ("in_training", "severity"),
    [(20, "info"), (5, "warning")],
    ids=["as rare in training", "left out of training"],
)
def test_classes_that_are_rare_by_nature(in_training, severity):
    assert [str(issue.severity) for issue in found(CHECK, rare(in_training))] == [severity]


@pytest.mark.parametrize(("losses", "severity"), [((1.0, 0.9, 0.8, 0.6), "info"), ((0.5, 0.5, 0.5, 0.5), "warning")])
def test_a_class_that_is_still_being_learned(losses, severity):
    counts = {"support": [40, 160], "predicted": [0, 200], "correct": [0, 155]}
    run = Run.from_epochs([{"loss": {"val": {"val_loss": loss}}, "classes": {"val": counts}} for loss in losses])
    assert [str(issue.severity) for issue in found(CHECK, run)] == [severity]
