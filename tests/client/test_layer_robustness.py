"""What people do to models, while their layers are observed: the training stays as it is and the figures right."""

from __future__ import annotations

import copy
import gc
import math
import pickle
import weakref

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.optim import optimizer as optim
from torch.utils.checkpoint import checkpoint

from tests.client.conftest import batches, net, records
from tests.client.test_layers import health, norm, train

pytestmark = pytest.mark.usefixtures("seeded")


def hooks(model):
    return sum(len(each._forward_hooks) + len(each._forward_pre_hooks) for each in model.modules())


def last(observer):
    return records(observer, "epoch")[-1]


def start(observe, model, **settings):
    observer = observe(layer_health_every=1, **settings)
    observer.register_model(model)
    return observer


@pytest.mark.parametrize("every", [0, 1, 2])
def test_the_training_is_the_same_to_the_bit(observe, every):
    def run(observer):
        torch.manual_seed(3)
        model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(8, 3))
        if observer is not None:
            observer.register_model(model)
        adam = torch.optim.Adam(model.parameters())
        for number, (x, y) in enumerate(batches(8)):
            functional.cross_entropy(model(x), y).backward()
            adam.step()
            adam.zero_grad()
            if observer is not None:
                observer.step(number, 1.0)
        return [*model.state_dict().values(), torch.rand(3)]

    assert all(map(torch.equal, run(None), run(observe(layer_health_every=every))))


def test_nothing_stays_after_close(observe):
    model = net()
    observer = start(observe, model)
    train(observer, model, batches())
    assert hooks(model) > 0
    observer.close()
    assert hooks(model) == 0
    assert not optim._global_optimizer_pre_hooks
    assert not optim._global_optimizer_post_hooks


def test_hooks_are_there_for_sampled_steps_only(observe):
    model, seen = net(), []
    observer = observe(layer_health_every=3, track_phases=False)
    observer.register_model(model)
    train(observer, model, batches(6))
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    for number, (x, y) in enumerate(batches(6)):
        seen.append(hooks(model))
        functional.cross_entropy(model(x), y).backward()
        sgd.step()
        observer.step(number, 1.0)
    assert seen == [4, 0, 0, 4, 0, 0]


@pytest.mark.parametrize("how", ["no_grad", "eval mode"])
def test_validation_does_not_count(observe, how):
    model, data = net(), batches(2)
    observer = start(observe, model)
    with torch.set_grad_enabled(how != "no_grad"):
        model.train(how != "eval mode")(data[0][0] * 1000)
    with torch.no_grad():
        made = functional.relu(model[0](data[1][0]))
    layer = train(observer, model, data[1:])["layers"]["0"]
    assert layer["activation_mean"] == pytest.approx(made.mean().item(), rel=1e-5)


def test_accumulated_gradients_count_once(observe):
    model, (first, second) = net(), batches(2)
    observer, sgd = start(observe, model), torch.optim.SGD(model.parameters(), lr=0.1)
    for number, (x, y) in enumerate((first, second)):
        functional.cross_entropy(model(x), y).backward()
        if number:
            expected = norm(*(each.grad for each in model[0].parameters()))
            sgd.step()
        observer.step(number, 1.0)
    observer.flush()
    layer = last(observer)["layer_health"]["layers"]["0"]
    assert layer["gradient_norm_mean"] == pytest.approx(expected, rel=1e-5)
    assert last(observer)["steps"]["grad_norm_mean"][0] is None


def test_two_optimizers_of_one_layer(observe):
    model, expected = net(), []
    observer = start(observe, model)
    pair = [torch.optim.SGD([each.weight for each in (model[0], model[2])], lr=0.1)]
    pair.append(torch.optim.Adam([each.bias for each in (model[0], model[2])]))
    found = train(
        observer,
        model,
        batches(1),
        pair,
        each_step=lambda model: expected.append([norm(*(p.grad for p in model[at].parameters())) for at in (0, 2)]),
    )
    assert [layer["gradient_norm_mean"] for layer in found["layers"].values()] == pytest.approx(expected[0], rel=1e-5)
    assert last(observer)["gradients"]["norm_mean"] == pytest.approx(math.hypot(*expected[0]), rel=1e-5)


def test_the_other_network_s_gradients_do_not_count(observe):
    """As in a GAN: the discriminator's loss leaves gradients in the generator, which its optimizer does not step."""
    model = net()
    observer = start(observe, model)
    found = train(observer, model, batches(1), [torch.optim.SGD(model[2].parameters(), lr=0.1)])
    assert "gradient_norm_mean" not in found["layers"]["0"]
    assert found["layers"]["2"]["gradient_norm_mean"] > 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=str)
def test_other_precisions(observe, dtype):
    model, norms = net().to(dtype), []
    observer = start(observe, model)
    data = [(x.to(dtype) * 100, y) for x, y in batches(1)]
    found = train(
        observer, model, data, each_step=lambda model: norms.append(norm(model[0].weight.grad, model[0].bias.grad))
    )
    assert found["layers"]["0"]["gradient_norm_mean"] == pytest.approx(norms[0], rel=1e-3)


def test_a_norm_beyond_what_a_half_can_hold(observe):
    model = nn.Linear(4, 4, bias=False).half()
    observer = start(observe, model)
    model.weight.grad = torch.full((4, 4), 60_000.0, dtype=torch.half)
    torch.optim.SGD(model.parameters(), lr=0.0).step()
    observer.step(0, 1.0)
    observer.flush()
    layer = last(observer)["layer_health"]["layers"]["(model)"]
    assert layer["gradient_norm_mean"] == pytest.approx(240_000, rel=1e-3)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_gradients_that_are_no_numbers(observe, value):
    model = net()
    observer = start(observe, model)
    data = batches(4)
    data[3] = (data[3][0] * value, data[3][1])
    found = train(observer, model, data, [torch.optim.SGD(model.parameters(), lr=0.0)])
    assert found["layers"]["0"]["non_finite_gradients"] == 1
    assert found["layers"]["0"]["gradient_norm_max"] in ("nan", "inf")


@pytest.mark.parametrize("repeated", [False, True], ids=["each row once", "a row twice"])
def test_sparse_gradients(observe, repeated):
    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.head = nn.Embedding(10, 8, sparse=True), nn.Linear(8, 3)

        def forward(self, x):
            return self.head(self.words(x).mean(1))

    model, norms = Bag(), []
    observer = start(observe, model)
    x = torch.tensor([[1, 1 if repeated else 2]])
    found = train(
        observer,
        model,
        [(x, torch.tensor([0]))],
        each_step=lambda model: norms.append(norm(model.words.weight.grad.to_dense())),
    )
    assert found["layers"]["words"]["gradient_norm_mean"] == pytest.approx(norms[0], rel=1e-5)


def test_tied_weights_count_once_in_the_total(observe):
    model, norms = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)), []
    model[1].weight = model[0].weight
    observer = start(observe, model)
    found = train(observer, model, batches(1), each_step=lambda model: norms.append(norm(model[0].weight.grad)))
    assert [each["gradient_norm_mean"] for each in found["layers"].values()] == pytest.approx(norms * 2, rel=1e-5)
    assert last(observer)["gradients"]["norm_mean"] == pytest.approx(norms[0], rel=1e-5)


def test_a_layer_that_runs_twice_counts_its_first_call(observe):
    layer = nn.Linear(4, 4)
    data = batches(1)
    expected = layer(data[0][0]).mean().item()
    found = health(observe, nn.Sequential(layer, layer, nn.Linear(4, 3)), data)
    assert found["layers"]["0"]["activation_mean"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("reentrant", [False, True])
def test_activation_checkpointing(observe, reentrant):
    class Saving(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.head = net(inplace=True), nn.Linear(3, 3)

        def forward(self, x):
            x = x.requires_grad_()
            return self.head(checkpoint(self.inner, x, use_reentrant=reentrant))

    found = health(observe, Saving())
    assert found["layers"]["inner.0"]["activation_zero_share"] > 0
    assert found["layers"]["inner.0"]["gradient_norm_mean"] > 0


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_is_not_observed(observe, copied):
    model = net()
    observer = start(observe, model)
    twin = copied(model)
    twin(batches(1)[0][0] * 1000)
    assert train(observer, model, batches(1))["layers"]["0"]["activation_mean"] < 10


def test_a_pickle_needs_nothing_of_ours(observe):
    model = net()
    start(observe, model, run_name="pickle")
    assert hooks(model) > 0
    assert b"observer_client" not in pickle.dumps(model)


def test_neither_model_nor_optimizer_is_kept_alive(observe):
    model = net()
    observer, sgd = start(observe, model), torch.optim.SGD(model.parameters(), lr=0.1)
    train(observer, model, batches(), [sgd])
    gone = weakref.ref(model), weakref.ref(model[0].weight), weakref.ref(sgd)
    del model, sgd
    gc.collect()
    assert [reference() for reference in gone] == [None, None, None]


def test_a_compiled_model_compiles_once(observe):
    compiled, model = [], net()
    whole = torch.compile(model, backend=lambda graph, inputs: compiled.append(1) or graph.forward)
    observer = start(observe, whole)
    found = train(observer, whole, batches(4))
    assert len(compiled) == 1
    assert found["layers"]["0"]["gradient_norm_mean"] > 0


def test_compiling_behind_our_back_does_not_compile_on_and_on(observe):
    compiled, model = [], net()
    observer = start(observe, model)
    whole = torch.compile(model, backend=lambda graph, inputs: compiled.append(1) or graph.forward, fullgraph=True)
    for _ in range(4):
        train(observer, whole, batches(4))
    assert len(compiled) <= 3


def test_layers_added_later_are_seen_after_the_next_flush(observe):
    model = nn.Sequential(nn.Linear(4, 3))
    observer = start(observe, model)
    train(observer, model, batches(2))
    model.append(nn.Linear(3, 3))
    train(observer, model, batches(2))
    assert set(train(observer, model, batches(2))["layers"]) == {"0", "1"}


def test_a_lazy_layer(observe):
    model = nn.Sequential(nn.LazyLinear(8), nn.Linear(8, 3))
    observer = start(observe, model)
    model(batches(1)[0][0])
    train(observer, model, batches(2))
    assert train(observer, model, batches(2))["layers"]["0"]["gradient_norm_mean"] > 0


def test_a_model_without_a_step_has_no_health(observe):
    observer = start(observe, net())
    observer.flush()
    assert "layer_health" not in last(observer)


def test_a_profiled_step_shows_gradients_and_the_next_one_outputs(observe):
    model = net()
    observer = start(observe, model, track_phases=False)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    for number, (x, y) in enumerate(batches(2)):
        assert hooks(model) > 0
        observer.profile_step(model, x, y)
        assert hooks(model) == 0
        sgd.step()
        observer.step(number, 1.0)
    train(observer, model, batches(1), [sgd])
    assert last(observer)["layer_health"]["layers"]["0"]["activation_mean"] > 0
    assert None not in last(observer)["steps"]["grad_norm_mean"]


def test_a_thousand_layers(observe):
    model = nn.Sequential(*[nn.Linear(4, 4) for _ in range(999)], nn.Linear(4, 3))
    found = health(observe, model, batches(2))
    assert len(found["layers"]) == 1000
    assert found["layers"]["998"]["activation_variance"] is not None


@pytest.mark.parametrize("steps", [1, 70])
def test_a_loop_without_a_torch_optimizer(observe, steps):
    model = net()
    observer = start(observe, model)
    for number in range(steps):
        model(batches(1)[0][0]).sum().backward()
        observer.step(number, 1.0)
    observer.flush()
    layers = last(observer).get("layer_health", {"layers": {"0": {}}})["layers"]
    assert ("activation_mean" in layers["0"]) == (steps > 64)
    assert "gradient_norm_mean" not in layers["0"]


def test_a_loop_that_counts_no_steps(observe):
    model = net()
    observer, sgd = start(observe, model), torch.optim.SGD(model.parameters(), lr=0.1)
    for x, y in batches(3):
        functional.cross_entropy(model(x), y).backward()
        sgd.step()
    observer.flush()
    assert last(observer)["layer_health"]["layers"]["0"]["gradient_norm_std"] == 0.0


def test_a_failure_of_ours_is_said_and_survived(observe, forgiving, monkeypatch, caplog):
    def broken(*unused):
        raise RuntimeError("no such kernel")

    monkeypatch.setattr("observer_client.layout.norms_of", broken)
    model = net()
    observer = start(observe, model)
    assert "gradient_norm_mean" not in train(observer, model, batches())["layers"]["0"]
    assert caplog.text.count("no such kernel") == 1
