"""Fills the configured database with sessions for `benchmarks.pages`: ``python -m benchmarks.pages_store 1000``.

Two sessions, one that went well and one that did not, are stored and judged by the real services; all others are
copies of their rows, made inside the database. Prints one JSON document: a login, and what to ask for.
"""

from __future__ import annotations

import json
import math
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from django.db.models import Model as DjangoModel

    from projects.models import Project
    from sessions.models import TrainSession

EPOCHS, LONG_RUNS, LONG_EPOCHS = 100, 5, 1_000
METRICS, FEW_METRICS = 20, 2
"""Of a long run's epochs and of a session's last one, so that lists show them; a million epochs have the few."""
LAYERS = ("conv", "head")
PROJECT, LONG_PROJECT, PERSON = "Pages", "Long runs", "alice"


def main() -> None:
    import django

    django.setup()
    from django.db import transaction

    wanted = int(sys.argv[1])
    with transaction.atomic():
        project = _project(PROJECT)
        if not project.sessions.exists():
            for number, losses in enumerate((_falling(EPOCHS), _diverging(EPOCHS))):
                _judged(project, f"run {number:05}", losses, number)
            _long_runs(_project(LONG_PROJECT))
        _copies(project, wanted)
    _tidy()
    print(json.dumps(_described(project)))


def _project(name: str) -> Project:
    from django.contrib.auth import get_user_model

    from projects.services import create_project

    person, _ = get_user_model().objects.get_or_create(username=PERSON)
    return create_project(name, owner=person)[0]


def _falling(count: int) -> list[float]:
    return [0.2 + 2 * math.exp(-number / 20) for number in range(count)]


def _diverging(count: int) -> list[float]:
    return [*_falling(count - 6), 3.0, 9.0, 30.0, 90.0, math.nan, math.nan]


def _judged(project: Project, name: str, losses: list[float], number: int) -> None:
    """Store a session as a client sends it, and judge it as a worker does."""
    from diagnostics.models import DiagnosticRun
    from diagnostics.services import work
    from observer_client.record import Architecture, Ending, LayerInfo, Opening
    from sessions.services import finish, open_session, register_model, store_epochs, store_logs

    opening = Opening(key=str(UUID(int=number + 1)), project_id=project.pk, run_name=name, tags=["tuning"])
    opening.hyperparameters = {"learning_rate": 0.1, "batch_size": 64}
    session, _ = open_session(opening, user=project.members.get(), key=None)
    layers = {each: LayerInfo(type="Conv2d", parameters=32) for each in LAYERS}
    register_model(session, Architecture(model_class="Net", total_parameters=96, layers=layers))
    store_epochs(session, [_epoch(epoch, loss, FEW_METRICS, LAYERS) for epoch, loss in enumerate(losses[:-1])])
    store_epochs(session, [_epoch(len(losses) - 1, losses[-1], METRICS, LAYERS)])
    lines = [{"seq": seq, "msg": f"epoch {seq} done", "level": "INFO"} for seq in range(20)]
    store_logs(session, [json.dumps(line).encode() for line in lines])
    finish(session, Ending(status="finished"))
    work(DiagnosticRun.objects.get(session=session).pk)


def _epoch(number: int, loss: float, count: int, layers: tuple[str, ...] = ()) -> bytes:
    """Return an epoch as it is sent, with ``count`` metrics of validation, the loss among them."""
    from observer_client.record import Epoch, LayerHealth, LayerStats, Loss, to_json

    metrics = {f"metric_{each}": 1.0 - 1.0 / (each + number + 2.5) for each in range(1, count)}
    stats = LayerStats(gradient_norm_mean=0.1 / (number + 1.3), weight_norm=3.1 + number / 7, update_ratio=0.00123)
    health = LayerHealth(layers=dict.fromkeys(layers, stats)) if layers else None
    record = Epoch(
        epoch=number,
        duration_seconds=4.2,
        learning_rate=0.1,
        loss=Loss(train_mean=loss, train_std=0.1, n_batches=20, val={"val_loss": 1.1 * loss, **metrics}),
        layer_health=health,
    )
    return to_json(record).encode()


def _long_runs(project: Project) -> None:
    from observer_client.record import Opening
    from sessions.services import open_session, store_epochs

    for number in range(LONG_RUNS):
        opening = Opening(key=str(UUID(int=1_000 + number)), project_id=project.pk, run_name=f"long {number}")
        session, _ = open_session(opening, user=project.members.get(), key=None)
        store_epochs(session, [_epoch(epoch, loss, METRICS) for epoch, loss in enumerate(_falling(LONG_EPOCHS))])


def _copies(project: Project, wanted: int) -> None:
    """Add copies of the first two sessions, by turns, until there are as many as wanted."""
    from diagnostics.models import Alert, Coverage, DiagnosticRun, FoundIssue, Occurrence
    from sessions.models import Model, SessionLog, TrainSession, TrainStep
    from sessions.services.entries import add_entries

    templates = list(project.sessions.order_by("pk")[:2])
    last = project.sessions.order_by("-pk").values_list("pk", flat=True)[0]
    have = project.sessions.count()
    made = [_copy(templates[number % 2], number) for number in range(have, wanted)]
    add_entries(TrainSession.objects.bulk_create(made, batch_size=1_000))
    for place, template in enumerate(templates):
        new = f"t.project_id = {project.pk} AND t.id > {last} AND t.info_count % 2 = {place}"
        for kind in (TrainStep, Model, SessionLog, DiagnosticRun, Alert, Coverage, Occurrence):
            _copy_rows(kind, template, new)
        _copy_issues(FoundIssue, template, new)
    for problem in project.problems.all():
        problem.session_count = problem.occurrences.count()
        problem.save()
    # It only said which template a row is a copy of.
    project.sessions.filter(pk__gt=last).update(info_count=1)


def _copy(template: TrainSession, number: int) -> TrainSession:
    from sessions.models import TrainSession

    named = {field.attname: getattr(template, field.attname) for field in TrainSession._meta.concrete_fields}
    shift = timedelta(minutes=number)
    changed = {
        "id": None,
        "key": UUID(int=10_000 + number),
        "name": f"run {number:05}",
        "started": template.started + shift,
        "finished": template.finished + shift,
        "duration_seconds": 60.0 + number * 7919 % 86_400,
        "val_loss": 0.2 + number * 31 % 1000 / 500,
        "health_score": 40 + number * 17 % 60,
        "info_count": number % 2,
    }
    return TrainSession(**named | changed)


def _copy_rows(kind: type[DjangoModel], template: TrainSession, new: str) -> None:
    from django.db import connection

    from diagnostics.models import Coverage, Occurrence

    columns = _columns(kind, "session_id")
    # Triage orders by the session's start.
    values = [
        f"t.{each}" if each == '"started"' and kind in (Coverage, Occurrence) else f"c.{each}" for each in columns
    ]
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {kind._meta.db_table} (session_id, {', '.join(columns)}) "
            f"SELECT t.id, {', '.join(values)} FROM {kind._meta.db_table} c CROSS JOIN training_trainsession t "
            f"WHERE c.session_id = {template.pk} AND {new}"
        )


def _copy_issues(kind: type[DjangoModel], template: TrainSession, new: str) -> None:
    from django.db import connection

    columns = _columns(kind, "run_id")
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {kind._meta.db_table} (run_id, {', '.join(columns)}) "
            f"SELECT r.id, {', '.join(f'c.{column}' for column in columns)} FROM {kind._meta.db_table} c "
            f"JOIN diagnostics_diagnosticrun o ON o.id = c.run_id AND o.session_id = {template.pk} "
            f"CROSS JOIN diagnostics_diagnosticrun r JOIN training_trainsession t ON t.id = r.session_id WHERE {new}"
        )


def _columns(kind: type[DjangoModel], parent: str) -> list[str]:
    return [f'"{field.column}"' for field in kind._meta.concrete_fields if field.column not in ("id", parent)]


def _tidy() -> None:
    """Do what autovacuum does within a minute."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE" if connection.vendor == "postgresql" else "ANALYZE")


def _described(project: Project) -> dict[str, Any]:
    """Return a login, the ids that addresses need, and how many rows there are."""
    from django.conf import settings
    from django.test import Client

    from diagnostics.models import DiagnosticRun
    from projects.models import KeyKind, Project
    from projects.services import issue_key
    from sessions.models import TrainStep

    long_project = Project.objects.get(name=LONG_PROJECT)
    client = Client()
    client.force_login(project.members.get())
    name = settings.SESSION_COOKIE_NAME
    # In the middle: neither the first nor the last that an index finds.
    sessions = list(project.sessions.order_by("pk").values_list("pk", flat=True))
    bad = sessions[len(sessions) // 4 * 2 + 1]
    return {
        "cookie": f"{name}={client.cookies[name].value}",
        "project": project.pk,
        "good": bad - 1,
        "bad": bad,
        "run": DiagnosticRun.objects.get(session=bad).pk,
        "problem": project.problems.order_by("pk").values_list("pk", flat=True)[0],
        "pages": math.ceil(len(sessions) / 50),
        "long": list(long_project.sessions.order_by("pk").values_list("pk", flat=True)),
        "key": issue_key(project, KeyKind.READ)[1],
        "long_key": issue_key(long_project, KeyKind.READ)[1],
        "sessions": len(sessions),
        "epochs": TrainStep.objects.count(),
    }


if __name__ == "__main__":
    main()
