from __future__ import annotations

import json

import pytest

from tests.cli.conftest import CRITICAL, HEALTHY, RUNS, epoch


def refuse(token):
    raise AssertionError(f"{token} is not JSON")


def strict(text):
    return json.loads(text, parse_constant=refuse)


def test_json_has_the_answers_keys(cli, written):
    path = written(CRITICAL)
    (file,) = strict(cli("check", path, "--format", "json").out)["files"]
    assert file["path"] == str(path)
    assert file["health_score"] == 80
    assert file["issues"][0]["check_id"] == "loss-explosion"
    assert file.keys() >= {"summary_json", "epoch_trends", "layer_highlights", "sustainability", "arch_type"}


def test_json_spells_what_is_not_finite(cli):
    (file,) = strict(cli("check", RUNS / "digits_nan.json", "--format", "json").out)["files"]
    assert file["issues"][0]["metric_value"] == "nan"


def test_json_of_an_unreadable_file(cli, written):
    broken, good = written(b"[1", "broken.json"), written(HEALTHY, "good.json")
    bad, fine = strict(cli("check", broken, good, "--format", "json").out)["files"]
    assert bad["path"] == str(broken)
    assert "ends in the middle" in bad["error"]["message"]
    assert fine["health_score"] == 100


@pytest.mark.parametrize(
    ("run", "begin"),
    [
        ("digits_faulty.json", "::error file="),
        ("digits_faulty.json", "::warning file="),
        ("digits_healthy.json", "::notice file="),
    ],
)
def test_severities_become_levels_of_annotations(cli, run, begin):
    lines = cli("check", RUNS / run, "--format", "github").out.splitlines()
    assert any(line.startswith(begin) for line in lines)


def test_an_annotation_escapes_what_would_end_it(cli, written):
    logs = [{"level": "ERROR", "kind": "error", "msg": "100% \r\n::set-output name=x::y"}]
    path = written({"epochs": HEALTHY, "logs": logs}, "a,b:c.json")
    first, *rest = cli("check", path, "--format", "github").out.splitlines()
    assert first.startswith("::")
    assert "a%2Cb%3Ac.json" in first
    assert "100%25" in first
    assert not any(line.lstrip().startswith("::") for line in rest)


def test_a_file_name_cannot_be_a_command(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "::add-mask::run.json").write_text(json.dumps(HEALTHY))
    out = cli("check", "::add-mask::run.json", "--format", "github").out
    assert not any(line.lstrip().startswith("::add-mask") for line in out.splitlines())


def test_notes_become_annotations(cli, written):
    out = cli("check", written([epoch(0, 1.0, duration_seconds="long")]), "--format", "github").out
    assert "::warning" in out
    assert "counts as not logged" in out
