"""A run reads records and dicts of any absurdity into columns."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from diagnostics.engine import Run
from observer_client.record import Epoch, LogLine, Loss


def losses(*values):
    return Run.from_epochs([{"loss": {"train_mean": value}} for value in values]).column("loss.train_mean")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.5, 0.5),
        (2, 2.0),
        (True, 1.0),
        ("0.5", 0.5),
        ("inf", math.inf),
        ("-inf", -math.inf),
        ("Infinity", math.inf),
        (np.float32(0.5), 0.5),
        (np.array([3]), 3.0),
        (torch.tensor(0.25), 0.25),
        (10**400, sys.float_info.max),
        (-(10**400), -sys.float_info.max),
    ],
    ids=repr,
)
def test_reads_a_number(value, expected):
    assert losses(value).values.tolist() == [expected]


@pytest.mark.parametrize("value", [float("nan"), "nan", "NaN", np.float64("nan")], ids=repr)
def test_logged_nan_was_seen(value):
    column = losses(value)
    assert column.seen.tolist() == [True] and np.isnan(column.values[0])


@pytest.mark.parametrize(
    "value",
    [None, "", "high", [], [1.0], {}, {"a": 1}, object(), b"1", 1j, np.zeros(3), "9" * 5000],
    ids=lambda v: repr(v)[:20],
)
def test_what_is_no_number_was_not_seen(value):
    column = losses(value)
    assert column.seen.tolist() == [False] and not column


@pytest.mark.parametrize(
    "epochs", [None, 7, "abc", {"epoch": 1}, [None, 3, "x", []], ()], ids=lambda epochs: repr(epochs)
)
def test_what_is_no_list_of_epochs_is_an_empty_run(epochs):
    assert len(Run.from_epochs(epochs)) == 0


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        pytest.param([0, 1, 2], [0, 1, 2], id="as given"),
        pytest.param([2, 0, 1], [0, 1, 2], id="unsorted"),
        pytest.param([5, 5, 6], [5, 6], id="repeated"),
        pytest.param([None, None], [0, 1], id="none given"),
        pytest.param([4, None, None], [4, 5, 6], id="follow the last"),
        pytest.param([0.5, 1.0, 1.5, 2.0], [0, 1, 2, 3], id="fractions"),
        pytest.param([-3, "2", "x"], [-3, 2, 3], id="negative and text"),
        pytest.param([1e300, math.nan, 2**70], [0, 1, 2], id="beyond any index"),
    ],
)
def test_numbers_epochs(numbers, expected):
    epochs = [{} if number is None else {"epoch": number} for number in numbers]
    assert Run.from_epochs(epochs).epochs.tolist() == expected


def test_last_of_equal_epochs_wins():
    run = Run.from_epochs([{"epoch": 1, "duration_seconds": 5}, {"epoch": 1, "duration_seconds": 7}])
    assert run.column("duration_seconds").values.tolist() == [7.0]


def test_reads_records_and_dicts_together():
    run = Run.from_epochs([Epoch(epoch=0, loss=Loss(train_mean=1.0)), {"epoch": 1, "loss": {"train_mean": 2.0}}])
    assert run.column("loss.train_mean").values.tolist() == [1.0, 2.0]


def test_unknown_column_is_empty():
    column = Run.from_epochs([{"epoch": 0}]).column("nobody.knows")
    assert column.values.shape == (1,) and not column


def test_layer_matrix_keeps_garbage_out():
    layers = {"fc1": {"gradient_norm_mean": "much", "weight_norm": 2}, "fc2": 7, 3: {"is_dead": True}}
    run = Run.from_epochs([{"layer_health": {"layers": layers}}])
    assert run.layers == ("fc1", "fc2", "3")
    assert run.layer_matrix("weight_norm").seen.tolist() == [[True, False, False]]
    assert not run.layer_matrix("gradient_norm_mean")
    assert run.layer_matrix("is_dead").values[0, 2] == 1


def test_layer_matrix_of_an_unknown_field_has_the_shape_of_the_others():
    run = Run.from_epochs([{"layer_health": {"layers": {"fc1": {"weight_norm": 1}}}}])
    assert run.layer_matrix("attention_entropy").values.shape == (1, 1)


def test_steps_follow_the_order_of_the_epochs():
    epochs = [{"epoch": 1, "steps": {"loss_mean": [3, None]}}, {"epoch": 0, "steps": {"loss_mean": [1, 2]}}]
    series = Run.from_epochs(epochs).steps("loss_mean")
    assert series.rows.tolist() == [0, 0, 1, 1] and series.seen.tolist() == [True, True, True, False]


@pytest.mark.parametrize("logs", [3, ["x", 7, None], {}], ids=repr)
def test_absurd_logs_are_none(logs):
    assert Run.from_epochs([], logs=logs).logs == ()


def test_reads_logs():
    run = Run.from_epochs([], logs=[{"level": "ERROR", "msg": 5, "kind": None}, LogLine(msg="x")])
    assert [(line.level, line.msg, line.kind) for line in run.logs] == [
        ("ERROR", "5", "console"),
        ("INFO", "x", "console"),
    ]


@pytest.mark.parametrize("architecture", [None, {}, "cnn", 3, [1]], ids=repr)
def test_absurd_architecture_is_none(architecture):
    run = Run.from_epochs([], architecture=architecture)
    assert run.architecture is None and run.blueprint.kind == "generic"


@pytest.mark.parametrize(
    "value", [None, 5, "x", [], {"fc": None}, {"fc": {"parameters": "many"}}, [{"id": 4}]], ids=repr
)
def test_absurd_parts_of_an_architecture_are_left_out(value):
    given = {"layers": value, "layer_graph": {"nodes": value, "sequential_path": value}, "input_shape": value}
    assert Run.from_epochs([], architecture=given).blueprint.total_parameters == 0


def layers_of(*types):
    return {"layers": {f"layer{index}": {"type": kind} for index, kind in enumerate(types)}}


@pytest.mark.parametrize(
    ("architecture", "kind"),
    [
        (layers_of("Conv2d", "MaxPool2d", "Linear"), "cnn"),
        (layers_of("Linear", "ReLU", "Linear"), "generic"),
        (layers_of("Embedding", "LSTM", "Linear"), "rnn"),
        (layers_of("Conv1d", "GRU", "Linear"), "rnn"),
        (layers_of("Conv2d", *["MultiheadAttention"] * 12), "transformer"),
        (layers_of(*["Conv2d"] * 20, "MultiheadAttention"), "cnn"),
        ({"layers": {"h.0.attn.c_attn": {"type": "Conv1D"}, "h.0.mlp.c_fc": {"type": "Conv1D"}}}, "transformer"),
        ({"layers": {"wte": {"type": "Embedding"}}, "model_class": "MyTransformer"}, "transformer"),
    ],
    ids=["cnn", "mlp", "lstm", "conv before gru", "vit", "cnn with attention", "gpt2", "by name"],
)
def test_kind_of_network(architecture, kind):
    assert Run.from_epochs([], architecture=architecture).blueprint.kind == kind


def test_shares_come_from_parameters():
    layers = {
        "a": {"type": "Linear", "parameters": 300, "pct_of_total": 1.0},
        "b": {"type": "Linear", "pct_of_total": 40},
    }
    blueprint = Run.from_epochs([], architecture={"total_parameters": 400, "layers": layers}).blueprint
    assert [layer.share for layer in blueprint.layers] == [0.75, 0.4]


def test_needs_neither_django_nor_torch():
    script = (
        "import diagnostics.engine, sys; print({'django', 'torch', 'rich', 'msgspec', 'sklearn'} & set(sys.modules))"
    )
    assert (
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "set()\n"
    )
