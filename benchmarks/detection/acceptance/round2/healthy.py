"""Healthy runs of the second round."""

from __future__ import annotations

import torch

from benchmarks.detection import ranks
from benchmarks.detection.acceptance import adapters, fronts
from benchmarks.detection.acceptance.round2 import loops
from benchmarks.detection.acceptance.round2 import variations as vary
from benchmarks.detection.acceptance.round2 import workloads as at
from benchmarks.detection.scenario import Part, Scenario
from benchmarks.detection.training import Twist
from benchmarks.detection.variations import changed, in_turn, ordinary, scaled
from benchmarks.detection.workloads import Builder

# There are few positions of `boards_judge`: who says that its validation data were trained on is right.
_KINDS: list[tuple[str, Twist, Builder]] = [
    ("text by convolutions", fronts.five_lines, at.topics_gaze),
    ("state spaces", ordinary, at.reference_spaces),
    ("state spaces, one pass in windows", vary.long_windows, at.reference_spaces),
    ("spectrograms", fronts.watched, at.chords_listener),
    ("films", ordinary, at.clips_film),
    ("moments", fronts.watched_only, at.beats_slices),
    ("a step an epoch", ordinary, at.community_neighbors),
    ("rare positives", ordinary, at.claims_wide),
    ("rare positives, weighed", in_turn(vary.balanced, adapters.lightning), at.claims_wide),
    ("survival", ordinary, at.lifetimes_cox),
    ("translation", fronts.five_lines, at.dates_translator),
    ("board game", adapters.skorch, at.boards_judge),
    ("neural differential equation", fronts.watched, at.swings_flowing),
    ("quantiles", fronts.losses_only, at.demand_quantiles),
    ("highway", ordinary, at.hastie_highway),
    ("sprites, SGD", ordinary, at.invaders_sights),
    ("linear, hinge", fronts.five_lines, at.invaders_hinge),
    ("two views, no negatives", ordinary, at.invaders_twins),
    ("several tasks, loss below zero", ordinary, at.discs_several),
    ("tiny BERT, Trainer", adapters.trainer, at.chapters_bert),
    ("Keras", ordinary, loops.chords_keras),
    ("actor and critic", ordinary, loops.pole_actor),
    ("adversarial pair, hinge", ordinary, loops.tiles_generator),
    ("LBFGS", in_turn(changed(epochs=15), loops.second_order), at.swings_flowing),
    ("Adafactor", in_turn(vary.adafactor, fronts.watched), at.topics_gaze),
    ("Adamax", vary.adamax, at.boards_judge),
    ("RMSprop, centered", in_turn(vary.centered_rmsprop, fronts.five_lines), at.clips_film),
    ("groups of rates", vary.grouped_rates, at.beats_slices),
    ("exponential decay", in_turn(changed(schedule=vary.exponential), adapters.lightning), at.hastie_highway),
    ("growing restarts", changed(schedule=vary.restarts_growing), at.chords_listener),
    ("moving average validated", vary.averaged, at.clips_film),
    ("tiny validation set", in_turn(vary.tiny_validation, fronts.five_lines), at.chords_listener),
    ("known label noise", vary.noise_known, at.invaders_sights),
    ("unequal epochs", in_turn(vary.streamed, fronts.watched), at.claims_wide),
    ("cutout", vary.cut_out, at.clips_film),
    ("noise grows", vary.easy_first, at.invaders_sights),
    ("backbone frozen", in_turn(vary.backbone_frozen, fronts.five_lines), at.invaders_sights),
    ("gentle fine-tuning", in_turn(vary.fine_tuned_gently, fronts.watched), at.chords_listener),
    ("two speeds", in_turn(vary.two_speeds, adapters.lightning), at.invaders_sights),
    ("dropout of one half", vary.dropping(0.5), at.hastie_highway),
    ("long after convergence", in_turn(scaled(epochs=3), fronts.five_lines), at.swings_flowing),
    ("bfloat16, watched", in_turn(changed(precision=torch.bfloat16), fronts.watched), at.clips_film),
    ("accumulation, watched", in_turn(changed(accumulate=4, batch_size=8), fronts.watched), at.beats_slices),
    ("accumulation, Trainer", in_turn(changed(accumulate=4, batch_size=8), adapters.trainer), at.chapters_bert),
    ("loading by workers", in_turn(vary.workers, fronts.watched), at.clips_film),
    ("two ranks", ranks.in_step, at.boards_judge),
]

HEALTHY = [
    Scenario(kind=kind, part=Part.acceptance, round=2, workload=workload, twist=twist)
    for kind, twist, workload in _KINDS
]
