"""Whether a run learns, and at what pace."""

from __future__ import annotations

import math

import numpy as np
import pytest

from diagnostics.engine import DiagnosticThresholds, Run
from diagnostics.engine.task import game_of
from tests.engine.tools import BOTH, found, held_back, linear, network, run_with

CLASSES = {"loss": "cross_entropy", "num_classes": 10}
CREEP = [2.30 - 0.002 * epoch for epoch in range(16)]
SAW = [2.0, 1.0, 1.9, 0.9, 2.1, 1.0, 1.8, 1.1, 2.0, 0.9]
DECAY = [0.2 + 2.1 * math.exp(-epoch / 6) for epoch in range(30)]


def noisy(level, seed, curve=DECAY):
    return (np.array(curve) * (1 + level * np.random.default_rng(seed).normal(size=len(curve)))).tolist()


@pytest.mark.parametrize("profile", BOTH)
def test_swings_are_a_learning_rate_too_high(profile):
    run = run_with(train=SAW, std=[0.2] * 10, batches=[50] * 10)
    assert len(found("learning-rate-too-high", run, profile)) == 1


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param({"train": [9580, 14580, 2884, 9000, 5100, 8000]}, id="far above guessing"),
        pytest.param(
            {"train": [2.2, 1.2, 0.3, 0.2, 0.19, 0.99, 0.8, 0.8, 0.7], "std": [0.2] * 9, "batches": [50] * 9},
            id="thrown back and not recovered",
        ),
    ],
)
def test_learning_rate_too_high(columns):
    assert found("learning-rate-too-high", run_with(**columns, hyperparameters=CLASSES))


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param({"train": DECAY}, id="decay"),
        pytest.param({"train": noisy(0.05, 1), "std": [0.5] * 30, "batches": [20] * 30}, id="noisy decay"),
        pytest.param({"train": SAW, "std": [4.0] * 10, "batches": [8] * 10}, id="noisy batches"),
        pytest.param({"train": SAW}, id="nothing says what noise is"),
        pytest.param({"train": [995, 642, 426, 292, 219, 177, 147]}, id="comes down from large weights"),
        pytest.param({"train": [2.2, 0.3, 0.1, 0.8, 0.3, 0.1, 0.05], "rate": [2, 1, 0, 2, 1, 0.1, 0]}, id="restart"),
        pytest.param({"train": SAW, "std": [0.2] * 10, "batches": [50] * 10, "rate": [1, 2] * 5}, id="cycles"),
        pytest.param({"train": [math.nan] * 9}, id="nan"),
    ],
)
def test_silent_about_the_learning_rate(columns):
    run = run_with(**columns, hyperparameters=CLASSES)
    assert found("learning-rate-too-high", run) == [] and found("learning-rate-too-low", run) == []


def test_turns_of_a_converged_run_are_held_back():
    run = run_with(train=noisy(0.02, 3, [1.0] * 20))
    assert found("learning-rate-too-high", run, "guide") and "converged" in held_back("learning-rate-too-high", run)[0]


@pytest.mark.parametrize("profile", BOTH)
def test_creeping_loss_is_a_learning_rate_too_low(profile):
    run = run_with(train=CREEP, hyperparameters=CLASSES)
    assert [issue.severity for issue in found("learning-rate-too-low", run, profile)] == ["warning"]


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        pytest.param({"train": [2.3 - 0.2 * (1 - 0.5**epoch) for epoch in range(12)]}, "flattens", id="converges"),
        pytest.param({"train": [0.3 - 0.002 * epoch for epoch in range(12)]}, "trained model", id="fine-tuning"),
        pytest.param(
            {"train": [2.3, 2.2999, 2.3, 2.2998, 2.2999, 2.2997, 2.30, 2.2998, 2.2995]}, "no significant", id="noise"
        ),
    ],
)
def test_slow_pace_is_held_back(columns, reason):
    run = run_with(**columns, hyperparameters=CLASSES)
    limits = DiagnosticThresholds(slow_steady_pct=0.4)
    assert found("learning-rate-too-low", run, limits=limits) == []
    assert reason in held_back("learning-rate-too-low", run, limits)[0]


def test_slow_pace_of_an_unknown_loss_is_information():
    assert [issue.severity for issue in found("learning-rate-too-low", run_with(train=CREEP))] == ["info"]


@pytest.mark.parametrize("profile", BOTH)
@pytest.mark.parametrize(
    ("columns", "fires"),
    [
        pytest.param({"train": [2.305, 2.304, 2.306, 2.305, 2.304, 2.305]}, True, id="flat"),
        pytest.param({"train": [9.0, 2.4, 2.31, 2.3, 2.3, 2.3], "accuracy": [0.1] * 6}, True, id="at chance"),
        pytest.param({"train": [-1.0, -5.0, -60.0, -361.0, -1282.0]}, False, id="falling below zero"),
        pytest.param({"train": DECAY}, False, id="learns"),
        pytest.param({"train": [2.3, 2.3, 2.3]}, False, id="too short"),
        pytest.param({"train": [0.07, 0.066, 0.066, 0.067, 0.068], "accuracy": [0.97] * 5}, False, id="trained model"),
        pytest.param(
            {"train": [2.3] * 6, "accuracy": [0.2, 0.3, 0.4, 0.5, 0.6, 0.7]}, False, id="validation gets better"
        ),
        pytest.param({"train": [0.69] * 6, "val": [1.0, 0.9, 0.8, 0.7, 0.6, 0.5]}, False, id="validation loss falls"),
        pytest.param({"train": [1.4, 0.9, 0.6, 0.8, 1.2, 1.4, 1.4]}, False, id="learned, then lost it"),
        pytest.param({"train": [math.nan] * 6}, False, id="nan"),
    ],
)
def test_not_learning(columns, fires, profile):
    assert bool(found("not-learning", run_with(**columns, hyperparameters=CLASSES), profile)) is fires


def test_of_many_classes_little_accuracy_is_much():
    words = {"loss": "cross_entropy", "num_classes": 50_000}
    run = run_with(train=[10.8, 8, 7, 6.5, 6.2], accuracy=[0.01, 0.02, 0.03, 0.03, 0.04], hyperparameters=words)
    assert found("not-learning", run) == []


@pytest.mark.parametrize("check_id", ["learning-rate-too-high", "learning-rate-too-low", "not-learning"])
def test_noise_around_a_decay_is_silent(check_id):
    for seed in range(40):
        run = run_with(train=noisy(0.05, seed), std=[0.3] * 30, batches=[20] * 30, hyperparameters=CLASSES)
        assert found(check_id, run) == []


FLAT = [2.305, 2.304, 2.306, 2.305, 2.304, 2.305]


@pytest.mark.parametrize(
    ("columns", "told", "severity"),
    [
        pytest.param({"train": FLAT}, {}, "warning", id="one witness"),
        pytest.param({"train": FLAT}, CLASSES, "critical", id="the loss of guessing"),
        pytest.param({"train": FLAT, "val": FLAT}, {}, "critical", id="validation neither"),
        pytest.param({"train": FLAT, "accuracy": [0.4] * 6}, {}, "critical", id="accuracy neither"),
        pytest.param({"train": FLAT, "val": FLAT}, {"peft": "lora"}, "info", id="trained before"),
        pytest.param({"train": FLAT, "val": FLAT}, {"resume_from": "last.pt"}, "info", id="resumed"),
        pytest.param({"train": FLAT, "val": FLAT}, {"pretrained": False}, "critical", id="not trained before"),
        pytest.param(
            {"train": FLAT, "accuracy": [0.1] * 6},
            CLASSES | {"pretrained": True},
            "critical",
            id="trained, yet guessing",
        ),
    ],
)
def test_severity_of_learning_nothing(columns, told, severity):
    issues = found("not-learning", run_with(**columns, hyperparameters=told))
    assert [str(issue.severity) for issue in issues] == [severity]


def moving(ratio, train, clipped=None, norm=None, **hyperparameters):
    layers = {"fc1": {"update_ratio": ratio, "weight_norm": 5.0}, "fc2": {"update_ratio": ratio / 10}}
    shared = {"layer_health": {"layers": layers}, "learning_rate": 0.01}
    shared["gradients"] = {"clipped_share": clipped, "norm_mean": norm}
    rows = [{"epoch": at, "loss": {"train_mean": loss}} | shared for at, loss in enumerate(train)]
    return Run.from_epochs(rows, hyperparameters=hyperparameters)


@pytest.mark.parametrize(
    ("run", "severities"),
    [
        pytest.param(moving(1e-6, FLAT), ["warning"], id="does not move"),
        pytest.param(moving(1e-6, FLAT, pretrained=True), ["info"], id="careful fine-tuning"),
        pytest.param(moving(1e-3, FLAT), [], id="moves"),
        pytest.param(moving(1e-6, [2.0, 1.5, 1.0, 0.7, 0.5, 0.4]), [], id="learns all the same"),
        pytest.param(moving(0.0, FLAT), [], id="no update at all"),
        pytest.param(moving(1e-6, FLAT[:3]), [], id="too short"),
    ],
)
def test_tiny_updates_are_a_learning_rate_too_low(run, severities):
    assert [str(issue.severity) for issue in found("learning-rate-too-low", run)] == severities


def test_clipping_is_told_as_the_reason():
    (issue,) = found("learning-rate-too-low", moving(1e-6, FLAT, clipped=1.0, norm=2.0))
    assert issue.evidence["clipped"] and "clipped" in issue.description


@pytest.mark.parametrize(
    ("run", "severity"),
    [
        pytest.param(moving(1e-6, FLAT, clipped=1.0, norm=2.0), "warning", id="cut to nothing"),
        pytest.param(moving(1e-6, FLAT, clipped=1.0, norm=1e-4), "info", id="the rate itself is tiny"),
        pytest.param(moving(1e-2, FLAT, clipped=1.0, norm=2.0), "info", id="steps are left"),
        pytest.param(moving(1e-6, [2.0, 1.5, 1.0, 0.7, 0.5, 0.4], clipped=1.0, norm=2.0), "info", id="learns"),
    ],
)
def test_severity_of_clipping(run, severity):
    assert [str(issue.severity) for issue in found("clipping-fraction", run)] == [severity]


def begun(first, means):
    rows = [{"loss": {"train_mean": mean}} for mean in means]
    rows[0]["steps"] = {"loss_mean": [first, *[means[0]] * 11]}
    return Run.from_epochs(rows, hyperparameters={"loss": "cross_entropy", "num_classes": 10})


@pytest.mark.parametrize(
    ("run", "fires"),
    [
        pytest.param(
            begun(2.3, [12.0, 6.0, 2.4, 2.3, 2.3, 2.3, 1.9, 1.6, 1.5]), True, id="thrown, and rests at guessing"
        ),
        pytest.param(begun(12.0, [12.0, 6.0, 2.4, 2.3, 2.3, 2.3, 1.9, 1.6, 1.5]), False, id="began so high"),
        pytest.param(begun(2.3, [12.0, 6.0, 1.5, 1.0, 0.8, 0.7, 0.6]), False, id="learns after it"),
        pytest.param(begun(2.3, [2.4, 2.3, 2.3, 2.3, 2.3, 2.3, 2.3]), False, id="never thrown"),
    ],
)
def test_thrown_to_the_loss_of_guessing(run, fires):
    said = [issue.description for issue in found("learning-rate-too-high", run) if "rests at" in issue.description]
    assert bool(said) is fires


def thrown(peak, end, start=2.3):
    means = [start, peak, *[end] * 6]
    rows = [
        {"epoch": at, "loss": {"train_mean": loss}, "steps": {"loss_mean": [loss] * 10}}
        for at, loss in enumerate(means)
    ]
    return Run.from_epochs(rows)


@pytest.mark.parametrize(
    ("run", "fires"),
    [
        pytest.param(thrown(30.0, 2.4), True, id="thrown, and never learned"),
        pytest.param(thrown(30.0, 0.5), False, id="recovered"),
        pytest.param(thrown(4.0, 2.4), False, id="a little"),
        pytest.param(thrown(2.2, 2.3), False, id="never learned"),
    ],
)
def test_thrown_after_the_first_epoch(run, fires):
    assert bool(found("learning-rate-too-high", run)) is fires


@pytest.mark.parametrize(
    "told",
    [{"loss": "adversarial"}, {"algorithm": "ppo"}, {"model": "WGAN"}, {"loss": "actor_critic"}],
    ids=lambda told: next(iter(told.values())),
)
def test_of_a_game_no_loss_need_fall(told):
    run = run_with(train=[2.0, 2.05, 1.95, 2.1, 2.2, 2.4, 2.6, 2.7, 2.8, 2.9, 2.9, 2.9, 2.9], hyperparameters=told)
    for check_id in (
        "not-learning",
        "loss-plateau",
        "loss-divergence",
        "early-stop-opportunity",
        "diminishing-returns",
    ):
        assert found(check_id, run) == []
    assert found("loss-divergence", run, "guide")


@pytest.mark.parametrize(
    "told",
    [
        {"algorithm": "policy gradient"},
        {"method": "Q-learning"},
        {"replay_buffer": 10_000},
        {"epsilon_greedy": 0.1},
        {"env_id": "Acrobot-v1"},
        {"environment": "CartPole-v1"},
        {"target": "td_target"},
    ],
    ids=lambda told: next(iter(told)),
)
def test_jumps_in_a_game_are_information(told):
    jumps = [0.4, 0.1, 0.1, 1.4, 1.5, 1.4, 1.5, 1.4]
    for check_id in ("loss-explosion", "learning-rate-too-high"):
        severities = {issue.severity for issue in found(check_id, run_with(train=jumps, hyperparameters=told))}
        assert severities == {"info"}
        assert "info" not in {issue.severity for issue in found(check_id, run_with(train=jumps))}


@pytest.mark.parametrize(
    ("metric", "is_game"), [("val_return", True), ("mean_reward", True), ("val_acc", False), ("val_returned", False)]
)
def test_a_reward_tells_of_a_game(metric, is_game):
    run = Run.from_epochs([{"loss": {"train_mean": 1.0, "val": {metric: 0.5}}}])
    assert bool(game_of(run)) is is_game


@pytest.mark.parametrize("told", [{"env": "production"}, {"target": "rewards.csv"}, {"optimizer": "AdamW"}])
def test_words_that_tell_of_no_game(told):
    assert game_of(run_with(train=[1.0], hyperparameters=told)) is None


def test_names_of_layers_tell_of_a_game():
    layers = network(linear("generator.0"), linear("discriminator.0"))
    assert found("not-learning", run_with(train=FLAT, architecture=layers)) == []
    assert found("not-learning", run_with(train=FLAT, architecture=network(linear("organ.0"), linear("critical"))))


def struck(gradient, loss_at_once=2.0):
    """A quiet run, thrown from 2 to 40 by what happens at step 45."""
    losses = [2.3 - 0.005 * step for step in range(45)] + [loss_at_once] + [40.0] * 54
    norms = [0.2 + 0.01 * (step % 5) for step in range(45)] + [gradient] + [0.2] * 54
    return Run.from_epochs(
        [
            {
                "epoch": at,
                "loss": {"train_mean": sum(losses[10 * at : 10 * at + 10]) / 10},
                "steps": {"loss_mean": losses[10 * at : 10 * at + 10], "grad_norm_max": norms[10 * at : 10 * at + 10]},
            }
            for at in range(10)
        ]
    )


@pytest.mark.parametrize(
    ("run", "fires"),
    [
        pytest.param(struck(2000.0), False, id="one huge gradient"),
        pytest.param(struck(0.2), True, id="no such gradient"),
        pytest.param(struck(10.0), True, id="a gradient of some size"),
        pytest.param(struck(2000.0, loss_at_once=40.0), True, id="the loss was high already"),
    ],
)
def test_what_one_step_did_is_no_learning_rate(run, fires):
    assert bool(found("learning-rate-too-high", run)) is fires
    assert fires or "single huge gradient" in held_back("learning-rate-too-high", run)[0]


@pytest.mark.parametrize(
    ("loop", "head", "fires"),
    [
        pytest.param({"losses_seen": 4, "cross_entropy": 4}, linear("head", 1000, out_features=4), True, id="known"),
        pytest.param({"losses_seen": 4, "cross_entropy": 3}, linear("head", 1000, out_features=4), False, id="mixed"),
        pytest.param({}, linear("head", 1000, out_features=4), False, id="not looked at"),
        pytest.param(
            {"losses_seen": 4, "cross_entropy": 4}, ("norm", "LayerNorm", 8, {}), False, id="no head that is a layer"
        ),
    ],
)
def test_classes_are_known_by_the_graph_of_the_loss(loop, head, fires):
    rows = [{"epoch": at, "loop": loop, "steps": {"loss_mean": [30.0] * 10}} for at in range(2)]
    run = Run.from_epochs(rows, architecture=network(linear("body", 1000, out_features=4), head))
    assert bool(found("initial-loss", run)) is fires


def lapsed(train, val, **more):
    rest = {"rate": [0.1] * len(train), "std": [0.02] * len(train), "batches": [20] * len(train)}
    return run_with(train=train, val=val, **rest, **more)


HALF = [1.0, 0.8, 0.6, 0.45, 0.4, 0.6, 0.62, 0.58, 0.6, 0.61]


@pytest.mark.parametrize(
    ("train", "val", "fires"),
    [
        pytest.param([2.3, 2.0, 1.5, 1.3, 1.4, 1.6, 2.2, 2.9, 2.6], None, True, id="lost all"),
        pytest.param([2.3, 2.0, 1.5, 1.3, 1.4, 1.6, 1.7, 1.8, 1.7], None, False, id="lost a part"),
        pytest.param([2.3, 2.0, 1.5, 1.3, 1.4, 1.6, 2.2, 2.9, 2.6], [2.3, *[1.0] * 8], False, id="validation gained"),
        pytest.param(HALF, HALF, True, id="both rest above their best"),
        pytest.param(HALF, sorted(HALF, reverse=True), False, id="validation falls"),
        pytest.param(sorted(HALF, reverse=True), HALF, False, id="training falls"),
    ],
)
def test_what_was_learned_is_lost(train, val, fires):
    run = lapsed(train, val if val is not None else [None] * len(train))
    assert bool(found("learning-rate-too-high", run)) is fires


def opened(steps, means):
    rows = [{"loss": {"train_mean": mean}} for mean in means]
    rows[0]["steps"] = {"loss_mean": steps}
    return Run.from_epochs(rows)


PEAK = [2.3, 9.0, 18.0, 12.0, *[6.0] * 8]


@pytest.mark.parametrize(
    ("steps", "means", "fires"),
    [
        pytest.param(PEAK, [9.0, 6.0, 4.0, 2.6, 2.0, 1.8, 1.5, 1.2], True, id="half of the run to come back"),
        pytest.param(PEAK, [9.0, 2.0, 1.98, 1.99, 1.97, 1.98, 1.96, 1.97], True, id="learns nothing since"),
        pytest.param(PEAK, [9.0, 2.0, 1.5, 1.2, 1.0, 0.9, 0.8, 0.7], False, id="learns on"),
        pytest.param([2.3] * 12, [2.3, 2.0, 1.5, 1.2, 1.0, 0.9, 0.8, 0.7], False, id="calm"),
    ],
)
def test_a_start_that_cost_much(steps, means, fires):
    assert bool(found("learning-rate-too-high", opened(steps, means))) is fires


@pytest.mark.parametrize(
    ("layers", "loop", "game"),
    [
        pytest.param(("g.0", "d.0"), {}, True, id="g and d"),
        pytest.param(("netG.0",), {}, True, id="netG"),
        pytest.param(("0",), {"optimizer_steps": 2, "other_optimizer_steps": 2}, True, id="another optimizer"),
        pytest.param(("0",), {"optimizer_steps": 0, "other_optimizer_steps": 2}, False, id="of another model only"),
        pytest.param(("g.0",), {}, False, id="g alone"),
    ],
)
def test_players_that_nobody_named(layers, loop, game):
    architecture = network(*(linear(name) for name in layers))
    run = Run.from_epochs([{"epoch": at, "loop": loop} for at in range(3)], architecture=architecture)
    assert bool(game_of(run)) is game
