"""Healthy runs of the third round."""

from __future__ import annotations

import torch

from benchmarks.detection import ranks
from benchmarks.detection.acceptance import adapters, fronts
from benchmarks.detection.acceptance.round3 import loops
from benchmarks.detection.acceptance.round3 import variations as vary
from benchmarks.detection.acceptance.round3 import workloads as at
from benchmarks.detection.scenario import Part, Scenario
from benchmarks.detection.training import Twist
from benchmarks.detection.variations import changed, in_turn, ordinary, scaled
from benchmarks.detection.workloads import Builder

_KINDS: list[tuple[str, Twist, Builder]] = [
    ("hidden letters", ordinary, at.gaps_filler),
    ("word vectors", fronts.five_lines, at.words_skipgram),
    ("links of a graph", fronts.watched, at.friends_ties),
    ("next frame", ordinary, at.bounces_foresight),
    ("sets", adapters.lightning, at.medians_attention),
    ("columns as tokens", ordinary, at.circuits_columns),
    ("Morse code, connectionist", ordinary, at.morse_operator),
    ("raw sound", fronts.watched_only, at.chirps_raw),
    ("denoising bottleneck", fronts.five_lines, at.sensors_bottleneck),
    ("parity, late insight", ordinary, at.parity_wide),
    ("ranks in order", adapters.skorch, at.ages_thresholds),
    ("heat maps", fronts.watched, at.joints_hourglass),
    ("mixture of bells", ordinary, at.inverse_mixture),
    ("physics as loss", fronts.five_lines, at.rod_heat),
    ("pairs in order", adapters.trainer, at.queries_scorer),
    ("move and outcome", ordinary, at.heaps_strategist),
    ("domain adversarial", fronts.watched, at.crescents_impartial),
    ("diffusion", ordinary, at.tokens_dust),
    ("proximal policy", ordinary, loops.meadow_grazer),
    ("adversarial pair, least squares", ordinary, loops.waves_generator),
    ("learning to learn", ordinary, loops.tasks_reptile),
    ("Keras regression", ordinary, loops.blend_keras),
    ("Accelerate", loops.accelerated, at.circuits_columns),
    ("LBFGS for physics", in_turn(changed(epochs=20), loops.second_order), at.rod_heat),
    ("NAdam", vary.optimized_by(vary.nadam, 2e-3), at.heaps_strategist),
    ("looking ahead", vary.optimized_by(vary.Slow, 4e-3), at.medians_attention),
    ("inverse time decay", in_turn(changed(schedule=vary.inverse_time), fronts.five_lines), at.bounces_foresight),
    ("averaging phase", changed(schedule=vary.held_then_averaged), at.sensors_bottleneck),
    ("three steps down", in_turn(changed(schedule=vary.steps_of_three), adapters.lightning), at.chirps_raw),
    ("spectral norms", vary.normalized, at.sensors_bottleneck),
    ("weight norms", in_turn(vary.weight_normalized, fronts.five_lines), at.bounces_foresight),
    ("small adapters", vary.adapters_only, at.circuits_columns),
    ("pruned half way", vary.pruned, at.heaps_strategist),
    ("values clipped", vary.value_clipped, at.medians_attention),
    ("adversarial training", vary.attacked, at.chirps_raw),
    ("sampled evenly, warm-up", in_turn(changed(schedule=vary.warm_then_constant), vary.sampled_evenly), at.chirps_raw),
    ("naturally rare class", in_turn(vary.naturally_rare, fronts.watched), at.chirps_raw),
    ("harder half counts", vary.hard_ones, at.chirps_raw),
    ("target in units", in_turn(vary.in_units, fronts.five_lines), at.sensors_bottleneck),
    ("resumed at a third", in_turn(vary.learned_before(0.3, 6), fronts.watched), at.heaps_strategist),
    ("length grows", vary.growing_length, at.chirps_raw),
    ("rarely validated", vary.validated_rarely(4), at.friends_ties),
    ("one pass in windows", vary.windowed(8), at.circuits_columns),
    ("bfloat16, Lightning", in_turn(changed(precision=torch.bfloat16), adapters.lightning), at.heaps_strategist),
    ("accumulation, five lines", in_turn(changed(accumulate=4, batch_size=16), fronts.five_lines), at.circuits_columns),
    ("long after convergence", in_turn(scaled(epochs=3), fronts.watched), at.queries_scorer),
    ("two ranks", ranks.in_step, at.sensors_bottleneck),
]

HEALTHY = [
    Scenario(kind=kind, part=Part.acceptance, round=3, workload=workload, twist=twist)
    for kind, twist, workload in _KINDS
]
