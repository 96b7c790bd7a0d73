"""Checks on the architecture of convolutional networks; silent on any other."""

from __future__ import annotations

import math
from collections.abc import Iterator

from diagnostics.engine.architecture import Blueprint, Layer
from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.registry import Finding, Scope, check
from diagnostics.engine.run import Run
from diagnostics.engine.thresholds import DiagnosticThresholds


def _cnn(run: Run) -> Blueprint:
    """Return the network if it is a CNN, else an empty one."""
    return run.blueprint if run.blueprint.kind == "cnn" else Blueprint()


def _evidence(limits: DiagnosticThresholds, threshold: str, layers: list[Layer]) -> dict[str, object]:
    return {
        "series": [],
        "layers": [layer.id for layer in layers],
        "threshold": threshold,
        "limit": getattr(limits, threshold),
    }


@check(
    "fc-dominates",
    title="Fully connected layer dominates",
    category=IssueCategory.architecture,
    severity=IssueSeverity.warning,
    scope=Scope.layer,
    needs=("architecture",),
    section="7.1",
)
def fc_dominates(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """One fully connected layer holds nearly all parameters of a CNN.

    ## What it does
    Reports a Linear layer with more than 92 % of all parameters. The robust profile lets layers of less than 10,000
    parameters pass: they cost nothing, whatever their share.

    ## Why it matters
    In a CNN the convolutions are meant to do the work. When a Linear layer dominates, the feature map is flattened
    while it is still large: the layer costs memory and overfits easily.

    ## How to fix it
    Pool the feature map before flattening it, so that the layer gets one number per channel.

    ```python
    self.pool = nn.AdaptiveAvgPool2d(1)
    self.fc = nn.Linear(32, 10)  # not nn.Linear(32 * 28 * 28, 10)
    ```
    """
    for layer in _cnn(run).of("linear"):
        if layer.share is not None and layer.share > limits.fc_dominates_pct:
            yield _large_share(layer, limits, "fc_dominates_pct")


@fc_dominates.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    yield from _without_small(fc_dominates.rule(run, limits), limits)


def _large_share(layer: Layer, limits: DiagnosticThresholds, threshold: str) -> Finding:
    share = layer.share or 0.0
    counted = f"{layer.parameters:,} parameters, " if layer.parameters else ""
    return Finding(
        description=f"Layer {layer.id!r} holds {counted}{share:.1%} of all.",
        layer=layer.id,
        key="architecture.layers",
        value=share,
        evidence=_evidence(limits, threshold, [layer]) | {"parameters": layer.parameters, "share": share},
    )


def _without_small(findings: Iterator[Finding], limits: DiagnosticThresholds) -> Iterator[Finding]:
    for found in findings:
        parameters = found.evidence["parameters"]
        if 0 < parameters < limits.small_layer_parameters:
            found.suppressed = f"{parameters:,} parameters cost nothing, whatever their share"
        yield found


@check(
    "conv-bottleneck",
    title="Convolution holds most parameters",
    category=IssueCategory.architecture,
    severity=IssueSeverity.info,
    scope=Scope.layer,
    needs=("architecture",),
    section="7.2",
)
def conv_bottleneck(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """One convolution holds most parameters of a CNN.

    ## What it does
    Reports a convolution with more than 60 % of all parameters. The robust profile lets layers of less than 10,000
    parameters pass.

    ## Why it matters
    The capacity of the network sits in one place; the other layers are too narrow to feed it or to use it.

    ## How to fix it
    Split the layer into a bottleneck: reduce the channels, convolve, expand them again.

    ```python
    nn.Sequential(
        nn.Conv2d(256, 64, kernel_size=1),
        nn.Conv2d(64, 64, kernel_size=3, padding=1),
        nn.Conv2d(64, 256, kernel_size=1),
    )
    ```
    """
    for layer in _cnn(run).of("convolution"):
        if layer.share is not None and layer.share > limits.conv_bottleneck_pct:
            yield _large_share(layer, limits, "conv_bottleneck_pct")


@conv_bottleneck.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    yield from _without_small(conv_bottleneck.rule(run, limits), limits)


@check(
    "missing-pooling",
    title="Missing pooling",
    category=IssueCategory.architecture,
    severity=IssueSeverity.warning,
    scope=Scope.layer,
    needs=("architecture",),
    section="7.3",
)
def missing_pooling(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """Several convolutions in a row without pooling.

    ## What it does
    Follows the network in the order of execution and reports three or more convolutions with no pooling between them;
    a convolution with a stride pools too. The robust profile reports them only if nothing pools before a fully
    connected layer either: blocks of several convolutions that end in pooling are what VGG and ResNet are made of.
    Pooling by a plain function is no layer; the number of inputs of the fully connected layer tells it.

    ## Why it matters
    Without pooling the feature map keeps its size. Every convolution works on all of it, the receptive field grows
    slowly, and the first fully connected layer gets huge.

    ## How to fix it
    Put pooling between the blocks of convolutions, or give some of them a stride of 2.

    ```python
    nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2))
    ```
    """
    for row, _ in _unpooled(_cnn(run), limits):
        yield _unpooled_row(row, limits)


@missing_pooling.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    for row, after in _unpooled(_cnn(run), limits):
        found = _unpooled_row(row, limits)
        if after is None:
            found.suppressed = "no fully connected layer follows that could get too large"
        elif after.downsamples:
            found.suppressed = f"{after.id!r} pools before the first fully connected layer"
        elif _pooled_by_function(row, after, run.blueprint.input_size):
            found.suppressed = f"{after.id!r} sees too few numbers a channel for a map that nothing has pooled"
        yield found


def _pooled_by_function(row: list[Layer], linear: Layer, input_size: tuple[int, ...]) -> bool:
    """Whether ``linear`` has fewer inputs than the last convolution's map would have without pooling.

    Half of each side is what the smallest pooling leaves; kernels without padding cut far less off. Convolutions side
    by side, of words for example, are pooled one by one: then there is one input for each channel of all of them.
    """
    if not linear.in_features or not row[-1].out_channels:
        return False
    if linear.in_features <= sum(layer.out_channels or 0 for layer in row):
        return True
    per_channel = linear.in_features / row[-1].out_channels
    return per_channel <= max(1, math.prod(input_size) / 4 if input_size else 1)


def _unpooled(network: Blueprint, limits: DiagnosticThresholds) -> Iterator[tuple[list[Layer], Layer | None]]:
    """Yield rows of convolutions without pooling, and the layer that ends them: one that pools, a Linear, or none."""
    row: list[Layer] = []
    for layer in (*network.layers, None):
        ends = layer is None or layer.downsamples or layer.category == "linear"
        if ends and len(row) >= limits.missing_pooling_convs:
            yield row, layer
        if ends:
            row = []
        elif layer is not None and layer.category == "convolution":
            row.append(layer)


def _unpooled_row(row: list[Layer], limits: DiagnosticThresholds) -> Finding:
    return Finding(
        description=f"{len(row)} convolutions in a row without pooling, from {row[0].id!r} to {row[-1].id!r}.",
        layer=row[0].id,
        key="architecture.layer_graph",
        value=len(row),
        evidence=_evidence(limits, "missing_pooling_convs", row),
    )


@check(
    "large-kernel",
    title="Large kernel",
    category=IssueCategory.architecture,
    severity=IssueSeverity.info,
    scope=Scope.layer,
    needs=("architecture",),
    section="7.4",
)
def large_kernel(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """A convolution has a large kernel for its small input.

    ## What it does
    Reports kernels of 7 x 7 and more if the network's input is at most 64 pixels wide and high, or of unknown size.
    The robust profile needs to know the size, and lets depthwise convolutions pass: their large kernels are cheap.

    ## Why it matters
    On an image of 28 x 28 pixels such a kernel sees a quarter of each side at once. It costs five times the
    parameters of a 3 x 3 kernel and blurs what is small.

    ## How to fix it
    Use 3 x 3 kernels for small inputs; two of them see as much as one of 5 x 5.

    ```python
    nn.Conv2d(1, 32, kernel_size=3, padding=1)
    ```
    """
    for layer in _large_kernels(_cnn(run), limits):
        yield _kernel(run, layer, limits)


@large_kernel.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    network = _cnn(run)
    for layer in _large_kernels(network, limits):
        found = _kernel(run, layer, limits)
        if not network.input_size:
            found.suppressed = "the size of the input is not known"
        elif layer.groups > 1 and layer.groups == layer.in_channels:
            found.suppressed = "a depthwise convolution is cheap"
        yield found


def _large_kernels(network: Blueprint, limits: DiagnosticThresholds) -> list[Layer]:
    if max(network.input_size, default=0) > limits.small_input_size:
        return []
    return [
        layer
        for layer in network.of("convolution")
        if len(layer.kernel) != 1 and min(layer.kernel, default=0) >= limits.large_kernel_size
    ]


def _kernel(run: Run, layer: Layer, limits: DiagnosticThresholds) -> Finding:
    size, image = (" x ".join(str(side) for side in sides) for sides in (layer.kernel, run.blueprint.input_size))
    on = f"an input of {image} pixels" if image else "an input of unknown size"
    return Finding(
        description=f"Layer {layer.id!r} has a kernel of {size} on {on}.",
        layer=layer.id,
        key="architecture.layer_graph",
        value=min(layer.kernel),
        evidence=_evidence(limits, "large_kernel_size", [layer]) | {"kernel": list(layer.kernel)},
    )


@check(
    "early-channel-explosion",
    title="Early channel explosion",
    category=IssueCategory.architecture,
    severity=IssueSeverity.info,
    scope=Scope.layer,
    needs=("architecture",),
    section="7.5",
)
def early_channel_explosion(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """The first convolution makes very many channels of a single one.

    ## What it does
    Reports a first convolution that goes from one channel to more than 32. The robust profile lets it pass if the
    input is known to be large.

    ## Why it matters
    A grayscale patch of 3 x 3 pixels holds nine numbers; 64 features of it repeat each other. They are computed at
    full resolution, where channels cost the most.

    ## How to fix it
    Start with few channels and double them where the image gets smaller.

    ```python
    nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3))
    ```
    """
    for layer in _cnn(run).of("convolution")[:1]:
        if layer.in_channels == 1 and (layer.out_channels or 0) > limits.early_channels:
            yield Finding(
                description=f"The first convolution {layer.id!r} expands 1 channel to {layer.out_channels}.",
                layer=layer.id,
                key="architecture.layer_graph",
                value=layer.out_channels,
                evidence=_evidence(limits, "early_channels", [layer]),
            )


@early_channel_explosion.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    side = max(run.blueprint.input_size, default=0)
    for found in early_channel_explosion.rule(run, limits):
        if side > limits.small_input_size:
            found.suppressed = f"an input of {side} pixels a side has room for many features"
        yield found
