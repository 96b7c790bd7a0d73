from __future__ import annotations

import gzip
import io
import json
import sys

import pytest

from diagnostics.engine import Run, diagnose
from mldiag.cli.readers import read
from tests.cli.conftest import CRITICAL, HEALTHY, INFO, RUNS, WARNING, epoch


class Stdin:
    def __init__(self, data):
        self.buffer = io.BytesIO(data)


@pytest.mark.parametrize(
    ("epochs", "fail_on", "code"),
    [
        (HEALTHY, "info", 0),
        (INFO, "critical", 0),
        (INFO, "warning", 0),
        (INFO, "info", 1),
        (WARNING, "critical", 0),
        (WARNING, "warning", 1),
        (WARNING, "info", 1),
        (CRITICAL, "critical", 1),
        (CRITICAL, "warning", 1),
        (CRITICAL, "info", 1),
        (CRITICAL, "never", 0),
    ],
)
def test_fail_on_decides_the_exit_code(cli, written, epochs, fail_on, code):
    for form in ("text", "json", "github"):
        assert cli("check", written(epochs), "--fail-on", fail_on, "--format", form).code == code


@pytest.mark.parametrize(("epochs", "code"), [(CRITICAL, 1), (WARNING, 0), (HEALTHY, 0)])
def test_without_fail_on_only_what_is_critical_fails(cli, written, epochs, code):
    assert cli("check", written(epochs)).code == code


@pytest.mark.parametrize("form", ["text", "json", "github"])
def test_an_unreadable_file_does_not_keep_others_from_being_judged(cli, written, form):
    broken, good = written(b"{", "broken.json"), written(CRITICAL, "good.json")
    outcome = cli("check", broken, good, "--format", form, "--fail-on", "never")
    assert outcome.code == 2
    assert "loss-explosion" in outcome.out
    assert "ends in the middle" in outcome.text


def test_a_report_has_everything_a_reader_needs(cli, written):
    out = cli("check", written(CRITICAL)).out
    for words in (
        "80/100",
        "CRITICAL Loss explosion · epoch 1",
        "ratio 3",
        "loss_explosion_ratio",
        "clip the gradients",
    ):
        assert words in out
    assert "loss-explosion" in out


def test_fixes_are_printed_unless_told_otherwise(cli, written):
    snippet = "torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)"
    # Longer than the 80 columns of a terminal, and whole all the same: what is broken cannot be copied.
    assert any(line.endswith(snippet) for line in cli("check", written(CRITICAL)).out.splitlines())
    short = cli("check", written(CRITICAL), "--no-fix").text
    assert "torch.nn.utils" not in short and "advice" in short


def test_json_holds_the_fixes(cli, written):
    (run,) = json.loads(cli("check", written(CRITICAL), "--format", "json").out)["files"]
    assert "clip_grad_norm_" in run["issues"][0]["fix"]


@pytest.mark.parametrize(
    ("content", "skipped"),
    [
        pytest.param(HEALTHY, True, id="a list of epochs"),
        pytest.param({"epochs": HEALTHY}, True, id="no logs"),
        pytest.param({"epochs": HEALTHY, "logs": [{"msg": "started"}]}, False, id="a line"),
        pytest.param(
            {"epochs": HEALTHY, "session": {"key": "k", "config": {"capture_logs": True}}},
            False,
            id="captured, no line",
        ),
        pytest.param(
            {"epochs": HEALTHY, "session": {"key": "k", "config": {"capture_logs": False}}}, True, id="not captured"
        ),
    ],
)
def test_logs_that_nobody_captured_were_not_looked_at(cli, written, content, skipped):
    (run,) = json.loads(cli("check", written(content), "--format", "json").out)["files"]
    assert ("error-logs" in run["summary_json"]["skipped_checks"]) is skipped


def test_a_healthy_run_says_so(cli, written):
    out = cli("check", written(HEALTHY)).out
    assert "100/100" in out
    assert "No issues found" in out


def test_what_was_not_looked_at_is_said(cli, written):
    brief, full = cli("check", written(HEALTHY)).text, cli("check", written(HEALTHY), "--verbose").text
    assert "Not looked at" in brief
    assert "memory-growth" not in brief
    assert "memory-growth needs memory.process_rss_mb" in full


def test_verbose_lists_what_was_held_back(cli):
    path = RUNS / "digits_healthy.json"
    run = read(path.read_bytes())
    columns = Run.from_epochs(run.epochs, architecture=run.architecture, environment=run.environment)
    held_back = diagnose(columns).suppressed
    assert f"Held back: {len(held_back)} findings" in cli("check", path).text
    full = cli("check", path, "--verbose").text
    assert all(issue.check_id in full and issue.suppressed in full for issue in held_back)


def test_energy_is_reported_where_it_was_logged(cli, written):
    assert "of CO2" in cli("check", RUNS / "digits_faulty.json").text
    assert "of CO2" not in cli("check", written(HEALTHY)).text


@pytest.mark.parametrize("options", [(), ("--verbose",), ("--profile", "guide")])
@pytest.mark.parametrize("run", ["digits_faulty.json", "digits_nan.json", "digits_healthy.json"])
def test_reports_fit_eighty_columns_but_for_code(cli, run, options):
    (judged,) = json.loads(cli("check", RUNS / run, *options, "--format", "json").out)["files"]
    code = {line for issue in judged["issues"] for line in (issue["fix"] or "").splitlines()}
    told = [line for line in cli("check", RUNS / run, *options).out.splitlines() if line[13:] not in code]
    assert max(map(len, told)) <= 80


def test_no_escape_leaves_without_a_terminal(cli, written):
    assert "\x1b" not in cli("check", written(CRITICAL)).text


def test_the_guides_profile_reports_what_robust_holds_back(cli):
    run = RUNS / "digits_healthy.json"
    robust, guide = cli("check", run).out, cli("check", run, "--profile", "guide").out
    assert "WARNING" not in robust
    assert "WARNING" in guide


def test_a_threshold_can_be_changed(cli, written):
    assert cli("check", written(CRITICAL), "--threshold", "loss_explosion_ratio=4").code == 0


def test_a_check_can_be_left_out(cli, written):
    assert cli("check", written(CRITICAL), "--disable", "loss-explosion").code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--threshold", "loss_explosion_ration=4"], "did you mean loss_explosion_ratio?"),
        (["--threshold", "loss_explosion_ratio"], "NAME=VALUE"),
        (["--threshold", "loss_explosion_ratio=much"], "'much' is not a number"),
        (["--threshold", "overfitting_epochs=1.5"], "'1.5' is not a whole number"),
        (["--threshold", "loss_explosion_ratio=-1"], "loss_explosion_ratio"),
        (["--disable", "loss-explosions"], "did you mean loss-explosion?"),
        (["--severity", "overfitting"], "ID=SEVERITY"),
        (["--severity", "overfiting=info"], "did you mean overfitting?"),
        (["--severity", "overfitting=mild"], "none of critical, warning, info"),
        (["--baseline", "mnist"], "did you mean mnist_cnn?"),
        (["--config", "nowhere.toml"], "nowhere.toml: No such file"),
        (["--config", "a", "--no-config"], "not allowed with"),
        (["-j", "0"], "neither auto nor a number"),
        (["-j", "many"], "neither auto nor a number"),
        (["--format", "xml"], "invalid choice: 'xml'"),
        (["--fail-on", "sometimes"], "invalid choice: 'sometimes'"),
        (["--profile", "strict"], "invalid choice: 'strict'"),
    ],
)
def test_wrong_usage_is_explained(cli, written, words, said):
    outcome = cli("check", written(HEALTHY), *words)
    assert outcome.code == 2
    assert said in outcome.err
    assert outcome.out == ""


def test_check_without_a_file_is_wrong_usage(cli):
    outcome = cli("check")
    assert outcome.code == 2
    assert "mldiag check --help" in outcome.err


def test_standard_input_is_read(cli, monkeypatch):
    monkeypatch.setattr(sys, "stdin", Stdin(json.dumps(CRITICAL).encode()))
    outcome = cli("check", "-")
    assert outcome.code == 1
    assert "standard input" in outcome.out


def test_gzipped_standard_input_is_read(cli, monkeypatch):
    monkeypatch.setattr(sys, "stdin", Stdin(gzip.compress(json.dumps(CRITICAL).encode())))
    assert cli("check", "-").code == 1


def test_a_gzipped_file_is_read(cli, written):
    assert cli("check", written(gzip.compress(json.dumps(CRITICAL).encode()), "run.json.gz")).code == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gzip.compress(json.dumps(CRITICAL).encode(), mtime=0)[:-12], "was cut off"),
        (b"\x1f\x8bnot really", "is damaged"),
        (b"PK\x03\x04rest", "a PyTorch checkpoint"),
        (b"\x80\x04\x95", "a pickle"),
        (b"\x89PNG\r\n", "a PNG image"),
    ],
)
def test_files_of_other_kinds_are_named(cli, written, content, said):
    outcome = cli("check", written(content))
    assert outcome.code == 2
    assert said in outcome.text


def test_a_bomb_is_not_unpacked(cli, written, monkeypatch):
    monkeypatch.setattr("mldiag.cli.files.LARGEST", 1000)
    outcome = cli("check", written(gzip.compress(b" " * 10_000)))
    assert outcome.code == 2
    assert "holds more than" in outcome.text


def test_a_missing_file_is_named(cli, tmp_path):
    outcome = cli("check", tmp_path / "nothing.json")
    assert outcome.code == 2
    assert "no such file or folder" in outcome.text


def test_a_file_that_may_not_be_read_is_named(cli, written, monkeypatch):
    def forbidden(*_):
        raise PermissionError(13, "Permission denied")

    # Whoever runs the tests as root may read everything.
    monkeypatch.setattr("mldiag.cli.files._read", forbidden)
    assert "cannot be read: Permission denied" in cli("check", written(HEALTHY)).text


def test_a_run_folder_is_judged(cli, recorded):
    outcome = cli("check", recorded([0.5, 1.5], name="doomed"))
    assert outcome.code == 1
    assert "doomed" in outcome.out


def test_every_run_in_a_folder_is_judged(cli, recorded):
    folder = recorded([0.5, 1.5]).parent
    recorded([2.0, 1.0])
    outcome = cli("check", folder)
    assert outcome.code == 1
    assert "2 runs judged, 1 healthy, the worst at 80/100" in outcome.out


def test_exports_in_a_folder_are_judged(cli, written, tmp_path):
    written(HEALTHY, "a.json")
    written(gzip.compress(json.dumps(CRITICAL).encode()), "b.json.gz")
    assert cli("check", tmp_path).code == 1


def test_a_folder_without_runs_is_refused(cli, tmp_path):
    outcome = cli("check", tmp_path)
    assert outcome.code == 2
    assert "records.jsonl" in outcome.out


def test_a_crashed_run_says_why(cli, written):
    run = {"epochs": HEALTHY, "ending": {"status": "crashed", "reason": "RuntimeError: out of cheese"}}
    assert "crashed: RuntimeError: out of cheese" in cli("check", written(run)).text


def test_notes_are_printed(cli, written):
    assert "counts as not logged" in cli("check", written([epoch(0, 1.0, duration_seconds="long")])).text
