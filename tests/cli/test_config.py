"""``mldiag.toml`` and the options put over it."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import CRITICAL, HEALTHY, RUNS

POOR = [{"epoch": i, "loss": {"train_mean": 2.0 * 0.7**i, "val": {"val_acc": 0.5}}} for i in range(10)]


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Writes a mldiag.toml where the command is run."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)

    def write(text, folder=work):
        path = folder / "mldiag.toml"
        path.write_text(text)
        return path

    return write


def judged(outcome):
    return json.loads(outcome.out)["files"][0]


def test_thresholds_severities_and_switches_are_read(cli, written, config):
    config('disable = ["memory"]\n[thresholds]\nslow_epoch_ratio = 9\n[severity]\nloss-explosion = "warning"\n')
    found = judged(cli("check", written(CRITICAL), "--format", "json"))
    assert [issue["severity"] for issue in found["issues"]] == ["warning"]
    policy = found["summary_json"]["policy"]
    assert (policy["disable"], policy["thresholds"]) == (["memory"], {"slow_epoch_ratio": 9.0})


def test_the_profile_is_read(cli, config):
    config('profile = "guide"')
    assert "guide profile" in cli("check", RUNS / "digits_healthy.json").text
    assert "robust profile" in cli("check", RUNS / "digits_healthy.json", "--profile", "robust").text


def test_the_nearest_file_counts(cli, written, config, tmp_path):
    config("[thresholds]\nloss_explosion_ratio = 9", tmp_path)
    assert cli("check", written(CRITICAL)).code == 0
    config("")
    assert cli("check", written(CRITICAL)).code == 1


def test_a_file_is_named_or_refused_altogether(cli, written, config, tmp_path):
    path = config("[thresholds]\nloss_explosion_ratio = 9", tmp_path)
    config("")
    assert cli("check", written(CRITICAL), "--config", path).code == 0
    config("[thresholds]\nloss_explosion_ratio = 9")
    assert cli("check", written(CRITICAL), "--no-config").code == 1


def test_the_command_line_goes_before_the_file(cli, written, config):
    config('disable = ["memory"]\n[thresholds]\nloss_explosion_ratio = 9\nslow_epoch_ratio = 8')
    words = ("--threshold", "loss_explosion_ratio=2", "--disable", "logs", "--format", "json")
    found = judged(cli("check", written(CRITICAL), *words))
    assert found["summary_json"]["policy"]["thresholds"] == {"slow_epoch_ratio": 8.0}
    assert found["summary_json"]["policy"]["disable"] == ["logs", "memory"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("profile = ", "is not TOML: Invalid value"),
        ("[threshold]\n", "threshold: unknown setting: threshold; did you mean thresholds?"),
        ("[thresholds]\nloss_explosion = 3", "thresholds.loss_explosion: unknown threshold"),
        ("[thresholds]\nthroughput_drop_pct = 20", "thresholds.throughput_drop_pct: "),
        ("[thresholds]\nslow_epoch_ratio = inf", "thresholds.slow_epoch_ratio: slow_epoch_ratio must be finite"),
        (f"[thresholds]\nslow_epoch_ratio = 1{400 * '0'}", "thresholds.slow_epoch_ratio: "),
        ("[thresholds]\nslow_epoch_ratio = 2026-01-01", "must be a number"),
        ('disable = ["memory", "slow"]', "disable[1]: there is no check or category 'slow'"),
        ('[severity]\noverfitting = "bad"', "severity.overfitting: unknown severity 'bad'"),
        ('baseline = "mnist"', "baseline: there is no baseline 'mnist'; did you mean mnist_cnn?"),
        ("[baselines.mine]\nvalue = 0", "baselines.mine.value: value must not be 0"),
        ("\udcff", "is not UTF-8 text"),
    ],
)
def test_what_makes_no_sense_is_said_with_its_place(cli, written, config, text, said):
    config("").write_bytes(text.encode(errors="surrogateescape"))
    outcome = cli("check", written(HEALTHY))
    assert (outcome.code, outcome.out) == (2, "")
    assert "mldiag.toml" in outcome.err and said in outcome.err


def test_a_run_is_compared_with_a_baseline(cli, written):
    run = written(POOR)
    assert "Below the baseline" not in cli("check", run).out
    outcome = cli("check", run, "--baseline", "mnist_cnn")
    assert "Below the baseline" in outcome.out and "baseline mnist_cnn" in outcome.out


@pytest.mark.parametrize("session", [{"hyperparameters": {"task": "digits"}}, {"tags": ["task:digits"]}], ids=str)
def test_a_run_names_a_baseline_of_the_file(cli, written, config, session):
    config("[baselines.digits]\nvalue = 0.97\nepochs = 5")
    run = {"session": {"key": "x", **session}, "epochs": POOR}
    assert "For digits, 0.97 is usual" in cli("check", written(run)).text


def test_a_file_above_does_not_slow_or_change_other_commands(cli, config):
    config("nonsense")
    assert cli("explain", "loss-explosion").code == 0
