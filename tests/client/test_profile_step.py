from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional

from observer_client.profiler import StepProfile
from tests.client.conftest import batches, net, records


class WithLoss(torch.nn.Module):
    """Returns (logits, loss) when it gets targets, as nanoGPT does."""

    def __init__(self):
        super().__init__()
        self.inner = net()

    def forward(self, x, targets=None):
        logits = self.inner(x)
        return logits, None if targets is None else functional.cross_entropy(logits, targets)


class AsObject(WithLoss):
    """Returns an object with a loss, as transformers do."""

    def forward(self, x, labels=None):
        logits, loss = super().forward(x, labels)
        return {"loss": loss, "logits": logits}


def gradients(model):
    return [parameter.grad for parameter in model.parameters()]


@pytest.mark.parametrize(
    ("make", "criterion"),
    [
        pytest.param(net, None, id="logits, default loss"),
        pytest.param(net, functional.cross_entropy, id="logits, criterion"),
        pytest.param(WithLoss, None, id="own loss"),
        pytest.param(WithLoss, functional.cross_entropy, id="own loss, criterion wins"),
        pytest.param(AsObject, None, id="own loss in an object"),
    ],
)
def test_gradients_are_those_of_an_ordinary_step(observe, make, criterion):
    ((x, y),) = batches(1)
    model = make()
    twin = copy.deepcopy(model)
    logits, loss = observe().profile_step(model, x, y, criterion)
    expected = twin.inner(x) if hasattr(twin, "inner") else twin(x)
    expected_loss = functional.cross_entropy(expected, y)
    expected_loss.backward()
    assert torch.equal(logits, expected)
    assert torch.equal(loss, expected_loss)
    assert all(torch.equal(a, b) for a, b in zip(gradients(model), gradients(twin), strict=True))


def test_floating_targets_mean_squared_error(observe):
    x, y = torch.randn(6, 4), torch.randn(6)
    logits, loss = observe().profile_step(torch.nn.Linear(4, 1), x, y)
    assert torch.equal(loss, functional.mse_loss(logits.squeeze(1), y))


def test_classes_last_as_in_language_models(observe):
    x, y = torch.randn(2, 5, 4), torch.randint(0, 3, (2, 5))
    logits, loss = observe().profile_step(torch.nn.Linear(4, 3), x, y)
    assert torch.equal(loss, functional.cross_entropy(logits.transpose(1, 2), y))


@pytest.mark.parametrize(
    ("y", "error", "says"),
    [
        pytest.param(torch.zeros(6, dtype=torch.bool), TypeError, "torch.bool", id="bool"),
        pytest.param(torch.zeros(5, dtype=torch.long), ValueError, r"\(6, 3\).*\(5,\)", id="other length"),
        pytest.param(torch.zeros(6, 2), ValueError, "pass criterion=", id="other width"),
        pytest.param(["cat"] * 6, TypeError, "pass criterion=", id="words"),
    ],
)
def test_targets_that_fit_no_loss(observe, y, error, says):
    with pytest.raises(error, match=says):
        observe().profile_step(net(), torch.randn(6, 4), y)


def test_a_model_s_own_error_passes_and_leaves_nothing_behind(observe):
    def broken(x):
        raise RuntimeError("CUDA out of memory")

    observer = observe()
    model = net()
    model.forward = broken
    with pytest.raises(RuntimeError, match="out of memory"):
        observer.profile_step(model, *batches(1)[0])
    # A profiler that was left running would refuse the next one.
    observer.profile_step(net(), *batches(1)[0])


def test_the_step_runs_once_when_the_profiler_fails(observe, forgiving, monkeypatch):
    monkeypatch.setattr(torch.profiler, "profile", None)
    calls = []
    model = net()
    model.register_forward_hook(lambda *unused: calls.append(1))
    _, loss = observe().profile_step(model, *batches(1)[0])
    assert (len(calls), loss.item() > 0) == (1, True)


def test_beside_a_profiler_of_the_user(observe, forgiving):
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as theirs:
        observe().profile_step(net(), *batches(1)[0])
    assert any("addmm" in event.key for event in theirs.key_averages())


def test_backward_can_be_replaced(observe):
    observer, model = observe(), net()
    observer.profile_step(model, *batches(1)[0], backward=lambda loss: (loss * 2).backward())
    doubled = gradients(model)
    model.zero_grad()
    observer.profile_step(model, *batches(1)[0])
    assert torch.allclose(doubled[0], gradients(model)[0] * 2)


def test_what_the_profile_says(observe):
    observer, model = observe(), net()
    _, loss = observer.profile_step(model, *batches(1)[0])
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    observer.step(0, loss)
    observer.flush()
    ((profile),) = [epoch["profiler"] for epoch in records(observer, "epoch")]
    assert profile["total_cpu_time_ms"] > 0
    assert profile["fwd_bwd_ratio"] == pytest.approx(profile["forward_ms"] / profile["backward_ms"])
    shares = [share["pct_cpu"] for share in profile["operation_categories"].values()]
    assert (len(shares), sum(shares)) == (3, pytest.approx(100.0))


def test_random_numbers_are_as_without_it(observe):
    def draw(step):
        torch.manual_seed(1)
        step(torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(4, 3)))
        return torch.rand(3)

    x, y = batches(1)[0]
    plain = draw(lambda model: functional.cross_entropy(model(x), y).backward())
    observer = observe()
    assert torch.equal(plain, draw(lambda model: observer.profile_step(model, x, y)))


@pytest.mark.parametrize(
    ("steps", "yes"),
    [
        pytest.param([0, 1, 2, 0, 1, 2], [0, 3], id="counted within the epoch"),
        pytest.param([0, 1, 2, 3, 4, 5], [0, 3], id="counted from the start"),
        pytest.param([70, 71, 72, 73, 74, 75], [0, 3], id="resumed"),
    ],
)
def test_once_an_epoch(observe, steps, yes):
    observer = observe()
    said = []
    for number, step in enumerate(steps):
        if observer.should_profile(step):
            said.append(number)
        observer.step(step, 1.0)
        if number == 2:
            observer.flush()
    assert said == yes


def test_not_when_switched_off(observe):
    assert not observe(track_profiler=False).should_profile(0)


def test_hooks_of_the_optimizer_leave(observe):
    from torch.optim import optimizer

    observer = observe()
    observer.profile_step(net(), *batches(1)[0])
    observer.close()
    assert not optimizer._global_optimizer_pre_hooks
    assert not optimizer._global_optimizer_post_hooks


def test_an_optimizer_that_never_steps_has_no_share():
    profile = StepProfile(0)
    profile.mark("between")
    profile.mark("forward_pass")
    assert set(profile.read().operation_categories) == {"forward_pass"}
