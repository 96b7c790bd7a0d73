"""Checks on what the training program logged."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.registry import Finding, Scope, check
from diagnostics.engine.run import Run
from diagnostics.engine.thresholds import DiagnosticThresholds
from observer_client.record import LogLine

_LEVELS = {"ERROR", "CRITICAL", "FATAL"}
_SHOWN = 300
_OTHER = "other"

# In order of precedence: an out-of-memory error on a GPU also speaks of CUDA, and a dead worker of the loader that
# died of it.
_CLASSES: tuple[tuple[str, bool, re.Pattern[str], str], ...] = tuple(
    (name, grave, re.compile(pattern, re.IGNORECASE), advice)
    for name, grave, pattern, advice in (
        (
            "GPU out of memory",
            True,
            r"(cuda|hip|gpu|mps|xpu|cublas).{0,80}(out of memory|alloc_failed)"
            r"|outofmemoryerror|cuda_error_out_of_memory",
            "Make the batch smaller, accumulate gradients, or use mixed precision or gradient checkpointing.",
        ),
        (
            "out of memory",
            True,
            r"out of memory|cannot allocate memory|can't allocate memory|memoryerror|oom[- ]?kill|std::bad_alloc",
            "The machine's memory is full: load less at once, use fewer loader workers, and look for a leak.",
        ),
        (
            "disk full",
            True,
            r"no space left on device|disk quota exceeded|errno 28\b|disk (is )?full",
            "Free space or write checkpoints elsewhere, and keep only the last few of them.",
        ),
        (
            "preemption or time limit",
            True,
            r"preempt|time ?limit|timed out waiting for slurm|sigterm"
            r"|spot (instance )?(interrupt|terminat)|due to time",
            "Save checkpoints more often than the machine is taken away, and resume from the last one.",
        ),
        (
            "NCCL or distributed",
            True,
            r"nccl|processgroup|c10d|torch\.distributed|gloo|rendezvous",
            "A distributed error is often the echo of another rank's: look at the earliest error of every rank.",
        ),
        (
            "CUDA",
            True,
            r"\bcuda|cudnn|cublas|cusolver|device-side assert|\bxid\b|\bhip error",
            "Run again with CUDA_LAUNCH_BLOCKING=1 to see which operation failed; often a label is out of range.",
        ),
        (
            "NaN or infinity",
            False,
            r"\bnan\b|\binf\b|non-?finite|not finite|overflow",
            "Lower the learning rate, clip the gradients, and check the data for missing values.",
        ),
        (
            "data loader",
            False,
            r"data ?loader|worker .{0,40}(exited|killed|died)|shared memory|\bshm\b|collate|cannot identify image",
            "Run the loader with num_workers=0 to see the sample that breaks it.",
        ),
        (
            "crash",
            True,
            r"traceback \(most recent call last\)|uncaught|unhandled|segmentation fault|core dumped|\bkilled\b|aborted"
            r"|^\s*\w*(Error|Exception)\b",
            "The program died of it: the last lines of the traceback name the place.",
        ),
    )
)


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
    Counts log lines of level ERROR and above, or of kind "error", shows the first, and says what class of error it
    is: out of memory, CUDA, distributed, data loader, full disk, preemption, NaN or something else. Errors that end a
    run are critical, others a warning.

    ## Why it matters
    An error that training survives may still have cost data, checkpoints or correctness; one that it does not survive
    explains everything that follows.

    ## How to fix it
    Read the first error: later ones are often its consequences.
    """
    errors = [line for line in run.logs or () if line.level.strip().upper() in _LEVELS or line.kind.strip() == "error"]
    if not errors:
        return
    classes = [_class_of(line.msg) for line in errors]
    grave = next((index for index, each in enumerate(classes) if each[1]), 0)
    name, is_grave, advice = classes[grave]
    others = f" First: {_quote(errors[0])}." if grave else ""
    yield Finding(
        description=f"{_counted(len(errors))}.{others} {'Gravest' if grave else 'First'} ({name}): "
        f"{_quote(errors[grave])}.",
        key="logs",
        value=len(errors),
        count=len(errors),
        severity=IssueSeverity.critical if is_grave else None,
        suggestion=advice,
        evidence={
            "series": [],
            "first": errors[0].msg[:_SHOWN],
            "class": name,
            "classes": dict(Counter(each[0] for each in classes)),
            "ts": errors[0].ts,
        },
    )


def _class_of(message: str) -> tuple[str, bool, str | None]:
    """Return the class of an error, whether it ends a run, and the advice against it."""
    # A traceback may be long; what failed stands at its beginning and at its end.
    text = message if len(message) < 20_000 else message[:10_000] + message[-10_000:]
    for name, grave, pattern, advice in _CLASSES:
        if pattern.search(text):
            return name, grave, advice
    return _OTHER, False, None


def _counted(count: int) -> str:
    return "One error was logged" if count == 1 else f"{count} errors were logged"


def _quote(line: LogLine) -> str:
    message = " ".join(line.msg.split())
    return f'"{message if len(message) <= _SHOWN else message[: _SHOWN - 1] + "…"}"'
