"""The check on layers that do not train."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import numpy as np

from diagnostics.engine.architecture import Layer
from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.registry import Finding, Scope, check
from diagnostics.engine.run import Run
from diagnostics.engine.task import reuse_of, told_of
from diagnostics.engine.thresholds import DiagnosticThresholds

_SAID = re.compile(r"froze|freez", re.IGNORECASE)
_FEWEST_WEIGHTS = 500
# Below this so many norms look random that a trained layer may have one by chance.


@check(
    "unintended-freeze",
    title="Frozen layer",
    category=IssueCategory.architecture,
    severity=IssueSeverity.info,
    scope=Scope.layer,
    needs=("architecture",),
    section="",
)
def unintended_freeze(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """Some layers are frozen while others train.

    ## What it does
    Reports layers with parameters of which none gets a gradient, while other layers train. It is a warning if such a
    layer comes after one that trains: who freezes on purpose freezes the first layers. The robust profile is silent
    if the hyperparameters or the names of layers speak of fine-tuning, adapters or a pre-trained model. Where weight
    norms were logged it knows random weights by their size: PyTorch draws those of `Linear` and convolutions between
    -1 and 1 over the root of the number of inputs (`reset_parameters`), which fixes the norm to within a few percent,
    and training changes it. Frozen layers of just that norm were never trained, wherever they stand: a warning.

    ## Why it matters
    A frozen layer keeps its random weights for ever. The loss still falls, since the other layers make the best of
    it, so that no curve shows what is missing.

    ## How to fix it
    Unfreeze the layer before the optimizer is made, or say in the hyperparameters that it is frozen on purpose.

    ```python
    model.conv1.requires_grad_(True)
    observer.log_hyperparameters({"pretrained": True})  # if it is meant to be frozen
    ```
    """
    layers = [layer for layer in run.blueprint.layers if layer.parameters and layer.trainable is not None]
    frozen = [layer for layer in layers if not layer.trainable]
    if not frozen or len(frozen) == len(layers):
        return
    begin = next(at for at, layer in enumerate(layers) if layer.trainable)
    among = [layer for layer in layers[begin:] if not layer.trainable]
    worst = max(among or frozen, key=lambda layer: layer.parameters)
    size = sum(layer.parameters for layer in frozen)
    named = ", ".join(repr(layer.id) for layer in frozen[:4]) + (" and others" if len(frozen) > 4 else "")
    yield Finding(
        description=f"{len(frozen)} of {len(layers)} layers are frozen ({named}): {size:,} parameters never change.",
        layer=worst.id,
        key="architecture.layers",
        value=len(frozen),
        severity=IssueSeverity.warning if among else None,
        evidence={"series": [], "layers": [layer.id for layer in frozen], "parameters": size},
    )


@unintended_freeze.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    for found in unintended_freeze.rule(run, limits):
        if purpose := reuse_of(run):
            found.suppressed = f"it is meant: {purpose!r} is told of the run"
        elif _SAID.search(told_of(run)):
            found.severity = IssueSeverity.info
        elif (layer := _largest_untrained(run, found.evidence["layers"])) is not None:
            found.severity, found.layer = IssueSeverity.warning, layer
            found.description += " Their weights are random: they have the very norm with which PyTorch draws them."
        yield found


def _largest_untrained(run: Run, frozen: list[str]) -> str | None:
    """Return the largest of the frozen layers if all whose initial norm is known have it still; else None."""
    norms, chosen = run.layer_matrix("weight_norm").values, set(frozen)
    known = {name: norms[np.isfinite(norms[:, at]), at] for at, name in enumerate(run.layers)}
    judged = []
    for layer in run.blueprint.layers:
        usual = _initial_norm(layer)
        if layer.id not in chosen or usual is None or not known.get(layer.id, np.zeros(0)).size:
            continue
        # The sum of n squares of uniform numbers scatters by 0.89 / sqrt(n), its root by half of that.
        if abs(float(known[layer.id][0]) / usual - 1) > 4 * 0.447 / math.sqrt(layer.parameters):
            return None
        judged.append(layer)
    if sum(layer.parameters for layer in judged) < _FEWEST_WEIGHTS:
        return None
    return max(judged, key=lambda layer: layer.parameters).id


def _initial_norm(layer: Layer) -> float | None:
    """Return the norm that PyTorch's default initialization gives to weight and bias together."""
    inputs = layer.in_features
    if layer.category == "convolution" and layer.in_channels and layer.kernel and "transpose" not in layer.type.lower():
        inputs = layer.in_channels // max(1, layer.groups) * math.prod(layer.kernel)
    if layer.category not in ("linear", "convolution") or not inputs or layer.parameters < 2 * inputs:
        return None
    return math.sqrt(layer.parameters / (3 * inputs))
