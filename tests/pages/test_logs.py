from __future__ import annotations

import pytest

from sessions.services import store_logs
from tests.pages.rows import MARKUP, line, make_session


@pytest.mark.parametrize(
    ("query", "shown", "hidden"),
    [
        ("", ["epoch 4 done", "loss is rising"], []),
        ("?level=warning", ["loss is rising", "loss is NaN"], ["epoch 4 done"]),
        ("?level=error", ["loss is NaN"], ["loss is rising"]),
        ("?level=nonsense", ["epoch 4 done"], []),
        ("?q=RISING", ["loss is rising"], ["epoch 4 done"]),
        ("?q=rising&level=error", ["No line matches"], ["loss is rising"]),
        ("?q=%00", ["No line matches"], ["loss is rising"]),
    ],
    ids=["all", "from warning on", "errors", "unknown level", "text", "both", "a character that PostgreSQL refuses"],
)
def test_filters(text, bad_run, query, shown, hidden):
    page = text(f"/sessions/{bad_run.pk}/logs{query}")
    assert all(each in page for each in shown)
    assert not any(each in page for each in hidden)


def test_an_empty_log_says_so(text, project):
    assert "has not logged anything" in text(f"/sessions/{make_session(project).pk}/logs")


def test_markup_in_a_line_is_text(text, project):
    session = make_session(project)
    store_logs(session, [line(0, "INFO", MARKUP)])
    page = text(f"/sessions/{session.pk}/logs")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert" not in page


def test_pages_hold_two_hundred_lines(text, project):
    session = make_session(project)
    store_logs(session, [line(number, "INFO", f"line {number:03}") for number in range(250)])
    assert "line 199" in text(f"/sessions/{session.pk}/logs")
    assert "line 200" not in text(f"/sessions/{session.pk}/logs")
    assert "line 249" in text(f"/sessions/{session.pk}/logs?page=2")
