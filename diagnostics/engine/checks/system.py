"""Checks on the machine."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.registry import Finding, Scope, check, evidence
from diagnostics.engine.run import Run
from diagnostics.engine.thresholds import DiagnosticThresholds

CPU = "system.cpu_percent"


@check(
    "high-cpu",
    title="High CPU usage",
    category=IssueCategory.system,
    severity=IssueSeverity.info,
    scope=Scope.epoch,
    needs=(CPU,),
    section="5.10",
)
def high_cpu(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """The CPU is the bottleneck.

    ## What it does
    Reports epochs in which the machine's CPU was loaded above 90 %. With a GPU at work that is a busy data loader and
    nothing bad, so the robust profile reports it only if the GPU is idle. A machine that is known to have none trains
    on its CPU, and that it is busy then is what it should be; whether a GPU would pay is `device-underutilization`'s
    to say, once.

    ## Why it matters
    What runs on a saturated CPU waits for it: the model itself, the data loader, or both.

    ## How to fix it
    Move the model and the data to a GPU; if the CPU is busy with loading, cache or simplify the preprocessing.

    ```python
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.to(device)
    x, y = x.to(device), y.to(device)
    ```
    """
    load = run.column(CPU).values
    for row in np.flatnonzero(load > limits.high_cpu_percent):
        epoch = int(run.epochs[row])
        yield Finding(
            description=f"The CPU was loaded to {load[row]:.0f} % in epoch {epoch}.",
            epoch=epoch,
            key=CPU,
            value=float(load[row]),
            evidence=evidence([CPU], [epoch], [float(load[row])], limits, "high_cpu_percent"),
        )


@high_cpu.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    gpu = dict(zip(run.epochs.tolist(), run.column("system.gpu_percent").values.tolist(), strict=True))
    for found in high_cpu.rule(run, limits):
        load = gpu[found.epoch]
        if load >= limits.idle_gpu_percent:
            found.suppressed = f"the GPU is at work ({load:.0f} %), so a busy CPU feeds it"
        elif has_gpu(run) is False:
            found.suppressed = "the machine has no GPU: training is what keeps its CPU busy"
        yield found


def has_gpu(run: Run) -> bool | None:
    """Return whether the machine has a GPU; None if nothing tells."""
    if run.column("memory.gpu_total_mb") or run.column("system.gpu_percent") or run.environment.get("devices"):
        return True
    return False if any(name in run.environment for name in ("devices", "cpus", "torch")) else None
