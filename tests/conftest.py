"""Alice owns a project, Bob is a member, Charlie has nothing to do with it."""

from __future__ import annotations

import json
import signal
from uuid import UUID

import pytest
from django.contrib.auth import get_user_model
from rest_framework.test import APIClient

from observer_client.record import Opening
from projects.models import DEFAULT_PROJECT_ID, ApiKey, KeyKind, Membership, Project, Role
from projects.services import issue_key
from sessions.models import TrainSession
from sessions.services import open_session, store_epochs

SESSION_KEY = UUID("6f1f9f0e-2f4c-4b7e-9a51-0f6f8a3f5c11")


def pytest_configure():
    """Heed signals, whatever started the tests (nohup, a job in the background): what they start inherits it."""
    for each, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(each) is signal.SIG_IGN:
            signal.signal(each, usual)


@pytest.fixture(autouse=True)
def _default_project(request):
    """A test with real transactions empties every table behind it, also of what migrations put there."""
    if "transactional_db" in request.fixturenames:
        request.getfixturevalue("transactional_db")
        Project.objects.get_or_create(pk=DEFAULT_PROJECT_ID, defaults={"name": "Default project"})


@pytest.fixture(autouse=True)
def _fast_passwords(settings):
    """The real hasher takes half a second for each of our people, by design."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def make_user(name):
    return get_user_model().objects.create_user(name, password=f"{name} has a password")


@pytest.fixture
def alice(db):
    return make_user("alice")


@pytest.fixture
def bob(db):
    return make_user("bob")


@pytest.fixture
def charlie(db):
    return make_user("charlie")


@pytest.fixture
def project(alice, bob):
    made = Project.objects.create(name="Digits", description="Handwritten digits.")
    Membership.objects.create(project=made, user=alice, role=Role.OWNER)
    Membership.objects.create(project=made, user=bob, role=Role.MEMBER)
    return made


@pytest.fixture
def charlies_project(charlie):
    made = Project.objects.create(name="Cats")
    Membership.objects.create(project=made, user=charlie, role=Role.OWNER)
    return made


def epoch_record(number, **fields):
    """An epoch as a client sends it."""
    loss = {"train_mean": 1.0 / number, "train_std": 0.01, "n_batches": 10, "val": {"val_loss": 1.1 / number}}
    return {"epoch": number, "duration_seconds": 2.5, "learning_rate": 0.01, "loss": loss, **fields}


@pytest.fixture
def session(project) -> TrainSession:
    """A running session of Alice's project with three healthy epochs."""
    opened, _ = open_session(
        Opening(key=str(SESSION_KEY), project_id=project.pk, run_name="first try", hyperparameters={"lr": 0.01}),
        user=None,
        key=ApiKey(project=project, kind=KeyKind.INGEST),
    )
    store_epochs(opened, [json.dumps(epoch_record(number)).encode() for number in (1, 2, 3)])
    opened.refresh_from_db()
    return opened


@pytest.fixture
def api() -> APIClient:
    """A program without a key or a login."""
    return APIClient()


@pytest.fixture
def as_user():
    """``as_user(alice)`` is Alice at the API."""

    def signed_in(user):
        client = APIClient()
        client.force_login(user)
        return client

    return signed_in


@pytest.fixture
def as_key(project):
    """``as_key(KeyKind.READ)`` is a program with a fresh key of that kind to Alice's project."""

    def with_key(kind, of=None):
        _, plaintext = issue_key(of or project, kind)
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {plaintext}")
        return client

    return with_key


@pytest.fixture
def ingest(as_key):
    return as_key(KeyKind.INGEST)


@pytest.fixture
def open_mode(settings):
    """The server asks nobody who they are."""
    settings.MLDIAG_AUTH = "open"
