"""One way to say what shall be done to problems, for pages, API and admin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.db import transaction

from diagnostics.problem_models import Problem
from diagnostics.services.problems import actions
from diagnostics.services.problems.actions import Person, assignees
from diagnostics.services.problems.merging import merge
from diagnostics.services.problems.searching import ME
from diagnostics.services.problems.splitting import unmerge
from projects.services import Refused


class Action(StrEnum):
    RESOLVE = "resolve"
    RESOLVE_NEXT = "resolve_next"
    REOPEN = "reopen"
    REVIEW = "review"
    MUTE = "mute"
    ASSIGN = "assign"
    COMMENT = "comment"
    MERGE = "merge"
    UNMERGE = "unmerge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to do. ``until``, ``sessions`` and ``layer`` belong to mute, ``into`` (an id) to merge,
    ``part`` (an id; without it all of them) to unmerge."""

    action: str
    until: datetime | None = None
    sessions: int | None = None
    layer: str = ""
    assignee: str | None = None
    text: str = ""
    into: int | None = None
    part: int | None = None


def carry_out(problems: Sequence[Problem], by: Person, order: Order) -> int:
    """Do it to all of the problems or to none. Returns how many there were. Raises Refused.

    A comment that comes along with another action is added, too.
    """
    if not problems:
        raise Refused("Choose at least one problem.", "$.ids")
    with transaction.atomic():
        number = _do(problems, by, order)
        if order.text and order.action != Action.COMMENT:
            actions.comment(problems, by, order.text)
    return number


def _do(problems: Sequence[Problem], by: Person, order: Order) -> int:
    plain = {
        Action.RESOLVE: actions.resolve,
        Action.RESOLVE_NEXT: actions.resolve_from_next,
        Action.REOPEN: actions.reopen,
        Action.REVIEW: actions.review,
    }
    action = Action(order.action)
    if action in plain:
        return plain[action](problems, by)
    if action == Action.MUTE:
        return _mute(problems, by, order)
    if action == Action.ASSIGN:
        return actions.assign(problems, by, _account(problems, by, order.assignee))
    if action == Action.COMMENT:
        return actions.comment(problems, by, order.text)
    if action == Action.MERGE:
        return _merge(problems, by, order.into)
    return sum(len(_unmerge(problem, by, order.part)) for problem in problems)


def _mute(problems: Sequence[Problem], by: Person, order: Order) -> int:
    if not order.layer:
        return actions.mute(problems, by, until=order.until, sessions=order.sessions)
    if len(problems) > 1:
        raise Refused("A layer is muted in one problem at a time.", "$.layer")
    if order.until or order.sessions:
        raise Refused("A layer is muted for good: without a date and a number of sessions.", "$.layer")
    return actions.mute_layer(problems[0], by, order.layer)


def _account(problems: Sequence[Problem], by: Person, name: str | None) -> Any:
    if not name:
        return None
    if name == ME and by.user is not None:
        return by.user
    account = assignees(problems[0].project_id).filter(username=name).first()
    if account is None:
        raise Refused(f"{name} is not a member of the project.", "$.assignee")
    return account


def _merge(problems: Sequence[Problem], by: Person, into: int | None) -> int:
    """Merge into the one that is named, else into the one that was found first."""
    target = min(problems, key=lambda problem: problem.pk)
    if into is not None:
        target = next((problem for problem in problems if problem.pk == into), None) or _other(problems[0], into)
    merge(target, [problem for problem in problems if problem.pk != target.pk], by)
    return len(problems)


def _unmerge(problem: Problem, by: Person, part: int | None) -> list[Problem]:
    return unmerge(problem, [part] if part is not None else list(problem.merged.values_list("pk", flat=True)), by)


def _other(problem: Problem, pk: int) -> Problem:
    # Within the same project, so that nobody learns what is in another.
    found = Problem.objects.filter(project=problem.project_id).followed([pk]).first() if pk < 2**63 else None
    if found is None or found.pk == problem.pk:
        raise Refused(f"There is no other problem {pk} in this project.", "$.into")
    return found
