from __future__ import annotations

import re

import pytest
from django.test import Client

from tests.pages.rows import make_bad_run, make_run, make_session


@pytest.fixture(autouse=True)
def _quick_passwords(settings):
    """A page test makes three accounts: hashing their passwords well would take longer than all the rest."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def as_alice(alice):
    """Alice in her browser."""
    client = Client()
    client.force_login(alice)
    return client


@pytest.fixture
def as_charlie(charlie):
    client = Client()
    client.force_login(charlie)
    return client


@pytest.fixture
def bad_run(project):
    """A session of Alice's project that blew up, diagnosed."""
    return make_bad_run(project)[0]


@pytest.fixture
def healthy_run(project):
    session = make_session(project, "calm", epoch_count=10)
    make_run(session, score=98)
    return session


@pytest.fixture
def text(as_alice):
    """``text(path)`` is the page that Alice sees, without the line breaks of its source."""

    def get(path, **headers):
        response = as_alice.get(path, headers=headers)
        assert response.status_code == 200, path
        return re.sub(r"(<d[dt]>) | (</d[dt]>)", r"\1\2", " ".join(response.content.decode().split()))

    return get
