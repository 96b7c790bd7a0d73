"""A model of what healthy epochs look like, and how unusual it finds others.

The model is a Gaussian mixture over the figures of `diagnostics.engine.anomaly_features`. scikit-learn fits it
(`diagnostics.anomaly_training`); here it is plain numbers out of JSON and a few products of arrays: nothing that a file
could execute, and no library but NumPy.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, Self

import numpy as np

from diagnostics.engine.anomaly_figures import NAMES
from diagnostics.engine.curves import Floats

FORMAT = 1
"""Version of the stored form, and of the meaning of the features. Raised when older models must not be used."""

FURTHEST = 50.0
# In units of the healthy spread: beyond it everything is equally far, and squares stay finite.

_LIMIT = 100
# Parts of a mixture and knots of a calibration that a stored model may have.


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class AnomalyModel:
    """What is normal, learned from healthy runs.

    ``features`` names the figures it looks at, ``center`` and ``scale`` put them on one scale, ``low`` and ``high`` are
    the ends of what healthy epochs showed (all of them in the figures' own units, one entry a feature). ``weights``
    (parts), ``means`` (parts x features) and ``precisions`` (parts x features x features: Cholesky factors of the
    inverse covariances) are the mixture. ``knots`` are pairs of surprise and score, both ascending: surprise is the
    negative log-likelihood, score runs from 0 to 1, and 0.9 is more than any healthy run showed to a model that did not
    know it. Raises ValueError for numbers that do not belong together.
    """

    name: str
    version: int
    trained: str
    sessions: int
    epochs: int
    features: tuple[str, ...]
    center: Floats
    scale: Floats
    low: Floats
    high: Floats
    weights: Floats
    means: Floats
    precisions: Floats
    knots: Floats

    def __post_init__(self) -> None:
        parts, width = self.weights.shape[0] if self.weights.ndim else 0, len(self.features)
        if unknown := sorted(set(self.features) - set(NAMES)):
            raise ValueError(f"the model looks at what this engine does not compute: {', '.join(unknown)}")
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("center", "scale", "low", "high"), (width,))
        shapes |= {"weights": (parts,), "means": (parts, width), "precisions": (parts, width, width)}
        shapes["knots"] = (self.knots.shape[0] if self.knots.ndim else 0, 2)
        for name, shape in shapes.items():
            values = getattr(self, name)
            if values.shape != shape or not np.isfinite(values).all() or not 0 < max(shape) <= _LIMIT:
                raise ValueError(f"{name} of the model must be {shape} finite numbers")
        if np.any(self.scale <= 0) or np.any(self.weights <= 0) or np.any(np.diff(self.knots, axis=0) < 0):
            raise ValueError("scales and weights of a model are positive, its knots ascend")
        if np.any(np.diagonal(self.precisions, axis1=1, axis2=2) <= 0):
            raise ValueError("the diagonal of a precision factor is positive")

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Return the model that `as_dict` wrote. Raises ValueError for anything else."""
        if not isinstance(stored, Mapping) or stored.get("format") != FORMAT:
            raise ValueError(f"no anomaly model of format {FORMAT}")
        try:
            return cls(
                name=str(stored["name"]),
                version=int(stored["version"]),
                trained=str(stored["trained"]),
                sessions=int(stored["sessions"]),
                epochs=int(stored["epochs"]),
                features=tuple(map(str, stored["features"])),
                **{name: np.array(stored[name], np.float64) for name in _ARRAYS},
            )
        except (KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"the anomaly model is incomplete: {error}") from error

    def as_dict(self) -> dict[str, Any]:
        """Return the model as JSON types; seven digits are kept."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        rounded = {name: _rounded(values[name].tolist()) for name in _ARRAYS}
        return {"format": FORMAT, **values, "features": list(self.features), **rounded}

    def described(self) -> dict[str, Any]:
        """Return who the model is: what a report says of it."""
        return {each: getattr(self, each) for each in ("name", "version", "trained", "sessions")}

    def select(self, table: Floats) -> Floats:
        """Return the model's own columns of what `features` returned."""
        return table[:, _places(self)]

    def surprise(self, selected: Floats) -> Floats:
        """Return the negative log-likelihood of each row of `select`; what is not known counts as ordinary."""
        ordinary = np.where(np.isfinite(selected), (selected - self.center) / self.scale, 0.0)
        rows = np.clip(ordinary, -FURTHEST, FURTHEST)
        middle, constant = _constants(self)
        away = rows @ self.precisions - middle
        logs = constant - 0.5 * np.square(away).sum(axis=2)
        top = logs.max(axis=0)
        return np.asarray(-(top + np.log(np.exp(logs - top).sum(axis=0))))

    def score(self, table: Floats) -> Floats:
        """Return how unusual each epoch is, 0 to 1, by what `features` returned; NaN for one of which nothing is
        known."""
        selected = self.select(table)
        scores = np.interp(self.surprise(selected), self.knots[:, 0], self.knots[:, 1])
        return np.where(np.isfinite(selected).any(axis=1), scores, np.nan)

    def drivers(self, row: Floats) -> list[str]:
        """Return the features that drive the score of one epoch (a row of `features`), the strongest first.

        A feature drives the score by how much less surprising the epoch is without it. What counts for less than a
        tenth of the strongest is left out.
        """
        selected = self.select(row[None])
        without = np.repeat(selected, len(self.features), axis=0)
        np.fill_diagonal(without, np.nan)
        relief = self.surprise(selected)[0] - self.surprise(without)
        order = np.argsort(-relief)
        return [self.features[at] for at in order if relief[at] > 0.1 * relief[order[0]] > 0]

    def beyond(self, row: Floats) -> set[str]:
        """Return the features in which an epoch lies beyond all healthy ones, by a tenth of their range or more."""
        selected, margin = self.select(row[None])[0], 0.1 * (self.high - self.low)
        outside = (selected < self.low - margin) | (selected > self.high + margin)
        return {name for name, is_outside in zip(self.features, outside, strict=True) if is_outside}


@lru_cache(maxsize=64)
def _places(model: AnomalyModel) -> list[int]:
    return [NAMES.index(name) for name in model.features]


@lru_cache(maxsize=64)
def _constants(model: AnomalyModel) -> tuple[Floats, Floats]:
    """Return what the likelihood of every epoch needs of the mixture: its middles, and the size of its parts."""
    determinants = np.log(np.diagonal(model.precisions, axis1=1, axis2=2)).sum(axis=1)
    constant = np.log(model.weights) + determinants - 0.5 * len(model.features) * math.log(2 * math.pi)
    return model.means[:, None, :] @ model.precisions, constant[:, None]


_ARRAYS = ("center", "scale", "low", "high", "weights", "means", "precisions", "knots")


def _rounded(value: float | Sequence[Any]) -> Any:
    return float(f"{value:.7g}") if isinstance(value, (int, float)) else [_rounded(each) for each in value]


@cache
def generic() -> AnomalyModel:
    """Return the model that comes with the engine, learned from runs of ``benchmarks.detection``."""
    text = files("diagnostics.engine").joinpath("anomaly_default.json").read_text()
    return AnomalyModel.from_dict(json.loads(text))
