"""Checks on the gradients and updates of layers, each beside those of the others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from diagnostics.engine.checks.activations import dead_or_sunk
from diagnostics.engine.checks.loss import TRAIN, knew_its_task
from diagnostics.engine.columns import Singles
from diagnostics.engine.curves import Bools, Floats, Ints, median
from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.layerwise import (
    below,
    category,
    either,
    is_frozen,
    is_sustained,
    layer_finding,
    layers_hit,
    medians,
    raised,
    seen_of,
    values_of,
)
from diagnostics.engine.once import once
from diagnostics.engine.registry import Finding, Scope, check, evidence
from diagnostics.engine.run import Run
from diagnostics.engine.thresholds import DiagnosticThresholds

_DEAD = "Units that follow this layer are dead: initialize it anew with a zero bias, and lower the learning rate."
_PLAIN = "Add skip connections and normalization, and initialize the layers by the rule for their activation."
_NOT_TOLD = np.iinfo(np.int64).max
_SQUASHES = frozenset({"Sigmoid", "Tanh", "Hardsigmoid", "Hardtanh", "Softsign"})


@check(
    "vanishing-gradients",
    title="Vanishing gradients",
    category=IssueCategory.sustainability,
    severity=IssueSeverity.warning,
    scope=Scope.layer,
    needs=("layers.gradient_norm_mean | layers.has_vanishing_gradients",),
    section="6.7",
)
def vanishing_gradients(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """Hardly any gradient arrives at a layer.

    ## What it does
    Reports layers whose mean gradient norm is below 1e-7. The robust profile asks that it lasts and that other layers
    do get a gradient, a thousand times as much; frozen layers, and whole networks that have converged, are left out. So
    are layers of which only a part trains, such as the bias, where layers before them get a gradient that must have
    passed them. It also reports layers below 1e-5 that get less than a ten-thousandth of what the strongest layer gets
    (after AUTOTRAINER, Zhang, Zhai, Ma and Shen, ICSE 2021, which compares the first layer with the last).

    ## Why it matters
    A layer without a gradient does not learn: it stays as random as it was initialized.

    ## How to fix it
    Add skip connections and normalization, and replace saturating activations such as sigmoid and tanh.

    ```python
    x = x + self.block(self.norm(x))  # the gradient passes through the sum
    ```
    """
    tiny = _tiny(run, limits)
    yield from _vanished(run, layers_hit(tiny), tiny, limits, "vanishing_gradient_threshold")


def _vanished(
    run: Run, layers: list[int], tiny: Bools, limits: DiagnosticThresholds, threshold: str
) -> Iterator[Finding]:
    squashed = any(layer.type in _SQUASHES for layer in run.blueprint.layers) if layers else False
    for layer in layers:
        norms = values_of(run, "gradient_norm_mean")[tiny[:, layer], layer]
        mean = f" (average norm {np.nanmean(norms):.2g})" if np.isfinite(norms).any() else ""
        said = f"gets almost no gradient{mean}"
        found = layer_finding(run, layer, tiny, "gradient_norm_mean", said, limits, threshold)
        dead, sunk = dead_or_sunk(run, limits)
        if dead[:, layer].any() or sunk[:, layer].any():
            found.suggestion = _DEAD
        elif run.blueprint.layers and not squashed:
            found.suggestion = _PLAIN
        yield found


@vanishing_gradients.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    tiny, norms = _tiny(run, limits), run.layer_matrix("gradient_norm_mean")
    if tiny is run.nowhere and not norms.lowest < limits.vanishing_gradient_small:
        return
    seen = seen_of(run, "gradient_norm_mean", "has_vanishing_gradients")
    strongest = np.where(np.isfinite(norms.values), norms.values, 0.0).max(axis=1, initial=0.0)
    for found in vanishing_gradients.rule(run, limits):
        layer = run.place(found.layer)
        last = float(norms.values[np.flatnonzero(seen[:, layer])[-1], layer])
        most = float(strongest[np.flatnonzero(tiny[:, layer])].max())
        if is_frozen(run, layer):
            found.suppressed = "the layer is frozen"
        elif _passes_on(run, layer, norms.values, limits):
            found.suppressed = "only a part of its weights trains, and layers before it get a gradient through it"
        elif not is_sustained(run, tiny, seen, layer):
            found.suppressed = "it did not last"
        elif len(run.layers) > 1 and np.isfinite(last) and most < limits.vanishing_gradient_ratio * max(last, 1e-30):
            found.suppressed = "no layer gets much more: the network has converged"
        yield found
    yield from _far_behind(run, limits, norms.values, strongest)


def _passes_on(run: Run, layer: int, norms: Singles, limits: DiagnosticThresholds) -> bool:
    """Return whether layers are trained in part, as their biases alone (BitFit, Ben Zaken et al., 2022), and one that
    is executed before ``layer`` gets a usual gradient. A bias under a normalization has none by arithmetic, which takes
    away what it adds; whether a signal passes, the layers tell that it passes to.
    """
    if run.architecture is None or run.architecture.trainable_parameters is None:
        return False
    held, order = _order(run)
    if run.architecture.trainable_parameters > limits.partly_trained_pct * held:
        return False
    if order[layer] == _NOT_TOLD:
        return False
    usual = medians(norms[:, order < order[layer]].astype(np.float64))
    return bool(np.any(usual > limits.vanishing_gradient_ratio * np.nan_to_num(norms[:, layer])))


@once
def _order(run: Run) -> tuple[int, Ints]:
    """Return how many parameters the layers with trainable ones hold, and when each layer is executed."""
    layers = run.blueprint.layers
    turn = {each.id: at for at, each in reversed(list(enumerate(layers)))}
    held = sum(each.parameters for each in layers if each.trainable)
    return held, np.array([turn.get(name, _NOT_TOLD) for name in run.layers], np.int64)


def _far_behind(run: Run, limits: DiagnosticThresholds, norms: Singles, strongest: Singles) -> Iterator[Finding]:
    """Yield layers above the guide's limit that get next to nothing of what the strongest layer gets."""
    bound = np.minimum(limits.vanishing_gradient_small, limits.vanishing_gradient_share * strongest)[:, None]
    weak = np.asarray(norms < bound)
    if not weak.any():
        return
    seen, tiny = np.isfinite(norms), _tiny(run, limits)
    for layer in layers_hit(weak):
        lasts = is_sustained(run, weak, seen, layer) and not is_sustained(run, tiny, seen, layer)
        if lasts and not is_frozen(run, layer) and not _passes_on(run, layer, norms, limits):
            yield from _vanished(run, [layer], weak, limits, "vanishing_gradient_small")


@once
def _tiny(run: Run, limits: DiagnosticThresholds) -> Bools:
    low = below(run, "gradient_norm_mean", limits.vanishing_gradient_threshold)
    return either(run, low, raised(run, "has_vanishing_gradients"))


@check(
    "exploding-gradients",
    title="Exploding gradients",
    category=IssueCategory.sustainability,
    severity=IssueSeverity.warning,
    scope=Scope.layer,
    needs=("layers.gradient_norm_mean",),
    section="",
)
def exploding_gradients(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """The gradient of a layer is out of all proportion.

    ## What it does
    Reports layers with a mean gradient norm above 10 that is a thousand times the median of the layers, or a thousand
    times that of the layer's own first window. A sum over samples makes all gradients large and is no fault of a
    layer. The robust profile asks that it is so in the last window and in half of all of them, or in the last two.

    ## Why it matters
    One step along such a gradient throws the layer's weights away, and clipping the whole gradient to save it leaves
    nothing for the other layers (Pascanu, Mikolov and Bengio 2013).

    ## How to fix it
    Clip the gradients, normalize the inputs of the layer, and initialize it with smaller weights.

    ```python
    torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
    ```
    """
    hit = _exploding(run, limits)
    for layer in layers_hit(hit):
        norms = values_of(run, "gradient_norm_mean")[hit[:, layer], layer]
        said = f"gets gradients of norm {norms.max():,.3g}"
        yield layer_finding(run, layer, hit, "gradient_norm_mean", said, limits, "exploding_gradient_ratio")


@exploding_gradients.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    hit, seen = _exploding(run, limits), run.layer_matrix("gradient_norm_mean").seen
    for found in exploding_gradients.rule(run, limits):
        layer = run.place(found.layer)
        rows = np.flatnonzero(seen[:, layer])
        if not (is_sustained(run, hit, seen, layer) or (rows.size > 2 and hit[rows[-2:], layer].all())):
            found.suppressed = "it did not last"
        yield found


@once
def _exploding(run: Run, limits: DiagnosticThresholds) -> Bools:
    if not float(run.layer_matrix("gradient_norm_mean").highest) > limits.exploding_gradient_norm:
        return run.nowhere
    norms = values_of(run, "gradient_norm_mean").astype(np.float64)
    known = np.where(np.isfinite(norms) & (norms > 0), norms, np.nan)
    usual = medians(known)[:, None]
    rows = np.argmax(np.isfinite(known), axis=0) if len(run) else np.zeros(norms.shape[1], np.int64)
    first = known[rows, np.arange(norms.shape[1])] if len(run) else np.zeros(norms.shape[1])
    with np.errstate(invalid="ignore"):
        above = known > limits.exploding_gradient_ratio * np.fmin(usual, np.broadcast_to(first, known.shape))
    return np.asarray(above & (known > limits.exploding_gradient_norm))


@check(
    "update-ratio",
    title="Update size out of range",
    category=IssueCategory.loss,
    severity=IssueSeverity.warning,
    scope=Scope.session,
    needs=("layers.update_ratio",),
    section="",
)
def update_ratio(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """Steps are far too large or too small for the weights that they change.

    ## What it does
    Divides the size of a step by that of the weights, layer by layer; normalization layers are left out. Networks
    learn well at about a thousandth. Reports runs in which the median layer is outside 1e-5 to 1e-1, by the median of
    all windows. The robust profile lets a run pass whose loss falls all the same, one that began with a trained
    model, and large steps that have become smaller by the last window.

    ## Why it matters
    Larger steps forget what was learned before; smaller ones take for ever, and vanish altogether in the rounding of
    half precision. It is what a learning rate means, whatever the optimizer.

    ## How to fix it
    Change the learning rate by the factor that brings the ratio to about a thousandth, and warm it up.

    ```python
    for group in optimizer.param_groups:
        group["lr"] *= 1e-3 / ratio
    ```
    """
    ratios, rows = _ratios(run)
    if not rows.size:
        return
    usual = median(ratios)
    if not limits.update_ratio_min <= usual <= limits.update_ratio_max:
        size = "large" if usual > limits.update_ratio_max else "small"
        threshold = "update_ratio_max" if size == "large" else "update_ratio_min"
        yield Finding(
            description=f"A step changes the weights by {usual:.2g} of their size, which is too {size}.",
            key="layers.update_ratio",
            value=usual,
            evidence=evidence(["layers.update_ratio"], run.epochs[rows].tolist(), ratios.tolist(), limits, threshold),
        )


@update_ratio.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    ratios, _ = _ratios(run)
    loss = run.column(TRAIN).values[run.column(TRAIN).finite]
    falls = loss.size > 1 and loss[0] - median(loss[-3:]) > limits.slow_improvement_pct * abs(loss[0])
    for found in update_ratio.rule(run, limits):
        if falls:
            found.suppressed = "the loss falls all the same"
        elif knew_its_task(run, limits):
            found.suppressed = "the run began with a trained model"
        elif found.value > limits.update_ratio_max >= ratios[-1]:
            found.suppressed = "the steps have become smaller"
        yield found


@once
def _ratios(run: Run) -> tuple[Floats, Ints]:
    """Return the median ratio of the layers for each window that has one, and the windows' rows."""
    chosen = [at for at, name in enumerate(run.layers) if category(run, name) != "normalization"]
    values = values_of(run, "update_ratio")[:, chosen].astype(np.float64)
    usual = medians(np.where(values > 0, values, np.nan))
    rows = np.flatnonzero(np.isfinite(usual))
    return usual[rows], rows
