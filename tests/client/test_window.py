from __future__ import annotations

import math

import pytest
import torch

from observer_client import window as window_module
from observer_client.window import Window, snapshot

NAN, INF = math.nan, math.inf


def window_with(losses, limit=200):
    window = Window(0, limit, started=0.0)
    for number, loss in enumerate(losses):
        window.add(float(number + 1), snapshot(loss), 2, None, None)
    window.close()
    return window


@pytest.mark.parametrize(
    "losses",
    [
        pytest.param([1.0, 2.0, 6.0], id="floats"),
        pytest.param([torch.tensor(1.0), torch.tensor(2.0), torch.tensor(6.0)], id="tensors"),
        pytest.param([torch.tensor(1.0, requires_grad=True) * 1, 2, torch.tensor([5.0, 7.0])], id="mixed"),
        pytest.param([torch.tensor(each, dtype=torch.bfloat16) for each in (1.0, 2.0, 6.0)], id="half precision"),
    ],
)
def test_statistics_of_the_loss(losses):
    loss = window_with(losses).loss()
    assert (loss.train_mean, loss.train_min, loss.train_max, loss.n_batches) == (3.0, 1.0, 6.0, 3)
    assert loss.train_std == pytest.approx(math.sqrt(14 / 3))
    assert (loss.non_finite, loss.first_non_finite_step) == (0, None)


@pytest.mark.parametrize(
    ("losses", "mean", "low", "high", "first"),
    [
        pytest.param([1.0, NAN, 3.0], NAN, NAN, NAN, 1, id="nan"),
        pytest.param([1.0, 2.0, INF], INF, 1.0, INF, 2, id="inf"),
        pytest.param([-INF, 2.0], -INF, -INF, 2.0, 0, id="minus inf"),
        pytest.param([INF, -INF], NAN, -INF, INF, 0, id="both infinities"),
    ],
)
@pytest.mark.parametrize("limit", [200, 1], ids=["one bucket a step", "one bucket"])
def test_what_is_not_finite_stays_so(losses, mean, low, high, first, limit):
    loss = window_with(losses, limit).loss()
    assert [loss.train_mean, loss.train_min, loss.train_max] == pytest.approx([mean, low, high], nan_ok=True)
    assert math.isnan(loss.train_std)
    assert loss.first_non_finite_step == first


def test_huge_losses_do_not_run_over():
    loss = window_with([1e308, 1.5e308]).loss()
    assert loss.train_mean == pytest.approx(1.25e308)
    assert loss.non_finite == 0


def test_nan_shows_in_its_bucket_only():
    steps = window_with([1.0, 1.0, NAN, 1.0], limit=2).steps()
    assert steps.first == [0, 2]
    assert steps.loss_mean == pytest.approx([1.0, NAN], nan_ok=True)


@pytest.mark.parametrize("count", [1, 199, 200, 201, 1000, 1999])
def test_the_series_has_at_most_as_many_buckets(count):
    steps = window_with([0.5] * count).steps()
    assert len(steps.first) <= 200
    assert sum(steps.count) == count
    assert steps.first[0] == 0


def test_a_long_window_keeps_bounded_memory_and_exact_figures(monkeypatch):
    monkeypatch.setattr(window_module, "CONDENSE_AT", 64)
    losses = [float(each % 7) for each in range(1000)]
    window = window_with(losses, limit=10)
    loss, steps = window.loss(), window.steps()
    assert loss.train_mean == pytest.approx(sum(losses) / 1000)
    assert loss.train_std == pytest.approx(torch.tensor(losses, dtype=torch.float64).std(correction=0).item())
    assert len(steps.first) <= 10
    assert sum(steps.count) == len(window) == 1000


def test_the_next_window_counts_on():
    first = window_with([1.0, 1.0])
    second = Window(first.first + len(first), 200, started=2.0)
    second.add(3.0, NAN, None, None, None)
    second.close()
    assert second.steps().first == [2]
    assert second.loss().first_non_finite_step == 2


def test_throughput_counts_samples_over_the_steps():
    throughput = window_with([1.0] * 4).throughput()
    assert (throughput.samples_processed, throughput.samples_per_second, throughput.batches_per_second) == (8, 2, 1)


def test_an_unknown_begin_is_guessed_from_the_other_steps():
    window = Window(0, 200)
    for now in (10.0, 11.0, 12.0):
        window.add(now, 1.0, 5, None, None)
    window.close()
    assert window.throughput().samples_per_second == pytest.approx(5.0)
    assert window.duration(13.0) == pytest.approx(4.0)


def test_our_own_profiling_is_not_the_training_s_time():
    window = Window(0, 200, started=0.0)
    window.skipped = 100.0
    window.add(101.0, 1.0, 1, None, None)
    window.close()
    assert window.duration(101.0) == pytest.approx(1.0)
    assert window.throughput().samples_per_second == pytest.approx(1.0)


def test_a_gradient_norm_may_be_told_now_and_then():
    window = Window(0, 200, started=0.0)
    for number in range(4):
        window.add(float(number), 1.0, None, 3.0 if number == 2 else None, None)
    window.close()
    assert window.gradients().norm_max == 3.0
    assert window.steps().grad_norm_mean == [None, None, 3.0, None]


def test_a_rate_holds_until_the_next():
    window = Window(0, 200, started=0.0)
    for number, rate in enumerate((0.1, None, 0.01, None)):
        window.add(float(number), 1.0, None, None, rate)
    window.close()
    assert window.steps().learning_rate == [0.1, 0.1, 0.01, 0.01]


@pytest.mark.parametrize(
    ("losses", "mean"),
    [
        pytest.param([1.0, 2.0, 6.0], 3.0, id="all"),
        pytest.param([1.0, None, 5.0], 3.0, id="one without"),
        pytest.param([None, None, None], None, id="none"),
        pytest.param([True, False, True], 2 / 3, id="truth values"),
    ],
)
def test_steps_come_together(losses, mean):
    window = Window(0, 200, started=0.0)
    window.extend([1.0, 2.0, 3.0], losses, [4, None, 4], [None] * 3, [0.1, None, 0.2])
    window.close()
    assert window.loss().train_mean == (mean if mean is None else pytest.approx(mean))
    assert (len(window), window.throughput().samples_processed) == (3, 8)
    assert window.steps().learning_rate == [0.1, 0.1, 0.2]


def test_an_empty_window_says_nothing():
    window = window_with([])
    assert (window.steps(), window.gradients(), window.throughput()) == (None, None, None)
    assert window.loss().train_mean is None


class OnDevice:
    """A tensor that says it lies on a device and counts how often it is read one by one."""

    reads = 0

    def __init__(self, value):
        self.value, self.ndim, self.is_cpu = value, 0, False

    def detach(self):
        return self

    def clone(self):
        return torch.tensor(self.value)

    def item(self):
        OnDevice.reads += 1


def test_losses_on_a_device_are_read_together(monkeypatch):
    monkeypatch.setattr(window_module, "STACK_AT", 4)
    window = window_with([OnDevice(float(each)) for each in range(10)] + [10.0])
    assert window.loss().train_mean == 5.0
    assert OnDevice.reads == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_no_step_waits_for_a_gpu():
    window = Window(0, 200, started=0.0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for number in range(1000):
            window.add(float(number), snapshot(torch.ones((), device="cuda")), 1, None, None)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    window.close()
    assert window.loss().train_mean == 1.0
