"""Rows that the page tests look at: made directly, so that each test says exactly what a page has to show."""

from __future__ import annotations

import json
import math
from datetime import timedelta

from django.utils.timezone import now

from diagnostics.models import DiagnosticRun, FoundIssue, State, Trigger
from observer_client.record import Architecture, LayerInfo, LogLine, to_json
from sessions.models import SessionStatus, TrainSession
from sessions.services import register_model, store_epochs, store_logs
from sessions.services.entries import add_entries

MARKUP = "<script>alert(1)</script><img src=x onerror=alert(2)>"
SUMMARY = {
    "severity_breakdown": {"critical": 1, "warning": 1, "info": 1},
    "checks_run": 17,
    "skipped_checks": {"profiler-hotspot": ["profiler.pct_total"]},
}
FOOTPRINT = {
    "total_training_duration_seconds": 754.0,
    "total_samples_processed": 120_000,
    "total_energy_kwh": 0.012,
    "total_co2_kg": 0.0023,
    "wasted_epochs": 3,
    "optimal_stop_epoch": 5,
    "wasted_compute_pct": 30.5,
    "wasted_duration_seconds": 80.0,
}
EXPLOSION = {
    "check_id": "loss-explosion",
    "severity": "critical",
    "category": "loss",
    "title": "Loss explosion",
    "description": "The training loss went from 0.6 to 9.1 between epochs 4 and 5.",
    "suggestion": "Clip the gradients with `clip_grad_norm_(model.parameters(), 1.0)`.",
    "epoch_index": 5,
    "metric_key": "loss.train_mean",
    "metric_value": 9.1,
    "evidence": {"epochs": [5], "values": [9.1], "threshold": "loss_explosion_ratio", "limit": 2.0, "ratio": 15.2},
}
FROZEN = {
    "check_id": "dead-neurons",
    "severity": "warning",
    "category": "sustainability",
    "title": "Dead neurons",
    "description": "71 % of the weights of fc1 are near zero.",
    "suggestion": "Use another activation.",
    "layer_id": "fc1",
    "count": 3,
    "caused_by": "loss-explosion",
}
SLOW = {"check_id": "slow-epoch", "severity": "info", "category": "throughput", "title": "Slow epoch"}
HELD_BACK = {
    "check_id": "high-loss-variance",
    "severity": "warning",
    "category": "loss",
    "title": "High loss variance",
    "suppressed": "the spread is that of every epoch",
}


def make_session(project, name="baseline", **fields):
    """A finished session with nothing in it."""
    started = fields.pop("started", now() - timedelta(hours=2))
    fields = {"status": SessionStatus.FINISHED, "finished": started + timedelta(minutes=12), **fields}
    if fields["finished"]:
        fields.setdefault("duration_seconds", (fields["finished"] - started).total_seconds())
    session = TrainSession.objects.create(project=project, name=name, started=started, last_seen=started, **fields)
    add_entries([session])
    return session


def make_sessions(project, number, **fields):
    """Many judged sessions at once, the newest last."""
    first = now() - timedelta(hours=number)
    made = TrainSession.objects.bulk_create(
        [
            TrainSession(
                project=project,
                name=f"run {index:05}",
                status=SessionStatus.FINISHED,
                started=first + timedelta(hours=index),
                finished=first + timedelta(hours=index, minutes=7 + index % 90),
                duration_seconds=60.0 * (7 + index % 90),
                epoch_count=10 + index % 40,
                train_loss=1.2 / (1 + index % 30),
                val_loss=1.5 / (1 + index % 30),
                co2_kg=0.0001 * (1 + index % 17),
                health_score=round(72 + 26 * math.sin(index / 9)),
                warning_count=index % 4,
                critical_count=int(index % 11 == 0),
                **fields,
            )
            for index in range(number)
        ],
        batch_size=2000,
    )
    add_entries(made)


def make_run(session, *issues, score=71, state=State.DONE, trigger=Trigger.AUTOMATIC, **fields):
    """A diagnosis with these issues; a finished one also becomes the verdict that lists show."""
    moment = now()
    answer = {"health_score": score, "finished": moment, "epoch_count": session.epoch_count, "summary": SUMMARY}
    if trigger == Trigger.AUTOMATIC:
        # What was stored has ordered one already.
        session.diagnostic_runs.filter(trigger=trigger).delete()
    run = DiagnosticRun.objects.create(
        session=session,
        state=state,
        trigger=trigger,
        created=moment,
        sustainability=FOOTPRINT,
        **{**(answer if state == State.DONE else {}), **fields},
    )
    FoundIssue.objects.bulk_create(
        [FoundIssue(run=run, position=position, **issue) for position, issue in enumerate(issues)]
    )
    if state == State.DONE:
        reported = [issue for issue in issues if not issue.get("suppressed")]
        counts = {
            f"{each}_count": sum(issue["severity"] == each for issue in reported)
            for each in ("critical", "warning", "info")
        }
        TrainSession.objects.filter(pk=session.pk).update(health_score=score, diagnosed=moment, **counts)
        session.refresh_from_db()
    return run


def make_bad_run(project, name="too hot"):
    """A run that blew up: a curve with a NaN and an Inf, a model, a log, a crash and issues of every kind."""
    session = make_session(project, name, status=SessionStatus.CRASHED, reason="RuntimeError: loss is NaN")
    session.hyperparameters = {"learning_rate": 0.5, "batch_size": 64, "items": "kept", "optimizer": "SGD"}
    session.environment = {"python": "3.11.2", "torch": "2.8.0", "device": "cpu"}
    session.save()
    losses = [2.3, 1.1, 0.7, 0.6, 9.1, math.inf, math.nan]
    store_epochs(session, [epoch(number, loss, loss * 1.1) for number, loss in enumerate(losses, 1)])
    layers = {
        "conv1": LayerInfo(type="Conv2d", parameters=320, pct_of_total=1.4, trainable=True),
        "fc1": LayerInfo(type="Linear", parameters=21_632, pct_of_total=98.6, trainable=False),
    }
    register_model(session, Architecture(model_class="SmallCNN", total_parameters=21_952, layers=layers))
    lines = [("INFO", "epoch 4 done"), ("WARNING", "loss is rising"), ("ERROR", "RuntimeError: loss is NaN")]
    store_logs(session, [line(number, *each) for number, each in enumerate(lines)])
    session.refresh_from_db()
    run = make_run(session, EXPLOSION, FROZEN, SLOW, HELD_BACK)
    session.refresh_from_db()
    return session, run


def epoch(number, train, val, **fields):
    """An epoch as the client sends it."""
    loss = {"train_mean": train, "train_std": 0.1, "n_batches": 20, "val": {"val_loss": val}}
    rest = {"duration_seconds": 4.2, "learning_rate": 0.5, "throughput": {"samples_per_second": 812.0}}
    return to_json({"epoch": number, "loss": loss, **rest, **fields}).encode()


def line(seq, level, text):
    return json.dumps(to_plain(LogLine(seq=seq, level=level, msg=text, ts="2026-03-01T10:00:00+00:00"))).encode()


def to_plain(record):
    return json.loads(to_json(record))
