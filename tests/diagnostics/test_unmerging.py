"""Taking merged problems apart again: everybody gets back what is theirs."""

from __future__ import annotations

import pytest

from diagnostics.models import DiagnosticRun
from diagnostics.problem_models import Occurrence, Problem
from diagnostics.services import problems
from diagnostics.services.problems import Person
from projects.services import Refused
from tests.diagnostics.triage import issue, judge, make_session, store_verdict


@pytest.fixture
def by(alice):
    return Person.of(alice)


@pytest.fixture
def pair(project):
    """Of five sessions the encoder's problem is in the first, third and last, the decoder's in the last three."""
    for day, layers in enumerate((["encoder"], [], ["encoder", "decoder"], ["decoder"], ["encoder", "decoder"])):
        store_verdict(make_session(project, day), *(issue(layer=layer) for layer in layers))
    return [Problem.objects.get(layer_pattern=name) for name in ("encoder", "decoder")]


def standing():
    rows = Problem.objects.unmerged().order_by("pk")
    return [(row.layer_pattern, row.standing, row.session_count, row.first_session.name) for row in rows]


def layers():
    return sorted((each.problem_id, each.session.name, *each.layers) for each in Occurrence.objects.all())


def test_is_as_if_never_merged(pair, by):
    encoder, decoder = pair
    before = standing(), layers()
    problems.merge(encoder, [decoder], by)
    problems.unmerge(encoder, [decoder.pk], by)
    assert (standing(), layers()) == before


def test_what_was_found_meanwhile_goes_to_whom_it_belongs(project, pair, by):
    encoder, decoder = pair
    problems.merge(encoder, [decoder], by)
    store_verdict(make_session(project, 5), issue(layer="decoder"))
    problems.unmerge(encoder, [decoder.pk], by)
    assert [(name, number) for name, _, number, _ in standing()] == [("encoder", 3), ("decoder", 4)]


def test_later_findings_are_told_apart(project, pair, by):
    encoder, decoder = pair
    problems.merge(encoder, [decoder], by)
    problems.unmerge(encoder, [decoder.pk], by)
    judge(make_session(project, 6), issue(layer="decoder"))
    assert [number for *_, number, _ in standing()] == [3, 4]


def test_one_of_several_is_taken_out(project, pair, by):
    store_verdict(make_session(project, 5), issue(layer="head"))
    encoder, decoder, head = Problem.objects.order_by("pk")
    problems.merge(encoder, [decoder, head], by)
    problems.unmerge(encoder, [decoder.pk], by)
    assert [(name, number) for name, _, number, _ in standing()] == [("encoder", 4), ("decoder", 3)]
    assert list(encoder.merged.all()) == [head]


def test_muted_layers_stay_muted_where_they_belong(pair, by):
    encoder, decoder = pair
    problems.merge(encoder, [decoder], by)
    problems.mute_layer(encoder, by, "decoder")
    problems.mute_layer(encoder, by, "encoder")
    problems.unmerge(encoder, [decoder.pk], by)
    assert list(Problem.objects.order_by("pk").values_list("muted_layers", flat=True)) == [["encoder"], ["decoder"]]


def test_a_session_whose_verdict_is_gone_goes_on_counting(pair, by):
    encoder, decoder = pair
    problems.merge(encoder, [decoder], by)
    DiagnosticRun.objects.filter(session__name="run 3").delete()
    problems.unmerge(encoder, [decoder.pk], by)
    assert [(name, number) for name, _, number, _ in standing()] == [("encoder", 4), ("decoder", 2)]


def test_is_logged_on_both(pair, by):
    encoder, decoder = pair
    problems.merge(encoder, [decoder], by)
    problems.unmerge(encoder, [decoder.pk], by)
    said = [(each.activity.first().by, each.activity.first().text) for each in pair]
    assert said == [("alice", f"#{decoder.pk} Dead neurons (decoder)"), ("alice", f"from #{encoder.pk}")]


@pytest.mark.parametrize("parts", [[], [0], ["other"]], ids=["none", "unknown", "not merged"])
def test_what_is_no_part_is_refused(pair, by, parts):
    encoder, decoder = pair
    with pytest.raises(Refused, match="no part of this|Nothing was merged"):
        problems.unmerge(encoder, [decoder.pk if part == "other" else part for part in parts], by)


def test_costs_the_same_for_many_sessions(project, pair, by, django_assert_max_num_queries):
    for day in range(5, 40):
        store_verdict(make_session(project, day), issue(layer="decoder"))
    problems.merge(pair[0], [pair[1]], by)
    with django_assert_max_num_queries(24):
        problems.unmerge(pair[0], [pair[1].pk], by)
