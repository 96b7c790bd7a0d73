"""Learns what healthy epochs look like. Needs scikit-learn (``pip install mldiag[anomaly]``); judging does not."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from diagnostics.engine.anomaly import AnomalyModel
from diagnostics.engine.anomaly_figures import NAMES
from diagnostics.engine.curves import Floats

LEAST_RUNS, LEAST_EPOCHS = 20, 150
"""Healthy runs, and judged epochs in them, below which nothing can be learned: fewer have not shown what is normal."""

PARTS = 4
"""Parts of the mixture; one to eight were compared on the tuning runs of ``benchmarks.detection``."""

_EPOCHS_PER_PART = 150
_REGULARIZATION = 1e-2
_FOLDS = 5
_LEAST_KNOWN = 0.3
# Share of the epochs in which a figure must be known to be looked at.
_LEAST_SCALE = 0.02
# A figure that never moves in healthy runs would make any motion infinitely surprising.


class CannotLearn(Exception):
    """There is too little to learn from, or scikit-learn is not installed. The message says which."""


def can_learn() -> bool:
    """Return whether scikit-learn is installed."""
    return importlib.util.find_spec("sklearn") is not None


def learn(runs: Sequence[Floats], groups: Sequence[str], *, name: str, version: int) -> AnomalyModel:
    """Return a model of the healthy ``runs``, each given as `features` returns it.

    ``groups`` says which runs are of a kind: the score is calibrated on runs of kinds that the model did not know, so
    that the share of healthy runs above 0.9 holds for new ones. Raises CannotLearn.
    """
    if not can_learn():
        raise CannotLearn("scikit-learn is not installed: pip install mldiag[anomaly]")
    tables = [(table[np.isfinite(table).any(axis=1)], group) for table, group in zip(runs, groups, strict=True)]
    tables = [(table, group) for table, group in tables if len(table)]
    epochs = sum(len(table) for table, _ in tables)
    if len(tables) < LEAST_RUNS or epochs < LEAST_EPOCHS:
        raise CannotLearn(
            f"{len(tables)} healthy runs with {epochs} epochs are too few: {LEAST_RUNS} runs and {LEAST_EPOCHS} epochs "
            "are needed, without the first epochs of each run"
        )
    features = _known_features([table for table, _ in tables])
    flat = np.array([[0.0, 0.0], [1.0, 1.0]])
    folds = _folds([group for _, group in tables])
    strangers = [
        _fit([table for at, (table, _) in enumerate(tables) if at not in held], features, flat, name, version)
        for held in folds
    ]
    surprises = [
        model.surprise(model.select(tables[at][0])) for model, held in zip(strangers, folds, strict=True) for at in held
    ]
    return _fit([table for table, _ in tables], features, _calibration(surprises), name, version)


def _known_features(tables: Sequence[Floats]) -> tuple[str, ...]:
    known = np.isfinite(np.concatenate(tables)).mean(axis=0) >= _LEAST_KNOWN
    return tuple(name for name, is_known in zip(NAMES, known, strict=True) if is_known)


def _folds(groups: Sequence[str]) -> list[list[int]]:
    """Return runs to leave out, by turns: all of a kind at once, where there are kinds enough."""
    kinds = list(dict.fromkeys(groups))
    if len(kinds) < _FOLDS:
        return [list(range(start, len(groups), _FOLDS)) for start in range(_FOLDS)]
    fold = {kind: place % _FOLDS for place, kind in enumerate(kinds)}
    return [[at for at, group in enumerate(groups) if fold[group] == number] for number in range(_FOLDS)]


def _fit(tables: Sequence[Floats], features: tuple[str, ...], knots: Floats, name: str, version: int) -> AnomalyModel:
    # Judging a run must not need it, and a server may do without learning.
    from sklearn.mixture import GaussianMixture

    rows = np.concatenate(tables)[:, [NAMES.index(each) for each in features]]
    center = np.nanmedian(rows, axis=0)
    scale = np.maximum(np.diff(np.nanquantile(rows, [0.02, 0.98], axis=0), axis=0)[0], _LEAST_SCALE)
    parts = max(1, min(PARTS, len(rows) // _EPOCHS_PER_PART))
    scaled = np.where(np.isfinite(rows), (rows - center) / scale, 0.0)
    mixture = GaussianMixture(parts, reg_covar=_REGULARIZATION, random_state=0).fit(scaled)
    return AnomalyModel(
        name=name,
        version=version,
        trained=datetime.now(UTC).date().isoformat(),
        sessions=len(tables),
        epochs=len(rows),
        features=features,
        center=center,
        scale=scale,
        low=np.nanmin(rows, axis=0),
        high=np.nanmax(rows, axis=0),
        weights=mixture.weights_,
        means=mixture.means_,
        precisions=mixture.precisions_cholesky_,
        knots=knots,
    )


def _calibration(surprises: Sequence[Floats]) -> Floats:
    """Return the knots of the score: quantiles of healthy epochs up to 0.8, then the worst epoch of any healthy run,
    with a part of its distance from the median on top, as 0.9, and as far again as 1. The fewer runs there were, the
    further the next one may go: the part is a quarter for many and more for few."""
    epochs = np.concatenate(surprises)
    shares = np.array([0.0, 0.5, 0.9, 0.95, 0.99])
    quantiles = np.quantile(epochs, shares)
    worst = float(epochs.max())
    limit = worst + (0.25 + 10 / len(surprises)) * (worst - float(quantiles[1]))
    pairs = [*zip(quantiles, 0.8 * shares, strict=True), (limit, 0.9), (2 * limit - float(quantiles[1]), 1.0)]
    return np.array(pairs, np.float64)
