"""What people do to problems."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import AnonymousUser
from django.utils.timezone import now

from diagnostics.problem_models import Occurrence, Problem
from diagnostics.services import problems
from diagnostics.services.problems import Person
from projects.models import ApiKey
from projects.services import Refused
from tests.diagnostics.triage import FIRST_DAY, issue, judge, make_session, tell, the_problem


@pytest.fixture
def by(alice):
    return Person.of(alice)


def everything():
    return Problem.objects.unmerged()


@pytest.mark.parametrize("resolve", [problems.resolve, problems.resolve_from_next], ids=["now", "from the next on"])
def test_resolving(project, by, resolve):
    tell(project, "WW")
    assert resolve(everything(), by) == 1
    assert the_problem().standing == "resolved"


def test_resolved_from_the_next_on_lets_the_present_ones_show_it(project, by):
    tell(project, "WW")
    problems.resolve_from_next(everything(), by)
    tell(project, "C", first=2)
    assert the_problem().standing == "resolved"
    judge(make_session(project, (now() - make_session(project, 0).started).days + 1), issue())
    assert the_problem().standing == "regressed"


def test_opening_again(project, by):
    tell(project, "W...")
    problems.reopen(everything(), by)
    assert the_problem().standing == "ongoing"
    tell(project, "..", first=4)
    assert the_problem().standing == "ongoing"


def test_looking_takes_off_the_list(project, by, alice):
    tell(project, "W")
    assert Problem.objects.inbox(alice).exists()
    problems.review(everything(), by)
    assert the_problem().standing == "ongoing"
    assert not Problem.objects.inbox(alice).exists()


def test_what_is_assigned_stays_on_the_list(project, by, alice, bob):
    tell(project, "WWW")
    problems.assign(everything(), by, alice)
    assert Problem.objects.inbox(alice).exists()
    assert not Problem.objects.inbox(bob).exists()
    assert not Problem.objects.inbox(AnonymousUser()).exists()


def test_nobody_can_be_assigned(project, by, alice):
    tell(project, "W")
    problems.assign(everything(), by, alice)
    problems.assign(everything(), by, None)
    assert the_problem().assignee is None


def test_strangers_are_not_assigned(project, by, charlie):
    tell(project, "W")
    with pytest.raises(Refused, match="charlie is not a member"):
        problems.assign(everything(), by, charlie)


def test_muting_for_good(project, by):
    tell(project, "W")
    problems.mute(everything(), by)
    tell(project, "CCC...", first=1)
    assert the_problem().standing == "muted"


def test_muting_until_a_date(project, by):
    tell(project, "W")
    problems.mute(everything(), by, until=now() + timedelta(days=9))
    Problem.objects.update(muted_after=the_problem().last_seen, muted_until=FIRST_DAY + timedelta(days=2))
    tell(project, "W.", first=1)
    assert the_problem().standing == "muted"
    tell(project, "W", first=3)
    assert the_problem().standing == "regressed"


def test_muting_for_sessions(project, by):
    tell(project, "W")
    problems.mute(everything(), by, sessions=2)
    Problem.objects.update(muted_after=the_problem().last_seen)
    tell(project, "W.", first=1)
    assert the_problem().standing == "muted"
    tell(project, "W", first=3)
    assert the_problem().standing == "regressed"


@pytest.mark.parametrize(
    "span",
    [{"until": now() - timedelta(days=1)}, {"sessions": 0}, {"sessions": 51}, {"sessions": -1}],
    ids=["in the past", "no session", "too many", "negative"],
)
def test_senseless_mutes_are_refused(project, by, span):
    tell(project, "W")
    with pytest.raises(Refused):
        problems.mute(everything(), by, **span)
    assert the_problem().standing == "new"


def test_a_muted_layer_counts_no_more(project, by):
    tell(project, "W", layer="fc1")
    problems.mute_layer(the_problem(), by, "fc1")
    assert the_problem().standing == "ongoing"
    tell(project, "WWW", first=1, layer="fc1")
    assert (the_problem().standing, the_problem().session_count) == ("resolved", 1)
    tell(project, "W", first=4, layer="fc2")
    assert the_problem().standing == "regressed"


def test_opening_again_hears_muted_layers(project, by):
    tell(project, "W", layer="fc1")
    problems.mute_layer(the_problem(), by, "fc1")
    problems.reopen(everything(), by)
    assert the_problem().muted_layers == []


@pytest.mark.parametrize("text", ["", "  ", "a" * 10_001], ids=["empty", "blank", "too long"])
def test_senseless_comments_are_refused(project, by, text):
    tell(project, "W")
    with pytest.raises(Refused):
        problems.comment(everything(), by, text)


def test_each_action_is_logged_once_a_problem(project, by):
    judge(make_session(project, 0), issue(), issue(layer="conv"))
    problems.resolve(everything(), by)
    problems.comment(everything(), by, "Fixed in a1b2c3.")
    for problem in everything():
        assert [(each.act, each.by) for each in problem.activity.order_by("pk")] == [
            ("found", "mldiag"),
            ("resolved", "alice"),
            ("commented", "alice"),
        ]


@pytest.mark.parametrize(
    ("user", "key", "name"),
    [(AnonymousUser(), None, "somebody"), (AnonymousUser(), ApiKey(prefix="mld_ab"), "API key mld_ab")],
    ids=["open server", "program"],
)
def test_who_has_no_account_is_named_too(user, key, name):
    assert Person.of(user, key) == Person(None, name)


def two_problems(project):
    tell(project, "W.W", layer="encoder")
    tell(project, "WW", first=3, layer="decoder")
    judge(make_session(project, 5), issue(layer="encoder"), issue(layer="decoder"))
    return Problem.objects.order_by("pk")


def test_merging_joins_what_sessions_show(project, by):
    encoder, decoder = two_problems(project)
    merged = problems.merge(encoder, [decoder], by)
    assert (merged.session_count, Occurrence.objects.count()) == (5, 5)
    assert Occurrence.objects.get(session=merged.last_session).layers == ["encoder", "decoder"]
    assert everything().get() == encoder


def test_later_findings_go_to_the_merged_problem(project, by):
    encoder, decoder = two_problems(project)
    problems.merge(encoder, [decoder], by)
    judge(make_session(project, 6), issue(layer="decoder"), issue(layer="encoder"))
    assert everything().get().session_count == 6
    assert Occurrence.objects.filter(problem=encoder).count() == 6


def test_merging_a_merged_problem_moves_all_of_them(project, by):
    encoder, decoder = two_problems(project)
    tell(project, "W", first=6, layer="head")
    head = Problem.objects.get(layer_pattern="head")
    problems.merge(encoder, [decoder], by)
    problems.merge(head, [decoder], by)
    assert everything().get() == head
    assert set(Problem.objects.exclude(pk=head.pk).values_list("merged_into", flat=True)) == {head.pk}


def test_merging_is_logged_on_both(project, by):
    encoder, decoder = two_problems(project)
    problems.merge(encoder, [decoder], by)
    assert encoder.activity.first().text == f"with #{decoder.pk} Dead neurons (decoder)"
    assert decoder.activity.first().text == f"into #{encoder.pk}"


def test_one_problem_cannot_be_merged(project, by):
    encoder, _ = two_problems(project)
    with pytest.raises(Refused, match="two problems or more"):
        problems.merge(encoder, [encoder], by)


def test_problems_of_two_projects_cannot_be_merged(project, charlies_project, by):
    tell(project, "W")
    tell(charlies_project, "W")
    mine, other = Problem.objects.order_by("pk")
    with pytest.raises(Refused, match="one project"):
        problems.merge(mine, [other], by)
    assert everything().count() == 2


def test_an_action_on_a_merged_problem_is_one_on_what_it_became(project, by):
    encoder, decoder = two_problems(project)
    problems.merge(encoder, [decoder], by)
    decoder.refresh_from_db()
    problems.resolve([decoder], by)
    assert everything().get().standing == "resolved"


def test_a_whole_batch_costs_as_much_as_one(project, by, django_assert_max_num_queries):
    judge(make_session(project, 0), *(issue(layer=chr(97 + letter) * 3) for letter in range(26)))
    chosen = list(everything())
    with django_assert_max_num_queries(14):
        assert problems.resolve(chosen, by) == 26
