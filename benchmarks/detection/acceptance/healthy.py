"""Healthy runs of the acceptance part: families and habits, among them those that look alarming and are not."""

from __future__ import annotations

import torch

from benchmarks.detection.acceptance import games
from benchmarks.detection.acceptance import variations as vary
from benchmarks.detection.acceptance import workloads as at
from benchmarks.detection.scenario import Part, Scenario
from benchmarks.detection.training import Twist
from benchmarks.detection.variations import changed, in_turn, ordinary, scaled
from benchmarks.detection.workloads import Builder

_CLASSIFIERS = (
    at.textures_mobile,
    at.glyphs_dense,
    at.textures_mixer,
    at.votes_bag,
    at.clouds_points,
    at.graphs_messages,
    at.mixture_experts,
    at.shells_table,
    at.recipes_convolutions,
)

_KINDS: list[tuple[str, Twist, tuple[Builder, ...]]] = [
    ("plain", ordinary, _CLASSIFIERS),
    ("segmentation", ordinary, (at.ellipses_unet,)),
    ("masked prompts", ordinary, (at.reversals_transformer,)),
    ("forecasting", ordinary, (at.series_temporal,)),
    ("recommender", ordinary, (at.ratings_factors,)),
    ("sine network", ordinary, (at.roll_siren,)),
    ("several labels", ordinary, (at.tags_table,)),
    ("Poisson regression", ordinary, (at.counts_poisson,)),
    ("plain recurrence", ordinary, (at.additions_elman,)),
    ("normalizing flow", scaled(rate=0.4, epochs=1.5), (at.moons_flow,)),
    ("denoising, flat loss", ordinary, (at.spiral_denoiser,)),
    ("triplets", scaled(epochs=0.6), (at.textures_embedder,)),
    ("policy gradient", ordinary, (games.corridor_policy,)),
    ("Q-learning", ordinary, (games.corridor_values,)),
    ("Wasserstein critic", ordinary, (games.spiral_critic,)),
    ("tiny data", ordinary, (at.iris_table,)),
    ("SGD, Nesterov", vary.with_nesterov, (at.glyphs_dense,)),
    ("SGD, Nesterov", in_turn(vary.with_nesterov, scaled(epochs=0.4)), (at.mixture_experts,)),
    ("Adagrad", vary.adagrad, (at.votes_bag,)),
    ("RMSprop", vary.rmsprop, (at.graphs_messages,)),
    ("Lion", in_turn(vary.lion, scaled(rate=3)), (at.textures_mixer,)),
    ("triangular rates", changed(schedule=vary.triangles), (at.clouds_points,)),
    ("warm-up, stable, decay", changed(schedule=vary.warm_up_stable_decay), (at.recipes_convolutions,)),
    ("square root decay", changed(schedule=vary.square_root_decay), (at.textures_mixer,)),
    ("rate falls on plateaus", in_turn(scaled(epochs=2), vary.on_plateau), (at.shells_table,)),
    ("biases only", vary.biases_only, (at.textures_mixer,)),
    ("gradual unfreezing", vary.gradual_unfreezing, (at.textures_mobile,)),
    ("fine-tuning", vary.fine_tuned, (at.textures_mobile, at.graphs_messages)),
    ("resumed", vary.resumed, (at.recipes_convolutions,)),
    ("mixup", vary.mixed_up, (at.textures_mixer,)),
    ("heavy dropout", vary.heavy_dropout, (at.textures_mobile, at.clouds_points)),
    ("strong augmentation", vary.noisy_inputs, (at.glyphs_dense,)),
    ("focal loss", vary.focal, (at.glyphs_dense,)),
    ("weighted minority", vary.weighed_minority, (at.clouds_points,)),
    ("weighted minority", in_turn(vary.weighed_minority, scaled(epochs=0.6)), (at.mixture_experts,)),
    ("large units", vary.large_units, (at.series_temporal,)),
    ("heavy-tailed noise", vary.outliers, (at.roll_siren,)),
    ("rarely validated", vary.rarely_validated, (at.shells_table,)),
    ("distillation", vary.distilled, (at.textures_mixer,)),
    ("classes come in later", vary.later_classes, (at.clouds_points,)),
    ("growing batches", vary.growing_batches, (at.mixture_experts,)),
    ("accumulation", changed(accumulate=8, batch_size=8), (at.graphs_messages,)),
    ("bfloat16", changed(precision=torch.bfloat16), (at.textures_mixer,)),
    ("pauses", vary.smooth_start, (at.votes_bag,)),
    ("small batches", in_turn(changed(batch_size=6), scaled(rate=0.3, epochs=0.5)), (at.votes_bag,)),
    ("one epoch", vary.one_pass, (at.recipes_convolutions, at.clouds_points)),
    ("three epochs", changed(epochs=3), (at.glyphs_dense,)),
    ("no validation", changed(val=None), (at.graphs_messages,)),
    ("clipped throughout", changed(clip=0.1), (at.additions_elman,)),
]

HEALTHY = [
    Scenario(kind=kind, part=Part.acceptance, workload=workload, twist=twist)
    for kind, twist, workloads in _KINDS
    for workload in workloads
]
