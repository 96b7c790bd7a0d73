"""The architecture of convolutional networks."""

from __future__ import annotations

import pytest

from tests.engine.tools import BOTH, conv, found, held_back, linear, network, pool, run_with

RELU = ("relu", "ReLU", 0, {"category": "activation"})


def hit(check_id, architecture, profile="robust"):
    return [issue.layer_id for issue in found(check_id, run_with(architecture=architecture), profile)]


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        pytest.param([conv("conv1", 320), linear("fc1", 1_000_000)], ["fc1"], id="dominates"),
        pytest.param([conv("conv1", 80_000), linear("fc1", 920_000)], [], id="exactly 92 %"),
        pytest.param([conv("conv1", 500_000), linear("fc1", 5_130)], [], id="balanced"),
        pytest.param([linear("fc1", 1_000_000), linear("fc2", 10)], [], id="no cnn"),
    ],
)
def test_fc_dominates(layers, expected, profile):
    assert hit("fc-dominates", network(*layers), profile) == expected


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        pytest.param([conv("conv1", 320), conv("conv2", 590_080), linear("fc", 100)], ["conv2"], id="one holds most"),
        pytest.param([conv("conv1", 40_000), conv("conv2", 60_000)], [], id="exactly 60 %"),
        pytest.param([conv("conv1", 50_000), conv("conv2", 50_000)], [], id="balanced"),
    ],
)
def test_conv_bottleneck(layers, expected, profile):
    assert hit("conv-bottleneck", network(*layers), profile) == expected


@pytest.mark.parametrize(
    ("check_id", "layers"),
    [
        ("fc-dominates", [conv("conv1", 40), linear("fc1", 2_570)]),
        ("conv-bottleneck", [conv("conv1", 40), conv("conv2", 1_168), linear("fc", 90)]),
    ],
)
def test_small_layers_cost_nothing(check_id, layers):
    run = run_with(architecture=network(*layers))
    assert found(check_id, run, "guide") and found(check_id, run) == []
    assert "cost nothing" in held_back(check_id, run)[0]


CONVS = [conv("conv1"), RELU, conv("conv2"), conv("conv3")]


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        pytest.param([*CONVS, linear("fc")], ["conv1"], id="three in a row"),
        pytest.param([conv("conv1"), conv("conv2"), linear("fc")], [], id="two in a row"),
        pytest.param(
            [conv("conv1"), pool("p1"), conv("conv2"), pool("p2"), conv("conv3"), linear("fc")], [], id="pooled"
        ),
        pytest.param(
            [conv("a"), conv("b", stride=[2, 2]), conv("c"), conv("d", stride=2), linear("fc")], [], id="strides"
        ),
        pytest.param([linear("a"), linear("b"), linear("c")], [], id="no cnn"),
    ],
)
def test_missing_pooling(layers, expected, profile):
    assert hit("missing-pooling", network(*layers), profile) == expected


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        pytest.param([*CONVS, pool("pool"), linear("fc")], "'pool' pools", id="a block as in VGG"),
        pytest.param(CONVS, "no fully connected layer", id="fully convolutional"),
    ],
)
def test_missing_pooling_is_held_back(layers, reason):
    run = run_with(architecture=network(*layers))
    assert reason in held_back("missing-pooling", run)[0]
    assert found("missing-pooling", run) == [] and found("missing-pooling", run, "guide")


@pytest.mark.parametrize(
    ("side", "inputs", "fires"),
    [
        pytest.param(28, 8, False, id="mean over the whole map"),
        pytest.param(28, 8 * 14 * 14, False, id="pooled once"),
        pytest.param(28, 8 * 22 * 22, True, id="borders cut off by three kernels"),
        pytest.param(28, None, True, id="inputs unknown"),
        pytest.param(None, 8, False, id="image unknown, one number a channel"),
        pytest.param(None, 8 * 49, True, id="image unknown, a map"),
    ],
)
def test_pooling_by_a_function_shows_in_the_linear_layer(side, inputs, fires):
    shape = {"input_shape": [1, 1, side, side]} if side else {}
    layers = [conv("conv1", **shape), conv("conv2"), conv("conv3", out_channels=8), linear("fc", in_features=inputs)]
    assert bool(hit("missing-pooling", network(*layers))) is fires


@pytest.mark.parametrize(("inputs", "fires"), [(24, False), (8 * 49, True)], ids=["a number a channel", "a map"])
def test_convolutions_side_by_side_are_pooled_one_by_one(inputs, fires):
    convolutions = [conv(f"convolutions.{at}", out_channels=8) for at in range(3)]
    assert bool(hit("missing-pooling", network(*convolutions, linear("fc", in_features=inputs)))) is fires


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("kernel", "side", "fires"),
    [
        pytest.param([7, 7], 28, True, id="mnist"),
        pytest.param(11, 32, True, id="given as one number"),
        pytest.param([5, 5], 28, False, id="five"),
        pytest.param([7, 7], 224, False, id="imagenet"),
        pytest.param([7, 1], 28, False, id="factorized"),
        pytest.param(None, 28, False, id="unknown kernel"),
    ],
)
def test_large_kernel(kernel, side, fires, profile):
    architecture = network(conv("conv1", kernel_size=kernel), input_shape=[1, 1, side, side])
    assert bool(hit("large-kernel", architecture, profile)) is fires


@pytest.mark.parametrize(
    ("fields", "shape", "reason"),
    [
        pytest.param({}, None, "not known", id="input of unknown size"),
        pytest.param({"groups": 64, "in_channels": 64}, [1, 3, 32, 32], "depthwise", id="depthwise"),
    ],
)
def test_large_kernel_is_held_back(fields, shape, reason):
    run = run_with(architecture=network(conv("conv1", kernel_size=[7, 7], **fields), input_shape=shape))
    assert reason in held_back("large-kernel", run)[0] and found("large-kernel", run, "guide")


def test_kernels_of_sequences_may_be_long():
    layer = ("conv1", "Conv1d", 100, {"category": "convolution", "kernel_size": [25]})
    assert hit("large-kernel", network(layer), "guide") == []


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("channels", "fires"), [((1, 64), True), ((1, 32), False), ((3, 64), False), ((None, 64), False)], ids=str
)
def test_early_channel_explosion(channels, fires, profile):
    first = conv("conv1", in_channels=channels[0], out_channels=channels[1])
    later = conv("conv2", in_channels=1, out_channels=128)
    assert bool(hit("early-channel-explosion", network(first, later), profile)) is fires


def test_large_images_have_room_for_channels():
    layers = network(conv("conv1", in_channels=1, out_channels=64), input_shape=[1, 1, 512, 512])
    assert hit("early-channel-explosion", layers) == [] and hit("early-channel-explosion", layers, "guide") == ["conv1"]
