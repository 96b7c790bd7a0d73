from __future__ import annotations

import numpy as np
import pytest

from diagnostics.engine import DiagnosticThresholds, Run
from diagnostics.engine.once import once
from tests.engine.tools import DEFAULTS


@pytest.fixture
def counted():
    calls = []

    @once
    def told(run, *rest):
        calls.append(rest)
        return len(calls)

    return told


def test_a_question_is_answered_once(counted):
    run = Run.from_epochs([])
    assert (counted(run), counted(run), counted(run, "loss"), counted(run)) == (1, 1, 2, 1)


def test_each_run_has_its_own_answers(counted):
    assert (counted(Run.from_epochs([])), counted(Run.from_epochs([]))) == (1, 2)


def test_other_thresholds_are_another_question(counted):
    run = Run.from_epochs([])
    assert counted(run, DEFAULTS) != counted(run, DiagnosticThresholds(loss_explosion_ratio=3))


def test_no_answer_is_an_answer():
    calls = []
    nothing = once(lambda run: calls.append(run))
    run = Run.from_epochs([])
    assert (nothing(run), nothing(run), len(calls)) == (None, None, 1)


@pytest.mark.parametrize("name", ["values", "seen"])
def test_what_was_not_logged_cannot_be_written_to(name):
    run = Run.from_epochs([{"epoch": 0}])
    with pytest.raises(ValueError, match="read-only"):
        getattr(run.column("nobody.logged"), name)[0] = np.True_
