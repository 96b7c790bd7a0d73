"""What people do to problems: each action is one transaction, and one line in the log of every problem."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import transaction
from django.utils.timezone import now

from diagnostics.problem_models import Act, Activity, Problem
from diagnostics.services.problems.history import HISTORY
from diagnostics.services.problems.updating import lock, refresh
from projects.models import ApiKey, Project
from projects.services import Refused
from projects.services.documents import clean

LONGEST_COMMENT = 10_000
MOST_MUTED_SESSIONS = HISTORY - 10
AT_ONCE = 500
"""Problems that one action may change."""


@dataclass(frozen=True, slots=True)
class Person:
    """Who acts: an account, or a program with a key, or whoever uses an open server."""

    user: Any
    name: str

    @classmethod
    def of(cls, user: AbstractBaseUser | AnonymousUser, key: ApiKey | None = None) -> Self:
        if key is not None:
            return cls(None, f"API key {key.prefix}")
        return cls(user, user.get_username()) if user.is_authenticated else cls(None, "somebody")


def resolve(problems: Iterable[Problem], by: Person) -> int:
    """Resolve now: any later session that shows it is a regression, also one that runs already."""
    return _act(problems, by, Act.RESOLVED, lambda problem: _fix(problem, problem.last_seen or now()))


def resolve_from_next(problems: Iterable[Problem], by: Person) -> int:
    """Resolve from the next session on: what has started by now may still show it."""
    return _act(problems, by, Act.RESOLVED_NEXT, lambda problem: _fix(problem, now()))


def _fix(problem: Problem, after: datetime) -> None:
    _unmute(problem)
    problem.fixed_after, problem.reopened = after, None


def _unmute(problem: Problem) -> None:
    problem.muted_after = problem.muted_until = problem.muted_sessions = None


def reopen(problems: Iterable[Problem], by: Person) -> int:
    """Open again what is resolved or muted, muted layers included."""

    def mark(problem: Problem) -> None:
        _unmute(problem)
        problem.fixed_after, problem.muted_layers = None, []
        problem.reopened, problem.reviewed = now(), problem.last_seen

    return _act(problems, by, Act.REOPENED, mark)


def review(problems: Iterable[Problem], by: Person) -> int:
    """Take problems off the list of what needs a look, until something new happens to them."""

    def mark(problem: Problem) -> None:
        problem.reviewed = problem.last_seen

    return _act(problems, by, Act.REVIEWED, mark)


def mute(problems: Iterable[Problem], by: Person, *, until: datetime | None = None, sessions: int | None = None) -> int:
    """Mute for good, until a session after ``until`` shows it, or for the next ``sessions`` that look for it.

    Raises Refused for a date that has passed and for a number of sessions that makes no sense.
    """
    if until is not None and until <= now():
        raise Refused("The date until which to mute has passed.", "$.muted_until")
    if sessions is not None and not 1 <= sessions <= MOST_MUTED_SESSIONS:
        raise Refused(f"A problem can be muted for 1 to {MOST_MUTED_SESSIONS} sessions.", "$.muted_sessions")

    def mark(problem: Problem) -> None:
        problem.fixed_after = None
        problem.muted_after, problem.muted_until, problem.muted_sessions = now(), until, sessions

    span = [f"until {until:%Y-%m-%d %H:%M} UTC"] if until else []
    span += [f"for {sessions} sessions"] if sessions else []
    return _act(problems, by, Act.MUTED, mark, " and ".join(span))


def mute_layer(problem: Problem, by: Person, layer: str) -> int:
    """Let findings on one layer count no more. What was found on others stays. Raises Refused for an empty name."""
    if not (layer := clean(layer.strip())):
        raise Refused("Say which layer.", "$.muted_layer")

    def mark(held: Problem) -> None:
        held.muted_layers = [*(each for each in held.muted_layers if each != layer), layer]
        held.reviewed = held.last_seen

    return _act([problem], by, Act.MUTED, mark, f"on layer {layer} only")


def assign(problems: Iterable[Problem], by: Person, to: Any) -> int:
    """Make somebody responsible, or nobody (None). Raises Refused if ``to`` cannot see a problem's project."""
    problems = list(problems)
    for project in {problem.project_id for problem in problems}:
        # Whoever takes it on sees it, also a superuser without a membership.
        if to not in (None, by.user) and not assignees(project).filter(pk=to.pk).exists():
            raise Refused(f"{to.get_username()} is not a member of the project.", "$.assignee")

    def mark(problem: Problem) -> None:
        problem.assignee_id = to.pk if to else None

    return _act(problems, by, Act.ASSIGNED, mark, f"to {to.get_username()}" if to else "to nobody")


def assignees(project_id: int) -> Any:
    """Those to whom problems of a project may be assigned; on an open server, whoever has an account."""
    accounts = get_user_model().objects.filter(is_active=True).order_by("username")
    return accounts if settings.MLDIAG_AUTH == "open" else accounts.filter(memberships__project=project_id)


def comment(problems: Iterable[Problem], by: Person, text: str) -> int:
    """Add a comment. Raises Refused for one without text or one that is too long."""
    text = clean(text.strip())
    if not text or len(text) > LONGEST_COMMENT:
        raise Refused(f"A comment has 1 to {LONGEST_COMMENT:,} characters.", "$.text")
    return _act(problems, by, Act.COMMENTED, None, text)


def _act(
    problems: Iterable[Problem], by: Person, act: Act, mark: Callable[[Problem], None] | None, text: str = ""
) -> int:
    """Mark problems, as they stand when it is their turn, and log it. Returns how many there were."""
    number = 0
    with transaction.atomic():
        for project, chosen in _held(problems):
            if mark is not None:
                refresh(project, chosen, mark=mark)
            Activity.objects.bulk_create(
                [Activity(problem=each, actor=by.user, by=by.name, act=act, text=text) for each in chosen]
            )
            number += len(chosen)
    return number


def _held(problems: Iterable[Problem]) -> Iterator[tuple[Project, list[Problem]]]:
    """Lock the projects of problems and yield each with its own, read anew. Raises Refused for too many."""
    wanted: dict[int, set[int]] = defaultdict(set)
    for problem in problems:
        wanted[problem.project_id].add(problem.pk)
    if sum(map(len, wanted.values())) > AT_ONCE:
        raise Refused(f"At most {AT_ONCE} problems at once.")
    for pk, project in lock(wanted).items():
        yield project, list(Problem.objects.followed(wanted[pk]).filter(project=pk).order_by("pk"))
