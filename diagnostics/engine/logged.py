"""What was logged of one thing, as the checks ask a `Run` for it: a number per epoch, per layer, or per step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from diagnostics.engine.columns import Singles, is_any
from diagnostics.engine.curves import Bools, Floats, Ints


@dataclass(frozen=True)
class Column:
    """One number per epoch. ``values`` is float64 and NaN where nothing was logged, ``seen`` says where it was."""

    name: str
    values: Floats
    seen: Bools

    def __bool__(self) -> bool:
        """Whether anything was logged at all."""
        return bool(self.seen.any())

    @cached_property
    def finite(self) -> Ints:
        """Rows with a finite number."""
        return np.isfinite(self.values).nonzero()[0]


@dataclass(frozen=True)
class Matrix:
    """One number per epoch and layer: ``values`` (epochs x layers, float32) and ``seen`` alike."""

    name: str
    layers: tuple[Any, ...]
    values: Singles
    seen: Bools

    @cached_property
    def _is_logged(self) -> bool:
        return is_any(self.seen)

    def __bool__(self) -> bool:
        return self._is_logged

    @cached_property
    def lowest(self) -> np.float32:
        """The lowest number; NaN if there is none. No number is below a limit that this one is not below."""
        return np.float32(np.fmin.reduce(self.values, axis=None, initial=np.nan))

    @cached_property
    def highest(self) -> np.float32:
        """The highest number; NaN if there is none. No number is above a limit that this one is not above."""
        return np.float32(np.fmax.reduce(self.values, axis=None, initial=np.nan))

    @cached_property
    def highs(self) -> Floats:
        """The highest number of each layer, NaN where there is none; float64."""
        return np.asarray(np.fmax.reduce(self.values, axis=0, initial=np.nan), np.float64)

    @property
    def last(self) -> Floats:
        """The number of each layer in the last epoch; float64."""
        return np.asarray(self.values[-1], np.float64)

    @cached_property
    def is_finite(self) -> bool:
        """Whether every number was logged and is finite."""
        return bool(self.values.size) and bool(np.isfinite(self.values).all())


@dataclass(frozen=True)
class StepSeries:
    """A down-sampled step series, all epochs in a row; ``rows`` says to which of the run's epochs a bucket belongs."""

    name: str
    rows: Ints
    values: Singles
    seen: Bools

    @cached_property
    def doubles(self) -> Floats:
        """``values`` in float64."""
        return self.values.astype(np.float64)

    @cached_property
    def _is_logged(self) -> bool:
        return bool(self.seen.any())

    def __bool__(self) -> bool:
        return self._is_logged
