"""Asking for diagnoses, making them, and saying what they found."""

from __future__ import annotations

from diagnostics.services.answers import health_body, is_answered, run_body, trend_body
from diagnostics.services.judging import load_run
from diagnostics.services.orders import (
    diagnose_now,
    mark_due,
    request_diagnosis,
    resume,
    sweep,
    wait_for,
    work,
)
from diagnostics.services.problems import problems_of

__all__ = [
    "diagnose_now",
    "health_body",
    "is_answered",
    "load_run",
    "mark_due",
    "problems_of",
    "request_diagnosis",
    "resume",
    "run_body",
    "sweep",
    "trend_body",
    "wait_for",
    "work",
]
