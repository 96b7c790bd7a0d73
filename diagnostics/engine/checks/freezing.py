"""The check on layers that do not train."""

from __future__ import annotations

import re
from collections.abc import Iterator

from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.registry import Finding, Scope, check
from diagnostics.engine.run import Run
from diagnostics.engine.thresholds import DiagnosticThresholds

_ON_PURPOSE = re.compile(
    r"pre[-_ ]?train|fine[-_ ]?tun|\b(q|d)?lora|peft|adapter|transfer|backbone|probe|linear_eval|distil|teacher"
    r"|head_?only|trainable|from_checkpoint|init_from|prompt_?tun",
    re.IGNORECASE,
)
_SAID = re.compile(r"froze|freez", re.IGNORECASE)


def told_on_purpose(run: Run) -> str | None:
    """Return the word by which hyperparameters or names tell that layers are frozen on purpose."""
    told = " ".join(f"{name} {value}" for name, value in run.hyperparameters.items() if value not in (None, False, ""))
    names = " ".join((run.architecture.model_class or "" if run.architecture else "", *run.blueprint.types))
    purpose = _ON_PURPOSE.search(told) or _ON_PURPOSE.search(names)
    return purpose.group() if purpose else None


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
    if the hyperparameters or the names of layers speak of fine-tuning, adapters or a pre-trained model.

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
    among = [layer for at, layer in enumerate(layers) if not layer.trainable and any(x.trainable for x in layers[:at])]
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
    told = " ".join(f"{name} {value}" for name, value in run.hyperparameters.items() if value not in (None, False, ""))
    purpose = told_on_purpose(run)
    for found in unintended_freeze.rule(run, limits):
        if purpose:
            found.suppressed = f"it is meant: {purpose!r} is told of the run"
        elif _SAID.search(told):
            found.severity = IssueSeverity.info
        yield found
