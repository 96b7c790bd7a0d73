"""Short ways to make a run and to say what a check found in it."""

from __future__ import annotations

from diagnostics.engine import CHECKS, DiagnosticThresholds, Profile, Run

DEFAULTS = DiagnosticThresholds()
BOTH = ("guide", "robust")
SHORT = {
    "train": "loss.train_mean",
    "std": "loss.train_std",
    "largest": "loss.train_max",
    "batches": "loss.n_batches",
    "val": "loss.val.val_loss",
    "accuracy": "loss.val.val_acc",
    "speed": "throughput.samples_per_second",
    "samples": "throughput.samples_processed",
    "rss": "memory.process_rss_mb",
    "gpu_memory": "memory.gpu_allocated_mb",
    "cpu": "system.cpu_percent",
    "gpu": "system.gpu_percent",
    "seconds": "duration_seconds",
    "rate": "learning_rate",
    "co2": "carbon_emissions.epoch_co2_kg",
}


def epochs_with(numbers=None, **columns):
    """Return epoch dicts; columns by the names of `SHORT`, None where nothing is logged."""
    length = max(map(len, columns.values()), default=0)
    epochs = [{"epoch": number} for number in (numbers or range(length))]
    for name, values in columns.items():
        for epoch, value in zip(epochs, values, strict=True):
            if value is not None:
                put(epoch, SHORT[name].split("."), value)
    return epochs


def put(target, path, value):
    for part in path[:-1]:
        target = target.setdefault(part, {})
    target[path[-1]] = value


def run_with(numbers=None, logs=None, architecture=None, hyperparameters=None, **columns):
    return Run.from_epochs(
        epochs_with(numbers, **columns), logs=logs, architecture=architecture, hyperparameters=hyperparameters
    )


def found(check_id, run, profile="robust", limits=DEFAULTS):
    """Return what is reported."""
    return [issue for issue in CHECKS[check_id](run, limits, Profile(profile)) if issue.suppressed is None]


def held_back(check_id, run, limits=DEFAULTS):
    """Return the reasons of what the robust profile suppresses."""
    return [issue.suppressed for issue in CHECKS[check_id](run, limits) if issue.suppressed is not None]


def epochs_hit(issues):
    return [issue.epoch_index for issue in issues]


def network(*layers, input_shape=None, total=0):
    """Return an architecture dict of (id, type, parameters, node fields...) in the order of execution."""
    nodes = [{"id": name, "type": kind, **fields} for name, kind, _, fields in layers]
    return {
        "total_parameters": total,
        "layers": {name: {"type": kind, "parameters": count} for name, kind, count, _ in layers},
        "layer_graph": {"nodes": nodes, "sequential_path": [name for name, *_ in layers]},
        "input_shape": input_shape,
    }


def conv(name, parameters=320, **fields):
    return name, "Conv2d", parameters, {"category": "convolution", "kernel_size": [3, 3], **fields}


def pool(name):
    return name, "MaxPool2d", 0, {"category": "pooling"}


def linear(name, parameters=1000, **fields):
    return name, "Linear", parameters, {"category": "linear", **fields}
