"""Checks on what layers pass on: units that never fire, activations without a slope, outputs out of proportion."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from diagnostics.engine.columns import Singles
from diagnostics.engine.curves import Bools
from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.layerwise import (
    above,
    below,
    either,
    is_sustained,
    layer_finding,
    layers_hit,
    medians,
    seen_of,
    values_of,
)
from diagnostics.engine.once import once
from diagnostics.engine.registry import Finding, Scope, check
from diagnostics.engine.run import Run
from diagnostics.engine.thresholds import DiagnosticThresholds

_WEIGHTED = frozenset({"linear", "convolution", "recurrent", "attention"})
_SUNK = 4.0
# Standard deviations below zero: of a normal distribution 3 in 100,000 values are above.


@check(
    "dead-relu",
    title="Dead ReLU units",
    category=IssueCategory.sustainability,
    severity=IssueSeverity.warning,
    scope=Scope.layer,
    needs=("layers.activation_dead_units | layers.activation_mean",),
    section="",
)
def dead_relu(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """Most units after a layer give zero for every sample.

    ## What it does
    Looks at whole batches, not at weights: a unit is dead if it is zero for all samples of a batch, which half of its
    single values being zero does not say. Reports layers of which more than half of the units are dead, and those
    whose outputs all lie far below zero (four standard deviations) while no gradient comes back: that is how a ReLU
    looks that is no layer of its own. The robust profile asks that it lasts and that four fifths of the units are
    dead; wide layers have some that no batch needs.

    ## Why it matters
    ReLU is flat below zero. A unit that is always there gets no gradient any more and never comes back; the layers
    before it learn nothing either. Large learning rates and large negative biases are the usual causes (Lu, Shin, Su
    and Karniadakis 2020, "Dying ReLU and Initialization").

    ## How to fix it
    Initialize the layer anew, lower the learning rate, or use an activation that cannot die, such as LeakyReLU.

    ```python
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)
    activation = nn.LeakyReLU(0.01)  # was nn.ReLU()
    ```
    """
    dead, sunk = dead_or_sunk(run, limits)
    hit = either(run, dead, sunk)
    for layer in layers_hit(hit):
        share = np.nanmax(np.append(values_of(run, "activation_dead_units")[:, layer], 0.0))
        if dead[:, layer].any():
            said, column = f"has {share:.0%} of its units at zero for every sample", "activation_dead_units"
            threshold = "dead_units_pct"
        else:
            said, column = "gives only values far below zero and gets no gradient back", "gradient_norm_mean"
            threshold = "vanishing_gradient_threshold"
        yield layer_finding(run, layer, hit, column, said, limits, threshold)


@dead_relu.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    dead, sunk = dead_or_sunk(run, limits)
    share, hit = values_of(run, "activation_dead_units"), either(run, dead, sunk)
    if hit is run.nowhere:
        return
    seen = seen_of(run, "activation_dead_units", "activation_mean")
    for found in dead_relu.rule(run, limits):
        layer = run.place(found.layer)
        known = share[np.isfinite(share[:, layer]), layer]
        if not is_sustained(run, hit, seen, layer):
            found.suppressed = "it did not last"
        elif not sunk[:, layer].any() and known[-1] <= limits.dead_units_sure_pct:
            found.suppressed = "a good part of the units still works"
        yield found


@once
def dead_or_sunk(run: Run, limits: DiagnosticThresholds) -> tuple[Bools, Bools]:
    """Return where units are dead, and where all outputs lie far below zero without a gradient; epochs x layers."""
    dead = above(run, "activation_dead_units", limits.dead_units_pct)
    lost = below(run, "gradient_norm_mean", limits.vanishing_gradient_threshold)
    if lost is run.nowhere:
        return dead, lost
    mean, variance = values_of(run, "activation_mean"), values_of(run, "activation_variance")
    with np.errstate(invalid="ignore"):
        sunk = mean < -_SUNK * np.sqrt(variance)
    return dead, np.asarray(sunk & lost)


@check(
    "saturated-activation",
    title="Saturated activation",
    category=IssueCategory.sustainability,
    severity=IssueSeverity.warning,
    scope=Scope.layer,
    needs=("layers.activation_saturation",),
    section="",
)
def saturated_activation(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """A sigmoid or tanh gives its extreme values only.

    ## What it does
    Reports layers whose activation is bounded on both sides and within 1 % of its bounds for more than half of all
    values. The robust profile asks for four fifths and that it lasts, and leaves out the last activation of the
    network: a classifier that is sure gives zeros and ones.

    ## Why it matters
    At its ends such a function has no slope: the layer before it gets no gradient and stays as it is (Glorot and
    Bengio 2010). Inputs that are not normalized and weights that start too large do this.

    ## How to fix it
    Normalize the inputs of the layer, and initialize its weights smaller, by the rule of Glorot and Bengio.

    ```python
    nn.init.xavier_uniform_(layer.weight)
    block = nn.Sequential(nn.Linear(64, 64), nn.LayerNorm(64), nn.Tanh())
    ```
    """
    hit = above(run, "activation_saturation", limits.saturation_pct)
    for layer in layers_hit(hit):
        share = np.nanmax(values_of(run, "activation_saturation")[:, layer])
        said = f"drives {share:.0%} of its activation to the bounds"
        yield layer_finding(run, layer, hit, "activation_saturation", said, limits, "saturation_pct")


@saturated_activation.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    matrix = run.layer_matrix("activation_saturation")
    hit = above(run, "activation_saturation", limits.saturation_pct)
    for found in saturated_activation.rule(run, limits):
        layer = run.place(found.layer)
        known = matrix.values[np.isfinite(matrix.values[:, layer]), layer]
        if not is_sustained(run, hit, matrix.seen, layer):
            found.suppressed = "it did not last"
        elif known[-1] <= limits.saturation_sure_pct:
            found.suppressed = "part of the values still has a slope"
        elif _last(run) == str(found.layer):
            found.suppressed = "the network's own output may be sure"
        yield found


@once
def _last(run: Run) -> str | None:
    """Return the layer after which no other layer with weights comes."""
    weighted = [layer.id for layer in run.blueprint.layers if layer.category in _WEIGHTED]
    order = weighted or run.layers
    return order[-1] if order else None


@check(
    "activation-outliers",
    title="Outlying activations",
    category=IssueCategory.sustainability,
    severity=IssueSeverity.info,
    scope=Scope.layer,
    needs=("layers.activation_variance",),
    section="",
)
def activation_outliers(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """The outputs of a layer are out of all proportion.

    ## What it does
    Compares the size (root of the mean square) of each layer's outputs with the median of all layers, and reports
    those a thousand times as large and above 100. The robust profile asks that it lasts, and leaves out the last
    layer: what a regression predicts has the size of its targets.

    ## Why it matters
    Float16 ends at 65,504, float8 at 448: such outputs become infinite or leave nothing of all others when they are
    scaled. Layers after it have to undo the size before they can use anything.

    ## How to fix it
    Normalize the outputs of the layer, or its inputs, and use bfloat16 rather than float16.

    ```python
    block = nn.Sequential(nn.LayerNorm(64), nn.Linear(64, 64), nn.GELU())
    ```
    """
    hit, sizes = _outlying(run, limits)
    for layer in layers_hit(hit):
        said = f"gives outputs of size {np.nanmax(np.where(hit[:, layer], sizes[:, layer], np.nan)):,.3g}"
        yield layer_finding(run, layer, hit, "activation_variance", said, limits, "activation_outlier_ratio")


@activation_outliers.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    hit, _ = _outlying(run, limits)
    if hit is run.nowhere:
        return
    seen = run.layer_matrix("activation_variance").seen
    for found in activation_outliers.rule(run, limits):
        if not is_sustained(run, hit, seen, run.place(found.layer)):
            found.suppressed = "it did not last"
        elif _last(run) == str(found.layer):
            found.suppressed = "the network's own output is as large as what it learns"
        yield found


@once
def _outlying(run: Run, limits: DiagnosticThresholds) -> tuple[Bools, Singles]:
    if _largest(run) < limits.activation_outlier_size / 2:
        return run.nowhere, values_of(run, "activation_mean")
    mean, variance = values_of(run, "activation_mean"), values_of(run, "activation_variance")
    with np.errstate(invalid="ignore", over="ignore"):
        sizes = np.sqrt(np.nan_to_num(mean) ** 2 + variance)
    usual = medians(sizes.astype(np.float64))
    with np.errstate(invalid="ignore"):
        far = sizes > limits.activation_outlier_ratio * usual[:, None]
    return np.asarray(far & (sizes > limits.activation_outlier_size)), sizes


def _largest(run: Run) -> float:
    """Return what no output's size exceeds."""
    mean, variance = run.layer_matrix("activation_mean"), run.layer_matrix("activation_variance")
    center = float(np.fmax(np.fmax(-mean.lowest, mean.highest), 0.0))
    return math.hypot(center, math.sqrt(float(np.fmax(variance.highest, 0.0))))
