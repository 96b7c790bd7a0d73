"""Checks on how a run ended."""

from __future__ import annotations

from collections.abc import Iterator

from diagnostics.engine.errors import class_of
from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.registry import Finding, Scope, check
from diagnostics.engine.run import Run
from diagnostics.engine.thresholds import DiagnosticThresholds

_SHOWN = 500


@check(
    "crash",
    title="The run crashed",
    category=IssueCategory.logs,
    severity=IssueSeverity.critical,
    scope=Scope.session,
    needs=("ending.status",),
    section="",
)
def crash(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """The training program ended by an error.

    ## What it does
    Reports a run whose last word was an exception that nobody caught, or an exit code other than 0, with its reason. A
    run that was killed from outside (a signal, a time limit, Ctrl-C) is information: somebody may have meant it.

    ## Why it matters
    What was trained since the last checkpoint is lost, and a job that is not watched stays dead.

    ## How to fix it
    Read the traceback in the log of the run; resume from the last checkpoint once the cause is mended.

    ```python
    # Continues the session; epochs that are trained again replace the old ones.
    obs = Observer(resume="mldiag_runs/digits-0b9cc1c1")
    ```
    """
    ending = run.ending or {}
    status, reason = str(ending.get("status") or ""), " ".join(str(ending.get("reason") or "").split())
    if status not in ("crashed", "killed"):
        return
    said = reason if len(reason) <= _SHOWN else f"{reason[:_SHOWN]}…"
    known = class_of(reason) if status == "crashed" and reason else None
    yield Finding(
        description=f"The run {'crashed' if status == 'crashed' else 'was killed'}{f': {said}' if said else ''}.",
        key="ending",
        value=status,
        title=None if status == "crashed" else "The run was killed",
        severity=None if status == "crashed" else IssueSeverity.info,
        suggestion=known.advice if known is not None else None,
        evidence={"series": [], "reason": reason[:2000], "class": known.name if known is not None else None},
    )


@check(
    "run-went-silent",
    title="No sign of life",
    category=IssueCategory.logs,
    severity=IssueSeverity.critical,
    scope=Scope.session,
    needs=("ending.silent_seconds",),
    section="",
)
def run_went_silent(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """A run that should be training is not heard of any more.

    ## What it does
    The client says with each sign of life when the next one will follow. A run that never ended and is a minute late,
    five minutes at least, is reported by the server, in its own sweep. It is taken back as soon as the run
    speaks again.

    ## Why it matters
    The process was killed without a chance to say so (out of host memory, a node that went down, a time limit), or the
    network between is gone. In the first case nobody is training.

    ## How to fix it
    Look whether the process lives, and what the machine says about its end. If it does live, nothing is lost: its
    records lie in its folder and follow when the network is back.

    ```bash
    dmesg --ctime | grep -iE "out of memory|killed process"
    ```
    """
    seconds = float((run.ending or {}).get("silent_seconds") or 0.0)
    if seconds <= 0:
        return
    yield Finding(
        description=f"The run has not been heard of for {_spoken(seconds)}, and it never said that it ended.",
        key="ending",
        value=seconds,
        evidence={"series": [], "silent_seconds": seconds},
    )


def _spoken(seconds: float) -> str:
    """Return a duration in words.

    >>> _spoken(400), _spoken(7200), _spoken(200_000)
    ('7 minutes', '2 hours', '2 days')
    """
    for size, name in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} seconds"
