from __future__ import annotations

from uuid import uuid4

import pytest

ADDRESS = f"/api/sessions/{uuid4()}"
OWN = {"Origin": "http://testserver"}


def write(client, **headers):
    return client.put(
        ADDRESS, {}, format="json", headers={name.replace("_", "-"): each for name, each in headers.items()}
    )


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Origin": "https://evil.example"}, id="another site"),
        pytest.param({"Origin": "http://testserver.evil.example"}, id="a longer name"),
        pytest.param({"Origin": "http://testserver:8001"}, id="another port"),
        pytest.param({"Origin": "null"}, id="a sandboxed page"),
        pytest.param({"Origin": ""}, id="an empty origin"),
        pytest.param({"Origin": "http://[bad"}, id="a broken origin"),
        pytest.param({"Sec-Fetch-Site": "cross-site"}, id="the browser says cross-site"),
        pytest.param({"Sec-Fetch-Site": "same-site", **OWN}, id="another host of the site"),
    ],
)
def test_a_foreign_page_cannot_write_to_an_open_server(api, db, open_mode, headers):
    answer = write(api, **headers)
    assert (answer.status_code, "origin" in answer.json()["detail"]) == (403, True)


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="a program"),
        pytest.param(OWN, id="our own page"),
        pytest.param({"Sec-Fetch-Site": "same-origin", **OWN}, id="our own page in a new browser"),
        pytest.param({"Sec-Fetch-Site": "none"}, id="typed by the user"),
    ],
)
def test_who_belongs_here_may_write(api, db, open_mode, headers):
    assert write(api, **headers).status_code == 201


def test_a_trusted_origin_may_write(api, db, open_mode, settings):
    settings.CSRF_TRUSTED_ORIGINS = ["https://proxy.example"]
    assert write(api, Origin="https://proxy.example", Sec_Fetch_Site="cross-site").status_code == 201


@pytest.mark.parametrize("address", ["192.168.1.7", "2001:db8::7", "::ffff:192.168.1.7", "nonsense"])
def test_an_open_server_answers_no_other_machine(api, db, open_mode, address):
    """Not even one that calls itself localhost."""
    answer = api.get("/api/sessions", headers={"Host": "localhost"}, REMOTE_ADDR=address)
    assert (answer.status_code, "own machine" in answer.json()["detail"]) == (403, True)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1", ""])
def test_an_open_server_answers_its_own_machine(api, db, open_mode, address):
    assert api.get("/api/sessions", REMOTE_ADDR=address).status_code == 200


def test_where_a_login_is_needed_other_machines_may_come(ingest):
    assert ingest.put(ADDRESS, {}, format="json", REMOTE_ADDR="192.168.1.7").status_code == 201


def test_reading_is_not_writing(api, db, open_mode):
    assert api.get("/api/sessions", headers={"Origin": "https://evil.example"}).status_code == 200


def test_where_a_login_is_needed_the_login_decides(ingest):
    assert write(ingest, Origin="https://evil.example").status_code == 201


def test_a_foreign_host_name_is_refused(api, db, open_mode):
    """A name that an attacker points at 127.0.0.1 must not make its pages our own."""
    answer = api.put(ADDRESS, {}, format="json", headers={"Host": "evil.example", "Origin": "http://evil.example"})
    assert answer.status_code == 400


def test_pages_need_a_login(client, db):
    answer = client.get("/")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/accounts/login?next=/")


def test_pages_need_none_in_the_open_mode(client, db, open_mode):
    assert client.get("/").status_code == 200


def test_the_admin_needs_one_always(client, db, open_mode):
    assert client.get("/admin/").status_code == 302
