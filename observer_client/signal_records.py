"""The part of the wire format that a training tells beside its steps; see `observer_client.record`."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class Phases:
    """Where the time of a step went: means over ``steps`` sampled steps, in seconds of the program's own clock.

    ``backward_seconds`` runs from the end of the forward pass to the optimizer, so the loss is part of it. On a GPU,
    which lags behind the program, only ``data_seconds`` is told.
    """

    steps: int | None = None
    data_seconds: float | None = None
    forward_seconds: float | None = None
    backward_seconds: float | None = None
    optimizer_seconds: float | None = None


@dataclass(slots=True, kw_only=True)
class DataFigures:
    """What went into the model. Shares are 0 to 1; input figures are over the window's first batches.

    ``input_*`` describe the largest floating-point input, ``input_mean``, ``input_std`` and the extremes by its finite
    numbers. ``train_samples`` and ``val_samples`` count the distinct samples that `Observer.watch_data` compared,
    ``overlap_share`` is the part of the latter that is among the former, ``duplicate_share`` the part of the training
    samples that repeat another one.
    """

    input_mean: float | None = None
    input_std: float | None = None
    input_min: float | None = None
    input_max: float | None = None
    input_non_finite_share: float | None = None
    padding_share: float | None = None
    masked_label_share: float | None = None
    train_samples: int | None = None
    val_samples: int | None = None
    overlap_share: float | None = None
    duplicate_share: float | None = None


@dataclass(slots=True, kw_only=True)
class LossScale:
    """The gradient scaler of float16 training in one window: its scale at the end, and what it did."""

    scale: float | None = None
    updates: int | None = None
    skipped: int | None = None
    """Updates that threw a step away because of an infinite or NaN gradient."""


@dataclass(slots=True, kw_only=True)
class Ranks:
    """How the ranks of a distributed training compare in window ``epoch``, the latest that they told rank 0 of.

    ``reporting`` counts the ranks that told, rank 0 included. ``diverged`` of them hold other parameters than rank 0,
    the first being ``first_diverged``, which differs in ``parameters_diverged`` of ``parameters`` tensors; None where
    ranks are meant to differ. ``work_seconds`` is how long a rank works on a step before it waits for the others.
    """

    world_size: int | None = None
    reporting: int | None = None
    epoch: int | None = None
    parameters: int | None = None
    diverged: int | None = None
    first_diverged: int | None = None
    parameters_diverged: int | None = None
    step_seconds: float | None = None
    slowest: int | None = None
    """The rank that works longest on a step."""
    slowest_work_seconds: float | None = None
    others_work_seconds: float | None = None
    """Median of all ranks but the slowest."""
    work_seconds: dict[str, float | None] = field(default_factory=dict)
    losses: dict[str, float | None] = field(default_factory=dict)
    """By rank."""


@dataclass(slots=True, kw_only=True)
class ClassCounts:
    """Predictions of one window by class: parallel lists, one entry a class.

    ``support`` counts the samples of a class, ``predicted`` how often it was the answer, ``correct`` how often rightly.
    """

    support: list[int] = field(default_factory=list)
    predicted: list[int] = field(default_factory=list)
    correct: list[int] = field(default_factory=list)
