"""How a problem stands: a pure function of what people marked and of the sessions in their order.

Nothing is counted up, so a diagnosis made twice, a session that arrives late and two merged problems all come out
right: the same marks and the same sessions give the same answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from diagnostics.engine import IssueSeverity
from diagnostics.problem_models import Status, Substatus

SETTLED = 3
"""In so many sessions a problem is new, back or worse; after that it is known."""
LAYER_GROWTH = 3
RATE_WINDOW = 10
RATE_BASE = 5
LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Look:
    """A session that says something about a problem: it shows it (``severity``), or it is clean (None)."""

    started: datetime
    severity: str | None = None
    layer_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What people said. All times are compared with the starts of sessions."""

    fixed_after: datetime | None = None
    reopened: datetime | None = None
    reviewed: datetime | None = None
    muted_after: datetime | None = None
    muted_until: datetime | None = None
    muted_sessions: int | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """``by_itself``: no person resolved it."""

    status: Status
    substatus: Substatus | str = ""
    by_itself: bool = False


def standing(marks: Marks, looks: Sequence[Look], *, resolve_after: int, is_older: bool = False) -> Standing:
    """Return how a problem stands after ``looks``, the latest sessions in order, oldest first.

    ``is_older``: sessions before these show it, too. ``resolve_after`` clean sessions in a row resolve it, 0 never.
    """
    shown = [look for look in looks if look.severity is not None]
    woken = _woken(marks, looks)
    if marks.muted_after is not None and woken is None:
        return Standing(Status.MUTED)
    if not shown and not is_older:
        return Standing(Status.RESOLVED, by_itself=True)
    subsided = _subsided(marks, looks, resolve_after, is_older)
    rests = [moment for moment in (marks.fixed_after, subsided) if moment is not None]
    back = [look for look in shown if not rests or look.started > max(rests)]
    if rests and not back:
        return Standing(Status.RESOLVED, by_itself=marks.fixed_after is None or marks.fixed_after < max(rests))
    if woken is not None:
        back = [look for look in back if look.started >= woken]
    was_at_rest = bool(rests) or woken is not None
    return Standing(Status.OPEN, _substatus(marks, looks, shown, back, was_at_rest, is_older))


def _woken(marks: Marks, looks: Sequence[Look]) -> datetime | None:
    """Return the start of the session that ended the mute: the first to show the problem when its time was over.

    A problem that does not happen any more does not ask for attention only because a date has passed.
    """
    if marks.muted_after is None or (marks.muted_until is None and marks.muted_sessions is None):
        return None
    later = [look for look in looks if look.started > marks.muted_after]
    for place, look in enumerate(later):
        is_over = marks.muted_until is None or look.started > marks.muted_until
        if is_over and place >= (marks.muted_sessions or 0) and look.severity is not None:
            return look.started
    return None


def _subsided(marks: Marks, looks: Sequence[Look], resolve_after: int, is_older: bool) -> datetime | None:
    """Return the start of the last session that showed the problem before enough clean ones followed."""
    last, clean, found = (LONG_AGO if is_older else None), 0, None
    for look in looks:
        if look.severity is not None:
            last, clean = look.started, 0
        elif marks.reopened is None or look.started > marks.reopened:
            clean += 1
            if resolve_after and clean >= resolve_after:
                found = last
    return found


def _substatus(
    marks: Marks,
    looks: Sequence[Look],
    shown: Sequence[Look],
    back: Sequence[Look],
    was_at_rest: bool,
    is_older: bool,
) -> Substatus:
    is_unseen = marks.reviewed is None or (bool(back) and back[0].started > marks.reviewed)
    if is_unseen and len(back) < SETTLED and (was_at_rest or not is_older):
        return Substatus.REGRESSED if was_at_rest else Substatus.NEW
    return Substatus.ESCALATING if _is_worse(marks, looks, shown) else Substatus.ONGOING


def _is_worse(marks: Marks, looks: Sequence[Look], shown: Sequence[Look]) -> bool:
    """Whether one of the latest sessions rose above all before it, and nobody has looked since."""
    since = marks.reviewed or LONG_AGO
    latest = range(max(1, len(shown) - SETTLED), len(shown))
    if any(shown[place].started > since and _rose(shown[place], shown[:place]) for place in latest):
        return True
    return _spread(looks) and not _spread([look for look in looks if look.started <= since])


def _rose(look: Look, before: Sequence[Look]) -> bool:
    if _rank(look) < min(map(_rank, before)):
        return True
    most = max(earlier.layer_count for earlier in before)
    return most > 0 and look.layer_count >= LAYER_GROWTH * most


def _rank(look: Look) -> int:
    return IssueSeverity(look.severity or IssueSeverity.info).rank


def _spread(looks: Sequence[Look]) -> bool:
    """Whether it passed from at most half of the sessions to more than half of the latest ten."""
    latest, before = looks[-RATE_WINDOW:], looks[-2 * RATE_WINDOW : -RATE_WINDOW]
    return len(before) >= RATE_BASE and _share(latest) > 0.5 >= _share(before)


def _share(looks: Sequence[Look]) -> float:
    return sum(look.severity is not None for look in looks) / len(looks)
