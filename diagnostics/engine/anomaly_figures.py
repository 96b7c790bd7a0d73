"""The figures by which epochs are compared with healthy ones."""

from __future__ import annotations

from dataclasses import dataclass

WARM_UP = 3
"""Epochs at the start of a run that are not judged: everything is a change there."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One figure of an epoch. ``column`` is what it is computed from, ``says`` completes "unusual are: ..."."""

    name: str
    column: str
    says: str


TRAIN, VAL, ACCURACY = "loss.train_mean", "loss.val.val_loss", "loss.val.val_acc"
FEATURES = (
    Feature("loss_change", TRAIN, "the change of the training loss"),
    Feature("loss_level", TRAIN, "how far the training loss is above its best"),
    Feature("loss_progress", TRAIN, "how little the training loss has fallen"),
    Feature("loss_spread", "loss.train_std", "the spread of the batch losses"),
    Feature("loss_peak", "loss.train_max", "the largest batch loss"),
    Feature("loss_non_finite", TRAIN, "the share of batches without a finite loss"),
    Feature("val_change", VAL, "the change of the validation loss"),
    Feature("val_level", VAL, "how far the validation loss is above its best"),
    Feature("val_gap", VAL, "the gap between validation and training loss"),
    Feature("accuracy_drop", ACCURACY, "how far the validation accuracy is below its best"),
    Feature("gradient_change", "gradients.norm_mean", "the gradient norm against that of earlier epochs"),
    Feature("gradient_peak", "gradients.norm_max", "the largest gradient norm of a step"),
    Feature("gradient_step", "gradients.norm_mean", "gradient norm times learning rate against earlier epochs"),
    Feature("speed", "throughput.samples_per_second", "the samples per second against earlier epochs"),
    Feature("memory", "memory.process_rss_mb", "the growth of the process's memory"),
    Feature("layer_gradients", "layers.gradient_norm_mean", "the change of one layer's gradient norm"),
    Feature("layer_updates", "layers.update_ratio", "the size of one layer's updates"),
    Feature("layer_weights", "layers.weight_norm", "the change of one layer's weights"),
    Feature("layer_zeros", "layers.activation_zero_share", "the change of one layer's share of zeros"),
    Feature("layer_saturation", "layers.activation_saturation", "the change of one layer's saturation"),
    Feature("layer_variance", "layers.activation_variance", "the change of one layer's activations"),
    Feature("layer_dead", "layers.activation_dead_units", "the share of dead units of one layer"),
    Feature("layer_contrast", "layers.gradient_norm_mean", "the contrast of the layers' gradient norms"),
)
"""Every figure there is, in the order of the columns of `diagnostics.engine.anomaly_features.features`."""

NAMES = tuple(each.name for each in FEATURES)
