"""The kinds of faults, injected into the workloads of the acceptance part; what names them is said once, elsewhere."""

from __future__ import annotations

from benchmarks.detection import injections as shared
from benchmarks.detection import ranks
from benchmarks.detection.acceptance import injections as inject
from benchmarks.detection.acceptance import workloads as at
from benchmarks.detection.faults import FAULTS as KNOWN
from benchmarks.detection.scenario import Part, Scenario
from benchmarks.detection.training import Twist
from benchmarks.detection.variations import changed, in_turn, scaled
from benchmarks.detection.workloads import Builder

Row = tuple[str, Twist, tuple[Builder, ...]]

_DYNAMICS: list[Row] = [
    ("learning rate too high", in_turn(scaled(rate=6), inject.rate_too_high), (at.textures_mixer,)),
    ("learning rate too high", inject.rate_too_high, (at.recipes_convolutions,)),
    ("learning rate jumps", inject.rate_jumps, (at.glyphs_dense, at.mixture_experts)),
    ("learning rate too low", inject.rate_too_low, (at.graphs_messages, at.recipes_convolutions)),
    ("learning rate stuck at zero", inject.rate_stuck_at_zero, (at.textures_mixer, at.votes_bag)),
    ("schedule stepped once an epoch", inject.warm_up_per_epoch, (at.textures_mobile, at.reversals_transformer)),
    ("slow divergence", inject.rate_grows, (at.clouds_points, at.recipes_convolutions)),
    ("oscillation", in_turn(inject.oscillates, scaled(rate=0.2)), (at.clouds_points, at.glyphs_dense)),
    ("everything clipped away", inject.clipped_away, (at.mixture_experts, at.textures_mixer)),
    ("over-regularized", inject.over_regularized, (at.clouds_points, at.votes_bag)),
    ("batch of two", in_turn(changed(batch_size=2, epochs=3), scaled(rate=5)), (at.glyphs_dense, at.clouds_points)),
    ("overfitting", inject.overfits, (at.shells_table, at.mixture_experts)),
    ("labels partly wrong", inject.wrong_labels, (at.glyphs_dense, at.mixture_experts)),
    ("labels shuffled", inject.shuffled_labels, (at.textures_mobile, at.graphs_messages)),
]

_LAYERS: list[Row] = [
    ("exploding initialization", inject.large_weights, (at.clouds_points, at.recipes_convolutions)),
    ("zero initialization", inject.zero_weights, (at.textures_mixer, at.clouds_points)),
    ("vanishing gradients", inject.deep_tanh, (at.shells_table, at.textures_mixer)),
    ("dead ReLU", inject.dead_units, (at.clouds_points, at.textures_mobile)),
    ("saturated activation", inject.saturated, (at.shells_table, at.mixture_experts)),
    ("detached branch", inject.detached(1), (at.clouds_points,)),
    ("detached branch", inject.detached(0), (at.votes_bag,)),
    ("accidental freeze", inject.half_frozen, (at.glyphs_dense, at.graphs_messages)),
    ("oversized linear layer", inject.oversized_head, (at.textures_mobile, at.glyphs_dense)),
    ("convolutions without pooling", inject.no_pooling, (at.textures_mobile, at.glyphs_dense)),
]

_CODE: list[Row] = [
    ("zero_grad forgotten", changed(clears_gradients=lambda step: False), (at.glyphs_dense, at.mixture_experts)),
    ("step forgotten", changed(steps_optimizer=lambda step: False), (at.textures_mobile, at.series_temporal)),
    ("optimizer of another model", inject.other_model, (at.clouds_points, at.recipes_convolutions)),
    ("layer missing from the optimizer", inject.layer_not_optimized, (at.glyphs_dense, at.graphs_messages)),
    ("softmax before cross-entropy", inject.double_softmax, (at.textures_mixer, at.clouds_points)),
    ("sign of the loss wrong", inject.negated, (at.mixture_experts, at.ratings_factors)),
    ("loss summed instead of averaged", inject.summed, (at.glyphs_dense, at.recipes_convolutions)),
    ("evaluation mode while training", shared.always_evaluating, (at.textures_mobile, at.shells_table)),
    ("training mode while validating", shared.never_evaluating, (at.textures_mobile, at.shells_table)),
    ("float16 overflows", shared.overflowing, (at.mixture_experts, at.votes_bag)),
    ("ranks diverge", ranks.unsynchronized, (at.mixture_experts, at.clouds_points)),
    ("slow rank", ranks.straggling, (at.mixture_experts, at.clouds_points)),
    ("out of memory", inject.runs_out_of_memory, (at.textures_mixer, at.graphs_messages)),
]

_DATA: list[Row] = [
    ("all labels masked", inject.masked_labels, (at.recipes_convolutions, at.reversals_transformer)),
    ("one wild batch", inject.wild_batch, (at.clouds_points, at.mixture_experts)),
    ("NaN in one batch", inject.nan_batch, (at.glyphs_dense, at.series_temporal)),
    ("inputs not normalized", inject.raw_units, (at.series_temporal, at.mixture_experts)),
    ("one class ignored", inject.rare_class, (at.textures_mobile, at.clouds_points)),
    ("validation data in training", inject.leak, (at.glyphs_dense, at.mixture_experts)),
    ("loader becomes slow", shared.slow_loader(from_share=0.6, seconds=0.02), (at.mixture_experts, at.votes_bag)),
    ("loader always slow", shared.slow_loader(from_share=0.0, seconds=0.02), (at.clouds_points, at.shells_table)),
    ("machine slows down a little", inject.slows_a_little, (at.mixture_experts, at.clouds_points)),
    ("memory leak", inject.hoards, (at.votes_bag, at.clouds_points)),
]

_EXPECTED = {each.kind: each for each in KNOWN}

FAULTS = [
    Scenario(
        kind=kind,
        part=Part.acceptance,
        workload=workload,
        twist=twist,
        names=_EXPECTED[kind].names,
        signs=_EXPECTED[kind].signs,
    )
    for kind, twist, workloads in (*_DYNAMICS, *_LAYERS, *_CODE, *_DATA)
    for workload in workloads
]
