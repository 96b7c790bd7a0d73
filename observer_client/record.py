"""The wire format: what a training run tells about itself.

Plain dataclasses, standard library only, shaped as the payloads of the guide (section 4.1). The client fills
them, the server decodes request bodies straight into them, the engine turns them into columns. Every field
but an epoch's number is optional: ``None`` means "not logged". Fields that a reader does not know are ignored
here and kept in the stored payload, so that a newer client may talk to an older server.

JSON has no word for NaN and infinity, and the epoch that diverged is the one that must not be lost: on the
wire they are the strings ``"nan"``, ``"inf"`` and ``"-inf"`` (`plain`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from observer_client.architecture_records import Architecture as Architecture
from observer_client.architecture_records import LayerGraph as LayerGraph
from observer_client.architecture_records import LayerInfo as LayerInfo
from observer_client.architecture_records import LayerNode as LayerNode
from observer_client.signal_records import ClassCounts, DataFigures, LossScale, Phases, Ranks

FORMAT = 1
"""Version of this format. Raised when a field changes its meaning, not when one is added."""

HISTOGRAM_EDGES = tuple(10 ** (half / 2) for half in range(-24, 9))
"""Absolute values that divide the 34 bins of a histogram: two a decade, from 1e-12 to 1e4. Smaller numbers, zero
included, fall into the first bin; larger ones, infinity and NaN into the last."""


@dataclass(slots=True, kw_only=True)
class Loss:
    """Losses of one window. ``val`` holds every validation metric by name, ``val_loss`` and ``val_acc`` first."""

    train_mean: float | None = None
    train_std: float | None = None
    train_min: float | None = None
    train_max: float | None = None
    n_batches: int | None = None
    non_finite: int | None = None
    """Batches whose loss was NaN or infinite; the other figures are over all batches."""
    first_non_finite_step: int | None = None
    val: dict[str, float | None] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Throughput:
    samples_per_second: float | None = None
    samples_processed: float | None = None
    batches_per_second: float | None = None
    data_wait_seconds: float | None = None
    """Seconds that the steps of the window waited for batches, where they came through `Observer.data`."""
    data_wait_share: float | None = None
    """Share of the steps' time spent waiting for batches."""
    data_wait_steps: int | None = None
    """How many waits the share was measured on."""
    data_wait_estimated: bool | None = None
    """Whether the share is that from the end of a step to the next forward pass, of sampled steps."""
    observer_seconds: float | None = None
    """What observing took of the training's thread: samples of layers, and the epoch's record."""


@dataclass(slots=True, kw_only=True)
class Memory:
    """Memory in MiB."""

    process_rss_mb: float | None = None
    process_rss_peak_mb: float | None = None
    system_available_mb: float | None = None
    gpu_allocated_mb: float | None = None
    gpu_reserved_mb: float | None = None
    gpu_peak_mb: float | None = None
    gpu_total_mb: float | None = None
    gpu_used_mb: float | None = None
    """Of the whole device, other processes included."""


@dataclass(slots=True, kw_only=True)
class System:
    """Load in percent: ``cpu_percent`` of the whole machine, ``process_cpu_percent`` of one core."""

    cpu_percent: float | None = None
    process_cpu_percent: float | None = None
    gpu_percent: float | None = None


@dataclass(slots=True, kw_only=True)
class LayerTime:
    name: str
    pct_total: float | None = None
    forward_ms: float | None = None
    backward_ms: float | None = None


@dataclass(slots=True, kw_only=True)
class OperationShare:
    pct_cpu: float | None = None
    pct_cuda: float | None = None
    time_ms: float | None = None


@dataclass(slots=True, kw_only=True)
class Profile:
    """One profiled step. Times in milliseconds."""

    step: int | None = None
    total_cpu_time_ms: float | None = None
    total_cuda_time_ms: float | None = None
    forward_ms: float | None = None
    backward_ms: float | None = None
    fwd_bwd_ratio: float | None = None
    per_layer: list[LayerTime] = field(default_factory=list)
    operation_categories: dict[str, OperationShare] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class LayerStats:
    """Health of one layer in one window; norms are L2, shares are 0 to 1."""

    gradient_norm_mean: float | None = None
    gradient_norm_max: float | None = None
    gradient_norm_std: float | None = None
    non_finite_gradients: int | None = None
    weight_norm: float | None = None
    weight_sparsity: float | None = None
    update_ratio: float | None = None
    activation_mean: float | None = None
    activation_variance: float | None = None
    activation_var_of_means: float | None = None
    activation_zero_share: float | None = None
    activation_dead_units: float | None = None
    """Share of the units that gave zero for every sample of a batch."""
    activation_saturation: float | None = None
    output_change: float | None = None
    attention_entropy: float | None = None
    """Mean over heads of the entropy of the attention weights, over that of looking at all keys alike: 0 to 1."""
    attention_entropy_min: float | None = None
    attention_entropy_max: float | None = None
    """Of the heads: the one with the narrowest look, and the one with the widest."""
    first_non_finite_step: int | None = None
    """First sampled step whose gradient was NaN or infinite, counted since the start of training."""
    trainable: bool | None = None
    optimized: bool | None = None
    """Whether an optimizer that was seen to step holds any of its trainable parameters."""
    no_gradient: bool | None = None
    """Whether an optimizer stepped the layer, and at no sampled step any of its parameters had a gradient."""
    unchanged: bool | None = None
    """Whether its trainable parameters are to the bit what they were at the end of the last window."""
    has_vanishing_gradients: bool | None = None
    is_dead: bool | None = None
    has_frozen_output: bool | None = None
    has_low_activation_variance: bool | None = None


@dataclass(slots=True, kw_only=True)
class LayerCorrelation:
    layer_a: str
    layer_b: str
    correlation: float | None = None


@dataclass(slots=True, kw_only=True)
class LayerHealth:
    """Histograms are by layer, counts of the bins between `HISTOGRAM_EDGES`; they are not packed."""

    layers: dict[str, LayerStats] = field(default_factory=dict)
    correlations: list[LayerCorrelation] = field(default_factory=list)
    gradient_histograms: dict[str, list[int]] = field(default_factory=dict)
    activation_histograms: dict[str, list[int]] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Loop:
    """What the training loop was seen to do in the sampled steps of one window. A fact, or not looked at: None."""

    backward_passes: int | None = None
    optimizer_steps: int | None = None
    other_optimizer_steps: int | None = None
    """Steps of optimizers that hold parameters of the model, or none; all three count until one has stepped twice."""
    gradients_kept: bool | None = None
    """Whether the gradients of one optimizer step were there, untouched, when the next backward pass came."""
    evaluating_modules: int | None = None
    """Dropout and batch normalization in evaluation mode in a training pass of a model that was all in that mode."""
    validating_in_training_mode: bool | None = None
    """Whether all passes without gradients after the window's last step ran with dropout or batch normalization on."""
    losses_seen: int | None = None
    """Losses whose graph was looked at; how many were nothing but:"""
    cross_entropy: int | None = None
    binary_cross_entropy: int | None = None
    squared_error: int | None = None
    summed: int | None = None
    """Losses that are a sum over samples, not a mean."""
    normalized_twice: bool | None = None
    """Whether a cross-entropy was given probabilities, where it expects logits."""
    labels_masked: float | None = None
    """Share of the labels that the cross-entropy of a profiled step leaves out."""


@dataclass(slots=True, kw_only=True)
class Carbon:
    """Emissions of one window. ``estimated`` says that the power was guessed, not measured."""

    epoch_co2_kg: float | None = None
    epoch_energy_kwh: float | None = None
    power_draw_watts: float | None = None
    estimated: bool | None = None


@dataclass(slots=True, kw_only=True)
class Steps:
    """The steps of one window, down-sampled to buckets; parallel lists, one entry a bucket.

    ``first`` is the number of the bucket's first step since the start of training, ``count`` how many steps
    it holds. A list that was not observed stays empty.
    """

    first: list[int] = field(default_factory=list)
    count: list[int] = field(default_factory=list)
    loss_mean: list[float | None] = field(default_factory=list)
    loss_min: list[float | None] = field(default_factory=list)
    loss_max: list[float | None] = field(default_factory=list)
    grad_norm_mean: list[float | None] = field(default_factory=list)
    grad_norm_max: list[float | None] = field(default_factory=list)
    learning_rate: list[float | None] = field(default_factory=list)
    seconds_mean: list[float | None] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Gradients:
    """Total gradient norm over the steps of one window."""

    norm_mean: float | None = None
    norm_max: float | None = None
    clipped_share: float | None = None


@dataclass(slots=True, kw_only=True)
class Epoch:
    """One window of training, usually an epoch: everything between two calls of `Observer.flush`."""

    epoch: int
    attempt: int = 0
    """Raised when a resumed run repeats an epoch: the latest attempt wins."""
    duration_seconds: float | None = None
    ended_at: str | None = None
    learning_rate: float | None = None
    loss: Loss | None = None
    throughput: Throughput | None = None
    memory: Memory | None = None
    system: System | None = None
    gradients: Gradients | None = None
    loop: Loop | None = None
    profiler: Profile | None = None
    layer_health: LayerHealth | None = None
    carbon_emissions: Carbon | None = None
    steps: Steps | None = None
    phases: Phases | None = None
    data: DataFigures | None = None
    loss_scale: LossScale | None = None
    ranks: Ranks | None = None
    classes: dict[str, ClassCounts] = field(default_factory=dict)
    """By split: ``train`` and ``val``."""


@dataclass(slots=True, kw_only=True)
class LogLine:
    """One log record. ``kind`` is ``"error"`` or ``"console"``; ``seq`` numbers the lines of a session."""

    msg: str
    ts: str | None = None
    level: str = "INFO"
    kind: str = "console"
    logger: str | None = None
    seq: int | None = None


@dataclass(slots=True, kw_only=True)
class Opening:
    """Opens a session. ``key`` is a UUID made by the client, so that a re-sent opening finds the same session."""

    key: str
    format: int = FORMAT
    attempt: int = 0
    """How often the run was resumed. A higher one than the server knows makes an ended session go on."""
    project_id: int | None = None
    project: str | None = None
    run_name: str | None = None
    started_at: str | None = None
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Ending:
    """Closes a session. ``status`` is finished, crashed or killed; ``reason`` is the last exception's line."""

    status: str = "finished"
    reason: str | None = None
    ended_at: str | None = None


@dataclass(slots=True, kw_only=True)
class RunFile:
    """A whole run in one JSON document: what `Observer.export` writes and ``mldiag check`` reads."""

    format: int = FORMAT
    session: Opening | None = None
    architecture: Architecture | None = None
    epochs: list[Epoch] = field(default_factory=list)
    logs: list[LogLine] = field(default_factory=list)
    ending: Ending | None = None


def spell(value: float) -> float | str:
    """Return a float as JSON can carry it.

    >>> spell(float("-inf")), spell(0.5)
    ('-inf', 0.5)
    """
    if math.isfinite(value):
        return value
    return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")


def plain(value: Any) -> Any:
    """Return ``value`` as JSON types: records become dicts without their empty fields, floats are spelled.

    NumPy and torch scalars are asked for ``.item()``; what JSON cannot say becomes its ``str()``.
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return spell(float(value))
    if is_dataclass(value) and not isinstance(value, type):
        pairs = ((each.name, getattr(value, each.name)) for each in fields(value))
        return {name: plain(item) for name, item in pairs if not _is_empty(item)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if hasattr(value, "item") and getattr(value, "size", None) in (1, ()) or hasattr(value, "numel"):
        return _scalar(value)
    return str(value)


def _is_empty(value: Any) -> bool:
    # Not a comparison: an array in somebody's dataclass answers that with an array.
    return value is None or (isinstance(value, (dict, list)) and not value)


def _scalar(value: Any) -> Any:
    # A tensor of several numbers is no scalar, and a hyperparameter may be anything.
    try:
        return plain(value.item())
    except (ValueError, RuntimeError, TypeError):
        return str(value)


def to_json(value: Any) -> str:
    """Return a record as one line of strict JSON, ASCII only."""
    return json.dumps(plain(value), allow_nan=False, separators=(",", ":"))
