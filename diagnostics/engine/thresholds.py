"""Every number that decides whether something is an issue, with its default and its reason.

The names of the guide's section 11.11 are kept. A name that ends in ``_pct`` is a share (0.25 is 25 %), one that
ends in ``_percent`` is in percent. The second half belongs to the evidence gates of the robust profile; the
guide's rules do not read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from diagnostics.engine.declaration import count, limit, share, validate
from diagnostics.engine.refusals import InvalidSetting, refuse_unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnosticThresholds:
    """User-configurable thresholds (guide 11.11). Raises InvalidSetting for a value that makes no sense."""

    # The guide's rules: loss.
    divergence_epochs: int = count(2, "epochs", "Rises in a row of the mean training loss that count as divergence.")
    loss_explosion_ratio: float = limit(
        2.0, "ratio", "Growth of the mean training loss from one epoch to the next; more than double is an explosion."
    )
    loss_plateau_improvement: float = share(
        0.01, "Improvement over the last epochs below which the loss counts as flat."
    )
    loss_plateau_epochs: int = count(3, "epochs", "How many of the last epochs the plateau rule looks at.", low=2)
    overfitting_epochs: int = count(2, "epochs", "Epochs in which validation rises while training falls.")
    loss_variance_ratio: float = limit(
        0.5, "ratio", "Standard deviation of the batch losses over their mean, within one epoch."
    )
    smooth_batches_pct: float = share(0.05, "Spread of the batch losses over their mean that is hardly any noise.")
    tiny_batch: int = count(4, "samples", "Samples of a batch whose gradient is mostly noise.")
    few_steps: int = count(10, "steps", "Steps of an epoch whose batches are a large part of the data.")
    gradient_instability_ratio: float = limit(20.0, "ratio", "Largest batch loss over the mean of its epoch.")

    # The guide's rules for the learning rate, which it gives no numbers for (guide 11.2).
    oscillation_epochs: int = count(6, "epochs", "Least length of a run in which turns of the loss count.", low=3)
    oscillation_pct: float = share(0.5, "Share of the epochs in which the loss turns from falling to rising or back.")
    slow_epochs: int = count(8, "epochs", "Least length of a run whose pace is judged.", low=4)
    slow_improvement_pct: float = share(0.10, "Improvement of the whole run below which its pace is too slow.")
    slow_steady_pct: float = share(0.6, "Share of the epochs in which the loss falls, if it falls steadily.")

    # Checks beyond the guide: start and progress.
    blow_up_steps: int = count(8, "steps", "Steps (or buckets of steps) below which no start is judged.", low=3)
    blow_up_ratio: float = limit(3.0, "ratio", "Largest loss of the first epoch over that of the very first step.")
    blow_up_chance_ratio: float = limit(
        1.5, "ratio", "Largest loss of the first epoch over that of guessing, where the number of classes is known."
    )
    slow_return_pct: float = share(0.25, "Part of the run that a loss thrown up at its start may stay above it.")
    blow_up_recovery_pct: float = share(
        0.9, "Share of the first loss that the run must end below to have recovered from its start."
    )
    initial_loss_ratio: float = limit(
        3.0, "ratio", "First loss over that of guessing; a sum over a batch is ten times and more."
    )
    far_above_chance_fall_pct: float = share(
        0.5, "Share of its first loss that a loss far above guessing must fall below to be coming down."
    )
    swing_pct: float = share(0.2, "Swing of the loss over its level, and over all that was gained, that is no jitter.")
    slow_flattening_pct: float = share(
        0.75, "Gain of the second half of a slow run over that of the first; a loss that converges falls below it."
    )
    rate_zero_pct: float = share(0.2, "Share of the steps, up to the last, that a learning rate of zero may take.")
    rate_zero_critical_pct: float = share(0.5, "The same share from which most of the run trained nothing.")
    rate_growth_ratio: float = limit(
        5.0, "ratio", "Last learning rate over the first of a warm-up that has not ended with the run."
    )
    rate_jump_ratio: float = limit(
        10.0, "ratio", "Learning rate over all before it from one step to the next; restarts go back to the old peak."
    )
    oscillation_validations: int = count(8, "validations", "Number of validations from which swings are judged.", low=4)
    oscillation_scale_pct: float = share(
        0.05, "Swing of the validation loss over the loss at the start, or of guessing; less is of no practical weight."
    )
    loss_spike_z: float = limit(8.0, "sigmas", "Height of a spike of the loss over the jitter of the steps before it.")
    loss_spike_start_pct: float = share(
        0.35, "Height of a spike above all losses of the start, over all that was gained since."
    )
    loss_spike_chance_ratio: float = limit(
        1.2, "ratio", "Loss of a spike over that of guessing, where the number of classes is known."
    )
    weight_collapse_ratio: float = share(0.1, "Part of its first norm that a layer must keep not to have decayed away.")
    tiny_update_ratio: float = limit(
        1e-4, "ratio", "Update over weights of the fastest layer below which steps are too small; 1e-3 is usual."
    )
    near_chance_pct: float = share(0.7, "Share of the loss of guessing above which a slow run has got nowhere.")
    negative_loss: float = limit(1e-3, "loss", "How far below zero a loss must be to be more than rounding.")
    skipped_steps_pct: float = share(
        0.05, "Share of the steps with an infinite gradient that a gradient scaler may skip and nobody needs to know."
    )
    gradient_spike_warm_up: int = count(20, "steps", "Steps (or buckets of steps) before spikes are looked for.")
    gradient_spike_window: int = count(64, "steps", "Steps (or buckets) before a spike that say what is usual.")
    gradient_spike_z: float = limit(8.0, "sigmas", "Height of a spike of the logarithm of the gradient norm.")
    gradient_spike_ratio: float = limit(10.0, "ratio", "Height of a spike over the median before it.")
    lone_gradient_ratio: float = limit(
        100.0, "ratio", "The same at which a step, and not the learning rate, is to blame for what follows."
    )

    # Exact invariants: nothing but the length of what was seen decides.
    invariant_steps: int = count(
        64, "steps", "Steps in which nothing changed, or no gradient came: more than gradients are accumulated over."
    )
    invariant_windows: int = count(5, "windows", "The same in windows, for runs of few steps.")
    # Checks beyond the guide: data.
    input_wait_pct: float = share(
        0.20, "Share of the steps' time spent waiting for batches; TraceML calls 10 % notable and 20 % critical."
    )
    input_wait_seconds: float = limit(
        2e-3, "seconds", "Wait of a step below which it is the cost of any loop, not of a slow loader."
    )
    input_wait_steps: int = count(20, "steps", "Waits that must have been measured before they are judged.")
    input_wait_epochs_pct: float = share(
        0.3, "Share of the epochs that must wait so: a cold cache makes one slow epoch, not a slow loader."
    )
    input_wait_run_pct: float = share(0.1, "The same over the time of the whole run; TraceML calls 10 % notable.")
    busy_gpu_percent: float = limit(
        90.0, "percent", "Load above which a GPU is kept busy, whatever the program waits for.", high=100.0
    )
    input_scale: float = limit(
        10.0, "root mean square", "Size of the inputs; initializations expect about 1 (AutoTrainer's limit)."
    )
    input_start_ratio: float = limit(
        2.0, "ratio", "First loss over that of guessing, below which large inputs do the model no harm."
    )
    padding_pct: float = share(0.5, "Share of the tokens that is padding (SageMaker Debugger's limit).")
    leakage_pct: float = share(0.01, "Share of the validation samples that are training samples, too.")
    leakage_duplicates_ratio: float = limit(
        4.0,
        "ratio",
        "The same over the share of repeated training samples; in data that repeats itself by nature it is about two.",
    )
    leakage_natural_ratio: float = limit(1.1, "ratio", "The same over the share that such data meets again by nature.")
    leakage_certain_pct: float = share(0.5, "The same from which few repetitions are no excuse any more.")
    leakage_closeness_pct: float = share(
        0.01, "Distance of validation and training loss that is suspiciously small; only a hint."
    )
    class_recall_ratio: float = limit(0.2, "ratio", "Recall of an ignored class over the accuracy of all.")
    class_predicted_ratio: float = limit(0.5, "ratio", "Predictions of an ignored class over its samples.")
    class_support: int = count(10, "samples", "Samples of a class below which its recall is chance.")
    class_accuracy: float = share(0.5, "Accuracy of all classes below which nothing was learned well yet.")
    class_p_value: float = share(0.001, "Binomial p-value of a recall so low if the class were like all others.")
    class_rare_ratio: float = limit(0.25, "ratio", "Share of a class over an equal one that is rare by nature.")
    class_vocabulary: int = count(100, "classes", "Classes above which a model that embeds words predicts words.")
    class_epochs: int = count(3, "epochs", "Epochs before a class that is not learned yet counts as ignored.")

    # Checks beyond the guide: updates.
    clipped_pct: float = share(
        0.5, "Share of the steps whose gradient is clipped (Deep Learning Tuning Playbook's limit)."
    )
    clipped_away_ratio: float = limit(
        10.0, "ratio", "Step that the learning rate asks for over the one that clipping leaves of it."
    )
    amp_start_skips: int = count(
        20, "steps", "Steps that a gradient scaler may throw away to find its scale, all in all.", low=0
    )
    amp_skipped_pct: float = share(0.01, "Share of all further steps thrown away by the gradient scaler.")

    # Checks beyond the guide: devices and pace.
    low_gpu_percent: float = limit(
        30.0, "percent", "Mean load below which a GPU is hardly used (TraceML's limit).", high=100.0
    )
    low_gpu_seconds: float = limit(30.0, "seconds", "Time with a load known below which a run says nothing about it.")
    gpu_memory_pct: float = share(0.92, "Peak of the GPU memory in use over all there is (TraceML's limit).")
    gpu_memory_growing_pct: float = share(0.5, "The same from which steady growth counts, too.")
    straggler_pct: float = share(0.15, "Lag of a rank behind the others, as part of a step.")
    straggler_ratio: float = limit(1.2, "x", "Work of the slowest rank on a step over the median of the others.")
    slow_step_ratio: float = limit(3.0, "ratio", "Time of a step over the median of the run.")
    slow_steps: int = count(3, "steps", "Slow steps (or buckets of steps) below which it is chance.")
    slow_step_z: float = limit(5.0, "sigmas", "Height of a slow step over the jitter of the steps' logarithm.")
    slow_steps_pct: float = share(0.05, "Share of the steps above which slow ones are no exception but the machine.")
    slow_step_pct: float = share(0.05, "Part of the run's time that slow steps cost beyond what is usual.")
    slow_step_seconds: float = limit(1.0, "seconds", "The same in seconds, below which nobody waits.")
    fail_slow_pct: float = share(0.10, "Lasting rise of the time of a step; FALCON verifies each change point by 10 %.")
    fail_slow_p_value: float = share(0.001, "P-value of the change point (Pettitt's test).")
    fail_slow_jitter: float = limit(2.0, "sigmas", "Rise over the jitter of the time of a step on both sides.")

    # The guide's rules: speed, memory, machine.
    throughput_drop_pct: float = share(0.20, "Drop of the samples per second below the fastest epoch so far.")
    memory_growth_pct: float = limit(0.25, "share", "Growth of the memory in use from the first epoch to the last.")
    slow_epoch_ratio: float = limit(1.5, "ratio", "Duration of an epoch over the median duration.")
    high_cpu_percent: float = limit(90.0, "percent", "Load of the whole machine's CPU.", high=100.0)

    # The guide's rules: sustainability.
    diminishing_returns_pct: float = share(
        0.05, "Improvement of one epoch over all improvement before it, below which more epochs hardly pay."
    )
    wasted_compute_warning_pct: float = share(
        0.30, "Share of the compute spent after the optimal stop above which the waste is a warning."
    )
    dead_neuron_sparsity: float = share(0.5, "Share of near-zero weights above which a layer counts as dead.")
    vanishing_gradient_threshold: float = limit(
        1e-7, "norm", "Mean gradient norm of a layer below which nothing is learned there."
    )
    redundant_correlation: float = share(
        0.95, "Correlation of two layers' outputs above which one of them adds little."
    )

    dead_layer_sparsity: float = share(
        0.9, "Share of near-zero weights of a layer that counts as dead altogether if its output never changes."
    )
    hotspot_pct: float = share(0.40, "Share of the profiled compute that one layer may take.")
    backward_pct: float = share(0.45, "Share of a step that the backward pass may take.")
    fwd_bwd_ratio: float = limit(0.15, "ratio", "Time of the forward pass over that of the backward pass.")
    share_mismatch: float = limit(10.0, "ratio", "Share of the parameters over that of the compute, or the reverse.")
    frozen_output_change: float = limit(
        1e-8, "change", "Relative change of an output between batches below which it is the same."
    )
    activation_variance: float = limit(1e-6, "variance", "Variance of a layer's outputs below which they are the same.")
    dead_units_pct: float = share(0.5, "Share of units that are zero for every sample above which a layer is dying.")
    saturation_pct: float = share(0.5, "Share of values at the bounds of an activation above which it is saturated.")
    activation_outlier_ratio: float = limit(1e3, "ratio", "Size of a layer's outputs over the median of the layers.")
    activation_outlier_size: float = limit(100.0, "size", "Size below which outputs are no trouble for any format.")
    exploding_gradient_ratio: float = limit(1e3, "ratio", "Gradient norm of a layer over what is usual.")
    exploding_gradient_norm: float = limit(10.0, "norm", "Gradient norm of a layer below which nothing explodes.")
    update_ratio_min: float = limit(1e-5, "ratio", "Size of a step over that of the weights; 1e-3 is usual.")
    update_ratio_max: float = limit(1e-1, "ratio", "Size of a step over that of the weights; more forgets them.")
    attention_entropy_low: float = share(0.05, "Entropy of a head, of the most there can be, that sees one position.")
    attention_entropy_high: float = share(0.99, "Entropy of a layer's heads above which they see all alike.")
    carbon_ratio: float = limit(2.0, "ratio", "Emissions per second of an epoch over the median of the run.")

    # Gates of the robust profile: layers and profiles.
    vanishing_gradient_ratio: float = limit(
        1e3, "ratio", "Gradient norm of the strongest layer over that of a layer whose gradient has vanished."
    )
    vanishing_gradient_small: float = limit(
        1e-5, "norm", "Gradient norm of a layer that is far behind the strongest one, below which it hardly learns."
    )
    vanishing_gradient_share: float = share(1e-4, "The same over the gradient norm of the strongest layer.")
    partly_trained_pct: float = share(
        0.5, "Part of the parameters of trained layers below which only parts are trained."
    )
    shrunk_weights_pct: float = share(
        0.01, "Norm of a layer's weights, of the largest it was, that weight decay alone leaves."
    )
    dead_units_sure_pct: float = share(0.8, "Share of dead units that no wide layer has by chance.")
    saturation_sure_pct: float = share(0.8, "Share of saturated values that leaves a layer no gradient.")
    post_norm_layers: int = count(6, "layers", "Attention layers from which normalizing after them needs warm-up.")
    warm_up_ratio: float = limit(2.0, "ratio", "Highest learning rate over the first one that shows a warm-up.")
    hotspot_layers: int = count(3, "layers", "Profiled layers below which one always takes most of the compute.")
    backward_normal_ratio: float = limit(
        2.2, "ratio", "Time of the backward pass over that of the forward pass; two products for one make it twice."
    )
    notable_share: float = share(0.05, "Share of the parameters below which a layer's size is not worth a word.")
    notable_compute: float = share(0.10, "Share of the compute below which a layer's work is not worth a word.")
    notable_co2_g: float = limit(1.0, "grams", "Emissions below which a footprint is not worth a word.")

    # The guide's rules: convolutional networks.
    fc_dominates_pct: float = share(0.92, "Share of all parameters that one Linear layer may hold.")
    conv_bottleneck_pct: float = share(0.60, "Share of all parameters that one convolution may hold.")
    missing_pooling_convs: int = count(3, "layers", "Convolutions in a row without pooling.")
    large_kernel_size: int = count(7, "pixels", "Side of a kernel that counts as large.")
    small_input_size: int = count(64, "pixels", "Longest side of an input that counts as small; CIFAR has 32.")
    early_channels: int = count(32, "channels", "Channels that the first convolution may make of a single one.")

    # The guide's rules for transformers and recurrent networks, which it gives few numbers for (guide 11.1).
    head_width_min: int = count(16, "dimensions", "Width of an attention head that can still tell positions apart.")
    head_width_max: int = count(256, "dimensions", "Width of an attention head; common models have 64 to 128.")
    hidden_size_ratio: float = limit(32.0, "ratio", "Width of a hidden state over that of the input.")
    hidden_size_small: int = count(256, "dimensions", "Width of a hidden state that costs little in any case.")
    recurrent_layers: int = count(4, "layers", "Levels of a recurrent stack; gradients vanish in deeper ones.")
    recurrent_steps: int = count(500, "steps", "Steps of a sequence that gated recurrent layers can carry.")

    # The guide's comparison with a baseline (guide 11.7).
    below_baseline_ratio: float = share(
        0.9, "Share of the baseline's metric below which a run is below it; as far above it where lower is better."
    )
    baseline_parameters_ratio: float = limit(2.0, "ratio", "Parameters of the model over those of the baseline.")
    baseline_progress_pct: float = share(
        0.01, "Recent gain over the baseline below which a metric has stopped improving."
    )

    # Gates of the robust profile: history and noise.
    short_history: int = count(
        5, "epochs", "Below this no noise can be estimated: the guide's rule and the size of the effect decide."
    )
    recovery_epochs: int = count(3, "epochs", "A loss that wins back half of a rise within this time is no divergence.")
    divergence_rise_se: float = limit(5.0, "standard errors", "Rise of the loss that noise does not explain.")
    divergence_rise_pct: float = share(0.05, "Rise of the loss over its level that is worth a word.")
    divergence_descent_pct: float = share(0.10, "Rise of the loss over all that it had fallen before.")
    divergence_drift_epochs: int = count(8, "epochs", "Least length of a slow rise that a trend test can tell.", low=4)
    divergence_drift_pct: float = share(0.25, "Part of the run, at its end, that is searched for a slow rise.")
    trend_p_value: float = share(
        0.01, "One-sided Mann-Kendall p-value of a trend; small, because every run is looked at many times."
    )
    explosion_jump_se: float = limit(6.0, "standard errors", "Jump of the loss that noise does not explain.")
    explosion_descent_pct: float = limit(
        0.5, "share", "Jump over all that the loss had fallen before: warm restarts double a small loss and recover."
    )
    stuck_improvement_se: float = limit(3.0, "standard errors", "Improvement since the start that shows learning.")
    stuck_improvement_pct: float = share(
        0.05, "Improvement since the start that shows learning; a flat end after it is convergence."
    )
    noisy_progress_pct: float = share(0.05, "Fall of the mean loss within two epochs that noise does not hinder.")
    chance_margin_pct: float = share(0.05, "Way from the accuracy of guessing to certainty that shows learning.")
    known_task_pct: float = share(
        0.5, "Part of the loss of guessing (ln of the number of classes) below which a run begins with a trained model."
    )
    known_by_heart_ratio: float = limit(1.5, "ratio", "First validation over training loss of a model trained before.")
    gradient_instability_start_ratio: float = limit(
        2.0, "ratio", "Batch loss over the largest of the first epoch: late in training any hard sample is many means."
    )
    loss_floor_pct: float = share(
        0.25, "Share of the first loss below which a loss is too small to measure its own noise by."
    )

    # Gates of the robust profile: overfitting.
    overfitting_short_history: int = count(
        4, "epochs", "Below this many validation losses the guide's rule and the size of the rise decide."
    )
    overfitting_short_rise_pct: float = share(0.05, "Rise of the validation loss that counts in a short history.")
    overfitting_rise_pct: float = share(
        0.10, "Prechelt's generalization loss: rise of the smoothed validation loss above its best."
    )
    overfitting_lost_pct: float = share(0.5, "Rise over all that the loss had fallen at which 5 % of the level count.")
    overfitting_descent_pct: float = share(
        0.05, "Rise of the validation loss over all that it had fallen; less is of no practical weight."
    )
    overfitting_p_value: float = share(0.05, "One-sided Mann-Kendall p-value of the rise since the best epoch.")
    overfitting_long_history: int = count(
        12,
        "epochs",
        "From this many validations on the stricter p-value of trends holds: there were many to choose from.",
    )
    overfitting_accuracy_gain: float = share(
        0.005, "Gain of the validation accuracy since the best loss that turns the warning into information."
    )

    # Gates of the robust profile: speed and memory.
    throughput_z: float = limit(8.0, "sigmas", "Drop of the speed that the run's own jitter does not explain.")
    slow_run_seconds: float = limit(60.0, "seconds", "Time lost by a slowdown below which it is information.")
    throughput_sustained_epochs: int = count(
        3, "epochs", "A long run must stay slow for this long; one slow epoch is the business of slow-epoch."
    )
    throughput_sustained_pct: float = share(0.20, "The same as part of the run; the longer of the two counts.")
    throughput_sustained_from: int = count(10, "epochs", "Length from which a drop has to be sustained.")
    memory_growth_min_mb: float = limit(100.0, "MiB", "Growth below this is caches and allocator noise.")
    memory_plateau_pct: float = share(
        0.25, "Rate of growth in the last third over the rate of the run, below which the memory has settled."
    )
    short_epoch_seconds: float = limit(
        1.0,
        "seconds",
        "Shorter epochs measure the scheduler of the machine: a drop of their speed has to be sustained.",
    )
    short_epoch_drop_pct: float = share(0.60, "Drop of the speed that is a warning even for such short epochs.")
    slow_epoch_z: float = limit(5.0, "sigmas", "Duration that the run's own jitter does not explain.")
    straggler_seconds: float = limit(0.001, "seconds", "Lag of a rank below which it is the jitter of any machine.")
    straggler_windows: int = count(3, "windows", "The same rank must be slow so often.")
    straggler_windows_pct: float = share(0.50, "The same as part of the windows in which ranks were compared.")
    worth_a_gpu_seconds: float = limit(
        60.0, "seconds", "Duration of an epoch below which a machine without a GPU is good enough."
    )
    anomaly_score: float = share(0.9, "Score of an epoch (guide 11.5) above which it counts as unusual.")
    anomaly_figures: int = count(2, "figures", "Figures of an unusual epoch that lie beyond those of healthy ones.")
    idle_gpu_percent: float = limit(10.0, "percent", "Load below which a GPU counts as idle.", high=100.0)

    # Gates of the robust profile: stopping early, network size.
    diminishing_short_history: int = count(
        12, "epochs", "Below this the guide's rule decides, applied to all that the rest of the run brought."
    )
    early_stop_patience_pct: float = share(
        0.10, "Share of the run that must have passed without progress before it counts as over."
    )
    early_stop_patience: int = count(5, "epochs", "The same in epochs; the longer of the two counts.")
    early_stop_min_epochs: int = count(2, "epochs", "Waste of fewer epochs is not worth a word.")
    early_stop_sure_epochs: int = count(
        10, "epochs", "Epochs since the best validation loss from which their waste may be a warning."
    )
    early_stop_sure_se: float = limit(
        4.0, "standard errors", "Distance to the best validation loss that is more than the luck of the best of many."
    )
    early_stop_tolerance_pct: float = share(0.01, "Improvement of the best loss that counts as none.")
    small_layer_parameters: int = count(
        10_000, "parameters", "A layer smaller than this costs nothing, whatever its share.", low=0
    )

    def __post_init__(self) -> None:
        for each in fields(self):
            value, whole = getattr(self, each.name), isinstance(each.default, int)
            validate(each.name, value, each.metadata, whole)
            # JSON may say 3.0 where an index is meant.
            object.__setattr__(self, each.name, int(value) if whole else float(value))

    @classmethod
    def from_mapping(cls, overrides: Mapping[str, Any]) -> Self:
        """Return the defaults with ``overrides`` (as stored in JSON) put over them.

        Raises InvalidSetting that names unknown keys, or the key whose value makes no sense.
        """
        if not isinstance(overrides, Mapping):
            raise InvalidSetting(f"thresholds must be an object of names and numbers, not {type(overrides).__name__}")
        refuse_unknown(overrides, (each.name for each in fields(cls)), "threshold")
        return cls(**overrides)


DEFAULTS = DiagnosticThresholds()
