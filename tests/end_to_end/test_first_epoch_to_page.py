"""One real training, observed by the real client, judged and shown by a real server: nothing is lost on the way."""

from __future__ import annotations

import math
import os
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
import pytest
import requests
import torch

from observer_client import Observer, ObserverConfig
from tests.processes.machinery import serving, until

pytestmark = pytest.mark.processes


@pytest.fixture(params=["sqlite", "postgresql"])
def server(request, tmp_path):
    """The URL of an embedded server on a fresh database of either kind."""
    if request.param == "sqlite":
        with serving(tmp_path) as (_, url):
            yield url
        return
    address = os.environ["DATABASE_URL"]
    if not address.startswith("postgres"):
        pytest.skip("this run of the suite has no PostgreSQL: `make test` has")
    name = f"e2e_{uuid4().hex}"
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    fresh = urlunsplit(urlsplit(address)._replace(path=f"/{name}"))
    with serving(tmp_path, DATABASE_URL=fresh) as (_, url):
        yield url


def train_until_it_diverges(url, folder):
    """Three epochs of a small network; in the second a batch is infinite, in the third the weights are gone."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    config = ObserverConfig(url=url, directory=str(folder), track_carbon_emissions=False)
    with Observer(project_id=1, config=config, run_name="diverges") as obs:
        obs.register_model(model)
        for epoch in range(3):
            for step in range(4):
                scale = float("inf") if (epoch, step) == (1, 3) else 1.0
                loss = model(torch.randn(16, 4)).pow(2).mean() * scale
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                obs.step(step, loss, batch_size=16)
            obs.flush(val_metrics={"val_loss": [0.9, math.inf, math.nan][epoch]})


def test_nan_and_infinity_reach_the_page(server, tmp_path):
    train_until_it_diverges(server, tmp_path / "runs")

    sessions = requests.get(f"{server}/api/sessions", timeout=30).json()["results"]
    (session,) = sessions
    epochs = requests.get(f"{server}/api/sessions/{session['id']}/epochs", timeout=30).json()["results"]
    losses = [epoch["loss"] for epoch in epochs]
    assert [loss["train_mean"] if isinstance(loss["train_mean"], str) else "finite" for loss in losses] == [
        "finite",
        "inf",
        "nan",
    ]
    assert [loss["val"]["val_loss"] for loss in losses] == [0.9, "inf", "nan"]

    def diagnosed():
        return requests.get(f"{server}/api/sessions/{session['id']}", timeout=30).json()["health_score"] is not None

    until(diagnosed, "the diagnosis")
    result = requests.post(f"{server}/diagnostics/sessions/{session['id']}/run", timeout=60).json()
    found = [issue for issue in result["issues"] if issue["severity"] == "critical"]
    assert any("nan" in issue["title"].lower() for issue in found)

    page = requests.get(f"{server}/sessions/{session['id']}", timeout=30).text
    assert all(issue["title"] in page for issue in found)
