"""Checks on what the training program logged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from diagnostics.engine.errors import class_of, root_of
from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.registry import Finding, Scope, check
from diagnostics.engine.run import Run
from diagnostics.engine.thresholds import DiagnosticThresholds
from observer_client.record import LogLine

_LEVELS = {"ERROR", "CRITICAL", "FATAL"}
_SHOWN = 300
_KEPT = 2000


@check(
    "error-logs",
    title="Error logs detected",
    category=IssueCategory.logs,
    severity=IssueSeverity.warning,
    scope=Scope.session,
    needs=("logs",),
    section="5.11",
)
def error_logs(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """The training program logged errors.

    ## What it does
    Counts log lines of level ERROR and above, or of kind "error", and says what class of error each is: out of memory
    on GPU or host, full disk, permission, broken GPU, device-side assertion, checkpoint or shapes that do not match,
    distributed, CUDA, preemption, loader, NaN, crash or something else. Errors that end a run are critical, others a
    warning. The one that is shown is the first that ends a run and is no echo: when one rank dies, the others report
    timeouts and closed connections, and when memory runs out, a worker of the loader is killed.

    ## Why it matters
    An error that training survives may still have cost data, checkpoints or correctness; one that it does not survive
    explains everything that follows.

    ## How to fix it
    Read the first error: later ones are often its consequences.
    """
    errors = [line for line in run.logs or () if line.level.strip().upper() in _LEVELS or line.kind.strip() == "error"]
    if not errors:
        return
    classes = [class_of(line.msg) for line in errors]
    root = root_of(errors, classes)
    shown = classes[root]
    echoes = sum(each.cascade for place, each in enumerate(classes) if place != root)
    yield Finding(
        description=_said(errors, root, shown.name, echoes, shown.cascade),
        key="logs",
        value=len(errors),
        count=len(errors),
        severity=IssueSeverity.critical if shown.grave else None,
        suggestion=shown.advice,
        evidence={
            "series": [],
            "first": errors[0].msg[:_SHOWN],
            "message": errors[root].msg[-_KEPT:],
            "class": shown.name,
            "classes": dict(Counter(each.name for each in classes)),
            "cascade": shown.cascade,
            "ts": errors[root].ts,
        },
    )


def _said(errors: list[LogLine], root: int, name: str, echoes: int, is_echo: bool) -> str:
    count = "One error was logged." if len(errors) == 1 else f"{len(errors)} errors were logged."
    first = f" First: {_quote(errors[0])}." if root else ""
    said = f"{count}{first} {'Gravest' if root else 'First'} ({name}): {_quote(errors[root])}."
    if is_echo:
        return f"{said} Such errors follow from another one: look at what came before, on every rank."
    return f"{said} {echoes} of the others {'are' if echoes > 1 else 'is'} its echo." if echoes else said


def _quote(line: LogLine) -> str:
    message = " ".join(line.msg.split())
    return f'"{message if len(message) <= _SHOWN else message[: _SHOWN - 1] + "…"}"'
