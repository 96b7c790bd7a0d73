"""Checks on the health of single layers, by statistics of weights, gradients and outputs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from diagnostics.engine.curves import Bools
from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.layerwise import (
    above,
    below,
    category,
    either,
    is_frozen,
    is_sustained,
    layer_finding,
    layers_hit,
    raised,
    seen_of,
    values_of,
)
from diagnostics.engine.once import once
from diagnostics.engine.registry import Finding, Scope, check, evidence
from diagnostics.engine.run import Run
from diagnostics.engine.thresholds import DiagnosticThresholds

_KEEPS_ITS_INPUT = {"normalization", "activation", "dropout", "pooling", "container"}


@check(
    "dead-neurons",
    title="Dead layer",
    category=IssueCategory.sustainability,
    severity=IssueSeverity.warning,
    scope=Scope.layer,
    needs=("layers.weight_sparsity | layers.is_dead",),
    section="6.6",
)
def dead_neurons(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """Most weights of a layer are zero, or the layer is dead altogether.

    ## What it does
    Reports layers with more than half of their weights near zero. If more than 90 % are, and the output stays the
    same between batches, the layer is dead and the finding critical. The robust profile asks that it lasts, and lets
    embeddings, frozen layers and layers pass that were that sparse from their start and do get a gradient: pruning
    and adapters look like that.

    ## Why it matters
    A dead layer costs memory and time and passes nothing on; what lies before it does not learn either.

    ## How to fix it
    Initialize the layer anew, use an activation that cannot die, and lower the learning rate and the weight decay.

    ```python
    nn.init.kaiming_normal_(layer.weight)
    activation = nn.LeakyReLU(0.01)  # was nn.ReLU()
    ```
    """
    sparse, dead = _dead(run, limits)
    hit = either(run, sparse, dead)
    for layer in layers_hit(hit):
        is_dead = bool(dead[:, layer].any())
        share = np.nanmax(np.append(values_of(run, "weight_sparsity")[:, layer], 0.0))
        said = f"has {share:.0%} of its weights near zero" + (" and an output that never changes" if is_dead else "")
        found = layer_finding(run, layer, hit, "weight_sparsity", said, limits, "dead_neuron_sparsity")
        found.severity = IssueSeverity.critical if is_dead else None
        yield found


@dead_neurons.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    sparse, dead = _dead(run, limits)
    hit, seen = either(run, sparse, dead), seen_of(run, "weight_sparsity", "is_dead")
    for found in dead_neurons.rule(run, limits):
        layer = run.place(found.layer)
        if not is_sustained(run, hit, seen, layer):
            found.suppressed = "it did not last"
        elif category(run, str(found.layer)) == "embedding":
            found.suppressed = "rows of an embedding stay as they are until their symbol is seen"
        elif is_frozen(run, layer):
            found.suppressed = "the layer is frozen"
        elif _sparse_by_design(run, layer, limits):
            found.suppressed = "sparse from the start, and it gets a gradient: pruned, or an adapter"
        yield found
    yield from _shrunk(run, limits, hit)


def _shrunk(run: Run, limits: DiagnosticThresholds, dead: Bools) -> Iterator[Finding]:
    """Yield layers whose weights were pulled to zero, as by far too much weight decay."""
    matrix = run.layer_matrix("weight_norm")
    if matrix.is_finite and not np.any(matrix.last < limits.shrunk_weights_pct * matrix.highs):
        return
    norms = values_of(run, "weight_norm").astype(np.float64)
    seen = np.isfinite(norms)
    most = np.fmax.accumulate(np.where(seen, norms, -np.inf), axis=0) if len(run) else norms
    small = np.asarray(norms < limits.shrunk_weights_pct * most)
    for layer in layers_hit(small):
        rows = np.flatnonzero(seen[:, layer])
        if small[rows[-1], layer] and not dead[:, layer].any() and not is_frozen(run, layer):
            said = f"has weights that shrank from {most[rows[-1], layer]:.3g} to {norms[rows[-1], layer]:.2g}"
            found = layer_finding(run, layer, small, "weight_norm", said, limits, "shrunk_weights_pct")
            found.suggestion = (
                "Lower the weight decay: it pulls the weights to zero faster than the loss can hold them."
            )
            found.evidence["shrunk"] = True
            yield found


@once
def _dead(run: Run, limits: DiagnosticThresholds) -> tuple[Bools, Bools]:
    dead, unlike = raised(run, "is_dead"), above(run, "weight_sparsity", limits.dead_layer_sparsity)
    if unlike is not run.nowhere:
        dead = either(run, dead, _frozen(run, limits) & unlike)
    return above(run, "weight_sparsity", limits.dead_neuron_sparsity), dead


def _sparse_by_design(run: Run, layer: int, limits: DiagnosticThresholds) -> bool:
    share, norm = (values_of(run, name)[:, layer] for name in ("weight_sparsity", "gradient_norm_mean"))
    share, norm = share[np.isfinite(share)], norm[np.isfinite(norm)]
    from_start = share.size and share[0] > limits.dead_neuron_sparsity
    return bool(from_start and norm.size and norm[-1] > limits.vanishing_gradient_threshold)


@check(
    "frozen-output",
    title="Frozen output",
    category=IssueCategory.sustainability,
    severity=IssueSeverity.warning,
    scope=Scope.layer,
    needs=("layers.output_change | layers.has_frozen_output",),
    section="6.8",
)
def frozen_output(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """A layer gives the same output whatever its input is.

    ## What it does
    Reports layers whose output does not change between batches. The robust profile asks that it lasts, and leaves out
    embeddings: those of positions get the same input in every batch.

    ## Why it matters
    Nothing of the data passes through such a layer. All that follows it works on a constant.

    ## How to fix it
    Look for dead activations, zero weights or a constant input before the layer, and initialize it anew.

    ```python
    model.fc1.reset_parameters()
    ```
    """
    frozen = _frozen(run, limits)
    for layer in layers_hit(frozen):
        said = "gives the same output for every batch"
        yield layer_finding(run, layer, frozen, "output_change", said, limits, "frozen_output_change")


@frozen_output.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    frozen = _frozen(run, limits)
    if frozen is run.nowhere:
        return
    seen = seen_of(run, "output_change", "has_frozen_output")
    for found in frozen_output.rule(run, limits):
        if category(run, str(found.layer)) == "embedding":
            found.suppressed = "an embedding of positions has the same input in every batch"
        elif not is_sustained(run, frozen, seen, run.place(found.layer)):
            found.suppressed = "it did not last"
        yield found


@once
def _frozen(run: Run, limits: DiagnosticThresholds) -> Bools:
    still = below(run, "output_change", limits.frozen_output_change)
    return either(run, still, raised(run, "has_frozen_output"))


@check(
    "activation-collapse",
    title="Activation collapse",
    category=IssueCategory.sustainability,
    severity=IssueSeverity.warning,
    scope=Scope.layer,
    needs=("layers.activation_variance | layers.has_low_activation_variance",),
    section="6.9",
)
def activation_collapse(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """A layer gives almost the same value for everything.

    ## What it does
    Reports layers whose activations have a variance below 1e-6. Small outputs have small variances without any harm,
    so the robust profile compares with the square of their mean, or else with the layer's first window, and asks that
    the collapse lasts.

    ## Why it matters
    The layer has lost its power to tell inputs apart, and no later layer can bring it back.

    ## How to fix it
    Normalize the input of the layer, and lower the weight decay if it pulls the weights to zero.

    ```python
    self.norm = nn.LayerNorm(features)
    ```
    """
    flat = _flat(run, limits)
    for layer in layers_hit(flat):
        said = "gives almost the same value for every input"
        yield layer_finding(run, layer, flat, "activation_variance", said, limits, "activation_variance")


@activation_collapse.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    flat = _flat(run, limits)
    if flat is run.nowhere:
        return
    seen = seen_of(run, "activation_variance", "has_low_activation_variance")
    for found in activation_collapse.rule(run, limits):
        layer = run.place(found.layer)
        if not is_sustained(run, flat, seen, layer):
            found.suppressed = "it did not last"
        elif not _collapsed(run, layer, limits):
            found.suppressed = "the outputs are small, and so is their variance"
        yield found


@once
def _flat(run: Run, limits: DiagnosticThresholds) -> Bools:
    low = below(run, "activation_variance", limits.activation_variance)
    return either(run, low, raised(run, "has_low_activation_variance"))


def _collapsed(run: Run, layer: int, limits: DiagnosticThresholds) -> bool:
    variance, mean = (values_of(run, name)[:, layer] for name in ("activation_variance", "activation_mean"))
    known = variance[np.isfinite(variance)]
    if not known.size or known[-1] == 0:
        return True
    scale = mean[np.isfinite(mean)]
    reference = scale[-1] ** 2 if scale.size and scale[-1] else known[0] if known.size > 1 else 1.0
    return bool(known[-1] < limits.activation_variance * reference)


@check(
    "redundant-layers",
    title="Redundant layers",
    category=IssueCategory.sustainability,
    severity=IssueSeverity.info,
    scope=Scope.layer,
    needs=("layer_health.correlations",),
    section="6.10",
)
def redundant_layers(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """Two layers in a row give almost the same output.

    ## What it does
    Reports pairs of layers whose outputs correlate by more than 0.95 on average. Normalization, activation, dropout
    and pooling keep most of their input by design, and the blocks of a transformer add little to what passes them, so
    the robust profile leaves these out, and asks that the last value is as high.

    ## Why it matters
    One of the two adds little but costs as much as the other.

    ## How to fix it
    Try the network without the second layer, or let it compute something else: another width, another activation.

    ```python
    model.fc2 = nn.Identity()  # compare the validation loss
    ```
    """
    matrix = run.correlations
    for index, (first, second) in enumerate(matrix.layers):
        values = matrix.values[:, index].astype(np.float64)
        rows = np.flatnonzero(np.isfinite(values))
        mean = float(values[rows].mean()) if rows.size else 0.0
        if mean > limits.redundant_correlation:
            epochs = run.epochs[rows].tolist()
            yield Finding(
                description=f"Layers {first!r} and {second!r} give almost the same output (correlation {mean:.3f}).",
                epoch=epochs[0],
                layer=str(second),
                key="layer_health.correlations",
                value=mean,
                evidence=evidence([], epochs, values[rows].tolist(), limits, "redundant_correlation")
                | {"layers": [first, second]},
            )


@redundant_layers.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    for found in redundant_layers.rule(run, limits):
        if run.blueprint.kind == "transformer":
            found.suppressed = "the blocks of a transformer add little each to what passes them"
        elif any(category(run, layer) in _KEEPS_ITS_INPUT for layer in found.evidence["layers"]):
            found.suppressed = "one of the two keeps most of its input by design"
        elif found.evidence["values"][-1] <= limits.redundant_correlation:
            found.suppressed = "the layers have come apart"
        yield found
