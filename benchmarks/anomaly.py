"""Makes the anomaly model that comes with the engine: ``python -m benchmarks.anomaly [--write]``.

It learns from the healthy runs of the tuning part of `benchmarks.detection`, trained here if they are not there yet,
and never sees the held-out part. Beside it stand other detectors of scikit-learn on the same figures, each by the area
under the ROC curve of healthy against faulty runs: a run counts by its most unusual epoch, and a healthy one is judged
by a detector that knew no run of its workload, however it was varied.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from sklearn.covariance import LedoitWolf
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GroupKFold
from sklearn.neighbors import NearestNeighbors
from sklearn.svm import OneClassSVM

import diagnostics.engine.anomaly as anomaly
from benchmarks.detection.running import Trained, default_workers, jobs, train_all
from benchmarks.detection.scenario import Part
from diagnostics.anomaly_training import learn
from diagnostics.engine import Run
from diagnostics.engine.anomaly_features import features
from diagnostics.engine.curves import Floats

SEEDS = 3
TARGET = Path(anomaly.__file__).with_name("anomaly_default.json")
Detector = Callable[[Floats], Callable[[Floats], Floats]]


def mixture(parts: int) -> Detector:
    def fitted(rows: Floats) -> Callable[[Floats], Floats]:
        model = GaussianMixture(parts, reg_covar=1e-2, random_state=0).fit(rows)
        return lambda seen: -model.score_samples(seen)

    return fitted


def forest(rows: Floats) -> Callable[[Floats], Floats]:
    model = IsolationForest(n_estimators=200, max_samples=1.0, random_state=0).fit(rows)
    return lambda seen: -model.score_samples(seen)


def ellipse(rows: Floats) -> Callable[[Floats], Floats]:
    return LedoitWolf().fit(rows).mahalanobis


def neighbors(rows: Floats) -> Callable[[Floats], Floats]:
    model = NearestNeighbors(n_neighbors=5).fit(rows)
    return lambda seen: model.kneighbors(seen)[0].mean(axis=1)


def machine(rows: Floats) -> Callable[[Floats], Floats]:
    model = OneClassSVM(nu=0.01).fit(rows)
    return lambda seen: -model.score_samples(seen)


DETECTORS: dict[str, Detector] = {
    **{f"Gaussian mixture of {parts}": mixture(parts) for parts in (1, 2, 4, 8)},
    "isolation forest": forest,
    "shrunk covariance": ellipse,
    "five nearest neighbors": neighbors,
    "one-class SVM": machine,
}


def figures_of(run: Trained) -> Floats:
    """Return the figures of a run's epochs, without those of which nothing is known."""
    document = json.loads(run.path.read_bytes())
    table = features(Run.from_epochs(document["epochs"]))
    return table[np.isfinite(table).any(axis=1)]


def area(detector: Detector, healthy: Sequence[Floats], workloads: Sequence[str], faulty: Sequence[Floats]) -> float:
    """Return the area under the ROC curve, healthy runs judged by detectors that knew no run of their workload."""
    sound, broken = np.zeros(len(healthy)), np.zeros(len(faulty))
    folds = list(GroupKFold(5).split(healthy, groups=workloads))
    for known, strange in folds:
        rows = np.concatenate([healthy[at] for at in known])
        used = np.isfinite(rows).mean(axis=0) >= 0.3
        center = np.nanmedian(rows[:, used], axis=0)
        spread = np.ptp(np.nanquantile(rows[:, used], [0.02, 0.98], axis=0), axis=0)

        def scaled(table: Floats, center=center, spread=spread, used=used) -> Floats:
            return np.nan_to_num((table[:, used] - center) / np.maximum(spread, 0.02))

        surprise = detector(scaled(rows))
        sound[strange] = [surprise(scaled(healthy[at])).max() for at in strange]
        broken += [surprise(scaled(table)).max() / len(folds) for table in faulty]
    return float(roc_auc_score([0] * len(sound) + [1] * len(broken), [*sound, *broken]))


def main() -> None:
    options = argparse.ArgumentParser(
        prog="python -m benchmarks.anomaly", description=(__doc__ or "").partition("\n")[0]
    )
    options.add_argument("--seeds", type=int, default=SEEDS, metavar="N", help="runs of each scenario (%(default)s)")
    options.add_argument("--cache", type=Path, default=Path(".detection"), metavar="DIR", help="where runs are kept")
    options.add_argument("--write", action="store_true", help=f"store the model as {TARGET.name}")
    chosen = options.parse_args()
    trained = list(train_all(jobs([Part.tuning], chosen.seeds), chosen.cache, default_workers()))
    trained = sorted(trained, key=lambda each: (each.job.name, each.job.seed))
    tables = [(each.job.scenario, table) for each in trained if len(table := figures_of(each))]
    healthy = [(scenario.workload.__name__, table) for scenario, table in tables if scenario.healthy]
    workloads, sound = [workload for workload, _ in healthy], [table for _, table in healthy]
    faulty = [table for scenario, table in tables if not scenario.healthy]
    print(f"{len(sound)} healthy runs, {len(faulty)} faulty ones.\n\n| detector | area under ROC |\n| --- | ---: |")
    for name, detector in DETECTORS.items():
        print(f"| {name} | {area(detector, sound, workloads, faulty):.3f} |")
    if chosen.write:
        model = learn(sound, workloads, name="generic", version=anomaly.FORMAT)
        TARGET.write_text(json.dumps(model.as_dict(), separators=(",", ":")) + "\n")
        print(f"\n{TARGET.name}: {model.sessions} runs, {model.epochs} epochs, {len(model.features)} figures")


if __name__ == "__main__":
    main()
