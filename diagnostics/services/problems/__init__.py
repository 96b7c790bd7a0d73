"""Triage: findings that recur over a project's sessions, and what people decide about them."""

from __future__ import annotations

from diagnostics.services.problems.actions import (
    AT_ONCE,
    MOST_MUTED_SESSIONS,
    Person,
    assign,
    assignees,
    comment,
    mute,
    mute_layer,
    reopen,
    resolve,
    resolve_from_next,
    review,
)
from diagnostics.services.problems.grouping import fingerprint_of, layer_pattern
from diagnostics.services.problems.history import Rate, rates, strip
from diagnostics.services.problems.linking import latest_issue, problems_of
from diagnostics.services.problems.merging import merge
from diagnostics.services.problems.orders import Action, Order, carry_out
from diagnostics.services.problems.saving import own_searches, save_search
from diagnostics.services.problems.searching import CATEGORIES, SEVERITIES, SORTS, STATES, Search, counts
from diagnostics.services.problems.splitting import unmerge
from diagnostics.services.problems.updating import note_findings, refresh_project

__all__ = [
    "AT_ONCE",
    "CATEGORIES",
    "MOST_MUTED_SESSIONS",
    "SEVERITIES",
    "SORTS",
    "STATES",
    "Action",
    "Order",
    "Person",
    "Rate",
    "Search",
    "assign",
    "assignees",
    "carry_out",
    "comment",
    "counts",
    "fingerprint_of",
    "latest_issue",
    "layer_pattern",
    "merge",
    "mute",
    "mute_layer",
    "note_findings",
    "own_searches",
    "problems_of",
    "rates",
    "refresh_project",
    "reopen",
    "resolve",
    "resolve_from_next",
    "review",
    "save_search",
    "strip",
    "unmerge",
]
