"""Faults of the third round; what names them is said where each kind is first injected."""

from __future__ import annotations

from torch import nn

from benchmarks.detection import ranks
from benchmarks.detection.acceptance import adapters, fronts, misfed, mistuned, miswired
from benchmarks.detection.acceptance.round3 import breaks
from benchmarks.detection.acceptance.round3 import workloads as at
from benchmarks.detection.faults import FAULTS as KNOWN
from benchmarks.detection.scenario import Part, Scenario
from benchmarks.detection.training import Twist
from benchmarks.detection.variations import changed, in_turn
from benchmarks.detection.workloads import Builder

Row = tuple[str, Twist, Builder]

_DYNAMICS: list[Row] = [
    ("learning rate too high", in_turn(mistuned.rate_of(0.15), fronts.watched), at.gaps_filler),
    ("learning rate too high", in_turn(mistuned.rate_of(0.3), adapters.lightning), at.chirps_raw),
    ("learning rate jumps", mistuned.rate_changes(50, 0.6), at.morse_operator),
    ("learning rate jumps", in_turn(mistuned.rate_changes(80, 0.4), fronts.five_lines), at.sensors_bottleneck),
    ("learning rate too low", in_turn(mistuned.rate_of(2e-6), fronts.five_lines), at.chirps_raw),
    ("learning rate stuck at zero", mistuned.scheduled(breaks.too_steep), at.morse_operator),
    ("schedule stepped once an epoch", mistuned.advanced_per_epoch(breaks.warm_up), at.chirps_raw),
    ("slow divergence", mistuned.scheduled(breaks.rising), at.circuits_columns),
    ("oscillation", in_turn(mistuned.plain_sgd(1.0, 0.9), fronts.five_lines), at.chirps_raw),
    ("everything clipped away", mistuned.clipped_at(1e-3, 0.01), at.morse_operator),
    ("over-regularized", mistuned.decayed_by(40.0), at.medians_attention),
    ("batch of two", in_turn(changed(batch_size=2, epochs=3), mistuned.rate_of(0.05)), at.ages_thresholds),
    ("overfitting", in_turn(mistuned.few_samples(16, 80, 8, 2.0), fronts.watched), at.queries_scorer),
    ("overfitting", mistuned.few_samples(80, 60, 16), at.heaps_strategist),
    ("overfitting", in_turn(changed(epochs=40), fronts.five_lines), at.words_skipgram),
    ("labels partly wrong", mistuned.wrong_labels(0.3, 20), at.chirps_raw),
    ("labels shuffled", in_turn(mistuned.misaligned(30), fronts.watched), at.heaps_strategist),
]

_LAYERS: list[Row] = [
    ("exploding initialization", miswired.drawn(0.8), at.heaps_strategist),
    ("zero initialization", miswired.constant(("body.0", "body.2"), 0.0), at.heaps_strategist),
    ("vanishing gradients", breaks.deep, at.sensors_bottleneck),
    ("dead ReLU", miswired.biased("body.2", -15.0, ("body.2", "body.3", "body.0", "body.1")), at.heaps_strategist),
    ("saturated activation", breaks.saturated, at.ages_thresholds),
    ("detached branch", miswired.detached_after("ear", ("ear.0", "ear.2")), at.morse_operator),
    (
        "detached branch",
        in_turn(miswired.detached_after("inner", ("inner.1", "inner.4", "inner.7")), fronts.watched),
        at.joints_hourglass,
    ),
    ("accidental freeze", miswired.frozen(("encoder",)), at.circuits_columns),
    ("oversized linear layer", breaks.oversized_head, at.chirps_raw),
    ("convolutions without pooling", breaks.pictures_unpooled, at.tokens_dust),
]

_CODE: list[Row] = [
    ("zero_grad forgotten", in_turn(miswired.gradients_kept(10**9), fronts.watched), at.chirps_raw),
    ("zero_grad forgotten", miswired.gradients_kept(10**9), at.medians_attention),
    ("step forgotten", in_turn(miswired.never_stepped, fronts.five_lines), at.morse_operator),
    ("optimizer of another model", miswired.optimizer_of_copy, at.joints_hourglass),
    (
        "layer missing from the optimizer",
        in_turn(miswired.not_optimized(("recurrence",)), fronts.watched),
        at.morse_operator,
    ),
    ("layer missing from the optimizer", miswired.not_optimized(("outcome",)), at.heaps_strategist),
    ("softmax before cross-entropy", in_turn(miswired.softmax_in("13", 1), fronts.watched), at.chirps_raw),
    ("sign of the loss wrong", miswired.negated, at.bounces_foresight),
    ("sign of the loss wrong", in_turn(miswired.negated, fronts.watched), at.ages_thresholds),
    (
        "loss summed instead of averaged",
        miswired.criterion(lambda: nn.CrossEntropyLoss(reduction="sum")),
        at.chirps_raw,
    ),
    ("evaluation mode while training", miswired.eval_after_validation, at.chirps_raw),
    ("training mode while validating", miswired.never_eval, at.sensors_bottleneck),
    ("float16 overflows", miswired.half_precision(1e31), at.heaps_strategist),
    ("ranks diverge", ranks.unsynchronized, at.sensors_bottleneck),
    ("slow rank", ranks.straggling, at.heaps_strategist),
    ("out of memory", miswired.out_of_memory(0.8, breaks.MEMORY), at.joints_hourglass),
]

_DATA: list[Row] = [
    ("all labels masked", in_turn(misfed.labels_masked(0.0), fronts.watched), at.gaps_filler),
    ("one wild batch", misfed.batch_spoiled(0.5, lambda x: x * 100), at.chirps_raw),
    (
        "one wild batch",
        in_turn(misfed.batch_spoiled(0.6, lambda x: x * 25 + 10), fronts.five_lines),
        at.circuits_columns,
    ),
    (
        "NaN in one batch",
        in_turn(misfed.batch_spoiled(0.5, misfed.nan_rows(1)), fronts.five_lines),
        at.joints_hourglass,
    ),
    (
        "NaN in one batch",
        in_turn(misfed.batch_spoiled(0.7, misfed.nan_rows(2)), adapters.lightning),
        at.circuits_columns,
    ),
    ("inputs not normalized", in_turn(breaks.both_offset, fronts.watched), at.sensors_bottleneck),
    ("one class ignored", in_turn(misfed.class_left(2, 0.04), adapters.lightning), at.chirps_raw),
    ("validation data in training", in_turn(misfed.leaked(0.5), fronts.watched), at.heaps_strategist),
    ("validation data in training", misfed.leaked(0.7), at.chirps_raw),
    ("loader becomes slow", misfed.loading(lambda done: 0.025 if done > 0.6 else 0.0005), at.heaps_strategist),
    ("loader always slow", in_turn(misfed.loading(lambda done: 0.03), fronts.watched), at.ages_thresholds),
    (
        "machine slows down a little",
        misfed.computing(lambda done: 0.015 if done < 0.6 else 0.019),
        at.sensors_bottleneck,
    ),
    ("memory leak", misfed.remembered(600), at.circuits_columns),
]

_EXPECTED = {each.kind: each for each in KNOWN}

FAULTS = [
    Scenario(
        kind=kind,
        part=Part.acceptance,
        round=3,
        workload=workload,
        twist=twist,
        names=_EXPECTED[kind].names,
        signs=_EXPECTED[kind].signs,
    )
    for kind, twist, workload in (*_DYNAMICS, *_LAYERS, *_CODE, *_DATA)
]
