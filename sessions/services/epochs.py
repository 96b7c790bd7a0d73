"""Windows of training: kept once, as they were sent."""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec
from django.db import transaction
from django.db.models import QuerySet
from django.utils.timezone import now

from observer_client.packed import SERIES, pack
from observer_client.record import Epoch, spell
from projects.services.documents import clean
from projects.services.refusals import NotFound, Refused
from sessions.models import SessionStatus, TrainSession, TrainStep
from sessions.services.entries import READ, renew_entries
from sessions.services.items import LARGEST_NUMBER, ItemResult, Status, decode, refused
from sessions.signals import epochs_stored

MAX_LAYERS = 20_000
MAX_NAME = 500
MAX_METRICS = 1_000
MAX_BUCKETS = 20_000
KEPT = ("train_loss", "val_loss", "learning_rate", "duration_seconds", "samples_per_second", "process_rss_mb")
FIGURES = (*KEPT, "co2_kg", "energy_kwh")
LOSSES = ("train_loss", "val_loss")
SUMMED = ("co2_kg", "energy_kwh")
HELD = (
    "key",
    "status",
    "project",
    "started",
    "duration_seconds",
    "epoch_count",
    "log_count",
    *LOSSES,
    "non_finite",
    "metrics",
    *SUMMED,
)
METRICS_LISTED = 50
LISTED_NAME = 100
"""How many metrics, and of which length of name, a list of sessions may have as columns."""
SessionQuery = QuerySet[TrainSession]
REPLACED = ["attempt", "payload", "packed", "digest", "received", "non_finite", *FIGURES]


class _Stored(NamedTuple):
    epoch: int
    attempt: int
    digest: str
    co2_kg: float | None
    energy_kwh: float | None


def store_epochs(session: TrainSession | SessionQuery, items: Sequence[bytes | msgspec.Raw]) -> list[ItemResult]:
    """Store the epochs of ``session`` that are not there yet; one result an item, in order.

    The same content again is a duplicate, other content for the same attempt a conflict (the first stays), a
    higher attempt replaces. ``session`` may be a query for it, which saves a door from looking twice. Raises
    NotFound when there is none.
    """
    read = [_read(item) for item in items]
    with transaction.atomic():
        held = hold(session)
        numbers = [step.epoch for step in read if isinstance(step, TrainStep)]
        known = _stored_from(held, min(numbers)) if numbers else {}
        latest = max(known, default=-1)
        new: dict[int, TrainStep] = {}
        results = [step if isinstance(step, ItemResult) else _judge(step, known, new) for step in read]
        if new:
            _write(held, new, known, latest)
            epochs_stored.send(sender=TrainSession, session=held)
    return results


def step_of(record: Epoch, text: str) -> TrainStep:
    """Return the unsaved row of an epoch. Raises Refused if it is over a limit."""
    _check(record)
    figures = _figures(record)
    try:
        packed = pack(record)
    except OverflowError:
        raise Refused("A number is too large for any column.")
    step = TrainStep(
        epoch=record.epoch,
        attempt=record.attempt,
        payload=text,
        packed=packed,
        digest=hashlib.sha256(text.encode()).hexdigest(),
        non_finite=any(value is not None and not math.isfinite(value) for value in figures.values()),
        **{name: _finite(value) for name, value in figures.items()},
    )
    # What the columns cannot say, for the session's latest losses.
    step.spelled = {name: spell(figures[name]) for name in LOSSES if figures[name] != getattr(step, name)}
    step.metrics = _listed(record)
    return step


def _listed(record: Epoch) -> dict[str, float]:
    """Return the metrics that lists of sessions show: the finite ones but the loss, which has its column."""
    metrics = record.loss.val if record.loss else {}
    return {
        clean(name): value
        for name, value in metrics.items()
        if name != "val_loss" and len(name) <= LISTED_NAME and _finite(value) is not None
    }


def repack(steps: Iterable[TrainStep]) -> int:
    """Make ``packed`` and the scalar columns anew from the payloads; returns how many rows. One transaction."""
    with transaction.atomic():
        anew = []
        for step in steps:
            made = step_of(*decode(step.payload.encode(), Epoch))
            made.pk, made.session_id = step.pk, step.session_id
            anew.append(made)
        TrainStep.objects.bulk_update(anew, ["packed", "non_finite", *FIGURES])
    return len(anew)


def _read(item: bytes | msgspec.Raw) -> TrainStep | ItemResult:
    try:
        return step_of(*decode(item, Epoch))
    except Refused as refusal:
        return refused(item, refusal)


def hold(session: TrainSession | SessionQuery) -> TrainSession:
    """Return the session as it is now, locked: whoever stores next waits and then sees these rows."""
    query = TrainSession.objects.filter(pk=session.pk) if isinstance(session, TrainSession) else session
    held = query.select_for_update(of=("self",)).only(*HELD).first()
    if held is None:
        raise NotFound("There is no such session here.")
    return held


def _stored_from(session: TrainSession, first: int) -> dict[int, _Stored]:
    rows = session.steps.filter(epoch__gte=first).order_by().values_list(*_Stored._fields)
    return {row[0]: _Stored(*row) for row in rows}


def _judge(step: TrainStep, known: dict[int, _Stored], new: dict[int, TrainStep]) -> ItemResult:
    """Say what becomes of ``step``, and note it in ``new`` if it is to be written."""
    before = new.get(step.epoch) or known.get(step.epoch)
    status = Status.STORED
    error = None
    if before is not None and step.attempt <= before.attempt:
        status = Status.DUPLICATE
        if step.attempt == before.attempt and step.digest != before.digest:
            status = Status.CONFLICT
            error = f"Epoch {step.epoch} is stored with other content. Raise its attempt to replace it."
    else:
        new[step.epoch] = step
    return ItemResult(number=step.epoch, attempt=step.attempt, status=status, error=error)


def _write(session: TrainSession, new: dict[int, TrainStep], known: dict[int, _Stored], latest: int) -> None:
    for step in new.values():
        step.session_id = session.pk
    if known.keys() & new.keys():
        TrainStep.objects.bulk_create(
            new.values(), update_conflicts=True, unique_fields=["session", "epoch"], update_fields=REPLACED
        )
    else:
        TrainStep.objects.bulk_create(new.values())
    replaced = [known[number] for number in known.keys() & new.keys()]
    session.epoch_count += len(new) - len(replaced)
    session.co2_kg = _total(session.co2_kg, [each.co2_kg for each in new.values()], [each.co2_kg for each in replaced])
    session.energy_kwh = _total(
        session.energy_kwh, [each.energy_kwh for each in new.values()], [each.energy_kwh for each in replaced]
    )
    listed = session.metrics
    for number in sorted(number for number in new if number >= latest):
        _show_losses(session, new[number])
        session.metrics = dict(list({**session.metrics, **new[number].metrics}.items())[:METRICS_LISTED])
    moment = now()
    if session.status == SessionStatus.RUNNING:
        session.duration_seconds = max(0.0, (moment - session.started).total_seconds())
    figures = ("epoch_count", *SUMMED, *LOSSES, "non_finite", "metrics", "duration_seconds")
    TrainSession.objects.filter(pk=session.pk).update(
        last_seen=moment, progressed=moment, **{name: getattr(session, name) for name in figures}
    )
    if session.status != SessionStatus.RUNNING and session.metrics != listed:
        renew_entries(TrainSession.objects.filter(pk=session.pk).only(*READ))


def _show_losses(session: TrainSession, step: TrainStep) -> None:
    """Make the losses of ``step`` the session's latest. One that was not logged leaves the last one that was."""
    for name in LOSSES:
        value, spelled = getattr(step, name), step.spelled.get(name)
        if value is not None or spelled is not None:
            setattr(session, name, value)
            others = {other: text for other, text in session.non_finite.items() if other != name}
            session.non_finite = others | ({name: spelled} if spelled is not None else {})


def _total(before: float | None, added: list[float | None], removed: list[float | None]) -> float | None:
    gained = [value for value in added if value is not None]
    lost = [value for value in removed if value is not None]
    if before is None and not gained:
        return None
    try:
        return max(0.0, math.fsum([before or 0.0, *gained, *(-value for value in lost)]))
    except OverflowError:
        return sys.float_info.max


def _figures(record: Epoch) -> dict[str, float | None]:
    loss, carbon = record.loss, record.carbon_emissions
    return {
        "train_loss": loss.train_mean if loss else None,
        "val_loss": loss.val.get("val_loss") if loss else None,
        "learning_rate": record.learning_rate,
        "duration_seconds": record.duration_seconds,
        "samples_per_second": record.throughput.samples_per_second if record.throughput else None,
        "process_rss_mb": record.memory.process_rss_mb if record.memory else None,
        "co2_kg": carbon.epoch_co2_kg if carbon else None,
        "energy_kwh": carbon.epoch_energy_kwh if carbon else None,
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _check(record: Epoch) -> None:
    for name, number in (("epoch", record.epoch), ("attempt", record.attempt)):
        if not 0 <= number <= LARGEST_NUMBER:
            raise Refused(f"{name} is from 0 to {LARGEST_NUMBER:,}.", f"$.{name}")
    layers = record.layer_health.layers if record.layer_health else {}
    if len(layers) > MAX_LAYERS:
        raise Refused(f"At most {MAX_LAYERS:,} layers an epoch; here are {len(layers):,}.", "$.layer_health.layers")
    if any(len(name) > MAX_NAME for name in layers):
        raise Refused(f"A layer's name has at most {MAX_NAME} characters.", "$.layer_health.layers")
    metrics = record.loss.val if record.loss else {}
    if len(metrics) > MAX_METRICS or any(len(name) > MAX_NAME for name in metrics):
        raise Refused(f"At most {MAX_METRICS:,} metrics, names of at most {MAX_NAME} characters.", "$.loss.val")
    if record.steps and max(len(getattr(record.steps, name)) for name in SERIES) > MAX_BUCKETS:
        raise Refused(f"At most {MAX_BUCKETS:,} buckets of steps an epoch.", "$.steps")
