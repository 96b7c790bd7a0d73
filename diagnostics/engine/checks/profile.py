"""Checks on where the compute of a step goes, by profiled steps."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from diagnostics.engine.architecture import Layer
from diagnostics.engine.checks.system import has_gpu
from diagnostics.engine.checks.throughput import DURATION
from diagnostics.engine.curves import Floats, median
from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.once import once
from diagnostics.engine.registry import Finding, Scope, check, evidence
from diagnostics.engine.run import Run
from diagnostics.engine.thresholds import DiagnosticThresholds

CUDA, CPU_TIME = "profiler.total_cuda_time_ms", "profiler.total_cpu_time_ms"
RATIO = "profiler.fwd_bwd_ratio"
_PASS = "profiler.operation_categories.{}_pass.pct_{}"


@once
def compute_shares(run: Run) -> dict[str, float]:
    """Return the mean share (0 to 1) of the compute that each profiled layer takes."""
    matrix = run.profiler_shares
    known = np.isfinite(matrix.values)
    sums = np.where(known, matrix.values, 0).astype(np.float64).sum(axis=0)
    return {
        layer: float(total) / count / 100
        for layer, total, count in zip(matrix.layers, sums, known.sum(axis=0), strict=True)
        if count
    }


@check(
    "profiler-hotspot",
    title="Compute hotspot",
    category=IssueCategory.profiler,
    severity=IssueSeverity.info,
    scope=Scope.layer,
    needs=("profiler.per_layer",),
    section="5.12",
)
def profiler_hotspot(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """One layer takes most of the compute.

    ## What it does
    Reports layers that take more than 40 % of the profiled compute on average. In a network of two layers one of them
    always does, so the robust profile asks for three at least.

    ## Why it matters
    Any speed-up of this layer speeds up the whole training; one of any other layer hardly shows.

    ## How to fix it
    Make the layer narrower, or replace its operation by a cheaper one, such as a separable convolution.

    ```python
    nn.Conv2d(64, 64, kernel_size=3, padding=1, groups=64)  # depthwise, then nn.Conv2d(64, 128, 1)
    ```
    """
    # No mean is above what no share is above, but for rounding.
    if run.profiler_shares.highest < 99 * limits.hotspot_pct:
        return
    for layer, share in compute_shares(run).items():
        if share > limits.hotspot_pct:
            yield Finding(
                description=f"Layer {layer!r} takes {share:.0%} of the profiled compute.",
                layer=layer,
                key="profiler.per_layer",
                value=share,
                evidence=evidence([], [], [], limits, "hotspot_pct") | {"share": share},
            )


@profiler_hotspot.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    for found in profiler_hotspot.rule(run, limits):
        if len(compute_shares(run)) < limits.hotspot_layers:
            found.suppressed = "of so few layers one always takes most"
        yield found


def _shares(run: Run, which: str) -> Floats:
    """Return the share of the compute (0 to 1) that the "forward" or "backward" pass takes, by epoch; on the GPU where
    there is one."""
    gpu, cpu = (run.column(_PASS.format(which, device)).values / 100 for device in ("cuda", "cpu"))
    return np.where(gpu > 0, gpu, cpu)


@check(
    "backward-dominance",
    title="Backward pass dominates",
    category=IssueCategory.profiler,
    severity=IssueSeverity.info,
    scope=Scope.session,
    needs=(f"{_PASS.format('backward', 'cpu')} | {_PASS.format('backward', 'cuda')}",),
    section="5.13",
)
def backward_dominance(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """Most of the time goes into the backward pass.

    ## What it does
    Reports runs whose profiled steps spend more than 45 % of their time in the backward pass, on average. It computes
    two gradients for each product of the forward pass, so twice the forward time is normal: the robust profile lets
    runs pass below 2.2 times.

    ## Why it matters
    More than that is overhead: recomputed activations, gradients of parts that need none, or slow custom functions.

    ## How to fix it
    Compute no gradients for frozen parts, and keep activations where memory allows instead of computing them again.

    ```python
    with torch.no_grad():
        features = frozen_backbone(x)
    ```
    """
    shares = _shares(run, "backward")
    rows = np.flatnonzero(np.isfinite(shares))
    if rows.size and (mean := float(shares[rows].mean())) > limits.backward_pct:
        name = _PASS.format("backward", "cpu")
        yield Finding(
            description=f"The backward pass takes {mean:.0%} of a step.",
            key=name,
            value=mean,
            evidence=evidence([name], run.epochs[rows].tolist(), shares[rows].tolist(), limits, "backward_pct"),
        )


@backward_dominance.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    with np.errstate(divide="ignore", invalid="ignore"):
        times = _shares(run, "backward") / _shares(run, "forward")
    times = times[np.isfinite(times)]
    for found in backward_dominance.rule(run, limits):
        if not times.size or median(times) < limits.backward_normal_ratio:
            found.suppressed = "about twice the forward pass is what a backward pass costs"
        yield found


@check(
    "fwd-bwd-ratio",
    title="Extremely heavy backward pass",
    category=IssueCategory.profiler,
    severity=IssueSeverity.info,
    scope=Scope.epoch,
    needs=(RATIO,),
    section="5.14",
)
def fwd_bwd_ratio(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """The backward pass takes many times as long as the forward pass.

    ## What it does
    Reports profiled epochs in which the forward pass took less than 0.15 of the time of the backward pass. Single
    steps are easily disturbed, so the robust profile asks for it in the median of all profiled epochs.

    ## Why it matters
    Twice as long is normal. Seven times as long is recomputation, a slow custom gradient or a detached forward pass.

    ## How to fix it
    Look in the profile for the operation that takes the time, and checkpoint fewer activations.

    ```python
    with torch.profiler.profile() as profile:
        criterion(model(x), y).backward()
    print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=10))
    ```
    """
    ratio = run.column(RATIO).values
    for row in np.flatnonzero((ratio > 0) & (ratio < limits.fwd_bwd_ratio)):
        epoch = int(run.epochs[row])
        yield Finding(
            description=f"In epoch {epoch} the backward pass took {1 / ratio[row]:.3g} times as long as the forward.",
            epoch=epoch,
            key=RATIO,
            value=float(ratio[row]),
            evidence=evidence([RATIO], [epoch], [float(ratio[row])], limits, "fwd_bwd_ratio"),
        )


@fwd_bwd_ratio.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    column = run.column(RATIO)
    for found in fwd_bwd_ratio.rule(run, limits):
        if median(column.values[column.finite]) >= limits.fwd_bwd_ratio:
            found.suppressed = "the other profiled epochs are not like this one"
        yield found


@check(
    "device-underutilization",
    title="GPU not used",
    category=IssueCategory.sustainability,
    severity=IssueSeverity.info,
    scope=Scope.session,
    needs=(CUDA,),
    section="6.3",
)
def device_underutilization(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """Training runs on the CPU alone.

    ## What it does
    Reports runs in which no profiled step spent any time on a GPU. It is a warning if the machine is known to have a
    GPU, by its memory or by the environment, and information if not. Where the machine is known to have none the
    robust profile says so only if epochs take longer than a minute: what is done sooner is no reason to get one.

    ## Why it matters
    A GPU trains most networks ten to a hundred times as fast, for a fraction of the energy.

    ## How to fix it
    Move the model and each batch to the GPU, and check that the installed PyTorch was built for it.

    ```python
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model, x, y = model.to(device), x.to(device), y.to(device)
    ```
    """
    column = run.column(CUDA)
    busy, rows = run.column(CPU_TIME).values, column.finite
    if rows.size and not column.values[rows].any():
        idle = bool(has_gpu(run))
        spent = busy[rows][np.isfinite(busy[rows])].sum()
        yield Finding(
            description=f"No time on a GPU in any of {rows.size} profiled epochs, {spent:.4g} ms on the CPU.",
            key=CUDA,
            value=0.0,
            severity=IssueSeverity.warning if idle else None,
            evidence={"series": [CUDA, CPU_TIME], "epochs": run.epochs[rows].tolist(), "values": [], "gpu": idle},
        )


@device_underutilization.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    duration = run.column(DURATION)
    seconds = median(duration.values[duration.finite]) if duration.finite.size else np.nan
    for found in device_underutilization.rule(run, limits):
        if has_gpu(run) is False and seconds < limits.worth_a_gpu_seconds:
            found.suppressed = f"the machine has no GPU, and epochs of {seconds:.3g} s are no reason to get one"
        yield found


def _uneven(run: Run) -> Iterator[tuple[Layer, float, float]]:
    """Yield layers with their shares of parameters and of compute, where both are known."""
    compute = compute_shares(run)
    for layer in run.blueprint.layers:
        if layer.share and layer.id in compute:
            yield layer, layer.share, compute[layer.id]


def _mismatch(layer: Layer, share: float, work: float, limits: DiagnosticThresholds) -> Finding:
    return Finding(
        description=f"Layer {layer.id!r} holds {share:.1%} of the parameters and takes {work:.1%} of the compute.",
        layer=layer.id,
        key="profiler.per_layer",
        value=share / work if work else None,
        evidence=evidence([], [], [], limits, "share_mismatch") | {"parameter_share": share, "compute_share": work},
    )


@check(
    "over-parameterized-layer",
    title="Over-parameterized layer",
    category=IssueCategory.sustainability,
    severity=IssueSeverity.info,
    scope=Scope.layer,
    needs=("architecture", "profiler.per_layer"),
    section="6.4",
)
def over_parameterized_layer(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """A layer holds many parameters and does little work.

    ## What it does
    Reports layers whose share of the parameters is at least ten times their share of the compute. Embeddings are so
    by nature (a look-up costs nothing), and small layers do not matter, so the robust profile leaves out embeddings
    and layers with less than 5 % of the parameters.

    ## Why it matters
    The parameters cost memory, also in the optimizer, and invite overfitting.

    ## How to fix it
    Make the layer narrower, or split it into two with a narrow one between them.

    ```python
    nn.Sequential(nn.Linear(4096, 64, bias=False), nn.Linear(64, 1024))  # was nn.Linear(4096, 1024)
    ```
    """
    for layer, share, work in _uneven(run):
        if share >= limits.share_mismatch * work:
            yield _mismatch(layer, share, work, limits)


@over_parameterized_layer.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    embeddings = {layer.id for layer in run.blueprint.of("embedding")}
    for found in over_parameterized_layer.rule(run, limits):
        if found.layer in embeddings:
            found.suppressed = "a look-up in an embedding costs nothing"
        elif found.evidence["parameter_share"] < limits.notable_share:
            found.suppressed = "the layer is small"
        yield found


@check(
    "compute-inefficient-layer",
    title="Compute-inefficient layer",
    category=IssueCategory.sustainability,
    severity=IssueSeverity.info,
    scope=Scope.layer,
    needs=("architecture", "profiler.per_layer"),
    section="6.5",
)
def compute_inefficient_layer(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """A layer takes much compute for few parameters.

    ## What it does
    Reports layers whose share of the compute is at least ten times their share of the parameters. Normalization and
    attention are so by nature, and convolutions use each weight at every pixel: the robust profile leaves out the
    former, and layers that take less than 10 % of the compute.

    ## Why it matters
    The layer sets the pace of the whole network, and its capacity does not show for it.

    ## How to fix it
    Pool before the layer, or use a depthwise separable convolution.

    ```python
    nn.Sequential(nn.MaxPool2d(2), conv1)
    ```
    """
    for layer, share, work in _uneven(run):
        if work >= limits.share_mismatch * share:
            yield _mismatch(layer, share, work, limits)


@compute_inefficient_layer.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    by_nature = {layer.id for kind in ("normalization", "attention") for layer in run.blueprint.of(kind)}
    for found in compute_inefficient_layer.rule(run, limits):
        if found.layer in by_nature:
            found.suppressed = "the work of such a layer is not in its parameters"
        elif found.evidence["compute_share"] < limits.notable_compute:
            found.suppressed = "the layer takes little of the compute"
        yield found
