"""Asking for diagnoses, making them, and saying what they found."""

from __future__ import annotations

from diagnostics.services.actions import Action, suggested_actions
from diagnostics.services.anomaly import learn_if_due, learn_normal, normal_of
from diagnostics.services.answers import health_body, is_answered, run_body, trend_body
from diagnostics.services.evidence import Drawing, draw
from diagnostics.services.heat import Heat, Strip, heat
from diagnostics.services.judging import load_run
from diagnostics.services.observed import observed
from diagnostics.services.orders import (
    diagnose_now,
    mark_due,
    request_diagnosis,
    resume,
    sweep,
    wait_for,
    work,
)
from diagnostics.services.pinning import pin_baseline
from diagnostics.services.plots import AXES, Chart, Plot, charts, plot
from diagnostics.services.problems import problems_of

__all__ = [
    "AXES",
    "Action",
    "Chart",
    "Drawing",
    "Heat",
    "Plot",
    "Strip",
    "charts",
    "diagnose_now",
    "draw",
    "health_body",
    "heat",
    "is_answered",
    "learn_if_due",
    "learn_normal",
    "load_run",
    "mark_due",
    "normal_of",
    "observed",
    "pin_baseline",
    "plot",
    "problems_of",
    "request_diagnosis",
    "resume",
    "run_body",
    "suggested_actions",
    "sweep",
    "trend_body",
    "wait_for",
    "work",
]
