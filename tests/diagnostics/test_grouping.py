from __future__ import annotations

import pytest

from diagnostics.engine import IssueCategory, IssueData, IssueSeverity
from diagnostics.services.problems.grouping import fingerprint, grouped, layer_pattern, seen


def issue(check_id="dead-neurons", layer="fc1", severity=IssueSeverity.warning, **fields):
    return IssueData(severity, IssueCategory.loss, "Dead", check_id=check_id, layer_id=layer, **fields)


@pytest.mark.parametrize(
    ("layer", "pattern"),
    [
        ("layer1.0.conv2", "layer*.*.conv*"),
        ("blocks.11.attn.q_proj", "blocks.*.attn.q_proj"),
        ("embedding", "embedding"),
        ("", ""),
        ("a" * 600, "a" * 499 + "…"),
    ],
    ids=["resnet", "transformer", "no number", "no layer", "too long"],
)
def test_numbers_of_layers_are_wildcards(layer, pattern):
    assert layer_pattern(layer) == pattern


@pytest.mark.parametrize(
    "other",
    [("dead-neurons", "conv*"), ("frozen-layer", "fc*"), ("dead-neurons", "")],
    ids=["other layers", "other check", "no layers"],
)
def test_fingerprints_differ(other):
    assert fingerprint("dead-neurons", "fc*") != fingerprint(*other)


def test_layers_of_one_pattern_are_one_group():
    assert [len(several) for several in grouped([issue(), issue(layer="fc2"), issue(layer="conv")]).values()] == [2, 1]


def test_suppressed_issues_are_in_no_group():
    assert grouped([issue(suppressed="not significant")]) == {}


def test_a_group_is_as_grave_as_its_gravest():
    found = seen([issue(epoch_index=7), issue(layer="fc2", severity=IssueSeverity.critical, epoch_index=4, count=3)])
    assert (found.severity, found.issue_count, found.epoch_index, [*found.layers]) == ("critical", 4, 4, ["fc1", "fc2"])


class Name(str):
    """A layer's name that counts how often it is compared with another."""

    compared = 0

    def __eq__(self, other):
        Name.compared += 1
        return super().__eq__(other)

    __hash__ = str.__hash__


def test_many_layers_are_not_compared_with_each_other(monkeypatch):
    monkeypatch.setattr(Name, "compared", 0)
    assert len(seen([issue(layer=Name(f"block{number}")) for number in range(1_000)]).layers) == 1_000
    assert Name.compared < 10_000
