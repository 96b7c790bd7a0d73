from __future__ import annotations

import pytest

from mldiag.cli.untrusted import clean, one_line
from tests.cli.conftest import HEALTHY

HOSTILE = "\x1b[2J\x1b]0;owned\x07\x9b31mred\x1b[0m [bold red]not markup[/] \u202egnirts \x00end"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("plain ünïcode 你好", "plain ünïcode 你好", id="plain"),
        pytest.param("a\nb", "a\nb", id="line breaks stay"),
        pytest.param("\x1b[31;1mred\x1b[0m", "red", id="colors"),
        pytest.param("\x1b]0;title\x07text", "text", id="window title"),
        pytest.param("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link", id="hyperlink"),
        pytest.param("\x1bPq#0\x1b\\text", "text", id="device control"),
        pytest.param("a\x1bcb", "ab", id="reset"),
        pytest.param("\x9b31mred", "red", id="one-byte introducer"),
        pytest.param("50%\rdone", "50%\ndone", id="carriage return overwrites nothing"),
        pytest.param("a\x08\x7fb\x00", "ab", id="control characters"),
        pytest.param("x\u202ey\u2066z", "xyz", id="direction marks"),
        pytest.param("\x1b[", "", id="torn escape"),
        pytest.param("\x1b", "", id="lone escape"),
    ],
)
def test_clean(text, expected):
    assert clean(text) == expected


def test_one_line_is_one_short_line():
    assert one_line("a\n  b\tc") == "a b c"
    assert len(one_line("x" * 500)) == 200


@pytest.mark.parametrize("form", ["text", "github", "json"])
@pytest.mark.parametrize("options", [(), ("--verbose",)], ids=["brief", "verbose"])
def test_hostile_text_stays_text(cli, written, form, options):
    run = {
        "session": {"key": "k", "run_name": HOSTILE},
        "epochs": HEALTHY,
        "logs": [{"level": "ERROR", "kind": "error", "msg": HOSTILE}],
        "architecture": {"layers": {HOSTILE: {"type": HOSTILE, "parameters": 99, "pct_of_total": 99.0}}},
        "ending": {"status": "crashed", "reason": HOSTILE},
    }
    out = cli("check", written(run), "--format", form, *options).out
    assert not set(out) & {"\x1b", "\x9b", "\x07", "\x00", "\u202e"}
    assert "[bold red]not markup[/]" in " ".join(out.split())


def test_hostile_names_in_broken_files_stay_text(cli, written):
    out = cli("check", written({HOSTILE: 1})).out + cli("check", written(f'["{HOSTILE}" 1')).out
    assert not set(out) & {"\x1b", "\x9b", "\x07", "\x00", "\u202e"}
