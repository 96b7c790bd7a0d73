"""How many layers a check tells of: a model may have tens of thousands, and one cause hits them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from diagnostics.engine.issue import IssueData

MOST_LAYERS = 1000
"""Layers that a check looks at one by one."""

MOST_ISSUES = 100
"""Layers of which a check reports an issue each. All others have one together: as many cost the whole score anyway."""

_NAMED = 3


def bounded(issues: Sequence[IssueData]) -> list[IssueData]:
    """Return the issues of one check with the worst `MOST_ISSUES` layers of each kind, and one issue for all others.

    Worst is what is gravest, then what lasted longest. What was held back is another kind than what is reported.
    """
    kinds: dict[tuple[str, bool], list[int]] = {}
    for at, issue in enumerate(issues):
        if issue.layer_id is not None:
            kinds.setdefault((issue.title, issue.suppressed is None), []).append(at)
    left_out: set[int] = set()
    together = []
    for places in kinds.values():
        worst = sorted(places, key=lambda at: (issues[at].severity.rank, -_length(issues[at])))
        if rest := sorted(worst[MOST_ISSUES:]):
            left_out.update(rest)
            together.append(_as_one([issues[at] for at in rest], all_told=len(issues) < MOST_LAYERS))
    return [issue for at, issue in enumerate(issues) if at not in left_out] + together


def _length(issue: IssueData) -> int:
    return len(issue.evidence.get("epochs", ()))


def _as_one(rest: list[IssueData], *, all_told: bool) -> IssueData:
    layers = [str(issue.layer_id) for issue in rest]
    reasons = dict.fromkeys(issue.suppressed for issue in rest)
    gravest = min(rest, key=lambda issue: issue.severity.rank)
    named = ", ".join(map(repr, layers[:_NAMED])) + (" and others" if len(layers) > _NAMED else "")
    kept = {name: value for name, value in gravest.evidence.items() if name in ("series", "threshold", "limit")}
    return replace(
        gravest,
        description=f"The same in {'' if all_told else 'at least '}{len(layers)} more layers: {named}.",
        epoch_index=min((issue.epoch_index for issue in rest if issue.epoch_index is not None), default=None),
        layer_id=None,
        metric_value=None,
        evidence=kept | {"epochs": [], "values": [], "layers": layers},
        count=len(layers),
        suppressed=next(iter(reasons)) if len(reasons) == 1 else "each of them was held back for a reason of its own",
    )
