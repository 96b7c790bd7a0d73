"""Faults of the second round; what names them is said where each kind is first injected."""

from __future__ import annotations

from torch import nn

from benchmarks.detection import ranks
from benchmarks.detection.acceptance import adapters, fronts, misfed, mistuned, miswired
from benchmarks.detection.acceptance.round2 import breaks
from benchmarks.detection.acceptance.round2 import workloads as at
from benchmarks.detection.faults import FAULTS as KNOWN
from benchmarks.detection.scenario import Part, Scenario
from benchmarks.detection.training import Twist
from benchmarks.detection.variations import changed, in_turn
from benchmarks.detection.workloads import Builder

Row = tuple[str, Twist, Builder]

_DYNAMICS: list[Row] = [
    ("learning rate too high", in_turn(mistuned.rate_of(0.1), fronts.five_lines), at.topics_gaze),
    ("learning rate too high", in_turn(mistuned.rate_of(0.2), fronts.watched), at.reference_spaces),
    ("learning rate jumps", mistuned.rate_changes(60, 0.5), at.clips_film),
    ("learning rate jumps", in_turn(mistuned.rate_changes(40, 0.7), fronts.watched), at.hastie_highway),
    ("learning rate too low", in_turn(mistuned.rate_of(1e-6), adapters.lightning), at.hastie_highway),
    ("learning rate stuck at zero", mistuned.scheduled(breaks.cosine_over_a_tenth), at.reference_spaces),
    (
        "learning rate stuck at zero",
        in_turn(mistuned.scheduled(breaks.warm_up_of_nothing), fronts.watched),
        at.beats_slices,
    ),
    ("schedule stepped once an epoch", mistuned.advanced_per_epoch(breaks.one_cycle), at.boards_judge),
    ("slow divergence", mistuned.scheduled(breaks.growing), at.beats_slices),
    ("slow divergence", in_turn(mistuned.scheduled(breaks.growing), fronts.five_lines), at.topics_gaze),
    ("oscillation", mistuned.plain_sgd(0.3, 0.95), at.hastie_highway),
    ("everything clipped away", mistuned.clipped_at(5e-4, 0.02), at.clips_film),
    ("over-regularized", in_turn(mistuned.penalized(0.03), fronts.watched), at.chords_listener),
    ("batch of two", in_turn(changed(batch_size=2, epochs=2), mistuned.rate_of(6e-3)), at.clips_film),
    ("overfitting", in_turn(mistuned.few_samples(100, 40, 10), fronts.five_lines), at.topics_gaze),
    ("overfitting", mistuned.few_samples(150, 40, 25), at.boards_judge),
    ("labels partly wrong", in_turn(mistuned.wrong_labels(0.35, 30), fronts.watched), at.boards_judge),
    ("labels shuffled", mistuned.misaligned(25), at.clips_film),
]

_LAYERS: list[Row] = [
    ("exploding initialization", miswired.drawn(1.0), at.boards_judge),
    ("zero initialization", miswired.constant(("0", "4"), 0.0), at.clips_film),
    ("vanishing gradients", breaks.deep_sigmoids, at.boards_judge),
    ("dead ReLU", miswired.biased("0", -12.0, ("0", "1")), at.boards_judge),
    ("saturated activation", breaks.saturated_tanh, at.hastie_highway),
    ("detached branch", miswired.detached_after("encoder", ("encoder",)), at.dates_translator),
    (
        "detached branch",
        miswired.detached_after(
            "recurrence", ("convolutions.0", "convolutions.1", "convolutions.4", "convolutions.5", "recurrence")
        ),
        at.chords_listener,
    ),
    ("accidental freeze", miswired.frozen(("slope.0", "slope.2")), at.swings_flowing),
    ("accidental freeze", in_turn(miswired.frozen(("embedding", "convolutions")), fronts.watched), at.topics_gaze),
    ("oversized linear layer", breaks.oversized_head, at.clips_film),
    ("convolutions without pooling", breaks.never_pooled, at.invaders_sights),
]

_CODE: list[Row] = [
    ("zero_grad forgotten", in_turn(miswired.gradients_kept(10**9), fronts.five_lines), at.topics_gaze),
    ("zero_grad forgotten", in_turn(miswired.gradients_kept(10**9), fronts.watched), at.invaders_sights),
    ("step forgotten", miswired.never_stepped, at.demand_quantiles),
    ("optimizer of another model", in_turn(miswired.optimizer_of_copy, fronts.five_lines), at.chords_listener),
    ("layer missing from the optimizer", miswired.not_optimized(("encoder",)), at.dates_translator),
    (
        "layer missing from the optimizer",
        in_turn(miswired.not_optimized(("down.0", "deep.0")), adapters.lightning),
        at.beats_slices,
    ),
    ("softmax before cross-entropy", in_turn(miswired.softmax_in("classifier", -1), adapters.trainer), at.topics_gaze),
    ("softmax before cross-entropy", miswired.softmax_outside(1), at.beats_slices),
    ("sign of the loss wrong", in_turn(miswired.negated, fronts.five_lines), at.lifetimes_cox),
    (
        "loss summed instead of averaged",
        miswired.criterion(lambda: nn.CrossEntropyLoss(reduction="sum")),
        at.hastie_highway,
    ),
    ("evaluation mode while training", miswired.eval_after_validation, at.invaders_sights),
    ("training mode while validating", in_turn(miswired.never_eval, fronts.watched), at.topics_gaze),
    ("float16 overflows", miswired.half_precision(1e32), at.boards_judge),
    ("ranks diverge", ranks.unsynchronized, at.hastie_highway),
    ("slow rank", ranks.straggling, at.boards_judge),
    ("out of memory", miswired.out_of_memory(0.45, breaks.MEMORY), at.dates_translator),
]

_DATA: list[Row] = [
    ("all labels masked", misfed.labels_masked(0.0), at.reference_spaces),
    ("all labels masked", in_turn(misfed.labels_masked(0.5), fronts.five_lines), at.dates_translator),
    ("one wild batch", in_turn(misfed.batch_spoiled(0.7, lambda x: x * 60), fronts.watched), at.invaders_sights),
    ("NaN in one batch", misfed.batch_spoiled(0.3, misfed.nan_rows(3)), at.clips_film),
    ("NaN in one batch", in_turn(misfed.batch_spoiled(0.6, misfed.nan_rows(1)), fronts.watched), at.swings_flowing),
    ("inputs not normalized", misfed.inputs_as(lambda x: 128 + 90 * x), at.clips_film),
    (
        "inputs not normalized",
        in_turn(misfed.inputs_as(breaks.one_column_in_cents), fronts.five_lines),
        at.demand_quantiles,
    ),
    ("one class ignored", misfed.class_left(3, 0.03), at.chords_listener),
    ("validation data in training", misfed.leaked(0.6), at.invaders_sights),
    (
        "loader becomes slow",
        in_turn(misfed.loading(lambda done: 0.03 if done > 0.5 else 0.001), fronts.watched),
        at.clips_film,
    ),
    ("loader always slow", in_turn(misfed.loading(lambda done: 0.02), fronts.watched_only), at.hastie_highway),
    ("machine slows down a little", misfed.computing(lambda done: 0.02 if done < 0.5 else 0.026), at.boards_judge),
    ("memory leak", in_turn(misfed.remembered(500), fronts.watched), at.boards_judge),
]

_EXPECTED = {each.kind: each for each in KNOWN}

FAULTS = [
    Scenario(
        kind=kind,
        part=Part.acceptance,
        round=2,
        workload=workload,
        twist=twist,
        names=_EXPECTED[kind].names,
        signs=_EXPECTED[kind].signs,
    )
    for kind, twist, workload in (*_DYNAMICS, *_LAYERS, *_CODE, *_DATA)
]
