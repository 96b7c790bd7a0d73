from __future__ import annotations

import math

import pytest

from diagnostics.services import comparing
from sessions.services import store_epochs
from tests.pages.rows import EXPLOSION, FROZEN, MARKUP, SLOW, epoch, make_bad_run, make_run, make_session

BASELINE = {"name": "digits", "metric": "loss", "value": 0.5, "direction": "lower", "epochs": 3, "parameters": None}


def trained(project, name, losses=(2.0, 1.0, 0.5), issues=(), summary=None, **fields):
    """A diagnosed session with these losses."""
    session = make_session(project, name, **fields)
    store_epochs(session, [epoch(number, loss, loss * 1.1) for number, loss in enumerate(losses)])
    session.refresh_from_db()
    make_run(session, *issues, **({"summary": summary} if summary else {}))
    return session


@pytest.fixture
def pair(project):
    """What went wrong, and what was tried then."""
    environment = {"git_commit": "a1b2c3", "python": "3.11.2", "pid": 7}
    first = trained(
        project, "first", issues=(EXPLOSION, FROZEN), hyperparameters={"lr": 0.5, "seed": 1}, environment=environment
    )
    second = trained(
        project,
        "second",
        issues=(FROZEN, SLOW),
        hyperparameters={"lr": 0.1, "seed": 1},
        environment={**environment, "git_commit": "d4e5f6", "pid": 8},
    )
    return first, second


def query(*sessions):
    return "/compare?sessions=" + ",".join(str(session.pk) for session in sessions)


def test_shows_what_is_fixed_new_and_remaining(text, pair):
    page = text(query(*pair))
    assert "1 fixed, 1 new, 1 remaining" in page
    for standing in ("fixed", "new", "remains"):
        assert f'change-{standing}"> {standing} </span>' in page


def test_differences_come_before_what_is_the_same(text, pair):
    page = text(query(*pair))
    assert page.index("<code>lr</code>") < page.index("1 the same in all")
    assert "<code>git_commit</code>" in page
    assert "pid" not in page


def test_what_a_check_could_not_look_for_is_not_fixed(text, project):
    first = trained(project, "first", issues=(EXPLOSION,))
    second = trained(project, "second", summary={"skipped_checks": {"loss-explosion": ["loss.train_mean"]}})
    page = text(query(first, second))
    assert "0 fixed" in page
    assert "not looked for" in page


def test_the_order_says_what_is_compared_with_what(text, pair):
    assert "1 fixed, 1 new, 1 remaining" in text(query(*reversed(pair)))
    assert "compared with the first one, <b>second</b>" in text(query(*reversed(pair)))


@pytest.mark.parametrize("form", ["sessions={0},{1}", "sessions={0}&sessions={1}", "sessions={0},{0},{1}"])
def test_sessions_are_named_in_either_way(text, pair, form):
    assert "Compare 2 sessions" in text("/compare?" + form.format(*(session.pk for session in pair)))


def test_more_than_eight_are_too_many(text, project):
    sessions = [trained(project, f"run {number}") for number in range(10)]
    page = text(query(*sessions))
    assert "Compare 8 sessions" in page
    assert "left out: run 8, run 9" in page


def test_one_alone_offers_the_others(text, pair):
    page = text(query(pair[0]))
    assert "Choose what to compare <b>first</b> with" in page
    assert f'name="sessions" value="{pair[1].pk}"' in page


def test_none_offers_all(text, pair):
    assert "Choose two to 8 sessions" in text("/compare")


@pytest.mark.parametrize("sessions", ["999999", "x", "-1", "1.5", "9" * 40, "%00"])
def test_what_is_not_there_is_404(as_alice, pair, sessions):
    assert as_alice.get(f"/compare?sessions={pair[0].pk},{sessions}").status_code == 404


@pytest.mark.parametrize("path", ["/compare", "/compare/series"])
def test_strangers_get_404(as_charlie, pair, path):
    assert as_charlie.get(query(*pair).replace("/compare", path)).status_code == 404


def test_markup_is_text(text, project):
    sessions = [trained(project, MARKUP, hyperparameters={MARKUP: number}) for number in range(2)]
    assert "<script>alert" not in text(query(*sessions))


def test_sessions_of_one_name_are_told_apart(text, project):
    sessions = [trained(project, "same") for _ in range(2)]
    assert f"same #{sessions[1].pk}" in text(query(*sessions))


def test_a_session_without_anything_is_compared_too(text, project):
    page = text(query(make_session(project, "one"), make_session(project, "two")))
    assert "None of these sessions has logged a number" in page


def test_the_baseline_is_set_beside_what_was_reached(text, project):
    sessions = [trained(project, name, summary={"policy": {"baseline": BASELINE}}) for name in ("one", "two")]
    page = text(query(*sessions))
    assert "baseline digits: 0.5" in page
    assert '<td class="number">0.55</td>' in page


def test_costs_the_same_for_two_and_for_eight(as_alice, project, django_assert_max_num_queries):
    sessions = [make_session(project, f"run {number}") for number in range(8)]
    for session in sessions:
        make_run(session, EXPLOSION)
    # The login's session and user, the sessions, their runs with issues; the columns of each session are read alone.
    for number in (2, 8):
        with django_assert_max_num_queries(5 + number):
            as_alice.get(query(*sessions[:number]))


class TestSeries:
    def get(self, client, sessions, **asked):
        extra = "".join(f"&{name}={value}" for name, value in asked.items())
        return client.get(query(*sessions).replace("/compare", "/compare/series") + extra)

    def test_each_session_is_a_curve(self, as_alice, pair):
        body = self.get(as_alice, pair, chart="loss.train_mean").json()
        assert body["series"] == {"first": [2.0, 1.0, 0.5], "second": [2.0, 1.0, 0.5]}

    def test_between_its_own_points_a_curve_is_straight(self, as_alice, project):
        dense = trained(project, "dense", (4.0, 3.0, 2.0))
        sparse = make_session(project, "sparse")
        store_epochs(sparse, [epoch(0, 8.0, 8.0), epoch(2, 4.0, 4.0)])
        sparse.refresh_from_db()
        body = self.get(as_alice, [dense, sparse], chart="loss.train_mean").json()
        assert body["series"]["sparse"] == [8.0, 6.0, 4.0]

    def test_a_run_that_diverged_is_interrupted(self, as_alice, project):
        calm, wild = trained(project, "calm", (3.0, 2.0, 1.0)), trained(project, "wild", (3.0, math.nan, 1.0))
        body = self.get(as_alice, [calm, wild], chart="loss.train_mean").json()
        assert body["series"]["wild"] == [3.0, None, 1.0]
        assert body["non_finite"] == [1.0]

    def test_a_shorter_run_ends_earlier(self, as_alice, project):
        long, short = trained(project, "long", (4.0, 3.0, 2.0)), trained(project, "short", (4.0,))
        body = self.get(as_alice, [long, short], chart="loss.train_mean").json()
        assert body["series"]["short"] == [4.0, None, None]

    @pytest.mark.parametrize("asked", [{"chart": "nonsense"}, {"x": "nonsense"}, {"points": "x"}, {"low": "nan"}])
    def test_a_strange_wish_gets_a_sentence(self, as_alice, pair, asked):
        answer = self.get(as_alice, pair, **{"chart": "loss.train_mean", **asked})
        assert answer.status_code == 400
        assert answer.json()["detail"]


@pytest.mark.parametrize(
    ("values", "differs"),
    [([1, 1], False), ([1, 2], True), ([1, None], True), ([1, True], True), ([[1], [1]], False)],
    ids=repr,
)
def test_a_row_knows_whether_it_differs(values, differs):
    assert comparing.Row("lr", values).differs is differs


def test_a_bad_run_is_compared_with_itself_made_better(text, project, bad_run):
    other = make_bad_run(project, "again")[0]
    assert "0 fixed, 0 new" in text(query(bad_run, other))
