"""The time that single steps take."""

from __future__ import annotations

import numpy as np
import pytest

from diagnostics.engine import Run
from tests.engine.tools import BOTH, found, held_back


def waiting(*shares, pace=50.0, waits=100, **more):
    """Return a run that waited for these shares of the time, at ``pace`` batches a second."""
    throughput = {"batches_per_second": pace, "data_wait_steps": waits}
    return Run.from_epochs([{"throughput": throughput | {"data_wait_share": share}} | more for share in shares])


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("shares", "count"),
    [
        pytest.param([0.6], 1, id="one epoch"),
        pytest.param([0.1, 0.1, 0.5, 0.5, 0.5], 3, id="from the third on"),
        pytest.param([0.25] * 4, 4, id="a quarter"),
    ],
)
def test_waits_for_data(shares, count, profile):
    (issue,) = found("input-bound", waiting(*shares), profile)
    assert (str(issue.severity), issue.count) == ("warning", count)


def test_an_estimate_without_a_pace_counts():
    epochs = [{"throughput": {"data_wait_share": 0.5}, "phases": {"data_seconds": 0.02}}]
    (issue,) = found("input-bound", Run.from_epochs(epochs))
    assert "20 ms a step" in issue.description


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize("shares", [[0.2], [0.0, 0.1], [None]], ids=str)
def test_does_not_wait(shares, profile):
    assert found("input-bound", waiting(*shares), profile) == []


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        pytest.param(waiting(0.5, pace=1000.0), "any loop takes", id="tiny steps"),
        pytest.param(waiting(0.6, *[0.05] * 9), "1 of 10 epochs", id="a cold cache"),
        pytest.param(waiting(0.6, waits=5), "too few", id="few waits"),
        pytest.param(waiting(0.1, 0.5, 0.1, 0.5, 0.5, 0.1, 0.5, 0.1, 0.1), "now and then", id="another process"),
        pytest.param(waiting(*[0.5] * 6, 0.1, 0.1, 0.1), "now and then", id="over"),
        pytest.param(waiting(0.6, system={"gpu_percent": 97.0}), "GPU is busy", id="overlapped"),
    ],
)
def test_waits_that_do_no_harm(run, reason):
    assert found("input-bound", run) == [] and reason in held_back("input-bound", run)[0]
    assert len(found("input-bound", run, "guide")) == 1


def timed(seconds, epochs=5, count=1, **more):
    """Return a run of equal epochs whose steps took so long."""
    steps = [part.tolist() for part in np.split(np.asarray(seconds, float), epochs)]
    return Run.from_epochs(
        [
            {"steps": {"seconds_mean": part, "count": [count] * len(part), "first": list(range(len(part)))}} | each
            for part, each in zip(steps, more.get("each", [{}] * epochs), strict=True)
        ]
    )


def jittery(size=1000, jitter=0.05, seed=0):
    return 0.1 * np.exp(jitter * np.random.default_rng(seed).normal(size=size))


def with_stalls(*at, seconds=6.0):
    times = jittery()
    times[list(at)] = seconds
    return times


@pytest.mark.parametrize("profile", BOTH)
def test_stalls_add_up(profile):
    (issue,) = found("slow-step", timed(with_stalls(150, 350, 550)), profile)
    assert str(issue.severity) == "info" and issue.metric_value == pytest.approx(6.0)


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    "times",
    [
        pytest.param(jittery(), id="jitter"),
        pytest.param(with_stalls(150), id="one stall"),
        pytest.param(with_stalls(0, 200, 400, 600, 800), id="first steps of epochs"),
        pytest.param(with_stalls(150, 350, seconds=0.25), id="twice as long"),
        pytest.param(with_stalls(150, 350, 550) / 100, id="nobody waits for that"),
        pytest.param(np.zeros(1000), id="zero"),
    ],
)
def test_no_stalls(times, profile):
    assert found("slow-step", timed(times), profile) == []


@pytest.mark.parametrize(
    ("times", "reason"),
    [
        pytest.param(jittery(jitter=0.8), "steps jitter", id="a crowded machine"),
        pytest.param(with_stalls(*range(1, 1000, 10), seconds=1.0), "no exception", id="every tenth"),
    ],
)
def test_slow_steps_that_are_no_exception(times, reason):
    assert found("slow-step", timed(times)) == [] and reason in held_back("slow-step", timed(times))[0]


def slower_from(at, by=0.15, jitter=0.03, size=1000):
    return np.where(np.arange(size) < at, 1.0, 1 + by) * jittery(size, jitter)


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize("epochs", [1, 5, 50])
@pytest.mark.parametrize("at", [300, 500, 750])
def test_slower_for_good(at, epochs, profile):
    (issue,) = found("fail-slow", timed(slower_from(at), epochs), profile)
    assert issue.epoch_index == pytest.approx(at * epochs / 1000, abs=1)
    assert issue.metric_value == pytest.approx(0.115, rel=0.02)


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    "times",
    [
        pytest.param(jittery(), id="jitter"),
        pytest.param(slower_from(500, by=0.05), id="5 % are not verified"),
        pytest.param(slower_from(500, by=-0.3), id="faster"),
        pytest.param(np.concatenate([slower_from(300)[:600], jittery(400, seed=1)]), id="recovers"),
        pytest.param(with_stalls(150, 350, 550, 750), id="stalls"),
        pytest.param(slower_from(950), id="at the very end"),
        pytest.param(np.tile([0.1] * 40 + [0.2] * 10, 20), id="two kinds of batches"),
    ],
)
def test_not_slower_for_good(times, profile):
    assert found("fail-slow", timed(times), profile) == []


def test_short_parts_are_information():
    (issue,) = found("fail-slow", timed(slower_from(500) / 1000))
    assert str(issue.severity) == "info"


def test_larger_batches_take_longer():
    sizes = [{"throughput": {"samples_processed": n}, "loss": {"n_batches": 1}} for n in (64, 64, 128, 128)]
    run = timed(slower_from(500), 4, each=sizes)
    assert found("fail-slow", run) == [] and "larger" in held_back("fail-slow", run)[0]


@pytest.mark.parametrize("jitter", [0.05, 0.2, 0.5])
def test_jitter_is_no_change(jitter):
    runs = [timed(jittery(1000, jitter, seed)) for seed in range(40)]
    assert sum(bool(found("fail-slow", run)) for run in runs) == 0


def test_load_that_wanders_is_no_change():
    """The logarithm of the time of a step follows an autoregression, as on a shared machine."""
    alarms = 0
    for seed in range(40):
        noise, level = np.random.default_rng(seed).normal(size=1000) * 0.1, np.zeros(1000)
        for at in range(1, 1000):
            level[at] = 0.9 * level[at - 1] + noise[at]
        alarms += bool(found("fail-slow", timed(0.1 * np.exp(level))))
    assert alarms == 0


@pytest.mark.parametrize(("seconds", "fires"), [([10.0, 1.0, 10.0, 1.0], False), ([10.0] * 4, True)], ids=str)
def test_waits_of_short_epochs_count_by_their_time(seconds, fires):
    epochs = [
        {"duration_seconds": each, "throughput": {"batches_per_second": 50.0, "data_wait_share": share}}
        for each, share in zip(seconds, [0.02, 0.4, 0.02, 0.4], strict=True)
    ]
    assert bool(found("input-bound", Run.from_epochs(epochs))) is fires
