"""Checks on modes, losses and labels: mistakes of a training loop that raise no error. Exact, as `invariants`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from diagnostics.engine.checks.loss import TRAIN
from diagnostics.engine.curves import Bools, Ints
from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.registry import Finding, Scope, check
from diagnostics.engine.run import Run
from diagnostics.engine.task import task_of
from diagnostics.engine.thresholds import DiagnosticThresholds


def _mostly(run: Run, hit: Bools, seen: Bools) -> Ints:
    """Return the rows hit if they are half of those seen, and two unless the run has only one."""
    rows = np.flatnonzero(hit & seen)
    enough = rows.size * 2 >= np.count_nonzero(seen) and rows.size >= min(2, len(run))
    return rows if enough else rows[:0]


def _finding(run: Run, rows: Ints, key: str, said: str, value: object) -> Finding:
    epochs = run.epochs[rows].tolist()
    facts = {"series": [], "epochs": epochs, "values": []}
    return Finding(description=said, epoch=epochs[0] if epochs else None, key=key, value=value, evidence=facts)


@check(
    "eval-mode-while-training",
    title="Training in evaluation mode",
    category=IssueCategory.loss,
    severity=IssueSeverity.warning,
    scope=Scope.session,
    needs=("loop.evaluating_modules",),
    section="",
)
def eval_mode_while_training(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """The whole model trains in evaluation mode, with dropout and batch normalization switched off.

    ## What it does
    At sampled steps the client notes the mode of the model in passes with gradients, up to the optimizer's step. It
    is reported if the model as a whole was in evaluation mode, never in training mode, in half of the windows, most
    of its parameters train, and it has dropout or batch normalization whose own parameters train as well. Single
    modules that are held in evaluation mode, frozen batch normalization and a new head on a frozen model are choices,
    and left alone.

    ## Why it matters
    Dropout does not regularize, and batch normalization neither uses the batch nor updates its statistics, so that
    they stay as they were at the start. The usual causes are a ``model.eval()`` for the validation that nothing takes
    back, and a pre-trained model that was loaded in this mode.

    ## How to fix it
    Put the model into training mode at the start of each epoch.

    ```python
    for epoch in range(epochs):
        model.train()
        train_one_epoch(model)
        model.eval()
        validate(model)
    ```
    """
    column = run.column("loop.evaluating_modules")
    rows = _mostly(run, column.values > 0, column.seen)
    if rows.size:
        count = int(column.values[rows[0]])
        said = f"{count} dropout or batch normalization module{'s are' if count > 1 else ' is'} in evaluation mode"
        said += f" while the model trains, in {rows.size} of {np.count_nonzero(column.seen)} windows."
        yield _finding(run, rows, "loop.evaluating_modules", said, count)


@check(
    "train-mode-while-validating",
    title="Validation in training mode",
    category=IssueCategory.loss,
    severity=IssueSeverity.warning,
    scope=Scope.session,
    needs=("loop.validating_in_training_mode", "loss.val.val_loss | loss.val.val_acc"),
    section="",
)
def train_mode_while_validating(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """The model is validated with dropout and batch normalization in training mode.

    ## What it does
    Where the last window ended, the client watches the passes without gradients that follow the last step. It is
    reported if all of them ran in training mode, in half of the windows that were seen, although the model has
    dropout or batch normalization for which that makes a difference, and validation metrics are logged. Several
    random passes on purpose (Monte Carlo dropout) look the same: switch the check off for such a project.

    ## Why it matters
    The validation loss is noisy and too high, depends on what else is in the batch, and the validation data leak into
    the running statistics of batch normalization. Models are then compared, and stopped, by a wrong number.

    ## How to fix it
    Switch to evaluation mode for the validation, and back after it.

    ```python
    model.eval()
    with torch.no_grad():
        val_loss = validate(model)
    model.train()
    ```
    """
    column = run.column("loop.validating_in_training_mode")
    rows = _mostly(run, column.values == 1, column.seen)
    if rows.size:
        said = f"All passes of the validation ran in training mode, in {rows.size} of {np.count_nonzero(column.seen)} "
        said += "windows that were seen."
        yield _finding(run, rows, "loop.validating_in_training_mode", said, int(rows.size))


@check(
    "softmax-before-cross-entropy",
    title="Probabilities given to a loss of logits",
    category=IssueCategory.loss,
    severity=IssueSeverity.warning,
    scope=Scope.session,
    needs=("loop.normalized_twice | architecture",),
    section="",
)
def softmax_before_cross_entropy(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """A softmax, or sigmoid, is applied before a loss that applies one itself.

    ## What it does
    The client looks at the graph of the loss: a cross-entropy whose logits come out of a softmax, a binary
    cross-entropy of logits that come out of a sigmoid, or a negative log-likelihood of probabilities that nobody took
    the logarithm of. Without such a graph (the loss was logged as a number) it is reported if the last layer of the
    model is a Softmax and the hyperparameters call the loss a cross-entropy. A log-softmax before a cross-entropy
    changes nothing, and is not reported.

    ## Why it matters
    The loss of probabilities has a floor: with 10 classes even a perfect model stays at 1.46. Gradients are small
    everywhere, the training is slow, and the model ends less accurate and falsely unsure.

    ## How to fix it
    Give the outputs of the last linear layer to the loss; apply the softmax where probabilities are needed.

    ```python
    loss = torch.nn.functional.cross_entropy(logits, targets)
    probabilities = logits.softmax(dim=-1)
    ```
    """
    column = run.column("loop.normalized_twice")
    rows = np.flatnonzero(column.values == 1)
    if rows.size:
        said = "The loss normalizes what is normalized already: it is given probabilities where it expects logits."
        yield _finding(run, rows, "loop.normalized_twice", said, int(rows.size))
    elif not column and run.blueprint.layers:
        last, loss = run.blueprint.layers[-1], task_of(run).loss
        if last.type in ("Softmax", "Softmax2d") and loss is not None and "cross" in loss.lower():
            said = f"The model ends in {last.id!r}, a {last.type}, and its loss is {loss!r}, which expects logits."
            found = _finding(run, np.zeros(0, np.int64), "architecture", said, last.type)
            found.layer = last.id
            yield found


@check(
    "labels-all-masked",
    title="All labels are masked",
    category=IssueCategory.loss,
    severity=IssueSeverity.critical,
    scope=Scope.session,
    needs=("loop.labels_masked | gradients.norm_max | loss.val.val_loss",),
    section="",
)
def labels_all_masked(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """The loss leaves out every label, so that there is nothing to learn from.

    ## What it does
    In the profiled step the client counts the labels that the cross-entropy leaves out (-100 unless told otherwise).
    It is reported if that is each of them in half of the windows. Without a profiled step, a loss that is NaN while
    the gradient of all parameters is exactly zero says the same: the mean over no label is 0/0, and passes no gradient
    on. So does a loss that is NaN for every batch of two epochs while the validation loss stays finite: then the
    weights are no NaN.

    ## Why it matters
    The mask that should hide the prompt or the padding hides the answers too. The loss is NaN or zero, and the
    weights only decay.

    ## How to fix it
    Look at the labels of one batch: the part that the model is to learn must not be -100.

    ```python
    labels = input_ids.clone()
    labels[:, :prompt_length] = -100  # and no more than that
    ```
    """
    masked = run.column("loop.labels_masked")
    rows = _mostly(run, masked.values == 1.0, masked.seen)
    if rows.size:
        said = f"Every label of the profiled step is left out of the loss, in {rows.size} of "
        said += f"{np.count_nonzero(masked.seen)} windows."
        yield _finding(run, rows, "loop.labels_masked", said, 1.0)
        return
    loss, norm = run.column(TRAIN), run.column("gradients.norm_max")
    both = loss.seen & norm.seen
    rows = _mostly(run, ~np.isfinite(loss.values) & (norm.values == 0), both)
    if rows.size and not (masked.values < 1.0).any():
        said = "The loss is NaN while the gradient of every parameter is exactly zero: it is a mean over no label."
        yield _finding(run, rows, TRAIN, said, float(loss.values[rows[0]]))
        return
    rows = _lost_without_harm(run)
    if rows.size and not (masked.values[rows] < 1.0).any():
        said = "The training loss is NaN for every batch while the validation loss stays finite, so the weights are no "
        said += "NaN: that is how a mean over no label looks."
        yield _finding(run, rows, TRAIN, said, float(loss.values[rows[0]]))


def _lost_without_harm(run: Run) -> Ints:
    """Return two epochs or more to the end of which no batch had a finite loss while validation did, on weights that
    no gradient scaler and no NaN gradient tells of; none if it is not so."""
    loss, val = run.column(TRAIN), run.column("loss.val.val_loss")
    lost = loss.seen & np.isnan(loss.values)
    every = run.column("loss.non_finite").values >= run.column("loss.n_batches").values
    rows = np.flatnonzero(lost & every & np.isfinite(val.values))
    strange = run.column("gradients.norm_max")
    skipped = bool(run.column("loss_scale.skipped")) or not np.isfinite(strange.values[rows][strange.seen[rows]]).all()
    enough = rows.size >= 2 and rows[-1] == len(run) - 1 and rows[-1] - rows[0] == rows.size - 1
    return rows if enough and not skipped else rows[:0]
