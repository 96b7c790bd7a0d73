"""The guide's training loop, as it stands there, against a real server."""

from __future__ import annotations

import json

import msgspec
import torch

from observer_client import Observer, ObserverConfig
from observer_client.record import RunFile
from tests.client.conftest import batches, net


def train_as_the_guide(model, path, epochs=3):
    config = ObserverConfig(
        track_profiler=True,
        track_layer_health=True,
        track_carbon_emissions=False,
        profile_at_step=0,
    )
    obs = Observer(project_id=1, config=config, run_name="my_experiment_v1")
    obs.register_model(model)
    obs.log_hyperparameters({"learning_rate": 1e-3, "batch_size": 64, "optimizer": "Adam"})
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    criterion = torch.nn.CrossEntropyLoss()
    for _ in range(epochs):
        for step, (x, y) in enumerate(batches()):
            if obs.should_profile(step):
                logits, loss = obs.profile_step(model, x, y)
            else:
                logits = model(x)
                loss = criterion(logits, y)
                loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            obs.step(step, loss, batch_size=x.size(0))
        obs.flush(val_metrics={"val_loss": 0.5, "val_acc": 0.85})
    obs.export(path)
    obs.close()
    return obs


def test_everything_arrives(server, monkeypatch, tmp_path):
    monkeypatch.setenv("MLDIAG_URL", server.url)
    train_as_the_guide(net(), tmp_path / "run.json")
    session = server.session
    assert (session.opening["project_id"], session.opening["run_name"]) == (1, "my_experiment_v1")
    assert {"hyperparameters": {"learning_rate": 1e-3, "batch_size": 64, "optimizer": "Adam"}} in session.updates
    assert session.model["layer_graph"]["sequential_path"] == ["0", "1", "2"]
    assert sorted(session.epochs) == [(0, 0), (1, 0), (2, 0)]
    assert session.ending["status"] == "finished"


def test_an_epoch_has_the_parts_of_the_guide(server, monkeypatch, tmp_path):
    monkeypatch.setenv("MLDIAG_URL", server.url)
    train_as_the_guide(net(), tmp_path / "run.json", epochs=2)
    epoch = server.session.epochs[1, 0]
    assert epoch["loss"]["val"] == {"val_loss": 0.5, "val_acc": 0.85}
    assert epoch["loss"]["train_min"] <= epoch["loss"]["train_mean"] <= epoch["loss"]["train_max"]
    assert epoch["throughput"]["samples_processed"] == 30
    assert epoch["memory"]["process_rss_mb"] > 1
    assert set(epoch["profiler"]["operation_categories"]) == {"forward_pass", "backward_pass", "optimizer_step"}
    assert epoch["learning_rate"] == 1e-3
    assert epoch["duration_seconds"] > 0


def test_the_last_line_tells_the_score(server, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("MLDIAG_URL", server.url)
    train_as_the_guide(net(), tmp_path / "run.json", epochs=1)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"mldiag: score 73/100 · 1 critical, 2 warnings · {server.url}/sessions/12"


def test_the_export_is_a_run_file(monkeypatch, tmp_path):
    monkeypatch.setenv("MLDIAG_MODE", "offline")
    path = tmp_path / "observer_reports" / "my_run.json"
    train_as_the_guide(net(), path)
    run = msgspec.json.decode(path.read_bytes(), type=RunFile, strict=False)
    assert [epoch.epoch for epoch in run.epochs] == [0, 1, 2]
    assert run.session.hyperparameters["optimizer"] == "Adam"
    assert run.architecture.layers["0"].parameters == 40
    assert json.loads(path.read_bytes())["epochs"][0]["loss"]["n_batches"] == 5


def test_disabled_trains_all_the_same(monkeypatch, tmp_path):
    monkeypatch.setenv("MLDIAG_MODE", "disabled")
    model = net()
    before = model[0].weight.clone()
    train_as_the_guide(model, tmp_path / "run.json")
    assert not torch.equal(before, model[0].weight)
    assert list(tmp_path.iterdir()) == []
