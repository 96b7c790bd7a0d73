"""What checks on single layers share: windows in which a layer is hit, whether that lasts, how to say it."""

from __future__ import annotations

import numpy as np

from diagnostics.engine.architecture import Layer
from diagnostics.engine.bounded import MOST_LAYERS
from diagnostics.engine.columns import Singles
from diagnostics.engine.curves import Bools, Floats
from diagnostics.engine.once import once
from diagnostics.engine.registry import Finding, evidence
from diagnostics.engine.run import Run
from diagnostics.engine.thresholds import DiagnosticThresholds


def values_of(run: Run, statistic: str) -> Singles:
    """Return one statistic, epochs x layers; NaN where nothing was logged."""
    return run.layer_matrix(statistic).values


def above(run: Run, statistic: str, limit: float) -> Bools:
    """Return where a statistic is above ``limit``, epochs x layers. In a healthy run, one comparison tells: nowhere."""
    matrix = run.layer_matrix(statistic)
    return np.asarray(matrix.values > limit) if matrix.highest > limit else run.nowhere


def below(run: Run, statistic: str, limit: float) -> Bools:
    """Return where a statistic is below ``limit``, epochs x layers."""
    matrix = run.layer_matrix(statistic)
    return np.asarray(matrix.values < limit) if matrix.lowest < limit else run.nowhere


def raised(run: Run, flag: str) -> Bools:
    """Return where the client itself raised ``flag``, epochs x layers."""
    matrix = run.layer_matrix(flag)
    return np.asarray(matrix.values == 1) if matrix.highest >= 1 else run.nowhere


def either(run: Run, one: Bools, other: Bools) -> Bools:
    """Return ``one | other``, which need not be looked at where one of them is nowhere."""
    if one is run.nowhere:
        return other
    return one if other is run.nowhere else one | other


def medians(values: Floats) -> Floats:
    """Return the median of the finite numbers of each row, [windows]; NaN for a row without one.

    All rows at once: a long run has thousands, and NumPy's own nanmedian warns of empty ones.
    """
    if not values.shape[1]:
        return np.full(values.shape[0], np.nan)
    ordered = np.sort(np.where(np.isfinite(values), values, np.nan), axis=1)
    counts, rows = np.isfinite(ordered).sum(axis=1), np.arange(values.shape[0])
    low, high = (
        ordered[rows, np.maximum(counts - 1, 0) // 2],
        ordered[rows, np.minimum(counts // 2, values.shape[1] - 1)],
    )
    return np.asarray((low + high) / 2)


def seen_of(run: Run, statistic: str, flag: str) -> Bools:
    """Return where a statistic or the client's own flag for it was logged, epochs x layers."""
    return run.layer_matrix(statistic).seen | run.layer_matrix(flag).seen


def layers_hit(hit: Bools) -> list[int]:
    """Return the places of the layers that are hit in any window.

    Where they are more than `MOST_LAYERS`, those that are hit last and most often: the story is the same in all others.
    """
    if not hit.any():
        return []
    layers = np.flatnonzero(hit.any(axis=0))
    if layers.size > MOST_LAYERS:
        worst = np.lexsort((-np.count_nonzero(hit[:, layers], axis=0), ~hit[-1, layers]))
        layers = np.sort(layers[worst[:MOST_LAYERS]])
    return [int(layer) for layer in layers]


def is_sustained(run: Run, hit: Bools, seen: Bools, layer: int) -> bool:
    """Return whether a layer is hit in the last window that says anything of it, and in half of all of them."""
    rows = np.flatnonzero(seen[:, layer])
    return bool(rows.size and hit[rows[-1], layer] and np.count_nonzero(hit[rows, layer]) * 2 >= rows.size)


@once
def _designed(run: Run) -> dict[str, Layer]:
    """Return the layers of the architecture by name; of two of one name the first."""
    return {each.id: each for each in reversed(run.blueprint.layers)}


@once
def _frozen_by_design(run: Run) -> frozenset[str]:
    return frozenset(each.id for each in run.blueprint.layers if each.trainable is False)


def designed(run: Run, layer: str) -> Layer | None:
    """Return a layer as the architecture has it, None if it has none of that name."""
    return _designed(run).get(layer)


def category(run: Run, layer: str) -> str:
    found = designed(run, layer)
    return found.category if found is not None else "other"


def is_frozen(run: Run, layer: int) -> bool:
    trainable = values_of(run, "trainable")[:, layer]
    known = trainable[np.isfinite(trainable)]
    if known.size:
        return bool(known[-1] == 0)
    return run.layers[layer] in _frozen_by_design(run)


def layer_finding(
    run: Run, layer: int, hit: Bools, statistic: str, said: str, limits: DiagnosticThresholds, threshold: str
) -> Finding:
    """Return a finding on one layer: what is ``said`` of it, and the windows in which it was ``hit``."""
    rows = np.flatnonzero(hit[:, layer])
    values = values_of(run, statistic)[rows, layer].astype(np.float64)
    epochs = run.epochs[rows].tolist()
    windows = f"epoch {epochs[0]}" if len(epochs) == 1 else f"{len(epochs)} epochs, first in epoch {epochs[0]}"
    return Finding(
        description=f"Layer {run.layers[layer]!r} {said} in {windows}.",
        epoch=epochs[0],
        layer=run.layers[layer],
        key=f"layers.{statistic}",
        value=float(values[-1]),
        evidence=evidence([f"layers.{statistic}"], epochs, values.tolist(), limits, threshold),
    )
