"""The engine: judges a training run. Pure Python and NumPy; knows no Django and does no I/O.

`diagnose(run)` on a `Run` is the whole of it; `run_diagnostics` and the ``check_*`` functions take the raw shapes of
the guide's section 4.1.
"""

from __future__ import annotations

from diagnostics.engine import checks as _checks  # noqa: F401  (fills CHECKS)
from diagnostics.engine.baseline import DIRECTIONS, Baseline
from diagnostics.engine.baseline import SHIPPED as BASELINES
from diagnostics.engine.callables import on_architecture, on_epochs, on_logs
from diagnostics.engine.insight import EpochTrend, LayerHighlight, SustainabilityInsight
from diagnostics.engine.issue import IssueCategory, IssueData, IssueSeverity, compute_health_score
from diagnostics.engine.policy import Policy
from diagnostics.engine.refusals import InvalidSetting, alike
from diagnostics.engine.registry import CHECKS, Check, Profile, Scope
from diagnostics.engine.report import ENGINE_VERSION, Report, diagnose, run_diagnostics
from diagnostics.engine.run import Run
from diagnostics.engine.threshold_groups import grouped as grouped_thresholds
from diagnostics.engine.thresholds import DiagnosticThresholds

check_loss_divergence = on_epochs("loss-divergence")
check_loss_explosion = on_epochs("loss-explosion")
check_loss_plateau = on_epochs("loss-plateau")
check_overfitting = on_epochs("overfitting")
check_high_loss_variance = on_epochs("high-loss-variance")
check_gradient_instability = on_epochs("gradient-instability")
check_throughput_degradation = on_epochs("throughput-degradation")
check_memory_growth = on_epochs("memory-growth")
check_slow_epoch = on_epochs("slow-epoch")
check_high_cpu = on_epochs("high-cpu")
check_error_logs = on_logs("error-logs")
check_diminishing_returns = on_epochs("diminishing-returns")
check_early_stop_opportunity = on_epochs("early-stop-opportunity")
check_nan_in_loss = on_epochs("nan-in-loss")
check_learning_rate_too_high = on_epochs("learning-rate-too-high")
check_learning_rate_too_low = on_epochs("learning-rate-too-low")
check_not_learning = on_epochs("not-learning")
check_first_epoch_blow_up = on_epochs("first-epoch-blow-up")
check_initial_loss = on_epochs("initial-loss")
check_inf_gradients = on_epochs("inf-gradients")
check_loss_below_minimum = on_epochs("loss-below-minimum")
check_profiler_hotspot = on_epochs("profiler-hotspot")
check_backward_dominance = on_epochs("backward-dominance")
check_fwd_bwd_ratio = on_epochs("fwd-bwd-ratio")
check_device_underutilization = on_epochs("device-underutilization")
check_over_parameterized_layer = on_epochs("over-parameterized-layer")
check_compute_inefficient_layer = on_epochs("compute-inefficient-layer")
check_dead_neurons = on_epochs("dead-neurons")
check_vanishing_gradients = on_epochs("vanishing-gradients")
check_frozen_output = on_epochs("frozen-output")
check_activation_collapse = on_epochs("activation-collapse")
check_redundant_layers = on_epochs("redundant-layers")
check_high_carbon_intensity = on_epochs("high-carbon-intensity")
check_wasted_carbon = on_epochs("wasted-carbon")
check_gradient_spike = on_epochs("gradient-spike")
check_dead_relu = on_epochs("dead-relu")
check_saturated_activation = on_epochs("saturated-activation")
check_activation_outliers = on_epochs("activation-outliers")
check_exploding_gradients = on_epochs("exploding-gradients")
check_update_ratio = on_epochs("update-ratio")
_check_attention_entropy = on_epochs("attention-entropy")
check_learning_rate_schedule = on_epochs("learning-rate-schedule")
check_loss_spike = on_epochs("loss-spike")
check_oscillation = on_epochs("oscillation")
check_weight_collapse = on_epochs("weight-collapse")
check_amp_overflow = on_epochs("amp-overflow")
check_batch_size_too_large = on_epochs("batch-size-too-large")
check_batch_size_too_small = on_epochs("batch-size-too-small")
check_class_imbalance = on_epochs("class-imbalance")
check_clipping_fraction = on_epochs("clipping-fraction")
check_data_leakage = on_epochs("data-leakage")
check_fail_slow = on_epochs("fail-slow")
check_gpu_memory_pressure = on_epochs("gpu-memory-pressure")
check_gpu_underutilized = on_epochs("gpu-underutilized")
check_input_bound = on_epochs("input-bound")
check_input_scale = on_epochs("input-scale")
check_padding_waste = on_epochs("padding-waste")
check_slow_step = on_epochs("slow-step")
check_anomalous_epoch = on_epochs("anomalous-epoch")
check_unintended_freeze = on_architecture("unintended-freeze")
check_parameters_not_updated = on_epochs("parameters-not-updated")
check_optimizer_misses_parameters = on_epochs("optimizer-misses-parameters")
check_missing_zero_grad = on_epochs("missing-zero-grad")
check_no_gradient = on_epochs("no-gradient")
check_eval_mode_while_training = on_epochs("eval-mode-while-training")
check_train_mode_while_validating = on_epochs("train-mode-while-validating")
check_softmax_before_cross_entropy = on_epochs("softmax-before-cross-entropy")
check_labels_all_masked = on_epochs("labels-all-masked")
check_ranks_diverged = on_epochs("ranks-diverged")
check_rank_straggler = on_epochs("rank-straggler")
_check_attention_head_count = on_architecture("attention-head-count")
_check_embedding_dimension = on_architecture("embedding-dimension")
_check_position_encoding = on_architecture("position-encoding")
_check_layer_norm_placement = on_architecture("layer-norm-placement")
_check_hidden_size_ratio = on_architecture("hidden-size-ratio")
_check_num_layers = on_architecture("num-layers")
_check_bidirectional_usage = on_architecture("bidirectional-usage")
_check_sequence_length = on_architecture("sequence-length")
_check_fc_dominates = on_architecture("fc-dominates")
_check_conv_bottleneck = on_architecture("conv-bottleneck")
_check_missing_pooling = on_architecture("missing-pooling")
_check_large_kernel = on_architecture("large-kernel")
_check_early_channel_explosion = on_architecture("early-channel-explosion")

__all__ = [
    "BASELINES",
    "Baseline",
    "CHECKS",
    "Check",
    "DIRECTIONS",
    "DiagnosticThresholds",
    "ENGINE_VERSION",
    "EpochTrend",
    "InvalidSetting",
    "IssueCategory",
    "IssueData",
    "IssueSeverity",
    "LayerHighlight",
    "Policy",
    "Profile",
    "Report",
    "Run",
    "Scope",
    "SustainabilityInsight",
    "_check_attention_entropy",
    "_check_attention_head_count",
    "_check_bidirectional_usage",
    "_check_conv_bottleneck",
    "_check_early_channel_explosion",
    "_check_embedding_dimension",
    "_check_fc_dominates",
    "_check_hidden_size_ratio",
    "_check_large_kernel",
    "_check_layer_norm_placement",
    "_check_missing_pooling",
    "_check_num_layers",
    "_check_position_encoding",
    "_check_sequence_length",
    "alike",
    "check_activation_collapse",
    "check_activation_outliers",
    "check_amp_overflow",
    "check_anomalous_epoch",
    "check_backward_dominance",
    "check_batch_size_too_large",
    "check_batch_size_too_small",
    "check_class_imbalance",
    "check_clipping_fraction",
    "check_compute_inefficient_layer",
    "check_data_leakage",
    "check_dead_neurons",
    "check_dead_relu",
    "check_device_underutilization",
    "check_diminishing_returns",
    "check_early_stop_opportunity",
    "check_error_logs",
    "check_eval_mode_while_training",
    "check_exploding_gradients",
    "check_fail_slow",
    "check_first_epoch_blow_up",
    "check_frozen_output",
    "check_fwd_bwd_ratio",
    "check_gpu_memory_pressure",
    "check_gpu_underutilized",
    "check_gradient_instability",
    "check_gradient_spike",
    "check_high_carbon_intensity",
    "check_high_cpu",
    "check_high_loss_variance",
    "check_inf_gradients",
    "check_initial_loss",
    "check_input_bound",
    "check_input_scale",
    "check_labels_all_masked",
    "check_learning_rate_schedule",
    "check_learning_rate_too_high",
    "check_learning_rate_too_low",
    "check_loss_below_minimum",
    "check_loss_divergence",
    "check_loss_explosion",
    "check_loss_plateau",
    "check_loss_spike",
    "check_memory_growth",
    "check_missing_zero_grad",
    "check_nan_in_loss",
    "check_no_gradient",
    "check_not_learning",
    "check_optimizer_misses_parameters",
    "check_oscillation",
    "check_over_parameterized_layer",
    "check_overfitting",
    "check_padding_waste",
    "check_parameters_not_updated",
    "check_profiler_hotspot",
    "check_rank_straggler",
    "check_ranks_diverged",
    "check_redundant_layers",
    "check_saturated_activation",
    "check_slow_epoch",
    "check_slow_step",
    "check_softmax_before_cross_entropy",
    "check_throughput_degradation",
    "check_train_mode_while_validating",
    "check_unintended_freeze",
    "check_update_ratio",
    "check_vanishing_gradients",
    "check_wasted_carbon",
    "check_weight_collapse",
    "compute_health_score",
    "diagnose",
    "grouped_thresholds",
    "run_diagnostics",
]
