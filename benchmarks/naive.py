"""The straight way to diagnose a run: each check is a loop of its own over the epochs as dicts.

Twelve of the guide's rules, written as anybody would at first. What they cost beside the engine's columns is a floor,
not a rival: the engine runs several times as many checks, with evidence gates.
"""

from __future__ import annotations

from statistics import median
from typing import Any

Epochs = list[dict[str, Any]]
Found = list[tuple[str, int, str | None]]
"""Check, epoch and layer of each finding."""


def loss_explosion(epochs: Epochs) -> Found:
    pairs = zip(epochs, epochs[1:], strict=False)
    return [
        ("loss-explosion", after["epoch"], None)
        for before, after in pairs
        if 0 < before["loss"]["train_mean"] * 2 < after["loss"]["train_mean"]
    ]


def loss_divergence(epochs: Epochs) -> Found:
    for first, second, third in zip(epochs, epochs[1:], epochs[2:], strict=False):
        if first["loss"]["train_mean"] < second["loss"]["train_mean"] < third["loss"]["train_mean"]:
            return [("loss-divergence", third["epoch"], None)]
    return []


def loss_plateau(epochs: Epochs) -> Found:
    for first, last in zip(epochs, epochs[2:], strict=False):
        start = first["loss"]["train_mean"]
        if start > 0 and (start - last["loss"]["train_mean"]) / start < 0.01:
            return [("loss-plateau", last["epoch"], None)]
    return []


def overfitting(epochs: Epochs) -> Found:
    rises = 0
    for before, after in zip(epochs, epochs[1:], strict=False):
        worse = after["loss"]["val"]["val_loss"] > before["loss"]["val"]["val_loss"]
        rises += worse and after["loss"]["train_mean"] < before["loss"]["train_mean"]
    return [("overfitting", epochs[-1]["epoch"], None)] if rises >= 2 else []


def high_loss_variance(epochs: Epochs) -> Found:
    return [
        ("high-loss-variance", epoch["epoch"], None)
        for epoch in epochs
        if epoch["loss"]["train_std"] > 0.5 * epoch["loss"]["train_mean"]
    ]


def throughput_degradation(epochs: Epochs) -> Found:
    best, found = 0.0, []
    for epoch in epochs:
        speed = epoch["throughput"]["samples_per_second"]
        best = max(best, speed)
        if speed < 0.8 * best:
            found.append(("throughput-degradation", epoch["epoch"], None))
    return found


def memory_growth(epochs: Epochs) -> Found:
    first, last = (epoch["memory"]["process_rss_mb"] for epoch in (epochs[0], epochs[-1]))
    return [("memory-growth", epochs[-1]["epoch"], None)] if last > 1.25 * first else []


def slow_epoch(epochs: Epochs) -> Found:
    usual = median(epoch["duration_seconds"] for epoch in epochs)
    return [("slow-epoch", epoch["epoch"], None) for epoch in epochs if epoch["duration_seconds"] > 1.5 * usual]


def high_cpu(epochs: Epochs) -> Found:
    return [("high-cpu", epoch["epoch"], None) for epoch in epochs if epoch["system"]["cpu_percent"] > 90]


def dead_neurons(epochs: Epochs) -> Found:
    return [
        ("dead-neurons", epoch["epoch"], layer)
        for epoch in epochs
        for layer, health in epoch["layer_health"]["layers"].items()
        if health["weight_sparsity"] > 0.5
    ]


def vanishing_gradients(epochs: Epochs) -> Found:
    return [
        ("vanishing-gradients", epoch["epoch"], layer)
        for epoch in epochs
        for layer, health in epoch["layer_health"]["layers"].items()
        if health["gradient_norm_mean"] < 1e-7
    ]


def activation_collapse(epochs: Epochs) -> Found:
    return [
        ("activation-collapse", epoch["epoch"], layer)
        for epoch in epochs
        for layer, health in epoch["layer_health"]["layers"].items()
        if health["activation_variance"] < 1e-6
    ]


CHECKS = (
    loss_explosion,
    loss_divergence,
    loss_plateau,
    overfitting,
    high_loss_variance,
    throughput_degradation,
    memory_growth,
    slow_epoch,
    high_cpu,
    dead_neurons,
    vanishing_gradients,
    activation_collapse,
)


def diagnose(epochs: Epochs) -> Found:
    """Return what all checks find."""
    return [finding for check in CHECKS for finding in check(epochs)]
