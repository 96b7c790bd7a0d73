"""Which findings are the same problem: those of one check on layers that differ by their numbers only."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from diagnostics.engine import IssueData, IssueSeverity
from diagnostics.models import FoundIssue
from projects.services.documents import clean

VERSION = 1
"""Part of every fingerprint: another way of grouping makes other problems instead of mixing the two."""
LAYERS_KEPT = 50
PATTERN_LENGTH = 500
_NUMBER = re.compile(r"\d+")


def layer_pattern(layer: str) -> str:
    """Return a layer's name with every number as ``*``.

    A bad initialization of a hundred blocks is one problem, not a hundred.

    >>> layer_pattern("layer1.0.conv2")
    'layer*.*.conv*'
    """
    return clean(_NUMBER.sub("*", layer), PATTERN_LENGTH)


def fingerprint(check_id: str, pattern: str) -> str:
    """Return what identifies a problem within its project: never a number or a title, which may differ each time."""
    return sha256(f"{VERSION}\0{check_id}\0{pattern}".encode("utf-8", "surrogatepass")).hexdigest()


def fingerprint_of(check_id: str, layer: str | None) -> str:
    return fingerprint(check_id, layer_pattern(layer or ""))


def gravest(severities: Iterable[str]) -> str:
    return min(severities, key=lambda severity: IssueSeverity(severity).rank)


Finding = IssueData | FoundIssue
"""As the engine gives it, or as it was stored."""
Groups = dict[tuple[str, str], list[Finding]]
"""Findings by check and pattern of layers."""


@dataclass(slots=True)
class Seen:
    """A problem as one diagnosis shows it. ``layers`` are distinct, in the order of the report: a dictionary, since a
    network may have many thousands."""

    check_id: str
    pattern: str
    title: str
    category: str
    severity: str
    caused_by: str = ""
    issue_count: int = 0
    epoch_index: int | None = None
    layers: dict[str, None] = field(default_factory=dict)

    def add(self, issue: Finding) -> None:
        self.severity = gravest((self.severity, str(issue.severity)))
        self.issue_count += issue.count
        self.epoch_index = _first(self.epoch_index, issue.epoch_index)
        if issue.layer_id:
            self.layers.setdefault(issue.layer_id)

    def absorb(self, other: Seen) -> None:
        """Add what the same diagnosis shows of a problem that was merged into this one."""
        self.severity = gravest((self.severity, other.severity))
        self.issue_count += other.issue_count
        self.epoch_index = _first(self.epoch_index, other.epoch_index)
        self.layers |= other.layers

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.check_id, self.pattern)


def _first(*epochs: int | None) -> int | None:
    return min((epoch for epoch in epochs if epoch is not None), default=None)


def grouped(issues: Iterable[IssueData]) -> Groups:
    """Sort the reported issues of a diagnosis by check and pattern of layers."""
    groups: Groups = {}
    for issue in issues:
        if issue.suppressed is None and issue.check_id:
            groups.setdefault((issue.check_id, layer_pattern(issue.layer_id or "")), []).append(issue)
    return groups


def seen(issues: Sequence[Finding]) -> Seen:
    """Sum up the issues of one group; there is at least one."""
    first = issues[0]
    found = Seen(
        check_id=first.check_id,
        pattern=layer_pattern(first.layer_id or ""),
        title=clean(first.title, 200),
        category=str(first.category),
        severity=str(first.severity),
        caused_by=first.caused_by or "",
    )
    for issue in issues:
        found.add(issue)
    return found
