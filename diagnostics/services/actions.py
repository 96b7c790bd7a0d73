"""What to do first: issues by their cause, the causes by how bad they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from diagnostics.models import FoundIssue


@dataclass(slots=True)
class Action:
    """One thing to fix. ``issue`` is its gravest finding, ``others`` the rest of the same check (in other layers, say),
    ``symptoms`` what follows from it and should vanish with it."""

    issue: FoundIssue
    others: list[FoundIssue] = field(default_factory=list)
    symptoms: list[FoundIssue] = field(default_factory=list)

    @property
    def layers(self) -> list[str]:
        return [issue.layer_id for issue in (self.issue, *self.others) if issue.layer_id]


def suggested_actions(issues: Sequence[FoundIssue]) -> list[Action]:
    """Return one action a cause, in the order of ``issues``, which come gravest first.

    A symptom whose cause is not among the issues is a cause itself: something has to be done about it.
    """
    found = {issue.check_id for issue in issues if not issue.caused_by}
    actions: dict[str, Action] = {}
    for issue in issues:
        if issue.caused_by in found:
            continue
        if issue.check_id in actions:
            actions[issue.check_id].others.append(issue)
        else:
            actions[issue.check_id] = Action(issue)
    for issue in issues:
        if issue.caused_by in found:
            actions[issue.caused_by].symptoms.append(issue)
    return list(actions.values())
