"""``python -m benchmarks.detection``: train what is not trained yet, judge it all, print the tables."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks.detection import peers, tables
from benchmarks.detection.judging import PROFILES, Verdict, judge
from benchmarks.detection.running import ROUNDS, Trained, default_workers, jobs, train_all
from benchmarks.detection.scenario import Part

PARTS = {"own": [Part.tuning, Part.held_out], "all": list(Part)}
"""Names of several parts. The acceptance part has a page of its own, which tells of the one time that it was blind."""


def main() -> None:
    chosen = _arguments()
    parts = PARTS.get(chosen.part) or [Part(chosen.part)]
    wanted = jobs(parts, chosen.seeds, chosen.only, [chosen.round] if chosen.round else ROUNDS)
    if not wanted:
        named = f" with {chosen.only!r} in its name" if chosen.only else ""
        raise SystemExit(
            f"there is no scenario{named} in {'these' if chosen.part in PARTS else f'the {chosen.part}'} parts"
        )
    parts = [part for part in parts if any(job.part == part for job in wanted)]
    place = {job: number for number, job in enumerate(wanted)}
    trained = sorted(train_all(wanted, chosen.cache, chosen.jobs), key=lambda each: place[each.job])
    judged = {part: _judged([each for each in trained if each.job.part == part]) for part in parts}
    text = "\n".join(_page(part, judged[part], [each for each in trained if each.job.part == part]) for part in parts)
    print(text)
    if chosen.docs:
        chosen.docs.write_text(f"{_PREFACE.format(seeds=chosen.seeds)}\n{text}")
    if chosen.json:
        chosen.json.write_text(json.dumps(tables.document(judged), indent=1, allow_nan=False))


def _judged(trained: list[Trained]) -> dict[str, list[Verdict]]:
    return {profile: [judge(each, profile) for each in trained] for profile in PROFILES}


def _page(part: Part, judged: dict[str, list[Verdict]], trained: list[Trained]) -> str:
    robust = judged["robust"]
    alarms = {name: [peers.alarmed(name, each) for each in trained] for name in peers.installed()}
    return "\n".join(
        (
            tables.summary_table(part, judged),
            tables.peer_table(judged, alarms),
            tables.alarm_table(judged) + "\n",
            f"Each kind of fault, {part} part, robust profile:\n\n{tables.fault_table(robust)}",
            f"Each kind of healthy run, {part} part, robust profile:\n\n{tables.healthy_table(robust)}",
        )
    )


def _arguments() -> argparse.Namespace:
    options = argparse.ArgumentParser(prog="python -m benchmarks.detection", description=__doc__)
    options.add_argument("--part", choices=[*Part, *PARTS], default="own")
    options.add_argument("--round", type=int, choices=ROUNDS, help="one round of the acceptance part (all)")
    options.add_argument("--seeds", type=int, default=2, metavar="N", help="runs of each scenario (%(default)s)")
    options.add_argument("--only", default="", metavar="NAME", help="scenarios with NAME in 'kind/workload'")
    options.add_argument("--jobs", type=int, default=default_workers(), metavar="N", help="trainings at a time")
    options.add_argument("--json", type=Path, metavar="FILE", help="write all figures and verdicts")
    options.add_argument("--docs", type=Path, metavar="FILE", help="write the tables as a page")
    options.add_argument("--cache", type=Path, default=Path(".detection"), metavar="DIR", help="where runs are kept")
    return options.parse_args()


_PREFACE = """# How well faults are found

Written by `make bench-detection`: real trainings on the CPU ({seeds} seeds each) under the public `Observer`, exported
to files and judged from these. Thresholds are tuned on the tuning part; the held-out part shares neither data nor seeds
with it, has other models or the same kinds in other sizes, and says what the thresholds are worth.

The held-out part is not blind any more, so its figures flatter. Two rules were changed after its totals were seen
(single runs were not looked at): `missing-pooling` learned of pooling by functions (it had flagged 18 of 78 healthy
runs), and `inf-gradients` lets a scaler's first steps pass (2 of 78). Before the first change 19 of 78 were
flagged, before the second 4 of 78. Four of its workloads were set anew: their curves really went wrong.

A third part, [acceptance](acceptance.md), was made in three rounds without a look at any rule, each judged once, blind.
In the last, 9 % of the healthy runs were flagged, 84 % of the faults found and 75 % named first. These are the figures
to believe: the tables below flatter.

*Detected*: a check that names the fault reports it, or one that sees its symptoms warns. *Named first*: the first issue
of the report is one that names the fault. *No check yet*: the engine has none that could; such faults count as missed
in "faults detected", and the rows "of those ..." leave them out. A false alarm is a warning or worse on a healthy run.
"""


if __name__ == "__main__":
    main()
