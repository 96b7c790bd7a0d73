"""Asking for diagnoses, making them, and saying what they found."""

from __future__ import annotations

from diagnostics.services.anomaly import learn_if_due, learn_normal, normal_of
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

__all__ = [
    "diagnose_now",
    "health_body",
    "is_answered",
    "learn_if_due",
    "learn_normal",
    "load_run",
    "mark_due",
    "normal_of",
    "request_diagnosis",
    "resume",
    "run_body",
    "sweep",
    "trend_body",
    "wait_for",
    "work",
]
