"""What people do to models and optimizers: nothing false is said of it, and nothing of ours stays behind."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from diagnostics.engine import CHECKS, DiagnosticThresholds, Run
from tests.client.conftest import batches, net, records
from tests.client.test_invariants import INVARIANTS
from tests.client.test_layers import health, train

pytestmark = pytest.mark.usefixtures("seeded")


def said(observer):
    """Return the invariants that are said to be broken, and the facts of the last window."""
    run = Run.from_epochs(records(observer, "epoch"), architecture=records(observer, "architecture")[-1])
    return {name for name in INVARIANTS if CHECKS[name](run, DiagnosticThresholds())}


def observed(observe, model, one_step, windows=5, steps=14):
    """Train with ``one_step(x, y)``, which returns the loss; return the observer."""
    observer = observe(layer_health_every=3)
    observer.register_model(model)
    model.train()
    for _ in range(windows):
        for number, (x, y) in enumerate(batches(steps)):
            observer.step(number, one_step(x, y))
        observer.flush()
    return observer


def ordinary(model, optimizer, forward=None):
    def one_step(x, y):
        loss = functional.cross_entropy((forward or model)(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    return one_step


def sgd(model, **options):
    return torch.optim.SGD(model.parameters(), **{"lr": 0.05, **options})


class LowRank(nn.Module):
    def __init__(self):
        super().__init__()
        self.base, self.lora_a = nn.Linear(4, 8), nn.Linear(4, 2, bias=False)
        self.lora_b, self.head = nn.Linear(2, 8, bias=False), nn.Linear(8, 3)
        self.base.requires_grad_(False)
        nn.init.zeros_(self.lora_b.weight)

    def forward(self, x):
        return self.head(torch.tanh(self.base(x) + self.lora_b(self.lora_a(x))))


class Checkpointed(nn.Module):
    def __init__(self, reentrant):
        super().__init__()
        self.inner, self.drop, self.head, self.reentrant = net(inplace=True), nn.Dropout(), nn.Linear(3, 3), reentrant

    def forward(self, x):
        run = lambda x: self.drop(self.inner(x))  # noqa: E731
        return self.head(checkpoint(run, x.requires_grad_(), use_reentrant=self.reentrant))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.head(torch.relu(self.second(torch.relu(self.first(x)))))


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.head = nn.Embedding(50, 8, sparse=True), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.words((x.abs() * 10).long().clamp(max=49)).mean(1))


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(LowRank(), id="low-rank adapters"),
        pytest.param(Checkpointed(True), id="checkpointing, reentrant"),
        pytest.param(Checkpointed(False), id="checkpointing"),
        pytest.param(Tied(), id="tied weights"),
        pytest.param(Words(), id="sparse gradients"),
        pytest.param(net(inplace=True), id="in place"),
        pytest.param(nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 3)).double(), id="double"),
    ],
)
def test_healthy_models(observe, model):
    width = next(model.parameters()).dtype
    forward = (lambda x: model(x.double())) if width == torch.float64 else model
    assert said(observed(observe, model, ordinary(model, sgd(model), forward))) == set()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_updates_below_the_resolution_of_a_half(observe, dtype):
    model = nn.Sequential(nn.Linear(4, 64), nn.LayerNorm(64), nn.Linear(64, 3)).to(dtype)
    one_step = ordinary(model, sgd(model, lr=1e-4), lambda x: model(x.to(dtype)).float())
    observer = observed(observe, model, one_step)
    assert said(observer) == set()
    assert "unchanged" not in records(observer, "epoch")[-1]["layer_health"]["layers"]["1"]


def test_a_pair_of_networks_that_compete(observe):
    """The generator's loss leaves gradients in the discriminator, whose own step resets them before it counts."""
    pair = nn.ModuleDict({"g": nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Linear(8, 4)), "d": net()})
    optimizers = {name: torch.optim.Adam(pair[name].parameters(), lr=1e-3) for name in pair}

    def one_step(x, y):
        with torch.no_grad():
            fake = pair["g"](torch.randn(6, 2))
        optimizers["d"].zero_grad()
        loss = functional.softplus(pair["d"](fake)).mean() + functional.softplus(-pair["d"](x)).mean()
        loss.backward()
        optimizers["d"].step()
        optimizers["g"].zero_grad()
        functional.softplus(-pair["d"](pair["g"](torch.randn(6, 2)))).mean().backward()
        optimizers["g"].step()
        return loss

    assert said(observed(observe, pair, one_step)) == set()


def test_an_optimizer_that_evaluates_the_loss_itself(observe):
    model = net()
    lbfgs = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3)

    def one_step(x, y):
        def closure():
            lbfgs.zero_grad()
            loss = functional.cross_entropy(model(x), y)
            loss.backward()
            return loss

        return lbfgs.step(closure)

    assert said(observed(observe, model, one_step)) == set()


def test_heads_in_turn(observe):
    model = nn.ModuleDict({"body": nn.Linear(4, 8), "a": nn.Linear(8, 3), "b": nn.Linear(8, 3)})
    turn, optimizer = [0], sgd(model)

    def forward(x):
        turn[0] += 1
        return model["a" if turn[0] // 14 % 2 else "b"](torch.relu(model["body"](x)))

    assert said(observed(observe, model, ordinary(model, optimizer, forward))) == set()


def test_an_unused_head_is_named(observe):
    model = nn.ModuleDict({"body": nn.Linear(4, 3), "unused": nn.Linear(3, 3)})
    observer = observed(observe, model, ordinary(model, sgd(model), model["body"]))
    assert said(observer) == {"no-gradient"}


def test_an_optimizer_for_each_parameter_in_the_backward_pass(observe):
    model = net()
    each = {weight: torch.optim.SGD([weight], lr=0.05) for weight in model.parameters()}

    def update(weight):
        each[weight].step()
        each[weight].zero_grad()

    for weight in model.parameters():
        weight.register_post_accumulate_grad_hook(update)

    def one_step(x, y):
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        return loss

    assert said(observed(observe, model, one_step)) == set()


def test_updates_without_any_optimizer(observe):
    model = net()

    def one_step(x, y):
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        with torch.no_grad():
            for weight in model.parameters():
                weight -= 0.1 * weight.grad
                weight.grad = None
        return loss

    assert said(observed(observe, model, one_step)) == set()


def test_an_average_of_the_weights_in_the_model(observe):
    model = nn.ModuleDict({"student": net(), "teacher": net()})
    inner = ordinary(model, torch.optim.SGD(model["student"].parameters(), lr=0.1), model["student"])

    def one_step(x, y):
        loss = inner(x, y)
        with torch.no_grad():
            model["teacher"](x)
            for slow, quick in zip(model["teacher"].parameters(), model["student"].parameters(), strict=True):
                slow.lerp_(quick, 0.1)
        return loss

    assert said(observed(observe, model, one_step)) == set()


def test_a_compiled_model(observe):
    model, graphs = net(), []
    whole = torch.compile(model, backend=lambda graph, inputs: graphs.append(graph) or graph.forward)
    observer = observed(observe, whole, ordinary(whole, sgd(model)))
    assert said(observer) == set()
    assert len(graphs) == 1
    assert records(observer, "epoch")[-1]["loop"]["gradients_kept"] is False


def test_parts_without_numbers(observe):
    model = nn.ModuleDict({"here": net(), "later": nn.Linear(4, 3, device="meta")})
    optimizer = torch.optim.SGD(model["here"].parameters(), lr=0.1)
    assert said(observed(observe, model, ordinary(model, optimizer, model["here"]))) == set()


def parameter_hooks(model):
    return sum(len(each._backward_hooks or ()) for each in model.parameters())


def test_hooks_of_parameters_leave_after_two_steps(observe):
    model, seen = net(), []
    observer = observe(layer_health_every=0)
    observer.register_model(model)
    train(observer, model, batches(4), each_step=lambda model: seen.append(parameter_hooks(model)))
    assert seen[0] > 0
    assert seen[1:] == [0, 0, 0]


def test_no_hook_of_a_parameter_stays_after_close(observe):
    model = net()
    observer = observe()
    observer.register_model(model)
    observer.close()
    assert parameter_hooks(model) == 0


def test_a_loop_without_an_optimizer_is_not_watched_for_ever(observe):
    model = net()
    observer = observe()
    observer.register_model(model)
    for _ in range(70):
        model(batches(1)[0][0]).sum().backward()
    assert parameter_hooks(model) == 0


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_has_no_hooks_on_its_parameters(observe, copied):
    model = net()
    observe().register_model(model)
    assert parameter_hooks(model) > 0
    assert parameter_hooks(copied(model)) == 0


def test_no_tensor_of_the_training_is_kept(observe):
    model = net()
    observer = observe(layer_health_every=1)
    observer.register_model(model)
    loss = functional.cross_entropy(model(batches(1)[0][0]), batches(1)[0][1])
    loss.backward()
    observer.step(0, loss)
    gone = weakref.ref(loss), weakref.ref(model[0].weight.grad)
    model.zero_grad()
    del loss
    observer.flush()
    gc.collect()
    assert [each() for each in gone] == [None, None]


def test_ten_thousand_layers(observe):
    model = nn.Sequential(*[nn.Linear(2, 2, bias=False) for _ in range(9_999)], nn.Linear(2, 3))
    x, y = torch.randn(4, 2), torch.arange(4) % 3
    found = health(observe, model, [(x, y)], layer_health_every=0)
    assert len(found["layers"]) == 10_000
    assert found["layers"]["9999"]["unchanged"] is False


@pytest.mark.parametrize(
    ("activation", "saturates"), [(torch.relu, False), (functional.gelu, False), (torch.tanh, True)]
)
def test_activations_as_functions_count_as_the_layer_s(observe, activation, saturates):
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(4, 8), nn.Linear(8, 3)

        def forward(self, x):
            return self.head(activation(self.body(x)))

    model, data = Functional(), batches(1)
    with torch.no_grad():
        made = activation(model.body(data[0][0]))
    layer = health(observe, model, data)["layers"]["body"]
    assert layer["activation_mean"] == pytest.approx(made.mean().item(), rel=1e-5)
    assert layer["activation_zero_share"] == pytest.approx((made == 0).float().mean().item())
    assert ("activation_saturation" in layer) == saturates


def test_what_is_pooled_after_its_function_shows_dead_units(observe):
    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.next, self.head = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4, 3)
            with torch.no_grad():
                self.conv.bias[:2] = -100

        def forward(self, x):
            x = functional.max_pool2d(functional.relu(self.conv(x)), 2)
            return self.head(self.next(x).mean((2, 3)))

    found = health(observe, Pooled(), [(torch.randn(6, 1, 10, 10), torch.arange(6) % 3)])
    assert found["layers"]["conv"]["activation_dead_units"] == 0.5


def test_a_sum_of_two_layers_is_nobody_s_activation(observe):
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right, self.head = nn.Linear(4, 8), nn.Linear(4, 8), nn.Linear(8, 3)

        def forward(self, x):
            return self.head(torch.relu(self.left(x) + self.right(x)))

    assert health(observe, Residual())["layers"]["right"]["activation_zero_share"] == 0.0


def test_the_first_step_whose_gradient_is_no_number(observe):
    model = net()
    observer = observe(layer_health_every=1)
    observer.register_model(model)
    still = [torch.optim.SGD(model.parameters(), lr=0.0)]
    train(observer, model, batches(4), still)
    data = batches(4)
    data[2] = (data[2][0] * float("nan"), data[2][1])
    assert train(observer, model, data, still)["layers"]["0"]["first_non_finite_step"] == 6


def test_no_first_step_where_all_are_numbers(observe):
    assert "first_non_finite_step" not in health(observe, net())["layers"]["0"]
