"""The check on what attention heads look at."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.layerwise import is_sustained, layer_finding, layers_hit, values_of
from diagnostics.engine.registry import Finding, Scope, check
from diagnostics.engine.run import Run
from diagnostics.engine.thresholds import DiagnosticThresholds


@check(
    "attention-entropy",
    title="Attention without distinction",
    category=IssueCategory.architecture,
    severity=IssueSeverity.warning,
    scope=Scope.layer,
    needs=("layers.attention_entropy",),
    section="11.1",
)
def attention_entropy(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """The heads of an attention layer look at one position only, or at all alike.

    ## What it does
    Reads the entropy of the attention weights, 0 for a head that looks at one position and 1 for one that looks at
    all of them alike. Reports layers with a head below 0.05, and layers of which all heads are above 0.99 at the end.
    Single heads that look at the token before are useful and common, so the robust profile asks for a low mean over
    the heads, and that it lasts; uniform attention is information there, since first layers often begin so.

    ## Why it matters
    Weights that have collapsed to one position have no gradient left to leave it, and the loss often diverges soon
    after (Zhai and others 2023, "Stabilizing Transformer Training by Preventing Attention Entropy Collapse"). A layer
    that looks at everything alike takes a mean: it costs as much as attention and does the work of pooling.

    ## How to fix it
    Warm the learning rate up, lower it, or normalize queries and keys before their product.

    ```python
    q, k = F.normalize(q, dim=-1) * scale, F.normalize(k, dim=-1)
    ```
    """
    mean = values_of(run, "attention_entropy")
    least = np.fmin(mean, values_of(run, "attention_entropy_min"))
    low, uniform = np.asarray(least < limits.attention_entropy_low), np.asarray(mean > limits.attention_entropy_high)
    for layer in layers_hit(low):
        said = f"has heads of entropy {np.nanmin(least[:, layer]):.2g}: they look at one position"
        yield layer_finding(run, layer, low, "attention_entropy", said, limits, "attention_entropy_low")
    for layer in layers_hit(uniform):
        rows = np.flatnonzero(np.isfinite(mean[:, layer]))
        if uniform[rows[-1], layer]:
            said = "looks at all positions alike"
            found = layer_finding(run, layer, uniform, "attention_entropy", said, limits, "attention_entropy_high")
            found.title = "Uniform attention"
            yield found


@attention_entropy.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    matrix = run.layer_matrix("attention_entropy")
    collapsed = np.asarray(matrix.values < limits.attention_entropy_low)
    for found in attention_entropy.rule(run, limits):
        layer = run.place(found.layer)
        if found.title is not None:
            found.severity = IssueSeverity.info
            windows = int(np.count_nonzero(np.isfinite(matrix.values[:, layer])))
            if windows < limits.short_history:
                found.suppressed = "the run has only begun"
        elif not collapsed[:, layer].any():
            found.suppressed = "the other heads of the layer tell positions apart"
        elif not is_sustained(run, collapsed, matrix.seen, layer):
            found.suppressed = "it did not last"
        yield found
