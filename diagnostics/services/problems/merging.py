"""Making one problem of several. The others lead to it from then on: links to them and findings like theirs."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import transaction

from diagnostics.problem_models import Act, Activity, Occurrence, Problem
from diagnostics.services.problems.actions import AT_ONCE, Person
from diagnostics.services.problems.grouping import LAYERS_KEPT, gravest
from diagnostics.services.problems.updating import lock, refresh
from projects.services import Refused


@transaction.atomic
def merge(target: Problem, others: Iterable[Problem], by: Person) -> Problem:
    """Make ``others`` part of ``target`` and return it as it then is.

    What people marked on the others is lost, except their muted layers. Raises Refused for problems of several
    projects and for fewer than two.
    """
    project = lock([target.project_id])[target.project_id]
    kept = Problem.objects.followed([target.pk]).values_list("pk", flat=True).get()
    held = list(Problem.objects.followed([kept, *(problem.pk for problem in others)]).order_by("pk"))
    if any(problem.project_id != project.pk for problem in held):
        raise Refused("Only problems of one project can be merged.", "$.ids")
    joined = [problem for problem in held if problem.pk != kept]
    if not joined or len(joined) > AT_ONCE:
        raise Refused("Choose two problems or more to merge.", "$.ids")
    _move(kept, [problem.pk for problem in joined])
    layers = [layer for problem in held for layer in problem.muted_layers]
    Problem.objects.filter(merged_into__in=joined).update(merged_into=kept)
    Problem.objects.filter(pk__in=[problem.pk for problem in joined]).update(merged_into=kept, assignee=None)

    def mark(problem: Problem) -> None:
        problem.muted_layers = list(dict.fromkeys(layers))

    refresh(project, Problem.objects.filter(pk=kept), mark=mark)
    names = ", ".join(f"#{problem.pk} {problem}" for problem in joined)
    log = [Activity(problem_id=kept, actor=by.user, by=by.name, act=Act.MERGED, text=f"with {names}")]
    log += [
        Activity(problem=problem, actor=by.user, by=by.name, act=Act.MERGED, text=f"into #{kept}") for problem in joined
    ]
    Activity.objects.bulk_create(log)
    return Problem.objects.get(pk=kept)


def _move(kept: int, joined: list[int]) -> None:
    """Give the occurrences of problems to another; of a session that shows several of them there stays one."""
    of_session: dict[int, Occurrence] = {}
    for each in Occurrence.objects.filter(problem__in=[kept, *joined]).order_by("pk"):
        if (first := of_session.get(each.session_id)) is None:
            of_session[each.session_id] = each
        else:
            _join(first, each)
    Occurrence.objects.filter(problem__in=joined).delete()
    rows = list(of_session.values())
    for row in rows:
        row.pk, row.problem_id = None, kept
    Occurrence.objects.filter(problem=kept).delete()
    Occurrence.objects.bulk_create(rows, batch_size=500)


def _join(first: Occurrence, other: Occurrence) -> None:
    epochs = [epoch for epoch in (first.epoch_index, other.epoch_index) if epoch is not None]
    layers = list(dict.fromkeys([*first.layers, *other.layers]))
    first.severity = gravest((first.severity, other.severity))
    first.issue_count += other.issue_count
    first.epoch_index = min(epochs, default=None)
    # Those that neither list names are told apart by nobody.
    first.layer_count = max(first.layer_count, other.layer_count, len(layers))
    first.layers = layers[:LAYERS_KEPT]
