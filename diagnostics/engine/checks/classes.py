"""The check on predictions by class."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from diagnostics.engine.columns import Singles
from diagnostics.engine.curves import Floats, Ints, ratio
from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.registry import Finding, Scope, check
from diagnostics.engine.run import Run
from diagnostics.engine.task import task_of
from diagnostics.engine.thresholds import DiagnosticThresholds

_MOST_NAMED = 5
_MOST_COUNTED = 10_000
# Of a class with more samples, the p-value says nothing that the ratio does not.


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts by class over the last epochs of a split."""

    split: str
    support: Floats
    predicted: Floats
    correct: Floats
    epochs: int
    """Epochs in which predictions of the split were counted."""

    @property
    def recall(self) -> Floats:
        return ratio(self.correct, self.support)

    @property
    def accuracy(self) -> float:
        whole = float(self.support.sum())
        return float(self.correct.sum()) / whole if whole else 0.0


def last_counts(run: Run, split: str, epochs: int = 3) -> Counts | None:
    """Return the counts of the last ``epochs`` epochs of a split, None if it has none."""
    support, predicted, correct = (run.steps(f"classes.{split}.{own}") for own in ("support", "predicted", "correct"))
    if not support or not predicted.rows.size == support.rows.size == correct.rows.size:
        return None
    rows = np.unique(support.rows)
    picked = np.isin(support.rows, rows[-epochs:])
    place = _class_of(support.rows)
    classes = place[picked]
    return Counts(
        split,
        support=_sums(classes, support.values[picked]),
        predicted=_sums(classes, predicted.values[picked]),
        correct=_sums(classes, correct.values[picked]),
        epochs=int(rows.size),
    )


def _class_of(rows: Ints) -> Ints:
    """Return the class of each entry: its place within its epoch."""
    counts = np.bincount(rows)
    first = np.cumsum(counts) - counts
    return np.arange(rows.size) - first[rows]


def _sums(classes: Ints, counts: Singles) -> Floats:
    known = np.where(np.isfinite(counts), np.maximum(counts, 0.0), 0.0)
    return np.bincount(classes, known).astype(np.float64)


@check(
    "class-imbalance",
    title="Minority class ignored",
    category=IssueCategory.loss,
    severity=IssueSeverity.warning,
    scope=Scope.session,
    needs=("classes.val.support | classes.train.support",),
    section="11.2",
)
def class_imbalance(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """The model is good on the whole and hardly ever gives one of the classes.

    ## What it does
    Counts the predictions of the last three epochs by class, of the validation data where they were told, else of the
    training data. A class is ignored if its recall is less than a fifth of the accuracy and it is predicted less than
    half as often as it occurs, with ten samples at least and an accuracy of at least 50 %. The robust profile asks for
    three epochs and a recall that is no chance (binomial, p < 0.001). It is information where the class is as rare in
    the training data, if these were counted, and has less than a quarter of an equal share: of rare events that are
    hard to foresee, the likeliest answer is always that they do not happen. It is information, too, while the
    validation loss still falls by 5 % in the last third of the run. It leaves language models out, where the
    classes are the tokens that go in, or a vocabulary of more than a hundred words: which word follows cannot be known,
    and those that only ever might are never the likeliest (Zipf's law leaves most of them rare).

    ## Why it matters
    Loss and accuracy look fine, since the class is rare where they are measured or where the model was trained. It is
    often the class that the model is for: the fraud, the tumor, the defect.

    ## How to fix it
    Give the rare class more weight in the loss, or draw it more often, and judge by recall of each class.

    ```python
    weight = counts.sum() / (len(counts) * counts)
    criterion = torch.nn.CrossEntropyLoss(weight=weight)
    ```
    """
    counts = last_counts(run, "val") or last_counts(run, "train")
    if counts is None or counts.accuracy < limits.class_accuracy:
        return
    low = counts.recall < limits.class_recall_ratio * counts.accuracy
    rare = counts.predicted < limits.class_predicted_ratio * counts.support
    ignored = np.flatnonzero(low & rare & (counts.support >= limits.class_support))
    if ignored.size:
        yield _finding(run, counts, ignored, limits)


@class_imbalance.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    counts = last_counts(run, "val") or last_counts(run, "train")
    for found in class_imbalance.rule(run, limits):
        if counts is None:
            continue
        certain = [place for place in found.evidence["classes"] if _p_value(counts, place) < limits.class_p_value]
        if _are_tokens(run, counts, limits):
            found.suppressed = "the classes are the tokens that go in: some are never the likeliest"
        elif counts.epochs < limits.class_epochs:
            found.suppressed = f"{counts.epochs} epochs are too few to have learned every class"
        elif not certain:
            found.suppressed = "so few samples of the class may be wrong by chance"
        else:
            found = _finding(run, counts, np.array(certain), limits)
            milder = _rare_by_nature(run, counts, certain, limits) or _still_learns(run, limits)
            found.severity = IssueSeverity.info if milder else None
        yield found


def _still_learns(run: Run, limits: DiagnosticThresholds) -> bool:
    column = run.column("loss.val.val_loss")
    known = column.values[column.finite]
    before = known[: known.size * 2 // 3]
    return bool(before.size >= 2 and before.min() - np.median(known[-2:]) > limits.stuck_improvement_pct * before.min())


def _rare_by_nature(run: Run, counts: Counts, ignored: list[int], limits: DiagnosticThresholds) -> bool:
    rare = limits.class_rare_ratio / np.count_nonzero(counts.support)
    share = counts.support[ignored] / counts.support.sum()
    train = last_counts(run, "train")
    known = train is not None and train.support.sum() and max(ignored) < train.support.size
    seldom = share / 2 > train.support[ignored] / train.support.sum() if train is not None and known else share < 0
    return bool(np.all(share < rare) and not np.any(seldom))


def _are_tokens(run: Run, counts: Counts, limits: DiagnosticThresholds) -> bool:
    embeddings = run.blueprint.of("embedding")
    # Symbols that do not occur at the end of the alphabet are not counted, so that what was told may say more.
    sizes = {counts.support.size, run.blueprint.classes, task_of(run).classes}
    same = any(each.node is not None and each.node.num_embeddings in sizes for each in embeddings)
    return same or (bool(embeddings) and counts.support.size > limits.class_vocabulary)


def _finding(run: Run, counts: Counts, ignored: Ints, limits: DiagnosticThresholds) -> Finding:
    recall = counts.recall
    named = [
        f"class {place} has a recall of {recall[place]:.0%} ({counts.support[place]:.0f} samples{_share(run, place)})"
        for place in ignored[:_MOST_NAMED].tolist()
    ]
    more = f", and {ignored.size - _MOST_NAMED} classes more" if ignored.size > _MOST_NAMED else ""
    worst = float(recall[ignored].min())
    return Finding(
        description=f"With an accuracy of {counts.accuracy:.0%}, {', '.join(named)}{more}.",
        key=f"classes.{counts.split}.correct",
        value=worst,
        evidence={
            "series": [],
            "epochs": [],
            "values": [float(each) for each in recall[ignored]],
            "threshold": "class_recall_ratio",
            "limit": limits.class_recall_ratio,
            "classes": ignored.tolist(),
            "accuracy": counts.accuracy,
        },
    )


def _share(run: Run, place: int) -> str:
    train = last_counts(run, "train")
    if train is None or place >= train.support.size or not train.support.sum():
        return ""
    return f", {train.support[place] / train.support.sum():.1%} of the training data"


def _p_value(counts: Counts, place: int) -> float:
    trials = int(counts.support[place])
    if trials > _MOST_COUNTED:
        return 0.0
    return binomial_tail(int(counts.correct[place]), trials, counts.accuracy)


def binomial_tail(successes: int, trials: int, chance: float) -> float:
    """Return the probability of at most so many successes."""
    if not 0 < chance < 1:
        return 1.0
    terms = [
        math.lgamma(trials + 1)
        - math.lgamma(hits + 1)
        - math.lgamma(trials - hits + 1)
        + hits * math.log(chance)
        + (trials - hits) * math.log1p(-chance)
        for hits in range(successes + 1)
    ]
    return min(1.0, sum(math.exp(term) for term in terms))
