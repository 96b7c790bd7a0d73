"""Finding problems: what a list can be narrowed to and ordered by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models import Case, Count, F, IntegerField, Q, QuerySet, Value, When

from diagnostics.engine import IssueCategory, IssueSeverity
from diagnostics.problem_models import Problem, Status, Substatus, needs_a_look
from projects.services.documents import clean

INBOX, ALL = "inbox", "all"
STATES = (INBOX, *Status.values, *Substatus.values, ALL)
SEVERITIES = tuple(str(each) for each in IssueSeverity)
CATEGORIES = tuple(str(each) for each in IssueCategory)
GRAVITY = Case(
    *(When(severity=str(each), then=Value(each.rank)) for each in IssueSeverity),
    default=Value(len(SEVERITIES)),
    output_field=IntegerField(),
)
SORTS = {
    "severity": ("gravity", F("last_seen").desc(nulls_last=True)),
    "last": (F("last_seen").desc(nulls_last=True),),
    "first": (F("first_seen").desc(nulls_last=True),),
    "sessions": (F("session_count").desc(),),
    "changed": (F("changed").desc(),),
    "title": (F("title").asc(), F("layer_pattern").asc()),
}
ME, NOBODY = "me", "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """``assignee`` is a user's name, ``me`` or ``none``; what is empty does not narrow."""

    status: str = ALL
    severity: str = ""
    check: str = ""
    category: str = ""
    assignee: str = ""
    q: str = ""
    sort: str = "severity"

    @classmethod
    def of(cls, query: Mapping[str, str], *, status: str) -> Self:
        """Read a page's address. What makes no sense is taken for not said; ``status`` is what is shown at first."""
        said = {each.name: clean(query.get(each.name, "")).strip() for each in fields(cls)}
        allowed = {"status": STATES, "severity": SEVERITIES, "category": CATEGORIES, "sort": tuple(SORTS)}
        known = {name: text for name, text in said.items() if text and text in allowed.get(name, (text,))}
        return cls(**{"status": status, **known})

    def found(self, problems: QuerySet[Problem], user: AbstractBaseUser | AnonymousUser) -> QuerySet[Problem]:
        """Narrow and order problems."""
        return self.ordered(self.narrowed(problems, user).filter(_in_state(self.status, user)))

    def narrowed(self, problems: QuerySet[Problem], user: AbstractBaseUser | AnonymousUser) -> QuerySet[Problem]:
        """Narrow by everything but the status."""
        exactly = {"severity": self.severity, "check_id": self.check, "category": self.category}
        problems = problems.filter(merged_into=None, **{name: value for name, value in exactly.items() if value})
        if self.assignee:
            problems = problems.filter(_assigned(self.assignee, user))
        if self.q:
            text = Q(title__icontains=self.q) | Q(check_id__icontains=self.q) | Q(layer_pattern__icontains=self.q)
            problems = problems.filter(text)
        return problems

    def ordered(self, problems: QuerySet[Problem]) -> QuerySet[Problem]:
        return problems.annotate(gravity=GRAVITY).order_by(*SORTS[self.sort], "-pk")

    @property
    def is_narrow(self) -> bool:
        return any(value for name, value in asdict(self).items() if name not in ("status", "sort"))


def counts(problems: QuerySet[Problem], user: AbstractBaseUser | AnonymousUser) -> dict[str, int]:
    """Return how many problems are in each state that a list offers. One query."""
    offered = (INBOX, *Status.values, ALL)
    counted: dict[str, Any] = {
        f"in_{state}": Count("pk", filter=_in_state(state, user) & Q(pk__gt=0)) for state in offered
    }
    found = problems.aggregate(**counted)
    return {state: found[f"in_{state}"] for state in offered}


def _in_state(state: str, user: AbstractBaseUser | AnonymousUser) -> Q:
    if state == INBOX:
        return needs_a_look(user)
    if state in Status.values:
        return Q(status=state)
    return Q(substatus=state) if state in Substatus.values else Q()


def _assigned(assignee: str, user: AbstractBaseUser | AnonymousUser) -> Q:
    if assignee == NOBODY:
        return Q(assignee=None)
    if assignee == ME:
        return Q(assignee=user.pk) if user.is_authenticated else Q(pk__in=[])
    return Q(assignee__username=assignee)
