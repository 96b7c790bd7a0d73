"""A diagnosis as a person reads it in a terminal. The same sheet serves files and the server's answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.rule import Rule
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from mldiag.cli.untrusted import clean, one_line
from mldiag.cli.wording import SEVERITIES, duration, energy, evidence, mass, place, plural, tally, verdict

STYLES = {"critical": "bold red", "warning": "bold yellow", "info": "bold cyan"}
MARKS = {"critical": "✖", "warning": "▲", "info": "•"}
BAR = 30
LONGEST_HEADING = 70


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """What is to be printed. ``body`` is shaped as `Report.as_dict`, or as an answer of the server."""

    heading: str
    about: Sequence[str]
    body: Mapping[str, Any]
    notes: Sequence[str] = ()
    suppressed: Sequence[Mapping[str, Any]] = ()
    more: str = ""
    """How to see what a brief report only counts."""

    @property
    def skipped(self) -> Mapping[str, Sequence[str]]:
        """Ids of the checks that had nothing to look at, with what they lacked."""
        return self.body["summary_json"].get("skipped_checks") or {}


def brief(sheet: Sheet) -> Group:
    """Return the report: score, issues, energy, and one line each on what was held back or skipped."""
    return Group(*_head(sheet), *_issues(sheet), *_sustainability(sheet), *_held_back(sheet), *_skipped(sheet), Text())


def full(sheet: Sheet) -> Group:
    """Return the report with every finding held back and every check that had nothing to look at."""
    return Group(
        *_head(sheet), *_issues(sheet), *_sustainability(sheet), *_each_held_back(sheet), *_each_skipped(sheet), Text()
    )


def without_fixes(sheet: Sheet) -> Sheet:
    """Return the sheet less the snippets of code."""
    return replace(sheet, body={**sheet.body, "issues": [{**issue, "fix": None} for issue in sheet.body["issues"]]})


def _head(sheet: Sheet) -> Iterator[RenderableType]:
    heading = Text(one_line(sheet.heading, 1000), style="bold", overflow="fold")
    # A rule would cut it.
    yield Rule(heading, align="left", style="dim") if len(heading) < LONGEST_HEADING else heading
    yield _indented(Text(" · ".join(one_line(each, 80) for each in sheet.about), style="dim"), 2)
    for note in sheet.notes:
        yield _labelled("note", one_line(note, 400))
    score, counts = sheet.body["health_score"], sheet.body["summary_json"]["severity_breakdown"]
    style = "red" if score < 50 or counts.get("critical") else ("yellow" if score < 90 else "green")
    filled = round(score * BAR / 100)
    yield Text()
    yield Text.assemble(
        "  Health  ",
        (f"{score}/100", f"bold {style}"),
        "  ",
        ("█" * filled, style),
        ("░" * (BAR - filled), "dim"),
        "  ",
    )
    yield _indented(Text(verdict(score, counts.get("critical", 0)), style=style), 10)
    if sheet.body["issues"]:
        found = [Text(tally(counts[each], each), STYLES[each]) for each in SEVERITIES if counts.get(each)]
        yield _indented(Text(" · ").join(found), 10)


def _issues(sheet: Sheet) -> Iterator[RenderableType]:
    if not sheet.body["issues"]:
        yield Text.assemble(("\n  ✔ ", "bold green"), "No issues found.")
    for issue in sheet.body["issues"]:
        yield Text()
        yield _issue(issue)


def _issue(issue: Mapping[str, Any]) -> RenderableType:
    severity = issue["severity"]
    title = Text(one_line(issue["title"], 120), style="bold")
    if where := place(issue):
        title.append(f" · {where}", style="not bold")
    head = Table.grid(expand=True, padding=(0, 1))
    head.add_column(width=1)
    head.add_column(ratio=1)
    head.add_column(justify="right", no_wrap=True)
    head.add_row(
        Text(MARKS.get(severity, "•"), STYLES.get(severity, "")),
        Text.assemble((f"{severity.upper()} ", STYLES.get(severity, "")), title),
        Text(one_line(issue.get("check_id") or "", 40), style="dim"),
    )
    parts: list[RenderableType] = [Padding(head, (0, 2))]
    if issue.get("description"):
        parts.append(_indented(Text(clean(issue["description"]).strip()), 4))
    if figures := evidence(issue):
        parts.append(_labelled("evidence", figures))
    if issue.get("suggestion"):
        parts.append(_labelled("advice", clean(issue["suggestion"]).strip()))
    if issue.get("fix"):
        parts.append(_Code("fix", clean(issue["fix"]).strip()))
    if issue.get("caused_by"):
        parts.append(_labelled("cause", f"follows from {one_line(issue['caused_by'], 60)}"))
    return Group(*parts)


def _sustainability(sheet: Sheet) -> Iterator[RenderableType]:
    figures = {name: value for name, value in (sheet.body.get("sustainability") or {}).items() if _known(value)}
    lines = []
    if figures.get("wasted_epochs"):
        share = f", {figures['wasted_compute_pct']:.0f} % of the compute" if "wasted_compute_pct" in figures else ""
        spent = f", {duration(figures['wasted_duration_seconds'])}" if "wasted_duration_seconds" in figures else ""
        stop = f" after epoch {figures['optimal_stop_epoch']}" if "optimal_stop_epoch" in figures else ""
        lines.append(f"could have stopped{stop}: {plural(figures['wasted_epochs'], 'epoch')} wasted{spent}{share}")
    if "total_energy_kwh" in figures:
        draw = f" at {figures['avg_power_draw_watts']:.3g} W" if "avg_power_draw_watts" in figures else ""
        lines.append(f"{energy(figures['total_energy_kwh'])} of energy{draw}")
    if "total_co2_kg" in figures:
        wasted = f", {mass(figures['wasted_co2_kg'])} of it wasted" if figures.get("wasted_co2_kg") else ""
        lines.append(f"{mass(figures['total_co2_kg'])} of CO2{wasted}")
    if lines:
        yield Text("\n  Energy and compute", style="bold")
        yield from (_indented(Text(line), 4) for line in lines)


def _held_back(sheet: Sheet) -> Iterator[RenderableType]:
    if count := sheet.body["summary_json"].get("suppressed_count"):
        more = f" ({sheet.more})" if sheet.more else ""
        yield Text()
        why = f"Held back: {plural(count, 'finding')} that noise or a short history explains{more}."
        yield _indented(Text(why, style="dim"), 2)


def _each_held_back(sheet: Sheet) -> Iterator[RenderableType]:
    if sheet.suppressed:
        yield Text("\n  Held back", style="bold")
    for issue in sheet.suppressed:
        where = place(issue)
        title = one_line(issue["title"], 120) + (f" · {where}" if where else "")
        yield _indented(Text.assemble(title, (f"  {one_line(issue.get('check_id') or '', 40)}", "dim")), 4)
        yield _indented(Text(one_line(issue.get("suppressed") or "", 400), style="dim"), 6)


def _skipped(sheet: Sheet) -> Iterator[RenderableType]:
    if sheet.skipped:
        missing = list(dict.fromkeys(_either(name) for names in sheet.skipped.values() for name in names))
        what = f"nothing logged for {', '.join(missing[:4])}{', …' if len(missing) > 4 else ''}"
        more = f"; {sheet.more}" if sheet.more else ""
        line = f"Not looked at: {plural(len(sheet.skipped), 'check')} ({what}{more})."
        yield _indented(Text(line, style="dim"), 2)


def _each_skipped(sheet: Sheet) -> Iterator[RenderableType]:
    groups: dict[tuple[str, ...], list[str]] = {}
    for check_id, missing in sheet.skipped.items():
        groups.setdefault(tuple(_either(name) for name in missing), []).append(check_id)
    if groups:
        yield Text("\n  Not looked at", style="bold")
    for missing, ids in groups.items():
        yield _indented(Text.assemble((", ".join(ids), ""), (f"  needs {', '.join(missing)}", "dim")), 4)


@dataclass(frozen=True, slots=True)
class _Code:
    """A snippet that keeps its lines, however long: what is wrapped cannot be copied."""

    label: str
    code: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for at, line in enumerate(self.code.splitlines()):
            yield Segment(f"    {self.label if at == 0 else '':9}", console.get_style("dim"))
            yield Segment(line)
            yield Segment.line()


def _labelled(label: str, text: str) -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=8)
    grid.add_column()
    grid.add_row(Text(label, style="dim"), Text(text))
    return _indented(grid, 4)


def _indented(content: RenderableType, columns: int) -> Padding:
    return Padding(content, (0, 2, 0, columns))


def _either(need: str) -> str:
    return need.replace(" | ", " or ")


def _known(value: Any) -> bool:
    # A spelled infinity is no figure to sum up.
    return value is not None and not isinstance(value, str)
