"""The size of the batches."""

from __future__ import annotations

import pytest

from tests.engine.tools import BOTH, found, held_back, run_with

NOISY = {"train": [2.0, 1.9, 1.8, 1.8, 1.7, 1.7], "std": [1.4] * 6}
LOSS = [1.0, 0.8, 0.6, 0.5, 0.4, 0.35, 0.3, 0.25]
STUCK = [1.0, 0.8, 0.7, 0.71, 0.72, 0.73, 0.74, 0.75]


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize("load", [0, 12, 29])
def test_noise_on_an_idle_gpu(load, profile):
    (issue,) = found("batch-size-too-small", run_with(**NOISY, gpu=[load] * 6), profile)
    assert (str(issue.severity), issue.evidence["ratio"] > 0.5) == ("info", True)


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    "columns",
    [
        pytest.param({**NOISY, "gpu": [80] * 6}, id="busy"),
        pytest.param({**NOISY, "std": [0.2] * 6, "gpu": [5] * 6}, id="calm"),
        pytest.param({**NOISY, "std": [1.4, 1.4, 0.2, 0.2, 0.2, 0.2], "gpu": [5] * 6}, id="noisy at the start"),
    ],
)
def test_small_batches_are_fine(columns, profile):
    assert found("batch-size-too-small", run_with(**columns), profile) == []


def test_noise_around_a_small_loss_is_held_back():
    run = run_with(train=[2.0, 0.1, 0.02, 0.01, 0.01], std=[0.5, 0.08, 0.015, 0.008, 0.008], gpu=[5] * 5)
    assert found("batch-size-too-small", run) == [] and "scale" in held_back("batch-size-too-small", run)[0]
    assert found("batch-size-too-small", run, "guide")


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize("batches", [1, 4, 10])
def test_smooth_and_no_better(batches, profile):
    run = run_with(train=LOSS, std=[0.004] * 8, val=STUCK, batches=[batches] * 8)
    assert [str(issue.severity) for issue in found("batch-size-too-large", run, profile)] == ["info"]


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    "columns",
    [
        pytest.param({"train": LOSS, "std": [0.2] * 8, "val": STUCK}, id="noisy"),
        pytest.param({"train": LOSS, "std": [0.004] * 8, "val": LOSS}, id="validation follows"),
        pytest.param({"train": LOSS[:4] + [0.5] * 4, "std": [0.004] * 8, "val": STUCK}, id="converged"),
        pytest.param({"train": LOSS[:6], "std": [0.004] * 6, "val": STUCK[:6]}, id="short"),
    ],
)
def test_large_batches_are_fine(columns, profile):
    run = run_with(**columns, batches=[4] * len(columns["train"]))
    assert found("batch-size-too-large", run, profile) == []


def test_many_steps_are_no_large_batches():
    run = run_with(train=LOSS, std=[0.004] * 8, val=STUCK, batches=[100] * 8)
    assert found("batch-size-too-large", run) == [] and "steps" in held_back("batch-size-too-large", run)[0]


@pytest.mark.parametrize(
    ("samples", "columns", "fires"),
    [
        pytest.param(200, NOISY, True, id="two samples, noisy"),
        pytest.param(200, {"train": [2.3] * 6, "std": [0.1] * 6}, True, id="two samples, nothing learned"),
        pytest.param(200, {"train": LOSS[:6], "std": [0.05] * 6}, False, id="two samples, calm"),
        pytest.param(800, NOISY, False, id="eight samples"),
        pytest.param(None, NOISY, False, id="nobody knows"),
    ],
)
def test_batches_of_very_few_samples(samples, columns, fires):
    run = run_with(**columns, samples=[samples] * 6, batches=[100] * 6)
    assert [str(issue.severity) for issue in found("batch-size-too-small", run)] == ["info"] * fires
    assert found("batch-size-too-small", run, "guide") == []
