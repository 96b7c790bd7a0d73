"""Problems follow diagnoses: what a session shows is noted, and everything that hangs on it is worked out anew.

Whoever changes problems holds the lock of their project (`lock`), taken after that of a session where both are
needed. So a problem is made once, and nobody works with a half-finished change.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.utils.timezone import now

from diagnostics.engine import IssueData
from diagnostics.problem_models import Act, Activity, Coverage, Occurrence, Problem, Status, Substatus
from diagnostics.services.problems.grouping import LAYERS_KEPT, Groups, Seen, fingerprint, grouped, seen
from diagnostics.services.problems.history import past
from diagnostics.services.problems.standing import Marks, standing
from projects.models import Project
from sessions.models import SessionStatus, TrainSession

MLDIAG = "mldiag"
MARKS = ("fixed_after", "reopened", "reviewed", "muted_after", "muted_until", "muted_sessions")
FIGURES = ("session_count", "first_session_id", "last_session_id", "first_seen", "last_seen")
SHOWN = ("title", "severity", "caused_by")
COLUMNS = (*SHOWN, *FIGURES, *MARKS, "muted_layers", "assignee_id", "status", "substatus", "changed")
KEPT = ("severity", "issue_count", "epoch_index", "layer_count", "layers")
NOTHING: Mapping[int, Seen] = {}


def lock(project_ids: Iterable[int]) -> dict[int, Project]:
    """Lock the triage of projects until the transaction ends. Sessions may go on storing meanwhile."""
    locked = Project.objects.select_for_update(no_key=True).filter(pk__in=project_ids).order_by("pk")
    return {project.pk: project for project in locked}


def note_findings(session: TrainSession, issues: Iterable[IssueData], checks: Collection[str]) -> None:
    """Bring a project's problems up to what the latest diagnosis of a session found; ``checks`` are those that ran.

    Only inside the transaction that stores the diagnosis. Doing it twice changes nothing. A live check that finds
    what it found before costs three queries.
    """
    is_complete = session.status == SessionStatus.FINISHED
    groups = grouped(issues)
    news = _cover(session, sorted(checks), is_complete=is_complete)
    before = _shown_before(session)
    if not groups and not before and not (news and is_complete):
        return
    if not news and not _differs(before, sighted(session, groups, _known(session, groups))):
        return
    project = lock([session.project_id])[session.project_id]
    # Somebody may have merged problems until the lock was free, which moves what the session showed before.
    before, problems = _shown_before(session), _known(session, groups)
    if missing := [several for key, several in groups.items() if fingerprint(*key) not in problems]:
        _make(session, [seen(several) for several in missing])
        problems = _known(session, groups)
    sightings = sighted(session, groups, problems)
    _store(session, before, sightings)
    touched = {*before, *sightings}
    if is_complete:
        # Whatever is open and was looked for: a clean session may be the last that was wanting.
        touched |= set(_open(session.project_id).values_list("pk", flat=True))
    shown = {pk: found for pk, (_, found) in sightings.items()}
    moves = refresh(project, Problem.objects.filter(pk__in=touched), session=session, shown=shown)
    Activity.objects.bulk_create(moves)


def refresh_project(project: Project) -> None:
    """Work out all problems of a project anew, after sessions were deleted. Only inside that transaction."""
    locked = lock([project.pk])[project.pk]
    Activity.objects.bulk_create(refresh(locked, Problem.objects.unmerged().filter(project=project.pk)))


def _shown_before(session: TrainSession) -> dict[int, Occurrence]:
    return {each.problem_id: each for each in Occurrence.objects.filter(session=session.pk)}


def _cover(session: TrainSession, checks: list[str], *, is_complete: bool) -> bool:
    """Note which checks looked. Returns whether that is news."""
    covered = Coverage.objects.filter(session=session.pk).first()
    if covered is not None and (covered.is_complete, covered.checks) == (is_complete, checks):
        return False
    Coverage.objects.bulk_create(
        [
            Coverage(
                session=session,
                project_id=session.project_id,
                started=session.started,
                is_complete=is_complete,
                checks=checks,
            )
        ],
        update_conflicts=True,
        unique_fields=["session"],
        update_fields=["is_complete", "checks"],
    )
    return True


def _open(project_id: int) -> QuerySet[Problem]:
    return Problem.objects.unmerged().filter(project=project_id, status=Status.OPEN)


def _known(session: TrainSession, groups: Groups) -> dict[str, Problem]:
    """Return the problems of these groups by fingerprint; a merged one is that which it became part of."""
    wanted = [fingerprint(*key) for key in groups]
    rows = Problem.objects.filter(project=session.project_id, fingerprint__in=wanted).select_related("merged_into")
    return {row.fingerprint: row.merged_into or row for row in rows}


def _make(session: TrainSession, missing: Sequence[Seen]) -> None:
    Problem.objects.bulk_create(
        [
            Problem(
                project_id=session.project_id,
                fingerprint=found.fingerprint,
                check_id=found.check_id,
                layer_pattern=found.pattern,
                title=found.title,
                category=found.category,
                severity=found.severity,
                # Until its first sessions are counted: then it is new.
                status=Status.RESOLVED,
                substatus="",
            )
            for found in missing
        ],
        ignore_conflicts=True,
    )


Sightings = dict[int, tuple[Occurrence, Seen]]


def sighted(session: TrainSession, groups: Groups, problems: Mapping[str, Problem]) -> Sightings:
    """Return what the session shows of each problem, without the layers that somebody muted."""
    found: dict[int, Seen] = {}
    for key, several in groups.items():
        problem = problems.get(fingerprint(*key))
        # One not made yet stands for itself: any difference will do.
        muted = problem.muted_layers if problem else []
        heard = [issue for issue in several if issue.layer_id not in muted]
        if not heard:
            continue
        pk = problem.pk if problem else 0
        if pk in found:
            found[pk].absorb(seen(heard))
        else:
            found[pk] = seen(heard)
    return {pk: (_occurrence(session, pk, each), each) for pk, each in found.items()}


def _occurrence(session: TrainSession, problem_id: int, found: Seen) -> Occurrence:
    return Occurrence(
        problem_id=problem_id,
        session=session,
        started=session.started,
        severity=found.severity,
        issue_count=found.issue_count,
        epoch_index=found.epoch_index,
        layer_count=len(found.layers),
        layers=list(found.layers)[:LAYERS_KEPT],
    )


def _differs(before: dict[int, Occurrence], sightings: Sightings) -> bool:
    if before.keys() != sightings.keys():
        return True
    return any(getattr(before[pk], name) != getattr(row, name) for pk, (row, _) in sightings.items() for name in KEPT)


def _store(session: TrainSession, before: dict[int, Occurrence], sightings: Sightings) -> None:
    gone = [each.pk for pk, each in before.items() if pk not in sightings]
    if gone:
        Occurrence.objects.filter(pk__in=gone).delete()
    Occurrence.objects.bulk_create(
        [row for row, _ in sightings.values()],
        update_conflicts=True,
        unique_fields=["problem", "session"],
        update_fields=list(KEPT),
    )


@dataclass(frozen=True, slots=True)
class _Ends:
    count: int
    first: Occurrence | None
    last: Occurrence | None


def refresh(
    project: Project,
    problems: Iterable[Problem],
    *,
    session: TrainSession | None = None,
    shown: Mapping[int, Seen] = NOTHING,
    mark: Callable[[Problem], None] | None = None,
) -> list[Activity]:
    """Work out figures and standing of problems of one locked project, after ``mark``, and store what changed.

    ``shown`` is what ``session`` shows. Returns what the log has to say of it, which is for the caller to store.
    """
    problems = list(problems)
    ends = _ends(problems)
    stored = {problem.pk: _columns(problem) for problem in problems}
    for problem in problems:
        _figures(problem, ends[problem.pk], session, shown.get(problem.pk))
        if mark is not None:
            mark(problem)
    latest = past(project.pk, problems)
    moves = []
    for problem in problems:
        older = latest.is_older(problem)
        after = standing(marks(problem), latest.looks(problem), resolve_after=project.resolve_after, is_older=older)
        if (after.status, after.substatus) != (problem.status, problem.substatus):
            problem.status, problem.substatus, problem.changed = after.status, after.substatus, now()
            if act := _by_itself(problem):
                moves.append(Activity(problem=problem, by=MLDIAG, act=act, session=session))
    _update(problems, stored)
    return moves


def _update(problems: Iterable[Problem], stored: Mapping[int, tuple[Any, ...]]) -> None:
    """Write what differs from ``stored``, the columns of each problem before."""
    changed = [problem for problem in problems if _columns(problem) != stored[problem.pk]]
    # Only those columns: each that is named costs, for each problem, about as much as a query.
    differing = {
        name
        for problem in changed
        for name, before, after in zip(COLUMNS, stored[problem.pk], _columns(problem), strict=True)
        if before != after
    }
    if changed:
        Problem.objects.bulk_update(changed, sorted(differing), batch_size=100)


def _columns(problem: Problem) -> tuple[Any, ...]:
    return attrgetter(*COLUMNS)(problem)


def marks(problem: Problem) -> Marks:
    return Marks(**{name: getattr(problem, name) for name in MARKS})


def _by_itself(problem: Problem) -> Act | None:
    if problem.status == Status.RESOLVED:
        return Act.SUBSIDED if problem.session_count else Act.WITHDRAWN
    acts: dict[str, Act] = {
        Substatus.NEW: Act.FOUND,
        Substatus.REGRESSED: Act.REGRESSED,
        Substatus.ESCALATING: Act.ESCALATED,
    }
    return acts.get(problem.substatus)


def _ends(problems: Sequence[Problem]) -> dict[int, _Ends]:
    of_problem = Occurrence.objects.filter(problem=OuterRef("pk"))
    rows = list(
        Problem.objects.filter(pk__in=[problem.pk for problem in problems])
        .annotate(
            shown=Subquery(of_problem.order_by().values("problem").annotate(number=Count("pk")).values("number")),
            first=Subquery(of_problem.order_by("started", "session").values("pk")[:1]),
            last=Subquery(of_problem.order_by("-started", "-session").values("pk")[:1]),
        )
        .values_list("pk", "shown", "first", "last")
    )
    ends = Occurrence.objects.in_bulk([pk for _, _, *pair in rows for pk in pair if pk is not None])
    return {pk: _Ends(shown or 0, ends.get(first), ends.get(last)) for pk, shown, first, last in rows}


def _figures(problem: Problem, ends: _Ends, session: TrainSession | None, found: Seen | None) -> None:
    problem.session_count = ends.count
    problem.first_session_id = ends.first.session_id if ends.first else None
    problem.last_session_id = ends.last.session_id if ends.last else None
    problem.first_seen = ends.first.started if ends.first else None
    problem.last_seen = ends.last.started if ends.last else None
    if ends.last:
        problem.severity = ends.last.severity
    is_latest = session is not None and problem.last_session_id == session.pk
    if found and is_latest and found.fingerprint == problem.fingerprint:
        problem.title, problem.caused_by = found.title, found.caused_by
