"""The check that knows healthy runs instead of a rule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from diagnostics.engine.anomaly import AnomalyModel, generic
from diagnostics.engine.anomaly_features import features
from diagnostics.engine.anomaly_figures import FEATURES, NAMES, WARM_UP
from diagnostics.engine.curves import Floats
from diagnostics.engine.games import mild_in_games
from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.registry import Finding, Scope, check, evidence
from diagnostics.engine.run import Run
from diagnostics.engine.thresholds import DiagnosticThresholds

_MOST = 10
# Epochs that are looked at closely: in a run that went wrong for good all the others are unusual, too.
_NAMED = 3
# Drivers that a sentence can hold; all of them are in the evidence.
_HARM = frozenset({"loss_change", "loss_level", "loss_non_finite", "accuracy_drop"})
# Figures of what the training is for.
_BY_NAME = {each.name: each for each in FEATURES}


@check(
    "anomalous-epoch",
    title="Anomalous epoch",
    category=IssueCategory.system,
    severity=IssueSeverity.warning,
    scope=Scope.epoch,
    needs=("loss.train_mean",),
    section="11.5",
)
def anomalous_epoch(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """An epoch looks like none of the healthy runs that a model has learned from.

    ## What it does
    Compares about twenty figures of each epoch, none of which has a scale of its own (changes of losses over the range
    they have come down, gradient norms over those of earlier epochs, the change of each layer, and so on), with those
    of healthy runs. A Gaussian mixture says how surprising their combination is; the score is above 0.9 if it is more
    so than anything in a healthy run was to a model that did not know that run. The model is the project's own as soon
    as it has learned from enough healthy sessions, until then one that comes with mldiag. The first three epochs are
    not judged, and the ten most unusual ones are reported. The robust profile also asks that at least two figures lie
    beyond all that healthy epochs showed, by a tenth of their range. Unusual is not wrong: it is a warning only if one
    of these is the loss itself or the accuracy, for the worse, and no later epoch has made it good, else information.

    ## Why it matters
    Rules find the faults that somebody has thought of. What no rule describes still differs from what has always
    worked.

    ## How to fix it
    Look at the columns that drive the score and at the logs of that epoch, and compare it with a run that went well.

    ```python
    print(observer.url)  # the page of the session draws the columns of the issue, epoch by epoch
    ```
    """
    if len(run) <= WARM_UP:
        return
    table, scores = judged(run)
    unusual = np.flatnonzero(scores > limits.anomaly_score)
    for row in np.sort(unusual[np.argsort(-scores[unusual], kind="stable")[:_MOST]]):
        yield _found(run, limits, int(row), table[row], float(scores[row]))


def judged(run: Run) -> tuple[Floats, Floats]:
    """Return the figures of every epoch (epochs x `FEATURES`) and its score, NaN where none can be given."""
    if "anomaly" not in run.memory:
        table = features(run)
        run.memory["anomaly"] = table, _model(run).score(table)
    table, scores = run.memory["anomaly"]
    return table, scores


def _model(run: Run) -> AnomalyModel:
    return run.anomaly_model or generic()


def summary(run: Run) -> dict[str, Any]:
    """Return which model judged the run, and its most unusual epoch with the score; None where none was scored."""
    scores = judged(run)[1]
    known = np.flatnonzero(np.isfinite(scores))
    told: dict[str, Any] = {"model": _model(run).described(), "epoch": None, "score": None}
    if known.size:
        row = int(known[np.argmax(scores[known])])
        told |= {"epoch": int(run.epochs[row]), "score": round(float(scores[row]), 4)}
    return told


def _harms(run: Run, found: Finding) -> bool:
    """Return whether the loss or the accuracy of the epoch is beyond that of healthy ones, for the worse."""
    row = int(np.flatnonzero(run.epochs == found.epoch)[0])
    loss, figures = run.column("loss.train_mean").values, judged(run)[0][row]
    made_good = bool(np.fmin.reduce(loss[row + 1 :], initial=np.inf) < np.fmin.reduce(loss[:row], initial=np.inf))
    worse = any(figures[NAMES.index(name)] > 0 for name in _HARM.intersection(found.evidence["beyond"]))
    return worse and not made_good


@anomalous_epoch.robust
@mild_in_games
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    for found in anomalous_epoch.rule(run, limits):
        if len(found.evidence["beyond"]) < limits.anomaly_figures:
            found.suppressed = "unusual in combination only: its figures, one by one, are those of healthy epochs"
        elif not _harms(run, found):
            found.severity = IssueSeverity.info
        yield found


def _found(run: Run, limits: DiagnosticThresholds, row: int, figures: Floats, score: float) -> Finding:
    model = _model(run)
    epoch, drivers = int(run.epochs[row]), model.drivers(figures)
    columns = list(dict.fromkeys(_BY_NAME[name].column for name in drivers))
    said = "; ".join(_BY_NAME[name].says for name in drivers[:_NAMED])
    return Finding(
        description=f"Epoch {epoch} scores {score:.2f} of 1 against {model.sessions} healthy runs. What is unusual: "
        f"{said}.",
        epoch=epoch,
        key="anomaly_score",
        value=score,
        evidence=evidence(columns, [epoch], [score], limits, "anomaly_score")
        | {"drivers": drivers, "beyond": sorted(model.beyond(figures)), "model": model.described()},
    )
