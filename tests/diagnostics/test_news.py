"""News of sessions: stored first, told to whoever may see them, by WebSocket and by asking."""

from __future__ import annotations

import json

import pytest
from asgiref.sync import async_to_sync
from asgiref.testing import ApplicationCommunicator
from channels.db import database_sync_to_async
from django.test import Client

from diagnostics import consumers
from diagnostics.engine import IssueCategory, IssueData, IssueSeverity
from diagnostics.models import Alert
from diagnostics.services import news, session_news
from mldiag.asgi import application
from observer_client.record import Ending
from projects.models import KeyKind
from projects.services import issue_key
from sessions.services import finish

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _in_memory(settings, monkeypatch):
    # It would close the connection that holds the test's transaction; Django's own test client spares it, too.
    monkeypatch.setattr("channels.db.close_old_connections", lambda: None)
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    settings.ALLOWED_HOSTS = ["testserver"]


def issue(check_id="nan-in-loss", severity=IssueSeverity.critical, **fields):
    return IssueData(severity, IssueCategory.loss, check_id.replace("-", " "), check_id=check_id, **fields)


def titles(session):
    return list(Alert.objects.filter(session=session).order_by("pk").values_list("title", flat=True))


def cookie_of(user):
    client = Client()
    client.force_login(user)
    return [(b"cookie", f"mldiag_session={client.cookies['mldiag_session'].value}".encode())]


def listen(path, headers=(), host=b"testserver", said=1, client=("127.0.0.1", 5000), meanwhile=None):
    """Open a WebSocket; return what it was told, or the code it was closed with, or None if it was refused."""

    path, _, query = path.partition("?")
    scope = {"type": "websocket", "path": path, "query_string": query.encode(), "client": list(client)}

    async def scenario():
        socket = ApplicationCommunicator(application, {**scope, "headers": [(b"host", host), *headers]})
        await socket.send_input({"type": "websocket.connect"})
        if (await socket.receive_output(5))["type"] == "websocket.close":
            return None
        told = []
        for number in range(said):
            message = await socket.receive_output(5)
            if message["type"] == "websocket.close":
                return message["code"]
            told.append(json.loads(message["text"]))
            if meanwhile is not None and number == 0:
                await database_sync_to_async(meanwhile)()
        await socket.send_input({"type": "websocket.disconnect", "code": 1000})
        await socket.wait()
        return told

    return async_to_sync(scenario)()


class TestAlerts:
    @pytest.mark.parametrize("severity", [IssueSeverity.critical, IssueSeverity.warning])
    def test_a_grave_finding_is_stored(self, session, severity):
        news.note_findings(session, [issue(severity=severity, layer_id="fc1", epoch_index=3)])
        alert = Alert.objects.get()
        assert (alert.title, alert.severity, alert.where, alert.epoch_index) == ("nan in loss", severity, "fc1", 3)

    def test_information_makes_none(self, session):
        news.note_findings(session, [issue(severity=IssueSeverity.info)])
        assert titles(session) == []

    def test_a_symptom_makes_none_beside_its_cause(self, session):
        news.note_findings(session, [issue("cause"), issue("symptom", caused_by="cause")])
        assert titles(session) == ["cause"]

    def test_what_is_found_again_makes_none(self, session):
        for _ in range(3):
            news.note_findings(session, [issue()])
        assert len(titles(session)) == 1

    def test_what_comes_and_goes_makes_one(self, session):
        for found in ([issue()], [], [issue()]):
            news.note_findings(session, found)
        assert len(titles(session)) == 1

    def test_what_gets_worse_makes_another(self, session):
        news.note_findings(session, [issue(severity=IssueSeverity.warning)])
        news.note_findings(session, [issue(severity=IssueSeverity.critical)])
        assert len(titles(session)) == 2

    def test_many_layers_make_one(self, session):
        news.note_findings(session, [issue(layer_id=f"fc{number}") for number in range(40)])
        assert Alert.objects.get().where == "fc0 and 39 more"

    @pytest.mark.parametrize(("status", "severity"), [("finished", "info"), ("crashed", "critical")])
    def test_an_ending_is_told(self, session, status, severity):
        finish(session, Ending(status=status, reason="out of memory"))
        assert Alert.objects.get(check_id="").severity == severity

    def test_who_was_away_gets_what_was_missed(self, session):
        for name in ("first", "second", "third"):
            news.note_findings(session, [issue(name)])
        first = Alert.objects.get(title="first").pk
        assert [alert["title"] for alert in session_news(session, first)["alerts"]] == ["second", "third"]


class TestSocket:
    def test_tells_at_once_how_the_session_stands(self, session, alice):
        (told,) = listen(f"/ws/sessions/{session.pk}", cookie_of(alice))
        assert told["state"]["epoch_count"] == 3
        assert told["alerts"] == []

    def test_a_new_alert_arrives(self, session, alice, django_capture_on_commit_callbacks):
        def diagnose():
            with django_capture_on_commit_callbacks(execute=True):
                news.note_findings(session, [issue()])

        path = f"/ws/sessions/{session.pk}"
        _, told = listen(path, cookie_of(alice), said=2, meanwhile=diagnose)
        assert [alert["title"] for alert in told["alerts"]] == ["nan in loss"]

    def test_an_alert_does_not_wait_for_the_next_regular_look(
        self, session, alice, monkeypatch, django_capture_on_commit_callbacks
    ):
        monkeypatch.setattr(consumers, "SHORTEST_PAUSE", 3600.0)

        def diagnose():
            with django_capture_on_commit_callbacks(execute=True):
                news.ring_for(session)
                news.note_findings(session, [issue()])

        _, told = listen(f"/ws/sessions/{session.pk}", cookie_of(alice), said=2, meanwhile=diagnose)
        assert [alert["title"] for alert in told["alerts"]] == ["nan in loss"]

    def test_alerts_at_once_are_told_once_each(self, session, alice, monkeypatch, django_capture_on_commit_callbacks):
        monkeypatch.setattr(consumers, "SHORTEST_PAUSE", 0.0)

        def diagnose():
            for name in ("first", "second"):
                with django_capture_on_commit_callbacks(execute=True):
                    news.note_findings(session, [issue(name)])
                    news.ring_for(session)

        messages = listen(f"/ws/sessions/{session.pk}", cookie_of(alice), said=3, meanwhile=diagnose)
        assert [alert["title"] for told in messages for alert in told["alerts"]] == ["first", "second"]

    def test_a_reconnect_asks_for_what_it_missed(self, session, alice):
        news.note_findings(session, [issue("first")])
        news.note_findings(session, [issue("second")])
        after = Alert.objects.get(title="first").pk
        (told,) = listen(f"/ws/sessions/{session.pk}?after={after}", cookie_of(alice))
        assert [alert["title"] for alert in told["alerts"]] == ["second"]

    @pytest.mark.parametrize("after", ["", "x", "-1", "9" * 30, "%00"])
    def test_a_strange_number_is_none(self, session, alice, after):
        (told,) = listen(f"/ws/sessions/{session.pk}?after={after}", cookie_of(alice))
        assert told["alerts"] == []

    def test_a_project_tells_of_all_its_sessions(self, session, project, alice):
        news.note_findings(session, [issue()])
        (told,) = listen(f"/ws/projects/{project.pk}?after=0", cookie_of(alice))
        assert told["alerts"][0]["session"]["name"] == session.name
        assert told["state"] == {"running": 1}


class TestAccess:
    @pytest.mark.parametrize("kind", ["sessions", "projects"])
    def test_strangers_are_closed_out(self, session, charlie, kind):
        pk = session.pk if kind == "sessions" else session.project_id
        assert listen(f"/ws/{kind}/{pk}", cookie_of(charlie)) == 4404

    @pytest.mark.parametrize("path", ["/ws/sessions/999999", "/ws/projects/999999"])
    def test_what_is_not_there_looks_the_same(self, charlie, path):
        assert listen(path, cookie_of(charlie)) == 4404

    @pytest.mark.parametrize("headers", [[], [(b"cookie", b"mldiag_session=made-up")]], ids=["nothing", "made-up"])
    def test_nobody_gets_in_without_a_login(self, session, headers):
        assert listen(f"/ws/sessions/{session.pk}", headers) == 4404

    def test_members_get_in(self, session, bob):
        assert listen(f"/ws/sessions/{session.pk}", cookie_of(bob))[0]["seq"] == 0

    def test_access_that_ends_closes_the_socket(self, session, bob, project, django_capture_on_commit_callbacks):
        def remove():
            with django_capture_on_commit_callbacks(execute=True):
                project.memberships.filter(user=bob).delete()
                news.ring_for(session)

        path = f"/ws/sessions/{session.pk}"
        assert listen(path, cookie_of(bob), said=2, meanwhile=remove) == 4404

    @pytest.mark.parametrize(("kind", "is_in"), [(KeyKind.READ, True), (KeyKind.FULL, True), (KeyKind.INGEST, False)])
    def test_programs_read_by_key(self, session, project, kind, is_in):
        _, text = issue_key(project, kind)
        told = listen(f"/ws/sessions/{session.pk}", [(b"authorization", f"Bearer {text}".encode())])
        assert (told != 4404) is is_in

    @pytest.mark.parametrize("origin", [b"https://evil.example", b"null", b"http://testserver:81", b"http://[", b""])
    def test_pages_of_other_origins_are_refused(self, session, alice, origin):
        assert listen(f"/ws/sessions/{session.pk}", [*cookie_of(alice), (b"origin", origin)]) is None

    def test_our_own_pages_are_not(self, session, alice):
        assert listen(f"/ws/sessions/{session.pk}", [*cookie_of(alice), (b"origin", b"http://testserver")])

    def test_another_host_name_is_refused(self, session, alice):
        headers = [*cookie_of(alice), (b"origin", b"http://evil.example")]
        assert listen(f"/ws/sessions/{session.pk}", headers, host=b"evil.example") is None

    def test_an_unknown_path_is_refused(self, alice):
        assert listen("/ws/secrets/1", cookie_of(alice)) is None

    @pytest.mark.parametrize(("address", "is_in"), [("127.0.0.1", True), ("10.0.0.7", False)])
    def test_the_open_mode_is_for_this_machine(self, session, open_mode, address, is_in):
        assert bool(listen(f"/ws/sessions/{session.pk}", client=(address, 5000))) is is_in


class TestAsking:
    @pytest.mark.parametrize("kind", ["sessions", "projects"])
    def test_is_told_the_same(self, session, alice, kind):
        news.note_findings(session, [issue()])
        pk = session.pk if kind == "sessions" else session.project_id
        client = Client()
        client.force_login(alice)
        assert client.get(f"/{kind}/{pk}/news?after=0").json()["alerts"][0]["title"] == "nan in loss"

    @pytest.mark.parametrize("kind", ["sessions", "projects"])
    def test_strangers_get_404(self, session, charlie, kind):
        pk = session.pk if kind == "sessions" else session.project_id
        client = Client()
        client.force_login(charlie)
        assert client.get(f"/{kind}/{pk}/news").status_code == 404
