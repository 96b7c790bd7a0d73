"""Kinds of healthy runs: the ordinary ones, and those that look alarming and are not."""

from __future__ import annotations

import torch

from benchmarks.detection import ranks, special
from benchmarks.detection import variations as vary
from benchmarks.detection import workloads as at
from benchmarks.detection.scenario import Scenario, placed
from benchmarks.detection.training import Twist
from benchmarks.detection.variations import changed, in_turn, scaled


def _scenarios() -> list[Scenario]:
    classes = (at.digits_mlp, at.digits_cnn, at.cancer_mlp, at.marks_gru)
    others = (at.shapes_resnet, at.shapes_vit, at.waves_conv, at.waves_lstm)
    mlp, cnn, cancer, gru = ((each,) for each in classes)
    resnet, vit, conv, lstm = ((each,) for each in others)
    gpt, chars = (at.tales_gpt,), (at.sums_lstm,)
    kinds: list[tuple[str, Twist, tuple[at.Builder, ...], tuple[at.Builder, ...]]] = [
        ("plain", vary.ordinary, (*classes, *gpt), (*others, at.wine_mlp, *chars)),
        ("regression", vary.ordinary, (at.diabetes_mlp,), (at.friedman_mlp,)),
        ("autoencoder", vary.ordinary, (at.digits_vae,), (at.shapes_autoencoder,)),
        ("negative loss", vary.ordinary, (at.plane_nll,), (at.friedman_nll,)),
        ("connectionist, some losses infinite", vary.ordinary, (special.strokes_ctc,), ()),
        ("adversarial pair", vary.ordinary, (special.ring_gan,), ()),
        ("contrastive", vary.ordinary, (at.digits_twin,), (at.waves_twin,)),
        ("pooling by functions", vary.ordinary, (at.digits_functional,), conv),
        ("SGD with momentum", vary.momentum, mlp, conv),
        ("cosine schedule", changed(schedule=vary.cosine), cnn, vit),
        ("one cycle", changed(schedule=vary.one_cycle), mlp, resnet),
        ("warm restarts", changed(schedule=vary.restarts), cnn, conv),
        ("stepped schedule", changed(schedule=vary.staircase), gru, resnet),
        ("warm-up, then linear", changed(schedule=vary.warm_up_then_linear), gpt, vit),
        ("every gradient clipped", changed(clip=0.2), gru, chars),
        ("accumulation", changed(accumulate=4, batch_size=16), mlp, vit),
        ("small batches", in_turn(changed(batch_size=8), scaled(rate=0.3, epochs=0.5)), cancer, conv),
        ("large batches", changed(batch_size=512, epochs=30), mlp, conv),
        ("head only", vary.head_only, cnn, resnet),
        ("low-rank adapters", vary.low_rank, mlp, (at.friedman_mlp,)),
        ("fine-tuning", vary.fine_tuned, gpt, resnet),
        ("overconfident fine-tuning", vary.overconfident, mlp, vit),
        ("bfloat16", changed(precision=torch.bfloat16), mlp, vit),
        ("float16, first steps skipped", vary.half_precision, mlp, (at.wine_mlp,)),
        ("label smoothing", vary.label_smoothing, cnn, lstm),
        (
            "rising weight of a term",
            vary.weight_rises(lambda done: min(3.0, 6 * done)),
            (at.digits_vae,),
            (at.shapes_vae,),
        ),
        ("curriculum", vary.curriculum, mlp, conv),
        ("varying length", vary.varying_length, gpt, chars),
        ("checkpoint pauses", vary.pauses, mlp, conv),
        ("slow first step", vary.compiles, cnn, resnet),
        ("sparse activations", vary.sparse, mlp, (at.wine_mlp,)),
        ("long after convergence", scaled(epochs=3), cnn, resnet),
        ("resumed", vary.resumed, gru, conv),
        ("no validation", changed(val=None), mlp, lstm),
        ("one pass in windows", vary.windows, gpt, chars),
        ("two ranks", ranks.in_step, mlp, conv),
        ("two epochs", changed(epochs=2), mlp, vit),
    ]
    return [each for kind, twist, tuning, held in kinds for each in placed(kind, twist, tuning=tuning, held_out=held)]


HEALTHY = _scenarios()
