"""The check on weights that decay away."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.registry import Finding, Scope, check, evidence
from diagnostics.engine.run import Run
from diagnostics.engine.thresholds import DiagnosticThresholds

_LEFT_OUT = frozenset({"normalization", "embedding"})
# Gains are no weights, and rows of symbols that never come decay on purpose.


@check(
    "weight-collapse",
    title="Weights decay away",
    category=IssueCategory.loss,
    severity=IssueSeverity.critical,
    scope=Scope.session,
    needs=("layers.weight_norm",),
    section="",
)
def weight_collapse(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """Nearly all layers have lost nearly all of their weights.

    ## What it does
    Compares the norm of each layer's weights at the end with that of the first window. If more than half of those that
    train (embeddings and normalization left out) keep less than a tenth, the network is being pulled to zero. Training
    makes norms grow, or shrink by a little; pruning takes single weights and leaves the norm to the large ones.

    ## Why it matters
    A network without weights computes a constant. Each step of a decoupled weight decay (AdamW, Loshchilov and Hutter,
    2019) takes the learning rate times the decay off every weight, whatever the gradient says.

    ## How to fix it
    Lower the weight decay, by a factor of a hundred or more, and leave biases and normalization out of it.

    ```python
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    ```
    """
    if _all_keep(run, limits):
        return
    spared = {each.id for each in run.blueprint.layers if each.category in _LEFT_OUT or each.trainable is False}
    at = [index for index, name in enumerate(run.layers) if name not in spared]
    left = {run.layers[index]: share for index in at if (share := _left(run, index)) is not None}
    gone = sorted((share, name) for name, share in left.items() if share < limits.weight_collapse_ratio)
    if len(gone) <= len(left) / 2:
        return
    share, worst = gone[0]
    decay = next((value for name, value in run.hyperparameters.items() if "weight_decay" in str(name).lower()), None)
    told = "" if decay is None else f" The weight decay is {decay}."
    yield Finding(
        description=f"{len(gone)} of {len(left)} layers keep less than {limits.weight_collapse_ratio:.0%} of the norm "
        f"that their weights began with; of {worst!r} {share:.2g} of it is left.{told}",
        layer=worst,
        key="layers.weight_norm",
        value=share,
        evidence=evidence(["layers.weight_norm"], [], [], limits, "weight_collapse_ratio")
        | {"layers": [name for _, name in gone]},
    )


def _all_keep(run: Run, limits: DiagnosticThresholds) -> bool:
    """Return whether every layer, by its norm in the first epoch and in the last, keeps its weights."""
    matrix = run.layer_matrix("weight_norm")
    if not matrix.is_finite:
        return False
    begun = matrix.values[0].astype(np.float64)
    known = begun > 0
    return not np.any(matrix.last[known] / begun[known] < limits.weight_collapse_ratio)


def _left(run: Run, layer: int) -> float | None:
    norms = run.layer_matrix("weight_norm").values[:, layer].astype(np.float64)
    norms = norms[np.isfinite(norms)]
    return float(norms[-1] / norms[0]) if norms.size >= 3 and norms[0] > 0 else None
