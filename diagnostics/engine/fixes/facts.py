"""What a run tells of itself that a snippet can be made of."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from diagnostics.engine.architecture import Layer
from diagnostics.engine.curves import Floats
from diagnostics.engine.fixes.source import usable
from diagnostics.engine.reading import integer, number
from diagnostics.engine.run import Run

_RATES = ("learning_rate", "lr", "learning-rate", "base_lr", "max_lr")
_BATCHES = ("batch_size", "train_batch_size", "per_device_train_batch_size", "bs")
_EPOCHS = ("epochs", "num_epochs", "n_epochs", "max_epochs", "num_train_epochs")
_DECAYS = ("weight_decay", "wd", "l2")
_USUAL_UPDATE = 2e-3
# Size of an update over that of the weights at which networks learn well (Karpathy 2022 aims at 1e-3).
_FAST_UPDATE = 0.05


class Facts:
    """Facts of one run. A number that the run does not tell is None."""

    def __init__(self, run: Run) -> None:
        self.run = run

    @cached_property
    def told(self) -> Mapping[str, Any]:
        """Hyperparameters by their names in lower case."""
        return {str(name).lower(): value for name, value in self.run.hyperparameters.items()}

    def number(self, *names: str) -> float | None:
        """Return the first of the hyperparameters ``names`` that is a positive number."""
        return next((value for name in names if usable(value := number(self.told.get(name)))), None)

    @cached_property
    def rate(self) -> float | None:
        """Highest learning rate of the run."""
        column = self.run.column("learning_rate")
        rates = column.values[column.finite]
        highest = float(rates.max(initial=0.0))
        return highest if usable(highest) else self.number(*_RATES)

    @cached_property
    def batch_size(self) -> int | None:
        return integer(self.number(*_BATCHES))

    @cached_property
    def epochs(self) -> int:
        """Epochs that were planned, or at least made."""
        return max(integer(self.number(*_EPOCHS)) or 0, len(self.run))

    @cached_property
    def weight_decay(self) -> float | None:
        return self.number(*_DECAYS)

    @cached_property
    def steps(self) -> int | None:
        """Steps of an epoch."""
        batches = self.run.column("loss.n_batches")
        known = batches.values[batches.finite]
        return integer(round(float(np.median(known)))) if known.size and 1 <= np.median(known) < 1e12 else None

    def usual_norm(self, before: int | None = None) -> float | None:
        """Return the median of the gradient norms, of the epochs before ``before`` if there are any."""
        norms, epochs = self._norms
        early = norms[epochs < before] if before is not None else norms
        chosen = early if early.size else norms
        median = float(np.median(chosen)) if chosen.size else None
        return median if usable(median) else None

    @cached_property
    def _norms(self) -> tuple[Floats, Floats]:
        """Gradient norms of the whole model, by step where steps were logged, with the epoch of each."""
        steps = self.run.steps("grad_norm_mean")
        known = np.isfinite(steps.values) & (steps.values > 0)
        if known.any():
            return steps.values[known].astype(np.float64), self.run.epochs[steps.rows[known]].astype(np.float64)
        column = self.run.column("gradients.norm_mean")
        if column.finite.size:
            return column.values[column.finite], self.run.epochs[column.finite].astype(np.float64)
        layers = self.run.layer_matrix("gradient_norm_mean").values.astype(np.float64)
        rows = np.flatnonzero(np.isfinite(layers).any(axis=1) & ~np.isinf(layers).any(axis=1))
        return np.sqrt(np.nansum(layers[rows] ** 2, axis=1)), self.run.epochs[rows].astype(np.float64)

    @cached_property
    def update_ratio(self) -> float | None:
        """Median over layers and epochs of an update's size over that of the weights."""
        ratios = self.run.layer_matrix("update_ratio").values
        known = ratios[np.isfinite(ratios) & (ratios > 0)]
        median = float(np.median(known)) if known.size else None
        return median if usable(median) else None

    @cached_property
    def began_fast(self) -> bool:
        """Whether the first window's steps were so large that they may have thrown units where none comes back."""
        ratios = self.run.layer_matrix("update_ratio").values
        rows = np.flatnonzero(np.isfinite(ratios).any(axis=1))
        return bool(rows.size and np.nanmax(ratios[rows[0]]) > _FAST_UPDATE)

    def lower_rate(self) -> float | None:
        """Return a learning rate a third to a hundredth of the run's, by the size of its updates if that is known."""
        # Dead and frozen layers make the median small; that is no reason to keep the rate.
        known = self.update_ratio is not None and self.update_ratio > _USUAL_UPDATE
        factor = _USUAL_UPDATE / self.update_ratio if known and self.update_ratio else 0.1
        return None if self.rate is None else self.rate * min(max(factor, 0.01), 0.3)

    def higher_rate(self) -> float | None:
        """Return a learning rate three to a hundred times the run's, by the size of its updates if that is known."""
        factor = _USUAL_UPDATE / self.update_ratio if self.update_ratio else 10.0
        return None if self.rate is None else self.rate * min(max(factor, 3.0), 100.0)

    @cached_property
    def _layers(self) -> dict[str, Layer]:
        return {layer.id: layer for layer in self.run.blueprint.layers}

    def layer(self, name: str | None) -> Layer | None:
        return self._layers.get(name or "")

    def activation_after(self, name: str) -> str | None:
        """Return the type of the activation that follows the layer ``name``, before any other with weights."""
        order = list(self._layers.values())
        at = next((place for place, layer in enumerate(order) if layer.id == name), len(order))
        for layer in order[at + 1 :]:
            if layer.category == "activation":
                return layer.type
            if layer.category in ("linear", "convolution", "attention", "recurrent"):
                return None
        return None
