"""``mldiag check -j``: several files at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from diagnostics.engine import Policy
from mldiag.cli import parallel
from mldiag.cli.files import Source
from mldiag.cli.judging import Judged, Unread, outcome_of
from tests.cli.conftest import CRITICAL, HEALTHY, epoch


@pytest.fixture
def many(written):
    """Ten files of different length, the third of them broken."""
    return [
        written(b"{" if number == 2 else [epoch(i, 2.0 * 0.9**i) for i in range(3 + number)], f"{number}.json")
        for number in range(10)
    ]


@pytest.mark.parametrize("form", ["text", "json", "github"])
def test_the_output_is_that_of_one_by_one(cli, many, form):
    alone = cli("check", *many, "--format", form)
    together = cli("check", *many, "--format", form, "-j", "2")
    assert (together.code, together.out) == (alone.code, alone.out) == (2, alone.out)


def test_a_policy_reaches_every_process(cli, written):
    files = [written(CRITICAL, f"{number}.json") for number in range(3)]
    assert cli("check", *files, "-j", "2").code == 1
    assert cli("check", *files, "-j", "2", "--threshold", "loss_explosion_ratio=9").code == 0


def deadly(source, policy):
    if "deadly" in source.name:
        os.kill(os.getpid(), signal.SIGKILL)
    return outcome_of(source, policy)


def test_a_process_that_dies_takes_only_its_file_with_it(written, monkeypatch):
    monkeypatch.setattr(parallel, "outcome_of", deadly)
    names = ["a.json", "deadly.json", "b.json", "c.json"]
    sources = [Source(name, written(HEALTHY, name)) for name in names]
    outcomes = list(parallel.Judges(Policy(), 2).judge_all(sources))
    assert [type(each) for each in outcomes] == [Judged, Unread, Judged, Judged]
    assert "process that read it was ended" in str(outcomes[1].error)


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal to a group of processes")
def test_an_interrupt_ends_it_without_a_word(written):
    large = written([epoch(i, 2.0, note="x" * 200) for i in range(10_000)], "large.json")
    command = [sys.executable, "-m", "mldiag.cli", "check", *[str(large)] * 40, "-j", "2", "--format", "github"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    running.stdout.readline()
    os.killpg(running.pid, signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert (running.returncode, said) == (130, b"")


def test_standard_input_is_one_of_them(written):
    command = [sys.executable, "-m", "mldiag.cli", "check", "-", str(written(HEALTHY)), "-j", "2", "--format", "json"]
    ended = subprocess.run(command, input=json.dumps(CRITICAL).encode(), capture_output=True, timeout=120)
    paths = [each["path"] for each in json.loads(ended.stdout)["files"]]
    assert (ended.returncode, paths[0], len(paths)) == (1, "standard input", 2)
