"""Sessions whose every text tries to be markup, sent over HTTP as a client sends them."""

from __future__ import annotations

import json
from urllib.parse import quote

import requests

from observer_client.record import (
    Architecture,
    Carbon,
    LayerHealth,
    LayerInfo,
    LayerStats,
    LayerTime,
    OperationShare,
    Profile,
)
from tests.pages.rows import MARKUP, epoch, to_plain

NAN = float("nan")
KEYS = [f"0f6a3f0c-6a34-4a6c-8a0e-0f8a5f1c2d{number:02}" for number in range(4)]


def make_hostile(url):
    """Fill a fresh server. Returns what addresses name."""

    def send(method, path, body=None, **headers):
        answer = requests.request(method, f"{url}/api{path}", json=body, headers=headers, timeout=60)
        assert answer.ok, f"{method} {path}: {answer.text}"
        return answer.json()

    project = send("POST", "/projects", {"name": f"Project {MARKUP}", "description": MARKUP})["id"]
    bad = _train(send, KEYS[0], project, [2.3, 1.2, 0.8, 9.0, NAN], "crashed")
    good = _train(send, KEYS[1], project, [2.3 * 0.8**number + 0.1 for number in range(12)], "finished")
    send("PUT", f"/sessions/{KEYS[2]}", _opening(KEYS[2], project))
    send("POST", f"/sessions/{KEYS[2]}/epochs", {"epochs": [_epoch(0, 1.0)]})
    send("POST", f"/projects/{project}/keys", {"name": MARKUP, "kind": "ro"})
    send(
        "PUT",
        f"/projects/{project}/baselines/{quote('<img src=x onerror=alert(3)>')}",
        {"value": 0.9, "source": MARKUP},
    )
    problem = send("GET", "/problems?check=nan-in-loss")["results"][0]["id"]
    send("POST", f"/problems/{problem}/comments", {"text": MARKUP})
    run = requests.get(f"{url}/diagnostics/sessions/{bad}", timeout=60).json()["results"][0]["id"]
    empty = send("POST", "/projects", {"name": "Nothing yet"})["id"]
    running = send("GET", f"/sessions/{KEYS[2]}")["id"]
    names = ("project", "empty", "bad", "good", "running", "problem", "run")
    return dict(zip(names, (project, empty, bad, good, running, problem, run), strict=True))


def _opening(key, project):
    named = {"key": key, "project_id": project, "run_name": f"run {MARKUP}", "tags": [MARKUP]}
    document = {MARKUP: MARKUP, "learning_rate": 0.5, "nested": {MARKUP: [MARKUP]}}
    return named | {"hyperparameters": document, "environment": document, "config": document}


def _train(send, key, project, losses, status):
    opened = send("PUT", f"/sessions/{key}", _opening(key, project))
    layers = {MARKUP: LayerInfo(type=MARKUP, parameters=64), "conv": LayerInfo(type="Conv2d", parameters=32)}
    model = Architecture(model_class=MARKUP, total_parameters=96, layers=layers)
    send("PUT", f"/sessions/{key}/model", to_plain(model))
    send(
        "POST",
        f"/sessions/{key}/epochs",
        {"epochs": [_epoch(number, loss) for number, loss in enumerate(losses)]},
    )
    lines = [
        {"seq": 0, "msg": MARKUP, "level": "WARNING", "logger": MARKUP},
        {"seq": 1, "msg": MARKUP, "level": MARKUP},
    ]
    send("POST", f"/sessions/{key}/logs", {"logs": lines})
    send("POST", f"/sessions/{key}/finish", {"status": status, "reason": MARKUP}, Prefer="wait=30")
    return opened["id"]


def _epoch(number, loss):
    stats = LayerStats(gradient_norm_mean=0.1, weight_norm=3.0, weight_sparsity=0.95, activation_variance=0.0)
    profiler = Profile(
        step=3,
        forward_ms=2.0,
        backward_ms=9.0,
        per_layer=[LayerTime(name=MARKUP, pct_total=91.0, forward_ms=1.0)],
        operation_categories={MARKUP: OperationShare(pct_cpu=95.0, time_ms=9.0)},
    )
    sent = epoch(
        number,
        loss,
        loss * 1.1,
        layer_health=LayerHealth(layers={MARKUP: stats, "conv": stats}),
        profiler=profiler,
        carbon_emissions=Carbon(epoch_co2_kg=0.001, epoch_energy_kwh=0.01),
    )
    made = json.loads(sent)
    made["loss"]["val"][MARKUP] = 0.5
    return made
