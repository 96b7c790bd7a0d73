"""How numbers, texts and stored documents are written on a page."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from django import template
from django.conf import settings
from django.contrib.humanize.templatetags.humanize import naturaltime
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import staticfiles_storage
from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString, mark_safe

from diagnostics.models import FoundIssue
from projects.models import DEFAULT_PROJECT_ID
from sessions.models import TrainSession

register = template.Library()

NOTHING = "–"
SPELLED = {"nan": "NaN", "inf": "∞", "-inf": "−∞"}
BANDS = (
    (90, "excellent", "Excellent! Training is healthy."),
    (70, "good", "Good, but there are issues to look at."),
    (50, "warning", "Warning: several problems were found."),
    (0, "critical", "Critical: training is likely broken."),
)
"""The guide's Health Score Guide: from this score on, the band, and what it says."""

LONGEST_LIST = 12
LONGEST_TEXT = 300
FIVE_LINES = """\
from observer_client import Observer

with Observer(project_id={project_id}, run_name="first try") as observer:
    observer.register_model(model)
    for epoch in range(epochs):
        for step, (x, y) in enumerate(loader):
            loss = train_step(x, y)  # yours
            observer.step(step, loss, batch_size=len(x))
        observer.flush(val_metrics={{"val_loss": validate(model)}})
"""
_CODE = re.compile(r"`([^`\n]+)`")


@register.filter
def band(score: int | None) -> str:
    """Name the band of a health score."""
    return "none" if score is None else next(name for least, name, _ in BANDS if score >= least)


@register.filter
def verdict(score: int | None) -> str:
    """Say what a health score means."""
    return "Not diagnosed yet." if score is None else next(text for least, _, text in BANDS if score >= least)


@register.filter
def figure(value: Any) -> str:
    """Write any stored value: numbers with four digits, NaN and infinity as such, short lists in full."""
    if value is None or value == "":
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return _decimal(value)
    if isinstance(value, str):
        return SPELLED.get(value) or _short(value)
    if isinstance(value, (list, tuple)) and not any(isinstance(item, (list, dict)) for item in value):
        shown = ", ".join(figure(item) for item in value[:LONGEST_LIST])
        return f"{shown}, … ({len(value)} in all)" if len(value) > LONGEST_LIST else shown or NOTHING
    return _short(json.dumps(value, ensure_ascii=False, default=str))


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + "…"


def _decimal(value: float) -> str:
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("∞" if value > 0 else "−∞")
    return f"{value:,.0f}" if abs(value) >= 10_000 and abs(value) < 1e15 else f"{value:.4g}"


@register.filter
def setting(value: Any) -> str:
    """Return the value of a setting in few words."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {figure(each)}" for name, each in value.items() if each not in (None, ""))
    return ", ".join(map(str, value)) if isinstance(value, list) else "default" if value is None else figure(value)


@register.filter
def words(name: str) -> str:
    """Turn an identifier into words: ``early_stop`` and ``loss-plateau`` become "early stop", "loss plateau"."""
    return str(name).replace("_", " ").replace("-", " ")


@register.filter
def pairs(mapping: Any) -> list[tuple[str, Any]]:
    """List the entries of a stored mapping that say something.

    ``mapping.items`` in a template would find an entry called "items".
    """
    if not isinstance(mapping, Mapping):
        return []
    return [(str(key), value) for key, value in mapping.items() if value not in (None, "", [], {})]


@register.filter
def as_duration(value: float | timedelta | None) -> str:
    """Write a time span in its two largest units."""
    if value is None:
        return NOTHING
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if not isinstance(seconds, (int, float)) or not math.isfinite(seconds):
        return figure(value)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86400)
    if minutes < 60:
        return _two(minutes, "min", int(seconds) % 60, "s")
    return _two(hours, "h", minutes % 60, "min") if hours < 48 else _two(days, "d", hours % 24, "h")


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large} {large_unit}" + (f" {small} {small_unit}" if small else "")


@register.filter
def as_mass(kilograms: float | None) -> str:
    """Write a mass given in kilograms in the unit that suits it."""
    return _scaled(kilograms, (("t", 1e3), ("kg", 1.0), ("g", 1e-3), ("mg", 1e-6), ("µg", 1e-9)))


@register.filter
def as_energy(kilowatt_hours: float | None) -> str:
    """Write an energy given in kilowatt-hours in the unit that suits it."""
    return _scaled(kilowatt_hours, (("MWh", 1e3), ("kWh", 1.0), ("Wh", 1e-3), ("mWh", 1e-6), ("µWh", 1e-9)))


def _scaled(value: float | None, units: tuple[tuple[str, float], ...]) -> str:
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return figure(value)
    unit, size = next((each for each in units if abs(value) >= each[1]), units[-1])
    return f"{value / size:.3g} {unit}" if value else f"0 {units[1][0]}"


@register.filter
def prose(text: str) -> SafeString:
    """Escape a text and set what stands in backticks as code."""
    return mark_safe(_CODE.sub(r"<code>\1</code>", conditional_escape(text)))


@register.simple_tag
def ago(moment: datetime | None) -> str:
    """Write how long ago something was; the pointer finds when exactly."""
    if not moment:
        return NOTHING
    exactly = moment.astimezone(UTC)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        exactly.isoformat(),
        f"{exactly:%Y-%m-%d %H:%M:%S} UTC",
        naturaltime(moment),
    )


@register.filter
def length_of(session: TrainSession) -> timedelta:
    """How long a session took, or has taken so far. Its start is dated by the client's clock, which may be ahead."""
    return max(timedelta(0), (session.finished or session.last_seen) - session.started)


@register.filter
def latest(session: TrainSession, loss: str) -> float | str | None:
    """Return a session's latest loss, also one that was NaN or infinite."""
    return session.non_finite.get(loss, getattr(session, loss))


@register.filter
@cache
def is_served(path: str) -> bool:
    """Whether a static file exists: what npm brings is missing where nobody ran it."""
    return bool(finders.find(path)) or staticfiles_storage.exists(path)


@register.filter
def proof(issue: FoundIssue) -> list[tuple[str, Any]]:
    """List the figures that an issue rests on: the metric where it occurred, the limit, the check's own."""
    evidence = dict(issue.evidence)
    epochs, values = evidence.pop("epochs", []), evidence.pop("values", [])
    threshold, limit = evidence.pop("threshold", None), evidence.pop("limit", None)
    evidence.pop("series", None)
    metric = issue.metric_key or "value"
    if epochs and len(epochs) == len(values):
        where = "epochs" if len(epochs) > 1 else "epoch"
        shown = [(f"{metric}, {where} {figure(epochs)}", values if len(values) > 1 else values[0])]
    else:
        shown = [(metric, issue.metric_value)]
    limits = [(f"limit: {words(threshold)}", limit)] if threshold else []
    own = [(words(name), value) for name, value in evidence.items()]
    return [(name, value) for name, value in [*shown, *limits, *own] if value is not None]


@register.filter
def first_of(items: Sequence[Any], number: int) -> Sequence[Any]:
    """Return the first ``number`` items."""
    return items[:number]


@register.filter
def after(items: Sequence[Any], number: int) -> Sequence[Any]:
    """Return what follows the first ``number`` items."""
    return items[number:]


@register.filter
def get(mapping: Mapping[str, Any], key: str) -> Any:
    """Return an entry of a mapping by a key that is known only now, None if there is none."""
    return mapping.get(key)


@register.filter
def as_dicts(items: Sequence[Any]) -> list[dict[str, Any]]:
    """Return what each item says of itself for a script."""
    return [item.as_dict() for item in items]


@register.filter
def plain_number(value: float) -> str:
    """Write a number for an attribute that a browser reads: never in the manner of the reader's language."""
    return f"{value:.2f}"


@register.inclusion_tag("_connect.html", takes_context=True)
def connect(context: dict[str, Any], project_id: int = DEFAULT_PROJECT_ID) -> dict[str, Any]:
    """Tell what to type so that a training run shows up in a project."""
    request = context["request"]
    is_open = settings.MLDIAG_AUTH == "open"
    environment = f"export MLDIAG_URL={request.scheme}://{request.get_host()}"
    return {
        "environment": environment if is_open else f"{environment} MLDIAG_API_KEY=...",
        "is_open": is_open,
        "project_id": project_id,
        "lines": FIVE_LINES.format(project_id=project_id),
    }
