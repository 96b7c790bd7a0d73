"""Reports for people."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from mldiag.cli.judging import Judged, Unread
from mldiag.cli.sheet import Sheet, brief
from mldiag.cli.terminal import console, show
from mldiag.cli.untrusted import clean, one_line
from mldiag.cli.wording import duration, own_settings, plural


class TextWriter:
    """Prints each report as soon as it is there, and a summary when there were several files."""

    def __init__(self, layout: Callable[[Sheet], RenderableType] = brief) -> None:
        self._console = console()
        self._layout = layout
        self._scores: list[int] = []
        self._unread = 0
        self._hints: set[str] = set()
        self._example = ""

    def add(self, outcome: Judged | Unread) -> None:
        if isinstance(outcome, Unread):
            self._unread += 1
            self._refuse(outcome)
            return
        self._scores.append(outcome.report.health_score)
        if outcome.report.issues and not self._example:
            self._example = outcome.report.issues[0].check_id
        show(self._console, self._layout(_sheet(outcome)))

    def finish(self) -> None:
        if self._example:
            self._line(f"mldiag explain {self._example}: why it matters and how to fix it", "dim")
        if len(self._scores) + self._unread > 1:
            healthy = sum(score >= 90 for score in self._scores)
            worst = f", the worst at {min(self._scores)}/100" if self._scores else ""
            unread = f"; {plural(self._unread, 'file')} not read" if self._unread else ""
            self._line(f"{plural(len(self._scores), 'run')} judged, {healthy} healthy{worst}{unread}", "bold")

    def _refuse(self, unread: Unread) -> None:
        error = unread.error
        parts: list[RenderableType] = [
            Text.assemble(("✖ ", "bold red"), (one_line(unread.path), "bold")),
            Padding(Text(clean(error)), (0, 2, 0, 2)),
        ]
        if error.detail:
            parts.append(Padding(Text(clean(error.detail), style="yellow"), (0, 2, 0, 4)))
        if error.hint and error.hint not in self._hints:
            self._hints.add(error.hint)
            parts.append(Padding(Text(f"What would be read: {error.hint}.", style="dim"), (0, 2, 0, 2)))
        show(self._console, Group(*parts, Text()))

    def _line(self, text: str, style: str) -> None:
        self._console.print(Text(text, style=style))


def _sheet(judged: Judged) -> Sheet:
    run, report = judged.run, judged.report
    body = report.as_dict()
    seconds = body["sustainability"].get("total_training_duration_seconds")
    about = [
        *([run.name] if run.name else []),
        *([report.arch_type] if run.architecture else []),
        plural(judged.epoch_count, "epoch"),
        *([duration(seconds)] if isinstance(seconds, (int, float)) else []),
        f"{report.summary['profile']} profile",
        *own_settings(report.summary["policy"]),
    ]
    if run.status and run.status != "finished":
        about.append(f"{run.status}: {run.reason}" if run.reason else run.status)
    return Sheet(
        heading=judged.path,
        about=about,
        body=body,
        notes=run.notes,
        suppressed=[issue.as_dict() for issue in report.suppressed],
        more="--verbose lists them",
    )
