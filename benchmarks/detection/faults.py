"""All faults, each injected into sound trainings; here those of optimization and layers."""

from __future__ import annotations

from benchmarks.detection import injections as inject
from benchmarks.detection import workloads as at
from benchmarks.detection.mistakes import CODE, DATA
from benchmarks.detection.scenario import STUCK, UNSTABLE, Row, Scenario, placed
from benchmarks.detection.variations import changed, scaled

_DYNAMICS: list[Row] = [
    (
        "learning rate too high",
        inject.rate_too_high,
        "learning-rate-too-high first-epoch-blow-up loss-explosion",
        f"{UNSTABLE} {STUCK}",
        (at.digits_mlp, at.digits_cnn, at.tales_gpt),
        (at.shapes_vit, at.waves_conv, at.sums_lstm),
    ),
    (
        "learning rate jumps",
        inject.rate_jumps,
        "loss-explosion learning-rate-schedule loss-spike gradient-spike learning-rate-too-high",
        f"{UNSTABLE} {STUCK}",
        (at.digits_mlp, at.marks_gru),
        (at.shapes_vit, at.waves_conv),
    ),
    (
        "learning rate too low",
        scaled(rate=1e-4),
        "learning-rate-too-low update-ratio",
        STUCK,
        (at.digits_mlp, at.tales_gpt),
        (at.shapes_vit, at.waves_lstm),
    ),
    (
        "learning rate stuck at zero",
        inject.rate_stuck_at_zero,
        "learning-rate-schedule",
        f"{STUCK} learning-rate-too-low update-ratio",
        (at.digits_cnn, at.tales_gpt),
        (at.shapes_resnet, at.sums_lstm),
    ),
    (
        "schedule stepped once an epoch",
        inject.schedule_per_epoch,
        "learning-rate-schedule learning-rate-too-low",
        f"{STUCK} update-ratio",
        (at.digits_cnn, at.tales_gpt),
        (at.shapes_vit, at.waves_conv),
    ),
    (
        "slow divergence",
        inject.rate_grows,
        "loss-divergence loss-explosion learning-rate-schedule learning-rate-too-high",
        UNSTABLE,
        (at.digits_mlp, at.tales_gpt),
        (at.waves_conv, at.shapes_vit),
    ),
    (
        "oscillation",
        inject.oscillates,
        "oscillation learning-rate-too-high update-ratio",
        f"{UNSTABLE} {STUCK}",
        (at.digits_mlp, at.digits_cnn),
        (at.waves_conv, at.shapes_resnet),
    ),
    (
        "everything clipped away",
        inject.clipped_away,
        "clipping-fraction learning-rate-too-low",
        f"{STUCK} update-ratio",
        (at.digits_mlp, at.marks_gru),
        (at.waves_conv, at.shapes_resnet),
    ),
    (
        "over-regularized",
        inject.over_regularized,
        "weight-collapse not-learning dead-neurons activation-collapse frozen-output",
        "loss-plateau vanishing-gradients update-ratio",
        (at.digits_mlp, at.digits_cnn),
        (at.waves_conv, at.shapes_vit),
    ),
    (
        "batch of two",
        changed(batch_size=2, epochs=3),
        "batch-size-too-small high-loss-variance",
        f"{UNSTABLE}",
        (at.digits_mlp, at.cancer_mlp),
        (at.waves_conv, at.shapes_vit),
    ),
    (
        "overfitting",
        inject.overfits,
        "overfitting",
        "early-stop-opportunity",
        (at.digits_mlp, at.cancer_mlp),
        (at.shapes_vit, at.waves_conv),
    ),
    (
        "labels partly wrong",
        inject.wrong_labels,
        "overfitting",
        "early-stop-opportunity",
        (at.digits_mlp, at.cancer_mlp),
        (at.shapes_vit, at.waves_conv),
    ),
    (
        "labels shuffled",
        inject.shuffled_labels,
        "overfitting not-learning",
        STUCK,
        (at.digits_mlp, at.cancer_mlp),
        (at.shapes_vit, at.wine_mlp),
    ),
]

_LAYERS: list[Row] = [
    (
        "exploding initialization",
        inject.large_weights,
        "initial-loss",
        f"{UNSTABLE} saturated-activation",
        (at.digits_mlp, at.tales_gpt),
        (at.shapes_vit, at.waves_conv),
    ),
    (
        "zero initialization",
        inject.zero_weights,
        "no-gradient dead-neurons frozen-output activation-collapse vanishing-gradients parameters-not-updated",
        f"{STUCK} dead-relu",
        (at.digits_mlp, at.digits_cnn),
        (at.waves_conv, at.friedman_mlp),
    ),
    (
        "vanishing gradients",
        inject.deep_sigmoids,
        "vanishing-gradients",
        f"{STUCK} activation-collapse frozen-output update-ratio saturated-activation",
        (at.digits_mlp, at.cancer_mlp),
        (at.wine_mlp, at.friedman_mlp),
    ),
    (
        "dead ReLU",
        inject.dead_units,
        "dead-relu dead-neurons",
        f"{STUCK} no-gradient vanishing-gradients frozen-output activation-collapse",
        (at.digits_mlp, at.digits_cnn),
        (at.waves_conv, at.shapes_resnet),
    ),
    (
        "saturated activation",
        inject.saturated,
        "saturated-activation",
        f"{STUCK} vanishing-gradients frozen-output",
        (at.plane_nll,),
        (at.friedman_nll,),
    ),
    (
        "detached branch",
        inject.detached,
        "no-gradient parameters-not-updated",
        "vanishing-gradients frozen-output unintended-freeze",
        (at.digits_cnn, at.tales_gpt),
        (at.waves_conv, at.shapes_vit),
    ),
    (
        "accidental freeze",
        inject.frozen,
        "unintended-freeze",
        "no-gradient parameters-not-updated",
        (at.digits_mlp, at.digits_cnn),
        (at.waves_conv, at.shapes_vit),
    ),
    (
        "oversized linear layer",
        inject.oversized_head,
        "fc-dominates",
        "over-parameterized-layer",
        (at.digits_cnn,),
        (at.shapes_resnet,),
    ),
    (
        "convolutions without pooling",
        inject.no_pooling,
        "missing-pooling",
        "compute-inefficient-layer",
        (at.digits_cnn,),
        (at.shapes_resnet,),
    ),
]


def _scenarios() -> list[Scenario]:
    found = []
    for kind, injection, names, signs, tuning, held_out in (*_DYNAMICS, *_LAYERS, *CODE, *DATA):
        ids = frozenset(names.split())
        found += placed(
            kind, injection, tuning=tuning, held_out=held_out, names=ids, signs=frozenset(signs.split()) - ids
        )
    return found


FAULTS = _scenarios()
