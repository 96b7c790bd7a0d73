"""Checks on the architecture of recurrent networks; silent on layers of other kinds."""

from __future__ import annotations

from collections.abc import Iterator

from diagnostics.engine.checks.sequence import graph_finding, nodes_of
from diagnostics.engine.issue import IssueCategory, IssueSeverity
from diagnostics.engine.registry import Finding, Scope, check
from diagnostics.engine.run import Run
from diagnostics.engine.thresholds import DiagnosticThresholds


@check(
    "hidden-size-ratio",
    title="Oversized hidden state",
    category=IssueCategory.architecture,
    severity=IssueSeverity.info,
    scope=Scope.layer,
    needs=("architecture",),
    section="11.1",
)
def hidden_size_ratio(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """The hidden state of a recurrent layer is many times wider than its input.

    ## What it does
    Reports recurrent layers whose hidden state is more than 32 times as wide as the input. A signal of one channel
    needs some width all the same, so the robust profile lets 256 and less pass.

    ## Why it matters
    The weights grow with the square of the hidden state; most of them learn noise.

    ## How to fix it
    Halve the hidden size until the validation loss rises.

    ```python
    nn.LSTM(input_size=8, hidden_size=64, batch_first=True)  # was 1024
    ```
    """
    for layer, node in nodes_of(run, "recurrent"):
        width, hidden = node.input_size or 0, node.hidden_size or 0
        if width > 0 and hidden > limits.hidden_size_ratio * width:
            said = f"keeps a state of {hidden:,} for an input of {width:,}"
            yield graph_finding(layer, said, hidden, limits, "hidden_size_ratio")


@hidden_size_ratio.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    for found in hidden_size_ratio.rule(run, limits):
        if found.value <= limits.hidden_size_small:
            found.suppressed = f"a state of {found.value} is small"
        yield found


@check(
    "num-layers",
    title="Deep recurrent stack",
    category=IssueCategory.architecture,
    severity=IssueSeverity.warning,
    scope=Scope.layer,
    needs=("architecture",),
    section="11.1",
)
def num_layers(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """Many recurrent layers are stacked.

    ## What it does
    Reports recurrent layers of more than four levels. The robust profile lets a stack pass that has normalization
    layers beside it.

    ## Why it matters
    Gradients pass through every level at every step of the sequence: they vanish in depth and in time.

    ## How to fix it
    Use two or three levels, with dropout between them, or add skip connections and normalization.

    ```python
    nn.LSTM(input_size=64, hidden_size=128, num_layers=2, dropout=0.2)
    ```
    """
    for layer, node in nodes_of(run, "recurrent"):
        if (node.num_layers or 0) > limits.recurrent_layers:
            yield graph_finding(layer, f"stacks {node.num_layers} levels", node.num_layers, limits, "recurrent_layers")


@num_layers.robust
def _(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    normalized = len(run.blueprint.of("normalization"))
    for found in num_layers.rule(run, limits):
        if normalized >= limits.recurrent_layers:
            found.suppressed = "normalization layers keep the gradients up"
        yield found


@check(
    "bidirectional-usage",
    title="Bidirectional generator",
    category=IssueCategory.architecture,
    severity=IssueSeverity.info,
    scope=Scope.layer,
    needs=("architecture",),
    section="11.1",
)
def bidirectional_usage(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """A model that predicts symbols of its own vocabulary reads in both directions.

    ## What it does
    Reports bidirectional recurrent layers in networks whose output is as large as the vocabulary of their embedding:
    such a network predicts the next symbol, as a rule.

    ## Why it matters
    A layer that reads backwards has seen the symbol that is to be predicted. The loss gets very low, and the model
    cannot generate anything.

    ## How to fix it
    Read forwards only; a network that fills gaps or tags symbols may stay as it is.

    ```python
    nn.LSTM(input_size=64, hidden_size=128, bidirectional=False)
    ```
    """
    symbols = {node.num_embeddings for _, node in nodes_of(run, "embedding") if node.num_embeddings}
    if run.blueprint.classes in symbols:
        for layer, node in nodes_of(run, "recurrent"):
            if node.bidirectional:
                said = f"reads both ways in a network that predicts {run.blueprint.classes:,} symbols"
                yield graph_finding(layer, said, True, limits, None)


@check(
    "sequence-length",
    title="Sequence too long for recurrence",
    category=IssueCategory.architecture,
    severity=IssueSeverity.info,
    scope=Scope.layer,
    needs=("architecture",),
    section="11.1",
)
def sequence_length(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
    """A recurrent layer reads very long sequences.

    ## What it does
    Reports recurrent layers that were given more than 500 steps at once, by the shape of their input. The first size
    of the network's input tells which side of the shape is the batch.

    ## Why it matters
    The gradient passes through every step. After some hundreds nothing is left of what the first ones have to say.

    ## How to fix it
    Cut the sequences, shorten them by a strided convolution before the layer, or use attention.

    ```python
    nn.Sequential(nn.Conv1d(1, 32, kernel_size=8, stride=8), nn.ReLU())  # before the LSTM
    ```
    """
    batch = (run.architecture.input_shape or [0])[0] if run.architecture else 0
    for layer, _ in nodes_of(run, "recurrent"):
        shape = layer.input_shape
        if len(shape) == 3 and batch in shape[:2]:
            steps = shape[1] if shape[0] == batch else shape[0]
            if steps > limits.recurrent_steps:
                yield graph_finding(layer, f"reads {steps:,} steps at once", steps, limits, "recurrent_steps")
