"""Architecture of transformers and recurrent networks."""

from __future__ import annotations

import pytest

from tests.engine.tools import BOTH, conv, found, held_back, linear, network, run_with


def attention(name, width, heads, parameters=50_000):
    return name, "MultiheadAttention", parameters, {"category": "attention", "embed_dim": width, "num_heads": heads}


def embedding(name, symbols, width):
    fields = {"category": "embedding", "num_embeddings": symbols, "embedding_dim": width}
    return name, "Embedding", symbols * width, fields


def recurrent(name="rnn", **fields):
    return (
        name,
        "LSTM",
        10_000,
        {"category": "recurrent", "input_size": 32, "hidden_size": 64, "num_layers": 1, **fields},
    )


def norm(name):
    return name, "LayerNorm", 64, {"category": "normalization"}


def head(outputs):
    return "head", "Linear", 1000, {"category": "linear", "out_features": outputs}


GPT = [
    embedding("wte", 50_257, 768),
    embedding("wpe", 1024, 768),
    norm("ln1"),
    attention("attn", 768, 12),
    head(50_257),
]
LONG = [16, 900, 32]
LSTM = [embedding("tokens", 5_000, 128), recurrent(input_size=128, hidden_size=256, num_layers=2), head(5_000)]
CNN = [conv("conv1"), linear("fc")]


def built(*layers, input_shape=None, **hyperparameters):
    return run_with(architecture=network(*layers, input_shape=input_shape), hyperparameters=hyperparameters)


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("check_id", "run", "expected"),
    [
        pytest.param("attention-head-count", built(attention("a", 128, 3)), [("a", "critical")], id="rest"),
        pytest.param("attention-head-count", built(attention("a", 128, 32)), [("a", "info")], id="narrow heads"),
        pytest.param("attention-head-count", built(attention("a", 1024, 2)), [("a", "info")], id="wide heads"),
        pytest.param("attention-head-count", built(attention("a", 128, 4)), [], id="fit"),
        pytest.param("attention-head-count", built(attention("a", 128, None)), [], id="heads unknown"),
        pytest.param("attention-head-count", built(attention("a", 0, 0)), [], id="absurd"),
        pytest.param("embedding-dimension", built(embedding("e", 1000, 1024)), [("e", "info")], id="oversized"),
        pytest.param("embedding-dimension", built(embedding("e", 1000, 256)), [], id="fitting embedding"),
        pytest.param("embedding-dimension", built(embedding("e", 0, 64)), [], id="no symbols"),
        pytest.param("position-encoding", built(*GPT, block_size=2048), [("wpe", "critical")], id="table too short"),
        pytest.param("position-encoding", built(*GPT, block_size=1024), [], id="as long"),
        pytest.param("position-encoding", built(*GPT), [], id="length unknown"),
        pytest.param("position-encoding", built(embedding("wte", 100, 8), block_size=1024), [], id="no positions"),
        pytest.param("num-layers", built(recurrent(num_layers=6)), [("rnn", "warning")], id="deep"),
        pytest.param("num-layers", built(recurrent(num_layers=4)), [], id="four levels"),
        pytest.param("hidden-size-ratio", built(recurrent(input_size=8, hidden_size=999)), [("rnn", "info")], id="big"),
        pytest.param("hidden-size-ratio", built(recurrent(input_size=64, hidden_size=1024)), [], id="not so wide"),
        pytest.param("sequence-length", built(recurrent(input_shape=LONG), input_shape=LONG),
                     [("rnn", "info")], id="long"),
        pytest.param("sequence-length", built(recurrent(input_shape=[900, 16, 32]), input_shape=[16, 900]),
                     [("rnn", "info")], id="time first"),
        pytest.param("sequence-length", built(recurrent(input_shape=[900, 20, 32]), input_shape=[900, 20, 32]), [],
                     id="large batch"),
        pytest.param("sequence-length", built(recurrent()), [], id="shape unknown"),
    ],
)  # fmt: skip
def test_architecture(check_id, run, expected, profile):
    assert [(issue.layer_id, str(issue.severity)) for issue in found(check_id, run, profile)] == expected


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(("outputs", "both_ways", "fires"), [(500, True, True), (500, False, False), (9, True, False)])
def test_bidirectional_usage(outputs, both_ways, fires, profile):
    run = built(embedding("tokens", 500, 32), recurrent(bidirectional=both_ways), head(outputs))
    assert bool(found("bidirectional-usage", run, profile)) is fires


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("layers", "fires"),
    [
        pytest.param([attention("a", 64, 4), attention("b", 64, 4)], True, id="none"),
        pytest.param([attention("a", 64, 4), norm("n"), attention("b", 64, 4)], False, id="one at least"),
        pytest.param([attention("a", 64, 4)], False, id="a single attention"),
        pytest.param(
            [("a", "TransformerEncoderLayer", 9, {}), ("b", "TransformerEncoderLayer", 9, {})], False, id="own"
        ),
    ],
)
def test_layer_norm_placement(layers, fires, profile):
    assert bool(found("layer-norm-placement", built(*layers), profile)) is fires


@pytest.mark.parametrize(
    ("check_id", "run", "reason"),
    [
        pytest.param("attention-head-count", built(attention("a", 32, 4, 4_000)), "small", id="small network"),
        pytest.param("embedding-dimension", built(*GPT[:1], embedding("wpe", 512, 768)), "positions", id="positions"),
        pytest.param("embedding-dimension", built(*GPT[:1], embedding("bytes", 256, 768)), "0.5%", id="small share"),
        pytest.param("hidden-size-ratio", built(recurrent(input_size=1, hidden_size=64)), "small", id="one channel"),
        pytest.param(
            "num-layers", built(recurrent(num_layers=6), *map(norm, "abcd")), "normalization", id="normalized"
        ),
    ],
)
def test_is_held_back(check_id, run, reason):
    assert found(check_id, run, "guide") and found(check_id, run) == []
    assert reason in held_back(check_id, run)[0]


@pytest.mark.parametrize("layers", [GPT, LSTM, CNN], ids=["gpt", "lstm", "cnn"])
@pytest.mark.parametrize(
    "check_id",
    [
        "attention-head-count", "embedding-dimension", "position-encoding", "layer-norm-placement",
        "hidden-size-ratio", "num-layers", "bidirectional-usage", "sequence-length",
    ],
)  # fmt: skip
def test_reference_architectures_are_silent(check_id, layers):
    assert found(check_id, built(*layers, block_size=512)) == []
