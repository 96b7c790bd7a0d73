"""Reports for machines: JSON, and annotations of a GitHub workflow."""

from __future__ import annotations

import json
from typing import Any, TextIO

from mldiag.cli.judging import Judged, Unread
from mldiag.cli.untrusted import clean, one_line
from observer_client.record import plain

_LEVELS = {"critical": "error", "warning": "warning", "info": "notice"}


class JsonWriter:
    """Collects outcomes and prints one JSON document at the end."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._files: list[dict[str, Any]] = []

    def add(self, outcome: Judged | Unread) -> None:
        if isinstance(outcome, Unread):
            error = {"message": str(outcome.error), "detail": outcome.error.detail, "hint": outcome.error.hint}
            self._files.append({"path": outcome.path, "error": error})
            return
        found = {"path": outcome.path, "name": outcome.run.name, "notes": outcome.run.notes}
        self._files.append(found | outcome.report.as_dict())

    def finish(self) -> None:
        # ASCII: neither a terminal nor a pipe of any encoding can be hurt by what a run calls its layers.
        json.dump(plain({"files": self._files}), self._out, allow_nan=False, indent=2)
        self._out.write("\n")


class GithubWriter:
    """Prints workflow commands, one line an issue: the page of the pull request shows them."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def add(self, outcome: Judged | Unread) -> None:
        if isinstance(outcome, Unread):
            self._line("error", outcome.path, "mldiag: not judged", f"{outcome.path} {outcome.error}")
            return
        for note in outcome.run.notes:
            self._line("warning", outcome.path, "mldiag: partly read", note)
        for issue in outcome.report.issues:
            parts = (f"{issue.title}{_place(issue)}.", issue.description, issue.suggestion)
            message = "\n".join(clean(part).strip() for part in parts if part)
            self._line(_LEVELS[str(issue.severity)], outcome.path, f"mldiag: {issue.check_id}", message)
        found = len(outcome.report.issues)
        summary = f"mldiag: {outcome.path}: health {outcome.report.health_score}/100, {found} issues"
        self._out.write(_inert(one_line(summary)) + "\n")

    def finish(self) -> None:
        self._out.flush()

    def _line(self, level: str, path: str, title: str, message: str) -> None:
        place = "" if path == "standard input" else f"file={_property(path)},"
        self._out.write(f"::{level} {place}title={_property(title)}::{_data(clean(message))}\n")


def _place(issue: Any) -> str:
    epoch = "" if issue.epoch_index is None else f" at epoch {issue.epoch_index}"
    return epoch if issue.layer_id is None else f"{epoch} in {one_line(issue.layer_id)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(one_line(text)).replace(":", "%3A").replace(",", "%2C")


def _inert(line: str) -> str:
    """Keep a line that is no command from being read as one: the old form of commands counts anywhere in a line."""
    return line.replace("##[", "# [")
