from __future__ import annotations

import copy
import gc
import pickle
import weakref

import pytest
import torch
from torch import nn

from observer_client.architecture import architecture, category
from observer_client.tracing import Tracer
from tests.client.conftest import batches, net, records


def hooks(model):
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def last_graph(observer):
    return records(observer, "architecture")[-1]["layer_graph"]


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.act = nn.Conv2d(2, 2, 3, padding="same"), nn.ReLU(inplace=True)

    def forward(self, x):
        return self.act(self.conv(x)) + x


class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.blocks = nn.ModuleList([Block(), Block()])
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(2, 3)

    def forward(self, x):
        for block in self.blocks:
            x = self.pool(block(x)).expand(-1, -1, 4, 4)
        return self.head(self.pool(x).flatten(1) * self.scale)


def test_layers_with_parameters():
    model = net()
    model[0].requires_grad_(False)
    found = architecture(model)
    assert (found.total_parameters, found.trainable_parameters) == (67, 27)
    assert {name: (layer.type, layer.parameters, layer.trainable) for name, layer in found.layers.items()} == {
        "0": ("Linear", 40, False),
        "2": ("Linear", 27, True),
    }
    assert sum(layer.pct_of_total for layer in found.layers.values()) == pytest.approx(100)


def test_tied_weights_count_once():
    model = nn.ModuleDict({"embed": nn.Embedding(5, 3), "out": nn.Linear(3, 5, bias=False)})
    model["out"].weight = model["embed"].weight
    found = architecture(model)
    assert found.total_parameters == 15
    assert [layer.parameters for layer in found.layers.values()] == [15, 0]


def test_parameters_of_the_model_itself():
    assert architecture(Nested()).layers["(model)"].parameters == 1


def test_a_lazy_layer_has_no_size_yet():
    assert architecture(nn.Sequential(nn.LazyLinear(3))).total_parameters == 0


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nn.Conv2d(1, 1, 1), "convolution"),
        (nn.ConvTranspose1d(1, 1, 1), "convolution"),
        (nn.Linear(1, 1), "linear"),
        (nn.MaxPool2d(2), "pooling"),
        (nn.BatchNorm1d(1), "normalization"),
        (nn.LayerNorm(1), "normalization"),
        (nn.GELU(), "activation"),
        (nn.Dropout2d(), "dropout"),
        (nn.Embedding(1, 1), "embedding"),
        (nn.LSTM(1, 1), "recurrent"),
        (nn.MultiheadAttention(1, 1), "attention"),
        (nn.Sequential(nn.Linear(1, 1)), "container"),
        (nn.TransformerEncoderLayer(2, 1, 2), "container"),
        (nn.Flatten(), "other"),
        (Block(), "container"),
        (type("ConvBlock", (Block,), {})(), "container"),
        (type("MyRMSNorm", (nn.Module,), {})(), "normalization"),
        (type("CausalSelfAttention", (Block,), {})(), "attention"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_category(module, expected):
    assert category(module) == expected


def test_attributes_of_a_node():
    (node,) = architecture(nn.Sequential(nn.Conv2d(3, 8, (5, 3), padding="same"))).layer_graph.nodes
    assert (node.in_channels, node.out_channels, node.kernel_size, node.padding) == (3, 8, [5, 3], "same")
    assert node.in_features is None


def test_attention_is_one_layer():
    nodes = architecture(nn.ModuleDict({"attn": nn.MultiheadAttention(4, 2)})).layer_graph.nodes
    assert [(node.id, node.embed_dim, node.num_heads) for node in nodes] == [("attn", 4, 2)]


def test_the_first_real_pass_shows_the_order(observe):
    observer, model = observe(track_layer_health=False, track_phases=False), Nested()
    observer.register_model(model)
    model(torch.randn(2, 2, 4, 4)).sum().backward()
    graph = last_graph(observer)
    blocks = ["blocks.0.conv", "blocks.0.act", "pool", "blocks.1.conv", "blocks.1.act", "pool"]
    assert graph["sequential_path"] == [*blocks, "pool", "head"]
    assert {node["id"]: node.get("output_shape") for node in graph["nodes"]}["head"] == [2, 3]
    assert ["blocks.0.conv", "blocks.0.act"] in graph["edges"]
    assert hooks(model) == 0


def test_an_example_is_enough(observe):
    observer, model = observe(), nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 3)).train()
    state, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    observer.register_model(model, example_input=torch.randn(6, 4, generator=torch.Generator()))
    assert last_graph(observer)["sequential_path"] == ["0", "1", "2"]
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())


def test_an_example_that_does_not_fit_is_told(observe, caplog):
    observer, model = observe(), net()
    observer.register_model(model, example_input=torch.randn(6, 5))
    assert "does not run on example_input" in caplog.text
    assert len(records(observer, "architecture")) == 1


def test_without_an_example_the_model_is_not_run(observe):
    calls = []
    model = net()
    model[0].register_forward_hook(lambda *unused: calls.append(1))
    observe().register_model(model)
    assert calls == []


def test_hooks_leave_with_the_first_epoch_when_the_model_is_never_run_whole(observe):
    observer, model = observe(track_layer_health=False, track_phases=False), net()
    observer.register_model(model)
    model[0](torch.randn(1, 4))
    observer.flush()
    assert hooks(model) == 0
    assert last_graph(observer)["sequential_path"] == ["0"]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
@pytest.mark.parametrize("ran", [False, True], ids=["before the first pass", "after it"])
def test_a_model_can_be_copied(observe, copied, ran):
    observer, model = observe(), net()
    observer.register_model(model)
    if ran:
        model(torch.randn(1, 4))
    twin = copied(model)
    twin(torch.randn(1, 4))
    assert len(records(observer, "architecture")) == 1 + ran
    model(torch.randn(1, 4))
    assert last_graph(observer)["sequential_path"] == ["0", "1", "2"]


def test_the_model_is_not_kept_alive(observe):
    observer, model = observe(), net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    observer.register_model(model, optimizer)
    loss = model(torch.randn(1, 4)).sum()
    loss.backward()
    optimizer.step()
    observer.step(0, loss)
    gone = weakref.ref(model), weakref.ref(model[0].weight), weakref.ref(optimizer)
    del model, optimizer, loss
    gc.collect()
    assert [reference() for reference in gone] == [None, None, None]


def test_a_compiled_model_is_not_hooked(observe):
    model = net()
    observer = observe()
    compiled = torch.compile(model, backend="eager")
    observer.register_model(compiled)
    assert hooks(model) == 0
    assert records(observer, "architecture")[0]["total_parameters"] == 67


def test_compiling_after_registration_leaves_one_whole_graph(observe):
    model = net()
    observer = observe()
    observer.register_model(model)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    x = torch.randn(2, 4)
    assert torch.equal(compiled(x), compiled(x))
    observer.close()
    assert hooks(model) == 0


def test_what_is_no_model_is_said_and_survived(observe, forgiving, caplog):
    observer = observe()
    observer.register_model("resnet50")
    assert "takes a torch.nn.Module, not a str" in caplog.text


def test_a_path_without_end_is_cut(monkeypatch):
    monkeypatch.setattr("observer_client.tracing.LONGEST_PATH", 3)
    seen = []
    model = nn.Sequential(*[nn.ReLU()] * 10)
    Tracer(model, lambda tracer: seen.append(tracer.path))
    model(batches(1)[0][0])
    assert [len(path) for path in seen] == [3]
