from __future__ import annotations

import os
import subprocess
import sys

import pytest

from diagnostics.engine import CHECKS, DiagnosticThresholds
from tests.cli.conftest import RUNS

COMMANDS = ("check", "explain", "serve", "sync", "demo", "manage")


def process(*words, **options):
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=120, **options)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_every_command(cli, name):
    outcome = cli("--help")
    assert outcome.code == 0
    assert name in outcome.out


@pytest.mark.parametrize("name", ["check", "explain", "serve", "sync", "demo"])
def test_every_command_has_help_with_examples(cli, name):
    outcome = cli(name, "--help")
    assert outcome.code == 0
    assert f"mldiag {name}" in outcome.out.partition("examples:")[2]


@pytest.mark.parametrize("name", ["check", "explain", "serve", "sync", "demo"])
def test_help_fits_eighty_columns(cli, name):
    assert max(map(len, cli(name, "--help").out.splitlines())) <= 80


def test_a_mistyped_command_is_wrong_usage(cli):
    outcome = cli("chek")
    assert outcome.code == 2
    assert "mldiag --help" in outcome.err


def test_version(cli):
    outcome = cli("--version")
    assert outcome.code == 0
    assert f"{len(CHECKS)} checks" in outcome.out


def test_explain_prints_the_engines_documentation(cli):
    out = cli("explain", "loss-explosion").out
    for words in ("How to fix it", "clip_grad_norm_", "severity", "loss.train_mean"):
        assert words in out


def test_every_check_can_be_explained(cli):
    for check_id in CHECKS:
        assert cli("explain", check_id).code == 0


def test_explain_lists_all_checks(cli):
    out = cli("explain", "--list").out
    assert all(check_id in out for check_id in CHECKS)


def test_explain_lists_all_thresholds(cli):
    out = cli("explain", "--thresholds").out
    assert all(name in out for name in DiagnosticThresholds.__dataclass_fields__)


def test_explain_tells_of_one_threshold(cli):
    text = cli("explain", "loss_explosion_ratio").text
    for words in (
        "default 2 ratio",
        "allowed 0 or more",
        "read by loss-explosion",
        "--threshold loss_explosion_ratio=2",
    ):
        assert words in text
    assert cli("explain", "thresholds").out == cli("explain", "--thresholds").out


def test_explain_names_the_thresholds_of_a_check(cli):
    assert "slow_epoch_ratio" in cli("explain", "slow-epoch").text


def test_explain_suggests_what_was_meant(cli):
    outcome = cli("explain", "loss-explosoin")
    assert outcome.code == 2
    assert "did you mean loss-explosion?" in outcome.err


def test_explain_does_not_guess_wildly(cli):
    assert "did you mean" not in cli("explain", "zzz").err


def test_a_wrong_port_is_wrong_usage(cli):
    outcome = cli("serve", "--port", "99999")
    assert outcome.code == 2
    assert "is no port" in outcome.err


def test_sync_of_nothing_is_wrong_usage(cli, tmp_path):
    assert cli("sync", tmp_path / "nowhere").code == 2
    assert "no recorded run" in cli("sync", tmp_path).err


def test_sync_without_a_server_says_what_is_left(cli, recorded):
    outcome = cli("sync", recorded([1.0]), "--url", "http://127.0.0.1:9")
    assert outcome.code == 1
    assert "0 records sent" in outcome.out


def test_judging_a_file_imports_neither_django_nor_torch():
    script = (
        "import sys; from mldiag.cli import main; code = main(sys.argv[1:]);"
        "print({'django', 'celery', 'rest_framework', 'torch', 'pandas'} & set(sys.modules)); sys.exit(code)"
    )
    ended = process("-c", script, "check", str(RUNS / "digits_healthy.json"))
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.endswith("set()\n")


@pytest.mark.parametrize("form", ["json", "github"])
def test_formats_for_machines_do_not_load_the_printer(form):
    script = "import sys; from mldiag.cli import main; main(sys.argv[1:]); print('rich' in sys.modules)"
    ended = process("-c", script, "check", str(RUNS / "digits_healthy.json"), "--format", form)
    assert ended.stdout.endswith("False\n")


def test_a_reader_that_leaves_is_no_error():
    command = f"{sys.executable} -m mldiag.cli explain --thresholds | head -1"
    ended = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=120)
    assert ended.stderr == ""


def test_an_ascii_terminal_is_served(monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    ended = process("-m", "mldiag.cli", "check", str(RUNS / "digits_faulty.json"))
    assert ended.returncode == 1
    assert "loss-explosion" in ended.stdout


def test_manage_passes_everything_on():
    ended = process("-m", "mldiag.cli", "manage", "help", "serve")
    assert ended.returncode == 0, ended.stderr
    assert "--no-worker" in ended.stdout


@pytest.mark.parametrize(("host", "access"), [("127.0.0.1", "open"), ("0.0.0.0", "required")])
def test_who_may_come_in_is_settled_before_django_is_loaded(cli, monkeypatch, host, access):
    seen = []
    monkeypatch.setenv("MLDIAG_AUTH", "")
    monkeypatch.delenv("MLDIAG_AUTH")
    monkeypatch.setattr("mldiag.cli.server.manage", lambda words: seen.append(os.environ["MLDIAG_AUTH"]) or 0)
    assert cli("serve", "--host", host).code == 0
    assert seen == [access]
