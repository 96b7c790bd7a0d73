"""What a project's latest sessions say about its problems. As many queries for many problems as for one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from django.db.models import OuterRef, Q, Subquery

from diagnostics.problem_models import Coverage, Occurrence, Problem
from diagnostics.services.problems.standing import Look
from projects.models import Project
from sessions.models import TrainSession

HISTORY = 60
"""Sessions that a standing is made of, the latest ones."""
STRIP = 40
RECENT = 10
"""Sessions that a list tells of: "in 7 of the last 9"."""


@dataclass(frozen=True, slots=True)
class Past:
    """A project's latest sessions, oldest first, and what they showed: occurrences by problem and session."""

    sessions: Sequence[Coverage]
    occurrences: Mapping[int, Mapping[int, Occurrence]]

    def looks(self, problem: Problem) -> list[Look]:
        """Return those sessions that say something: not skipped, and not broken off before the problem could show."""
        shown = self.occurrences.get(problem.pk, {})
        return [look for session in self.sessions if (look := _look(session, problem, shown)) is not None]

    def is_older(self, problem: Problem) -> bool:
        """Whether sessions before these show the problem, too."""
        return problem.session_count > len(self.occurrences.get(problem.pk, {}))


def _look(session: Coverage, problem: Problem, shown: Mapping[int, Occurrence]) -> Look | None:
    if (found := shown.get(session.pk)) is not None:
        return Look(session.started, found.severity, found.layer_count)
    if session.is_complete and problem.check_id in session.checks:
        return Look(session.started)
    return None


def past(project_id: int, problems: Collection[Problem]) -> Past:
    sessions = list(Coverage.objects.filter(project=project_id).order_by("-started", "-session")[:HISTORY])[::-1]
    return Past(sessions, _occurrences(problems, sessions))


def _occurrences(problems: Iterable[Problem], sessions: Iterable[Coverage]) -> dict[int, dict[int, Occurrence]]:
    found: dict[int, dict[int, Occurrence]] = defaultdict(dict)
    wanted = Occurrence.objects.filter(problem__in=[problem.pk for problem in problems])
    for each in wanted.filter(session__in=[session.pk for session in sessions]).defer("layers"):
        found[each.problem_id][each.session_id] = each
    return found


@dataclass(frozen=True, slots=True)
class Cell:
    """One session in a problem's strip. ``outcome`` is a severity, "clean" or "unknown": nobody looked."""

    session: TrainSession
    outcome: str


def strip(problem: Problem) -> list[Cell]:
    """Return what the latest sessions of the project say about a problem, oldest first. Two queries."""
    sessions = list(
        Coverage.objects.filter(project=problem.project_id)
        .select_related("session")
        .only("started", "is_complete", "checks", "session__name", "session__started")
        .order_by("-started", "-session")[:STRIP]
    )[::-1]
    shown = _occurrences([problem], sessions).get(problem.pk, {})
    return [Cell(each.session, _outcome(_look(each, problem, shown))) for each in sessions]


def _outcome(look: Look | None) -> str:
    return "unknown" if look is None else look.severity or "clean"


@dataclass(frozen=True, slots=True)
class Rate:
    """In how many of the latest sessions that looked a problem was: "in ``shown`` of the last ``looked``"."""

    shown: int
    looked: int


def rates(problems: Collection[Problem]) -> dict[int, Rate]:
    """Return the rate of each problem, whatever projects they are of. Three queries."""
    projects = Project.objects.filter(pk__in={problem.project_id for problem in problems})
    of_project = Coverage.objects.filter(project=OuterRef("pk")).order_by("-started", "-session")
    since = projects.annotate(since=Subquery(of_project.values("started")[RECENT - 1 : RECENT]))
    wanted = Q(pk__in=[])
    for pk, started in since.values_list("pk", "since"):
        # A bound for each project lets the index find its share; a long history costs nothing.
        wanted |= Q(project=pk, started__gte=started) if started else Q(project=pk)
    sessions: dict[int, list[Coverage]] = defaultdict(list)
    for session in Coverage.objects.filter(wanted).order_by("started", "session"):
        sessions[session.project_id].append(session)
    shown = _occurrences(problems, [session for several in sessions.values() for session in several])
    return {problem.pk: _rate(Past(sessions[problem.project_id], shown).looks(problem)) for problem in problems}


def _rate(looks: Sequence[Look]) -> Rate:
    return Rate(sum(look.severity is not None for look in looks), len(looks))
