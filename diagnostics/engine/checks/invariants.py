"""Checks on what must hold of every training: parameters change, and gradients reach them once. Exact: nothing is
estimated, so no profile holds them back."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from diagnostics.engine.curves import Ints
from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.layerwise import designed
from diagnostics.engine.once import once
from diagnostics.engine.registry import Finding, Scope, check, evidence
from diagnostics.engine.run import Run
from diagnostics.engine.task import reuse_of
from diagnostics.engine.thresholds import DiagnosticThresholds


def always(run: Run, statistic: str) -> Ints:
    """Return the layers of which every window that says something says yes."""
    matrix = run.layer_matrix(statistic)
    return np.flatnonzero(matrix.seen.any(axis=0) & ~(matrix.seen & (matrix.values != 1)).any(axis=0))


def long_enough(run: Run, layer: int, statistic: str, limits: DiagnosticThresholds) -> bool:
    """Whether a layer was seen for so long that not even gradient accumulation explains what was seen of it."""
    seen = run.layer_matrix(statistic).seen[:, layer]
    batches = run.column("loss.n_batches").values[seen]
    steps = float(np.nansum(batches)) if np.isfinite(batches).any() else 0.0
    return bool(steps >= limits.invariant_steps or np.count_nonzero(seen) >= limits.invariant_windows)


@once
def unchanged(run: Run, limits: DiagnosticThresholds) -> list[int]:
    """Return the layers whose trainable parameters never changed."""
    return [each for each in always(run, "unchanged").tolist() if long_enough(run, each, "unchanged", limits)]


def _was(run: Run, statistic: str, layer: int) -> bool:
    return bool((run.layer_matrix(statistic).values[:, layer] == 1).any())


def _any(run: Run, count: str) -> bool:
    return bool((run.column(f"loop.{count}").values > 0).any())


def _all_hit(run: Run, layers: list[int]) -> bool:
    return len(layers) == np.count_nonzero(run.layer_matrix("unchanged").seen.any(axis=0))


def _names(run: Run, layers: list[int]) -> str:
    named = ", ".join(repr(run.layers[each]) for each in layers[:4])
    return named + (f" and {len(layers) - 4} others" if len(layers) > 4 else "")


def _size(run: Run, layer: int) -> int:
    found = designed(run, run.layers[layer])
    return found.parameters if found is not None else 0


def _finding(run: Run, layers: list[int], statistic: str, said: str, limits: DiagnosticThresholds) -> Finding:
    rows = np.flatnonzero(run.layer_matrix(statistic).seen[:, layers].any(axis=1))
    epochs = run.epochs[rows].tolist()
    worst = max(layers, key=lambda each: _size(run, each))
    return Finding(
        description=said,
        epoch=epochs[0],
        layer=run.layers[worst],
        key=f"layers.{statistic}",
        value=len(layers),
        evidence=evidence([], epochs, [], limits, "invariant_steps")
        | {"layers": [run.layers[each] for each in layers]},
    )


@check(
    "parameters-not-updated",
    title="Parameters never change",
    category=IssueCategory.loss,
    severity=IssueSeverity.critical,
    scope=Scope.layer,
    needs=("layers.unchanged",),
    section="",
)
def parameters_not_updated(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """Trainable parameters have the same values, to the bit, from the first step to the last.

    ## What it does
    The client compares a sum over the bits of every trainable parameter from window to window. A layer that gets a
    gradient, is stepped by an optimizer whose learning rate is not zero, and has not one changed bit in the whole run
    is reported; so is a model of which nothing changes although backward passes reach it. Frozen layers do not count,
    vectors in half precision do not either, where an update is often smaller than the resolution, and nor do layers
    whose gradient is so small beside the weights (a ten-millionth) that single precision cannot hold the step. Runs of
    fewer than 64 steps are judged from the fifth window on, since gradients may be accumulated that long.

    ## Why it matters
    Nothing is learned there, whatever the loss says: the run costs what a training costs and gives what it started
    with.

    ## How to fix it
    Call the optimizer's step after every backward pass, with the parameters of the very model that is trained.

    ```python
    loss.backward()
    optimizer.step()  # under a gradient scaler: scaler.step(optimizer)
    optimizer.zero_grad()
    ```

    Under a gradient scaler that finds an infinite gradient in each step, all steps are skipped: then the scale, or
    the precision, is at fault.
    """
    layers = unchanged(run, limits)
    if not layers:
        return
    if _all_hit(run, layers) and not any(_was(run, "optimized", each) for each in layers):
        if _any(run, "backward_passes"):
            yield _nothing_changes(run, layers, limits)
        return
    gradient = run.layer_matrix("gradient_norm_max").values
    size = run.layer_matrix("weight_norm").values
    with np.errstate(invalid="ignore"):
        # A step by less than the weights can resolve changes no bit: then the gradient has vanished.
        felt = (gradient > 0) & ~(gradient < limits.vanishing_gradient_threshold * size)
    moved = [each for each in layers if _was(run, "optimized", each) and felt[:, each].any()]
    if moved:
        said = (
            f"The parameters of {_names(run, moved)} get a gradient and are stepped, and not one bit of them changes."
        )
        yield _finding(run, moved, "unchanged", said, limits)


def _nothing_changes(run: Run, layers: list[int], limits: DiagnosticThresholds) -> Finding:
    others = _any(run, "other_optimizer_steps")
    why = (
        "the optimizer that steps holds none of the model's parameters"
        if others
        else "no optimizer was seen to step: its step is not called, or a gradient scaler skips every one"
    )
    found = _finding(
        run, layers, "unchanged", f"Not one bit of the model's {len(layers)} layers changes; {why}.", limits
    )
    found.layer = None
    return found


@check(
    "optimizer-misses-parameters",
    title="Parameters in no optimizer",
    category=IssueCategory.loss,
    severity=IssueSeverity.critical,
    scope=Scope.layer,
    needs=("layers.unchanged",),
    section="",
)
def optimizer_misses_parameters(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """Trainable parameters are in none of the optimizers that step.

    ## What it does
    The client compares the parameters of the model with those that the optimizers hold, by identity, at sampled
    steps. A layer that is trainable, in no optimizer, and has not one changed bit in the whole run is reported: so
    one whose optimizer steps rarely, or which is updated by hand, is not. It is information only if the
    hyperparameters speak of fine-tuning, where leaving layers out of the optimizer is one way to freeze them.

    ## Why it matters
    These layers keep their random weights for ever. The optimizer was made before the model, of another copy of it,
    or of a list that leaves something out; nothing raises an error, and the loss may even fall.

    ## How to fix it
    Make the optimizer after the model is complete, of all of its parameters.

    ```python
    model = build().to(device)  # first: modules that are added or replaced later are new parameters
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    head.requires_grad_(False)  # what is to stay as it is
    ```
    """
    layers = unchanged(run, limits)
    optimized = run.layer_matrix("optimized")
    missed = [each for each in layers if (optimized.values[:, each] == 0).any() and not _was(run, "optimized", each)]
    if missed:
        said = (
            f"{_names(run, missed)}: trainable, in no optimizer that steps, and the same to the bit in the whole run."
        )
        found = _finding(run, missed, "optimized", said, limits)
        found.severity = IssueSeverity.info if reuse_of(run) else None
        yield found
    elif layers and _all_hit(run, layers) and _any(run, "backward_passes") and _any(run, "other_optimizer_steps"):
        yield _nothing_changes(run, layers, limits)


@check(
    "missing-zero-grad",
    title="Gradients are never reset",
    category=IssueCategory.loss,
    severity=IssueSeverity.critical,
    scope=Scope.session,
    needs=("loop.gradients_kept",),
    section="",
)
def missing_zero_grad(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """Each step's gradient is added to all gradients before it.

    ## What it does
    In each window the client watches the gradients of up to three parameters between two steps of their optimizer.
    If every backward pass in between finds a gradient, and the first one finds, number for number, what the optimizer
    stepped with, then nobody reset it. Half of the windows, and two of them unless there is only one, must say so.
    Accumulation over micro-batches resets after each step, and the passes of a GAN through the other network end with
    a reset, so neither is reported.

    ## Why it matters
    The optimizer steps with the sum of all gradients since the start: a momentum that never fades. The loss falls at
    first, then swings or explodes, and a smaller learning rate only delays it.

    ## How to fix it
    Reset the gradients once per optimizer step.

    ```python
    optimizer.step()
    optimizer.zero_grad()
    ```
    """
    column = run.column("loop.gradients_kept")
    hit = np.flatnonzero(column.values == 1)
    known = np.count_nonzero(column.seen)
    if hit.size and hit.size * 2 >= known and hit.size >= min(2, len(run)):
        epochs = run.epochs[hit].tolist()
        yield Finding(
            description="The gradients that an optimizer stepped with were still there, untouched, when the next "
            f"backward pass came, in {hit.size} of {known} windows: zero_grad() is not called.",
            epoch=epochs[0],
            key="loop.gradients_kept",
            value=int(hit.size),
            evidence={"series": ["loss.train_mean", "gradients.norm_mean"], "epochs": epochs, "values": []},
        )


@check(
    "no-gradient",
    title="Layer without a gradient",
    category=IssueCategory.sustainability,
    severity=IssueSeverity.warning,
    scope=Scope.layer,
    needs=("layers.no_gradient",),
    section="",
)
def no_gradient(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """No gradient ever reaches a layer that the optimizer steps.

    ## What it does
    Reports trainable layers of which no parameter had a gradient at any sampled step of the run, or only ones that
    are exactly zero, while other layers do get one. Layers that are used in some windows only, as one of several
    heads, are not reported, nor is a run of fewer than 64 steps and five windows.

    ## Why it matters
    The layer is not part of what is trained: its output is detached, computed under ``no_grad`` or not used at all,
    or everything that comes after it multiplies with zero. Its weights stay random, or only decay.

    ## How to fix it
    Follow the output of the layer to the loss, and remove what cuts it off; delete the layer if nothing uses it.

    ```python
    features = self.encoder(x)  # not self.encoder(x).detach(), not under torch.no_grad()
    ```

    Where all weights begin at zero, initialize them at random.
    """
    norms = run.layer_matrix("gradient_norm_max")
    zero = norms.seen.any(axis=0) & ~(norms.seen & (norms.values != 0)).any(axis=0)
    flowing = (norms.values > 0).any()
    missing = always(run, "no_gradient")
    still = [each for each in np.union1d(missing, np.flatnonzero(zero)).tolist() if _was(run, "trainable", each)]
    layers = [each for each in still if long_enough(run, each, "no_gradient", limits)]
    if layers and flowing:
        kind = "no gradient" if all(each in missing for each in layers) else "no gradient but zero"
        said = f"{_names(run, layers)}: stepped by the optimizer, and {kind} at any sampled step of the run."
        yield _finding(run, layers, "no_gradient", said, limits)
