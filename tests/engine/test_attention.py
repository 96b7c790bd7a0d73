"""Entropy of attention."""

from __future__ import annotations

import pytest

from tests.engine.test_layers import health, told
from tests.engine.tools import BOTH, held_back


def entropy(mean, least=None, windows=6):
    # The least over the heads is logged by newer clients only.
    return [{"attention_entropy": mean, **({} if least is None else {"attention_entropy_min": least})}] * windows


@pytest.mark.parametrize("profile", BOTH)
def test_collapsed_heads(profile):
    assert told("attention-entropy", health(fc1=entropy(0.01)), profile) == [("fc1", "warning")]


def test_uniform_heads_are_information():
    assert told("attention-entropy", health(fc1=entropy(0.999))) == [("fc1", "info")]


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize("mean", [0.05, 0.3, 0.99, "nan", None])
def test_heads_that_tell_positions_apart(mean, profile):
    assert told("attention-entropy", health(fc1=entropy(mean)), profile) == []


@pytest.mark.parametrize(
    ("windows", "reason"),
    [
        pytest.param(entropy(0.01, windows=1) + entropy(0.6), "last", id="came back"),
        pytest.param(entropy(0.999, windows=3), "begun", id="uniform at the start"),
    ],
)
def test_is_held_back(windows, reason):
    run = health(fc1=windows)
    assert told("attention-entropy", run) == [] and reason in held_back("attention-entropy", run)[0]
