"""What a chart shows beside what was logged: the baseline by which a session was judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from diagnostics.engine import Baseline, InvalidSetting
from diagnostics.models import DiagnosticRun
from diagnostics.services.observed import observed
from diagnostics.services.pinning import pinned_session
from diagnostics.services.plots import Chart, Plot, plot, stretched
from sessions.models import TrainSession


def judged_by(verdict: DiagnosticRun | None) -> Baseline | None:
    """Return the baseline of a diagnosis as it was then; None if there was none."""
    told = (verdict.summary.get("policy") or {}).get("baseline") if verdict else None
    if not isinstance(told, dict):
        return None
    try:
        return Baseline(**told)
    except (InvalidSetting, TypeError):
        return None


def beside_baseline(drawn: Plot, verdict: DiagnosticRun | None, sessions: Sequence[TrainSession]) -> Plot:
    """Return a chart of ``sessions`` with the baseline of the first one's ``verdict``, if it is of the same metric.

    It is a level; if the baseline was pinned from another session that is still there, also that session's curve, as
    far as the axis goes. At most three queries.
    """
    baseline = judged_by(verdict)
    column = next((name for name, _ in drawn.chart.lines if baseline and name in baseline.columns), None)
    if baseline is None or column is None or not drawn.x.size:
        return drawn
    lines = [(f"baseline {baseline.name}", np.full(drawn.x.size, baseline.value))]
    pinned = pinned_session(sessions[0].project_id, baseline.name)
    if pinned is not None and pinned not in sessions:
        curve = plot(observed(pinned), Chart(column, "", ((column, column),)), drawn.axis)
        if curve.columns and curve.axis == drawn.axis:
            lines.append((f"{baseline.name}: {pinned.name}", stretched(curve, drawn.x)))
    return replace(drawn, references=tuple(lines))
