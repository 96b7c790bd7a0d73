"""Taking a merged problem apart again. What each part shows is read anew from the verdicts of the sessions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence

from django.db import transaction
from django.db.models import F

from diagnostics.models import DiagnosticRun, FoundIssue
from diagnostics.problem_models import Act, Activity, Occurrence, Problem
from diagnostics.services.problems.actions import Person
from diagnostics.services.problems.grouping import Groups, layer_pattern
from diagnostics.services.problems.updating import lock, refresh, sighted
from projects.services import Refused
from sessions.models import TrainSession

SESSIONS_AT_ONCE = 200


@transaction.atomic
def unmerge(target: Problem, parts: Collection[int], by: Person) -> list[Problem]:
    """Make problems of their own again of ``parts``, ids of problems that were merged into ``target``.

    Later findings like theirs go to them again. They stand as people had marked them before the merge. Raises Refused
    for none, and for one that is no part of the problem.
    """
    project = lock([target.project_id])[target.project_id]
    kept = Problem.objects.followed([target.pk]).get()
    if not parts:
        raise Refused("Nothing was merged into this problem.", "$.part")
    taken = list(kept.merged.filter(pk__in=parts).order_by("pk"))
    if len(taken) < len(set(parts)):
        raise Refused("That is no part of this problem.", "$.part")
    names = ", ".join(f"#{problem.pk} {problem}" for problem in taken)
    kept.merged.filter(pk__in=[problem.pk for problem in taken]).update(merged_into=None)
    _share_muted_layers(kept, taken)
    owners = {each.fingerprint: kept for each in [kept, *kept.merged.all()]}
    owners |= {each.fingerprint: each for each in taken}
    _share_occurrences(kept, owners)
    refresh(project, Problem.objects.filter(pk__in=[kept.pk, *(problem.pk for problem in taken)]))
    log = [Activity(problem=kept, actor=by.user, by=by.name, act=Act.UNMERGED, text=names)]
    log += [
        Activity(problem=each, actor=by.user, by=by.name, act=Act.UNMERGED, text=f"from #{kept.pk}") for each in taken
    ]
    Activity.objects.bulk_create(log)
    return taken


def _share_muted_layers(kept: Problem, taken: Sequence[Problem]) -> None:
    """Give each part the muted layers that are like its own; the merged problem held those of all."""
    muted, own = kept.muted_layers, {kept.layer_pattern, *kept.merged.values_list("layer_pattern", flat=True)}
    for problem in taken:
        problem.muted_layers = [layer for layer in muted if layer_pattern(layer) == problem.layer_pattern]
    gone = {problem.layer_pattern for problem in taken} - own
    kept.muted_layers = [layer for layer in muted if layer_pattern(layer) not in gone]
    Problem.objects.bulk_update([kept, *taken], ["muted_layers"])


def _share_occurrences(kept: Problem, owners: Mapping[str, Problem]) -> None:
    """Note for each problem what the sessions of the merged one show of it.

    ``owners`` are problems by fingerprint. A session whose verdict is gone goes on counting for the merged one.
    """
    pks = list(Occurrence.objects.filter(problem=kept.pk).order_by("pk").values_list("session", flat=True))
    for first in range(0, len(pks), SESSIONS_AT_ONCE):
        made = []
        judged = list(_judged(pks[first : first + SESSIONS_AT_ONCE]))
        groups = _groups(judged, {problem.check_id for problem in owners.values()})
        for session in judged:
            made += [row for row, _ in sighted(session, groups[session.pk], owners).values()]
        Occurrence.objects.filter(problem=kept.pk, session__in=judged).delete()
        # Without an owner are only findings of the same checks that belong to other problems.
        Occurrence.objects.bulk_create(row for row in made if row.problem_id)


def _judged(pks: Sequence[int]) -> Iterator[TrainSession]:
    verdicts = DiagnosticRun.objects.filter(session__in=pks, created=F("session__diagnosed"))
    sessions = TrainSession.objects.filter(pk__in=verdicts.values("session")).only("started")
    return sessions.iterator()


def _groups(sessions: Sequence[TrainSession], checks: Collection[str]) -> Mapping[int, Groups]:
    """Return what the verdict of each session reported of these checks, by check and pattern of layers."""
    groups: dict[int, Groups] = defaultdict(lambda: defaultdict(list))
    found = FoundIssue.objects.filter(
        run__session__in=sessions, run__created=F("run__session__diagnosed"), suppressed="", check_id__in=checks
    )
    wanted = ("run__session", "check_id", "title", "category", "severity", "layer_id", "epoch_index", "count")
    for issue in found.select_related("run").only(*wanted, "caused_by").order_by("run", "position"):
        groups[issue.run.session_id][issue.check_id, layer_pattern(issue.layer_id)].append(issue)
    return groups
