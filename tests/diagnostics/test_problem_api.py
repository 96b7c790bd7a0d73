from __future__ import annotations

import pytest

from diagnostics.problem_models import Problem
from projects.models import KeyKind
from tests.diagnostics.triage import issue, judge, make_session, tell

LIST, BULK = "/api/problems", "/api/problems/bulk"


@pytest.fixture
def found(project):
    """A new problem on fc1 and an ongoing one on conv."""
    tell(project, "WWW", layer="conv")
    judge(make_session(project, 3), issue(), issue(layer="conv"))
    return Problem.objects.get(layer_pattern="fc*")


@pytest.fixture
def alices(as_user, alice):
    return as_user(alice)


def patterns(answer):
    return sorted(each["layer_pattern"] for each in answer.json()["results"])


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["conv", "fc*"]),
        ("?status=inbox", ["fc*"]),
        ("?status=ongoing", ["conv"]),
        ("?status=resolved", []),
        ("?q=conv", ["conv"]),
        ("?check=dead-neurons&severity=warning", ["conv", "fc*"]),
        ("?assignee=none&sort=title", ["conv", "fc*"]),
        ("?project=1", []),
    ],
)
def test_lists(alices, found, query, expected):
    assert patterns(alices.get(f"{LIST}{query}")) == expected


@pytest.mark.parametrize(
    "query", ["status=x", "severity=x", "category=x", "sort=x", "project=x", f"project={10**30}", "page=x"]
)
def test_what_makes_no_sense_is_refused(alices, found, query):
    answer = alices.get(f"{LIST}?{query}")
    assert answer.status_code in (400, 404)
    assert answer.json()["detail"]


def test_gives_one(alices, found):
    body = alices.get(f"{LIST}/{found.pk}").json()
    shown = {name: body[name] for name in ("check_id", "status", "substatus", "recent", "session_count", "assignee")}
    assert shown == {
        "check_id": "dead-neurons",
        "status": "open",
        "substatus": "new",
        "recent": {"shown": 1, "looked": 4},
        "session_count": 1,
        "assignee": None,
    }
    assert body["url"] == f"http://testserver/problems/{found.pk}"


@pytest.mark.parametrize(
    ("change", "after"),
    [
        ({"status": "resolved"}, {"status": "resolved", "substatus": None}),
        ({"status": "resolved", "from_next_session": True}, {"status": "resolved"}),
        ({"status": "muted"}, {"status": "muted", "muted_sessions": None}),
        ({"status": "muted", "muted_sessions": 3}, {"status": "muted", "muted_sessions": 3}),
        ({"status": "muted", "muted_until": "2100-01-01T00:00:00Z"}, {"muted_until": "2100-01-01T00:00:00Z"}),
        ({"status": "muted", "muted_layer": "fc1"}, {"status": "open", "muted_layers": ["fc1"]}),
        ({"status": "open"}, {"substatus": "ongoing"}),
        ({"reviewed": True}, {"substatus": "ongoing"}),
        ({"assignee": "bob"}, {"assignee": "bob", "substatus": "new"}),
        ({"assignee": "me", "status": "resolved"}, {"assignee": "alice", "status": "resolved"}),
        ({"assignee": None}, {"assignee": None}),
        ({}, {"substatus": "new"}),
    ],
    ids=str,
)
def test_changes(alices, found, change, after):
    body = alices.patch(f"{LIST}/{found.pk}", change, format="json").json()
    assert {name: body[name] for name in after} == after


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"status": "gone"}, "$.status"),
        ({"assignee": "charlie"}, "$.assignee"),
        ({"status": "resolved", "assignee": "charlie"}, "$.assignee"),
        ({"muted_sessions": 3}, "$.status"),
        ({"status": "muted", "muted_sessions": 0}, "$.muted_sessions"),
        ({"status": "muted", "muted_until": "2001-01-01T00:00:00Z"}, "$.muted_until"),
        ({"status": "muted", "muted_until": "tomorrow"}, "$.muted_until"),
        ({"reviewed": "perhaps"}, "$.reviewed"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_and_changes_nothing(alices, found, change, path, charlie):
    answer = alices.patch(f"{LIST}/{found.pk}", change, format="json")
    assert (answer.status_code, answer.json()["path"]) == (400, path)
    found.refresh_from_db()
    assert (found.standing, found.assignee, found.activity.count()) == ("new", None, 1)


def test_bulk(alices, found):
    ids = list(Problem.objects.values_list("pk", flat=True))
    answer = alices.post(BULK, {"ids": ids, "action": "resolve", "text": "Fixed."}, format="json")
    assert answer.json() == {"changed": 2}
    assert [str(act) for act in found.activity.order_by("pk").values_list("act", flat=True)][1:] == [
        "resolved",
        "commented",
    ]


def test_bulk_merges(alices, found):
    conv = Problem.objects.get(layer_pattern="conv")
    alices.post(BULK, {"ids": [conv.pk, found.pk], "action": "merge", "into": found.pk}, format="json")
    assert alices.get(f"{LIST}/{conv.pk}").json()["id"] == found.pk
    assert patterns(alices.get(LIST)) == ["fc*"]


def test_bulk_unmerges(alices, found):
    conv = Problem.objects.get(layer_pattern="conv")
    alices.post(BULK, {"ids": [conv.pk, found.pk], "action": "merge", "into": found.pk}, format="json")
    assert alices.get(f"{LIST}/{found.pk}").json()["merged"] == [conv.pk]
    answer = alices.post(BULK, {"ids": [found.pk], "action": "unmerge", "part": conv.pk}, format="json")
    assert answer.json() == {"changed": 1}
    assert alices.get(f"{LIST}/{conv.pk}").json()["id"] == conv.pk


@pytest.mark.parametrize(
    "body",
    [{}, {"ids": []}, {"ids": [1]}, {"ids": "all", "action": "resolve"}, {"ids": [10**30], "action": "resolve"}, []],
    ids=str,
)
def test_senseless_bulk_is_refused(alices, found, body):
    assert alices.post(BULK, body, format="json").status_code == 400


def test_one_foreign_problem_stops_all(alices, found, charlies_project):
    tell(charlies_project, "W")
    foreign = Problem.objects.get(project=charlies_project)
    answer = alices.post(BULK, {"ids": [found.pk, foreign.pk], "action": "resolve"}, format="json")
    assert answer.status_code == 404
    assert set(Problem.objects.values_list("status", flat=True)) == {"open"}


def test_merging_into_a_foreign_problem_is_refused(alices, found, charlies_project):
    tell(charlies_project, "W")
    foreign = Problem.objects.get(project=charlies_project)
    answer = alices.post(BULK, {"ids": [found.pk], "action": "merge", "into": foreign.pk}, format="json")
    assert (answer.status_code, answer.json()["path"]) == (400, "$.into")


def test_comments(alices, found):
    made = alices.post(f"{LIST}/{found.pk}/comments", {"text": "Look at the\0 data."}, format="json")
    assert (made.status_code, made.json()["by"], made.json()["text"]) == (201, "alice", "Look at the� data.")
    assert [each["text"] for each in alices.get(f"{LIST}/{found.pk}/comments").json()["results"]] == [
        made.json()["text"]
    ]
    assert [each["act"] for each in alices.get(f"{LIST}/{found.pk}/activity").json()["results"]] == [
        "commented",
        "found",
    ]


@pytest.mark.parametrize("text", ["", " ", None, "a" * 10_001, []], ids=["empty", "blank", "null", "long", "list"])
def test_senseless_comments_are_refused(alices, found, text):
    assert alices.post(f"{LIST}/{found.pk}/comments", {"text": text}, format="json").status_code == 400


ONE = [
    ("get", "{list}/{pk}"),
    ("get", "{list}/{pk}/activity"),
    ("get", "{list}/{pk}/comments"),
    ("patch", "{list}/{pk}"),
    ("post", "{list}/{pk}/comments"),
    ("post", "{list}/bulk"),
]


def ask(client, method, path, problem):
    body = {"ids": [problem.pk], "action": "review", "text": "x", "reviewed": True}
    sent = {} if method == "get" else {"data": body, "format": "json"}
    return getattr(client, method)(path.format(list=LIST, pk=problem.pk), **sent).status_code


@pytest.mark.parametrize(("method", "path"), ONE)
def test_access(found, as_user, as_key, api, bob, charlie, charlies_project, method, path):
    assert ask(as_user(charlie), method, path, found) == 404
    assert ask(as_key(KeyKind.FULL, of=charlies_project), method, path, found) == 404
    assert ask(as_key(KeyKind.INGEST), method, path, found) == 403
    assert ask(api, method, path, found) == 401
    assert ask(as_key(KeyKind.READ), method, path, found) == (200 if method == "get" else 403)
    assert found.activity.count() == 1
    assert ask(as_user(bob), method, path, found) in (200, 201)
    assert ask(as_key(KeyKind.FULL), method, path, found) in (200, 201)


@pytest.mark.parametrize(("method", "path"), ONE)
def test_open_server_asks_nobody(found, api, open_mode, method, path):
    assert ask(api, method, path, found) in (200, 201)


def test_strangers_list_nothing(found, as_user, charlie):
    assert patterns(as_user(charlie).get(LIST)) == []


@pytest.mark.parametrize("number", [0, 4711, 2**63, 10**30], ids=["zero", "unknown", "too large", "absurd"])
def test_absurd_numbers_are_not_found(alices, db, number):
    assert alices.get(f"{LIST}/{number}").status_code == 404


def test_list_costs_constant_queries(alices, project, django_assert_num_queries):
    for number in (1, 25):
        judge(make_session(project, number), *(issue(layer=chr(97 + letter)) for letter in range(number)))
        with django_assert_num_queries(8):
            alices.get(LIST)


def test_programs_are_named(as_key, found):
    as_key(KeyKind.FULL).patch(f"{LIST}/{found.pk}", {"status": "resolved"}, format="json")
    assert found.activity.first().by.startswith("API key ")
