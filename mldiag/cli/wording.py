"""Words for figures: what a score means, how a number or a list of epochs is said."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from mldiag.cli.untrusted import one_line

SEVERITIES = ("critical", "warning", "info")
MOST_ITEMS = 8
"""Longer lists are cut in a line of evidence."""

# Said already in a column, in the limit, or too long for a line.
_ELSEWHERE = frozenset({"series", "epochs", "values", "threshold", "limit"})


def verdict(score: int, criticals: int) -> str:
    """Return what a health score means (guide, quick reference); a critical issue is never called good."""
    if score < 50:
        return "Critical: training is likely broken"
    if criticals:
        return "Broken in one place: mend what is critical first"
    if score < 70:
        return "Warning: several problems"
    return "Good, with some issues to address" if score < 90 else "Excellent: training is healthy"


def plural(count: int, noun: str) -> str:
    """
    >>> plural(1, "epoch"), plural(2, "epoch")
    ('1 epoch', '2 epochs')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def tally(count: int, severity: str) -> str:
    """
    >>> tally(2, "critical"), tally(2, "warning")
    ('2 critical', '2 warnings')
    """
    return plural(count, severity) if severity == "warning" else f"{count} {severity}"


def figure(value: Any) -> str:
    """Return a value of the evidence in few characters."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}" if not math.isfinite(value) or abs(value) < 1e4 or abs(value) >= 1e9 else f"{value:,.0f}"
    if isinstance(value, (list, tuple)):
        shown = ", ".join(figure(each) for each in value[:MOST_ITEMS])
        return f"{shown}, …" if len(value) > MOST_ITEMS else shown
    if isinstance(value, Mapping):
        return figure([f"{name} {figure(item)}" for name, item in value.items()])
    return one_line(value, 120)


def spans(numbers: Iterable[int]) -> str:
    """
    >>> spans([3, 4, 5, 9])
    '3-5, 9'
    """
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    shown = [str(low) if low == high else f"{low}-{high}" for low, high in runs]
    return ", ".join(shown[:MOST_ITEMS]) + (", …" if len(shown) > MOST_ITEMS else "")


def place(issue: Mapping[str, Any]) -> str:
    """Return where an issue is: epoch, layer, how often."""
    parts = []
    if issue.get("epoch_index") is not None:
        parts.append(f"epoch {issue['epoch_index']}")
    if issue.get("layer_id"):
        parts.append(f"layer {one_line(issue['layer_id'], 60)}")
    if (count := issue.get("count") or 1) > 1:
        parts.append(f"{count} times")
    return " · ".join(parts)


def evidence(issue: Mapping[str, Any]) -> str:
    """Return the figures behind an issue on one line."""
    found = issue.get("evidence") or {}
    parts = []
    if issue.get("metric_key") and issue.get("metric_value") is not None:
        parts.append(f"{one_line(issue['metric_key'], 60)} {figure(issue['metric_value'])}")
    if found.get("threshold") and found.get("limit") is not None:
        parts.append(f"limit {figure(found['limit'])} ({one_line(found['threshold'], 60)})")
    if len(epochs := _epochs(found.get("epochs"))) > 1:
        parts.append(f"epochs {spans(epochs)}")
    said = str(issue.get("description") or "")
    others = ((name, value) for name, value in found.items() if name not in _ELSEWHERE and not _is_said(value, said))
    parts += [f"{one_line(name, 60).replace('_', ' ')} {figure(value)}" for name, value in others]
    return " · ".join(parts)


def duration(seconds: float) -> str:
    """
    >>> duration(4.2), duration(75), duration(7300)
    ('4.2 s', '1 min 15 s', '2 h 2 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def mass(kilograms: float) -> str:
    """Return a mass of CO2 in a unit that needs few zeros."""
    grams = kilograms * 1000
    return (
        f"{grams / 1000:.3g} kg" if grams >= 1000 else (f"{grams:.3g} g" if grams >= 0.1 else f"{grams * 1000:.3g} mg")
    )


def energy(kilowatt_hours: float) -> str:
    """Return an energy in a unit that needs few zeros."""
    watt_hours = kilowatt_hours * 1000
    if watt_hours >= 1000:
        return f"{watt_hours / 1000:.3g} kWh"
    return f"{watt_hours:.3g} Wh" if watt_hours >= 0.1 else f"{watt_hours * 1000:.3g} mWh"


def own_settings(policy: Mapping[str, Any]) -> list[str]:
    """Return in what a policy differs from the defaults, in few words.

    >>> own_settings({"thresholds": {"a": 1}, "disable": ["b", "c"], "severity": {}, "baseline": {"name": "mnist_cnn"}})
    ['1 threshold set', '2 left out', 'baseline mnist_cnn']
    """
    words = []
    if thresholds := policy["thresholds"]:
        words.append(f"{plural(len(thresholds), 'threshold')} set")
    if disabled := policy["disable"]:
        words.append(f"{len(disabled)} left out")
    if severities := policy["severity"]:
        words.append(f"{len(severities)} regraded")
    if baseline := policy["baseline"]:
        words.append(f"baseline {one_line(baseline['name'], 40)}")
    return words


def _is_said(value: Any, description: str) -> bool:
    if value is None or value in ([], {}) or isinstance(value, Mapping):
        return True
    return isinstance(value, str) and value in description


def _epochs(value: Any) -> list[int]:
    return [each for each in value if isinstance(each, int)] if isinstance(value, list) else []
