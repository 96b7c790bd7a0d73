"""Public training logs, judged: what their curves show to a reader against what `mldiag check` says.

    python -m benchmarks.detection.replay

Each log of ``acceptance/public_logs.toml`` is written as the ``trainer_state.json`` that it was, or would have been,
and read back as any user's file. Most hold losses, rates and gradient norms, and nothing of layers or memory.
"""

from __future__ import annotations

import json
import tomllib
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.detection.figures import Share
from benchmarks.detection.judging import PROFILES
from diagnostics.engine import IssueSeverity, Policy, Report
from mldiag.cli.judging import judge

LOGS = Path(__file__).parent / "acceptance" / "public_logs.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """The numbers of one public log; ``judged`` is the reader's verdict. Without ``names`` it is a healthy one.

    ``rate`` and ``eval`` are as in the file, ``epoch`` is how many steps an epoch has (0: nobody said).
    """

    name: str
    source: str
    judged: str
    loss: Sequence[float]
    steps: Sequence[int] = ()
    every: int = 0
    epoch: int = 0
    rate: Sequence[tuple[int, float]] = ()
    grad_norm: Sequence[float] = ()
    eval: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    names: Sequence[str] = ()
    signs: Sequence[str] = ()

    @property
    def healthy(self) -> bool:
        return not self.names

    def trainer_state(self) -> bytes:
        """Return the log in the form in which the Hugging Face Trainer writes it; NaN as Python spells it."""
        steps = self.steps or [self.every * (at + 1) for at in range(len(self.loss))]
        entries = [self._training(at, step) for at, step in enumerate(steps)]
        entries += [self._evaluation(at, step) for at, step in enumerate(self.eval.get("step", ()))]
        entries.sort(key=lambda entry: (entry["step"], "loss" not in entry))
        return json.dumps({"global_step": steps[-1], "log_history": entries}).encode()

    def _training(self, at: int, step: int) -> dict[str, Any]:
        entry = self._dated(step) | {"loss": self.loss[at]}
        if self.rate:
            entry["learning_rate"] = _between(self.rate, step)
        if self.grad_norm:
            entry["grad_norm"] = self.grad_norm[at]
        return entry

    def _evaluation(self, at: int, step: int) -> dict[str, Any]:
        found = {f"eval_{name}": values[at] for name, values in self.eval.items() if name != "step"}
        return self._dated(step) | found

    def _dated(self, step: int) -> dict[str, Any]:
        return {"step": step} | ({"epoch": step / self.epoch} if self.epoch else {})


def _between(points: Sequence[tuple[int, float]], step: int) -> float:
    """Return the value at ``step`` on the straight lines between ``points``."""
    after = bisect_left(points, step, key=lambda point: point[0])
    if after in (0, len(points)):
        return points[min(after, len(points) - 1)][1]
    (left, low), (right, high) = points[after - 1], points[after]
    return low + (high - low) * (step - left) / (right - left)


def read_logs() -> list[Log]:
    return [Log(**each) for each in tomllib.loads(LOGS.read_text(encoding="utf-8"))["log"]]


def alarms(report: Report) -> list[str]:
    """Return the checks that raised a warning or worse, each once, in the order of the report."""
    return list(dict.fromkeys(issue.check_id for issue in report.issues if issue.severity != IssueSeverity.info))


def detected(log: Log, report: Report) -> bool:
    """Return whether a check that names the fault reported it, or one that sees its symptoms warned."""
    named = any(issue.check_id in log.names for issue in report.issues)
    return named or not set(log.signs).isdisjoint(alarms(report))


def named_first(log: Log, report: Report) -> bool:
    return bool(report.issues) and report.issues[0].check_id in log.names


def main() -> None:
    logs = read_logs()
    for profile in PROFILES:
        policy = Policy.from_mapping({"profile": profile})
        reports = [judge(log.trainer_state(), policy)[1] for log in logs]
        print(_table(profile, list(zip(logs, reports, strict=True))))


def _table(profile: str, judged: Sequence[tuple[Log, Report]]) -> str:
    sound = [bool(alarms(report)) for log, report in judged if log.healthy]
    faulty = [(log, report) for log, report in judged if not log.healthy]
    seen = Share(sum(detected(*each) for each in faulty), len(faulty))
    first = Share(sum(named_first(*each) for each in faulty), len(faulty))
    head = (
        f"## Public logs, {profile} profile\n\nHealthy logs with a warning or worse: {Share(sum(sound), len(sound))}; "
        f"faults detected: {seen}, named first: {first}.\n\n"
        "| log | what a reader sees | raised | score |\n| --- | --- | --- | --- |\n"
    )
    rows = (
        f"| {log.name} | {log.judged.partition(':')[0]} | {', '.join(alarms(report)) or '-'} | "
        f"{report.health_score:g} |\n"
        for log, report in judged
    )
    return head + "".join(rows)


if __name__ == "__main__":
    main()
