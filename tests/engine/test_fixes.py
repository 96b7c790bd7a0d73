"""What a snippet is made of, and that it is always Python."""

from __future__ import annotations

import ast
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diagnostics.engine import CHECKS, IssueCategory, IssueData, IssueSeverity, Run, check_loss_explosion, diagnose
from diagnostics.engine.errors import NAMES
from diagnostics.engine.fixes import RECIPES, write_fixes
from diagnostics.engine.fixes.recipes import recipe
from diagnostics.engine.fixes.source import figure, module, quoted, replaced
from tests.engine.tools import conv, epochs_with, linear, network, run_with

NASTY = (
    "layer1.0.conv2",
    "fc1",
    "class.import",
    "__class__.x",
    'a"b',
    "a'b",
    "a\nimport os\nos.remove('x')",
    'x")\nimport os  # ',
    "\\",
    "\u202etxt",
    "\ud800",
    "ﬁ",
    "",
    "(model)",
    ".",
    "a..b",
    "x" * 5000,
)
KINDS = {
    "convolution": ("Conv2d", {"in_channels": 1, "out_channels": 64, "kernel_size": [7, 7], "padding": [3, 3]}),
    "linear": ("Linear", {"in_features": 784, "out_features": 784}),
    "recurrent": ("LSTM", {"input_size": 8, "hidden_size": 512, "num_layers": 6}),
    "attention": ("MultiheadAttention", {"embed_dim": 128, "num_heads": 3}),
    "embedding": ("Embedding", {"num_embeddings": 10, "embedding_dim": 512}),
    "normalization": ("LayerNorm", {}),
}
FULL = {
    "chance": 2.3, "ratio": 3.0, "length": 99, "optimal_stop_epoch": 3, "counts": [900, 12, 0], "post_norm": False,
    "limit": 0.5, "shrunk": False, "message": "mat1 and mat2 shapes cannot be multiplied (64x100 and 784x784)",
}  # fmt: skip


def run_of(name, kind, **facts):
    own, sizes = KINDS[kind]
    layers = [(name, own, 1000, {"category": kind, "stride": [1, 1], **sizes}), ("act", "Tanh", 0, {})]
    layers += [conv("conv", in_channels=64, out_channels=8), linear("head", in_features=8, out_features=10)]
    return run_with(architecture=network(*layers, input_shape=[2, 1, 8, 8]), **facts)


def issue_of(check_id, name, **fields):
    found = IssueData(IssueSeverity.warning, IssueCategory.loss, "title", layer_id=name, check_id=check_id, **fields)
    found.evidence = {**FULL, "layers": [name, "conv"], "class": NAMES[0]}
    return found


def fix_of(run, issue):
    write_fixes(run, [issue])
    return issue.fix


KNOWN = {"train": [3.0, 2.0, 1.0, 1.0], "rate": [0.1] * 4, "batches": [10] * 4}
TOLD = {"batch_size": 64, "epochs": 8, "lr": 0.1, "weight_decay": 0.01, "loss": "cross_entropy", "num_classes": 10}


def test_recipes_are_for_checks_that_exist():
    assert set(RECIPES) <= set(CHECKS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("check_id", RECIPES)
def test_snippets_are_python_whatever_a_layer_is_called(check_id, kind):
    for name in NASTY:
        run = run_of(name, kind, hyperparameters=TOLD, **KNOWN)
        fix = fix_of(run, issue_of(check_id, name, metric_value=1000.0, epoch_index=2))
        if fix is not None:
            tree = ast.parse(fix)
            named = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
            assert fix.startswith("# ") and "remove" not in named and len(fix) < 1500


@pytest.mark.parametrize("check_id", RECIPES)
@pytest.mark.parametrize("run", [Run.from_epochs([]), run_with(train=[1.0])], ids=["empty", "one epoch"])
def test_what_a_run_does_not_tell_is_no_obstacle(check_id, run):
    bare = IssueData(IssueSeverity.warning, IssueCategory.loss, "title", check_id=check_id)
    fix = fix_of(run, bare)
    assert fix is None or ast.parse(fix)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=40))
def test_any_name_is_quoted(name):
    assert ast.literal_eval(quoted(name)) == name
    for source in (module(name), replaced(name, "None")):
        assert source is None or ("\n" not in source and ast.parse(source))


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("fc1", "model.fc1"),
        ("encoder.fc1", "model.encoder.fc1"),
        ("layer1.0.conv2", 'model.get_submodule("layer1.0.conv2")'),
        ("class", 'model.get_submodule("class")'),
        ("__init__", 'model.get_submodule("__init__")'),
        ("ﬁ", 'model.get_submodule("ﬁ")'),
        ("(model)", "model"),
        ("x" * 300, None),
    ],
    ids=lambda value: str(value)[:20],
)
def test_path_of_a_layer(name, source):
    assert module(name) == source


@pytest.mark.parametrize(
    ("name", "statement"),
    [
        ("fc", "model.fc = None"),
        ("body.2", 'setattr(model.body, "2", None)'),
        ("layers.0.fc", 'model.get_submodule("layers.0").fc = None'),
        ("(model)", None),
        ("", None),
    ],
)
def test_replacement_of_a_layer(name, statement):
    assert replaced(name, "None") == statement


@pytest.mark.parametrize(
    ("value", "source"), [(0.000312, "0.00031"), (123.4, "120.0"), (1e-7, "1e-07"), (0.83, "0.83")]
)
def test_figures_have_two_digits(value, source):
    assert figure(value) == source and float(source)


def test_clip_value_is_what_was_usual_before_the_event():
    epochs = epochs_with(train=[2.0, 1.0, 9.0])
    for epoch, norm in zip(epochs, (0.8, 0.84, 500.0), strict=True):
        epoch["gradients"] = {"norm_mean": norm}
    (issue,) = check_loss_explosion(epochs)
    assert issue.epoch_index == 2 and "max_norm=0.82" in issue.fix


@pytest.mark.parametrize(
    ("check_id", "told", "expected"),
    [
        ("learning-rate-too-high", {"lr": 0.4}, 'group["lr"] = 0.04'),
        ("learning-rate-too-low", {"learning_rate": 1e-5}, 'group["lr"] = 0.0001'),
        ("learning-rate-too-high", {}, None),
        ("learning-rate-too-high", {"lr": "fast"}, None),
        ("learning-rate-too-high", {"lr": float("inf")}, None),
    ],
)
def test_learning_rate_comes_from_the_hyperparameters(check_id, told, expected):
    fix = fix_of(run_with(train=[1.0, 1.0], hyperparameters=told), issue_of(check_id, None))
    assert fix is None if expected is None else expected in fix


def test_learning_rate_is_set_by_the_size_of_the_updates():
    layers = {"layers": {"fc": {"update_ratio": 0.02}}}
    run = Run.from_epochs([{"learning_rate": 0.1, "layer_health": layers}])
    assert 'group["lr"] = 0.01' in fix_of(run, issue_of("learning-rate-too-high", None))


def test_class_weights_are_inverse_to_the_counts():
    assert "tensor([0.34, 25.0, 100.0])" in fix_of(run_with(train=[1.0]), issue_of("class-imbalance", None))


def test_class_weights_are_counted_where_no_counts_were_logged():
    bare = IssueData(IssueSeverity.warning, IssueCategory.loss, "title", check_id="class-imbalance")
    labels = torch.tensor([0] * 9 + [1])
    scope = {"torch": torch, "train_loader": [(None, labels)]}
    exec(fix_of(run_with(train=[1.0]), bare), scope)
    assert scope["criterion"].weight.tolist() == pytest.approx([5 / 9, 5.0])


@pytest.mark.parametrize("activation", ["Tanh", "ReLU", "LeakyReLU", "GELU"])
def test_initialization_fits_the_activation(activation):
    run = run_with(train=[1.0], architecture=network(linear("fc"), ("act", activation, 0, {"category": "activation"})))
    gain = {"Tanh": "tanh", "LeakyReLU": "leaky_relu"}.get(activation, "relu")
    assert f'nonlinearity="{gain}"' in fix_of(run, issue_of("dead-relu", "fc"))


def test_early_stop_names_the_best_epoch():
    fix = fix_of(run_with(train=[1.0] * 60), issue_of("early-stop-opportunity", None))
    assert re.search(r"^epochs = 10  # was 60$", fix, re.MULTILINE)


def test_symptom_is_mended_with_its_cause():
    report = diagnose(run_with(train=[2.3, 1.5, 0.9, 0.5, 9.0, 12.0, 15.0, 15.0, 15.0], rate=[0.1] * 9))
    fixes = {issue.check_id: issue.fix for issue in report.issues}
    assert report.issues[0].fix and {fixes[each.check_id] for each in report.issues if each.caused_by} == {None}


def test_only_what_is_reported_has_a_fix():
    report = diagnose(run_with(train=[1.0, 1.001, 1.0, 1.001, 1.0, 1.0]))
    assert report.suppressed and all(issue.fix is None for issue in report.suppressed)


def test_a_check_has_one_recipe():
    with pytest.raises(ValueError, match="loss-explosion"):
        recipe("loss-explosion")(lambda facts, issue: None)


def test_most_checks_of_the_guide_have_a_recipe():
    guide = [check.id for check in CHECKS.values() if check.section]
    assert sum(name in RECIPES for name in guide) >= len(guide) * 2 / 3
