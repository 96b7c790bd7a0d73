"""Whether the engine still says the same: ``python -m benchmarks.same_reports write FILE``, later ``compare FILE``.

A change that is to make the engine faster must not change a byte of any report. This judges every run there is, in both
profiles and from both forms (records and dicts, or packed bytes): the cached trainings of ``benchmarks.detection``, and
thousands of runs made up by seed, healthy, broken and absurd. Of each report it keeps a digest.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import random
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.engine import make_epoch
from diagnostics.engine import Profile, Report, Run, diagnose
from observer_client.packed import pack
from observer_client.record import plain, to_json

TRAININGS = Path(".detection")
_ODD = (math.nan, math.inf, -math.inf, 0.0, -1.0, 1e38, 1e-30, 1e300, None, True, "nan", "high", [], {})


def digest(report: Report) -> str:
    """Return a digest of all that a report says."""
    told = report.as_dict() | {"suppressed": [issue.as_dict() for issue in report.suppressed]}
    return hashlib.sha256(json.dumps(plain(told), sort_keys=True, default=str).encode()).hexdigest()[:24]


def trained(folder: Path) -> Iterator[tuple[str, Run]]:
    """Yield the runs that `benchmarks.detection` keeps in ``folder``."""
    from mldiag.cli.readers import read

    for path in sorted(folder.glob("*.json")):
        run = read(path.read_bytes())
        about: dict[str, Any] = {
            "logs": run.logs,
            "architecture": run.architecture,
            "hyperparameters": run.hyperparameters,
            "environment": run.environment,
        }
        yield path.stem, Run.from_epochs(run.epochs, **about)
        document = json.loads(path.read_bytes())
        yield f"{path.stem} as dicts", Run.from_epochs(document.get("epochs", ()), **about)


def made_up(count: int) -> Iterator[tuple[str, Run]]:
    """Yield runs of one shape each, bent in more places the higher their number: from healthy to absurd."""
    for number in range(count):
        chance = random.Random(number)
        size = chance.choice((1, 2, 3, 5, 10, 30, 100)), chance.choice((0, 1, 3, 10))
        records = [make_epoch(epoch, size[1]) for epoch in range(size[0])]
        yield f"made up {number} packed", Run.from_packed([pack(record) for record in records])
        epochs = [json.loads(to_json(record)) for record in records]
        _wander(epochs, chance)
        for _ in range(number % 40):
            _bend(chance.choice(epochs), chance)
        yield f"made up {number}", Run.from_epochs(epochs)


def _wander(epochs: list[dict[str, Any]], chance: random.Random) -> None:
    """Give each number of each epoch a size and a noise of its own, as one of a few kinds of curve."""
    kinds: dict[str, tuple[float, float, float]] = {}

    def walk(value: Any, path: str, at: int) -> Any:
        if isinstance(value, Mapping):
            return {name: walk(entry, f"{path}.{name}", at) for name, entry in value.items()}
        if not isinstance(value, float) or path in (".learning_rate",):
            return value
        kind = kinds.setdefault(
            path, (10 ** chance.uniform(-3, 2), chance.choice((0, 0, 0.02, 0.5)), chance.choice((0, 0, -0.05, 0.1)))
        )
        return value * kind[0] * math.exp(kind[2] * at) * (1 + kind[1] * chance.gauss(0, 1))

    for at, epoch in enumerate(epochs):
        epoch.update(walk(epoch, "", at))


def _bend(epoch: dict[str, Any], chance: random.Random) -> None:
    """Put something odd in one place of an epoch, or take the place away."""
    at: Any = epoch
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        if not keys:
            return
        key = chance.choice(keys)
        inner = at[key]
        if isinstance(inner, (dict, list)) and inner and chance.random() < 0.95:
            at = inner
            continue
        if isinstance(at, dict) and chance.random() < 0.3:
            del at[key]
        else:
            at[key] = chance.choice(_ODD)
        return


def digests(folder: Path, count: int) -> dict[str, str]:
    """Return the digest of every report, by run and profile."""
    found = {}
    for runs in (trained(folder), made_up(count)):
        for name, run in runs:
            for profile in Profile:
                found[f"{name}, {profile}"] = digest(diagnose(run, profile=profile))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.same_reports", description=__doc__)
    parser.add_argument("what", choices=("write", "compare"))
    parser.add_argument("file", type=Path, help="where the digests are kept")
    parser.add_argument("--trainings", type=Path, default=TRAININGS, help="the folder of benchmarks.detection")
    parser.add_argument("--made-up", type=int, default=1500)
    options = parser.parse_args()
    found = digests(options.trainings, options.made_up)
    if options.what == "write":
        options.file.write_text(json.dumps(found, indent=1))
        print(f"{len(found)} reports")
        return
    kept = json.loads(options.file.read_text())
    different = [name for name in {**kept, **found} if kept.get(name) != found.get(name)]
    print(f"{len(found)} reports, {len(different)} of them different", *different[:20], sep="\n")
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
