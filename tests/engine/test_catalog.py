"""Promises that every check keeps."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diagnostics.engine import CHECKS, DiagnosticThresholds, Profile, Run, diagnose
from diagnostics.engine import checks as catalogue
from diagnostics.engine.docs import index, main, outdated, page, pages, thresholds_page, write
from diagnostics.engine.registry import Scope, check
from diagnostics.engine.sources import SOURCES
from diagnostics.engine.thresholds import DEFAULTS
from diagnostics.engine.uses import readers_of, thresholds_of
from observer_client.packed import CLASS_SERIES, SCALARS
from observer_client.record import LayerStats, Steps
from observer_client.signal_records import ClassCounts
from tests.engine.tools import BOTH

ROOT = Path(__file__).parents[2]
HEADINGS = ["What it does", "Why it matters", "How to fix it"]
WHOLE = {"logs", "architecture", "profiler.per_layer", "layer_health.correlations"} | {
    name for name, *_ in CLASS_SERIES
}
WHOLE |= {"baseline.metric", "baseline.parameters", "ending.status", "ending.silent_seconds"}
each_check = pytest.mark.parametrize("found", CHECKS.values(), ids=CHECKS)


@each_check
def test_is_documented(found):
    assert re.findall(r"^## (.+)$", found.doc, re.MULTILINE) == HEADINGS
    assert found.doc.partition("\n")[0].endswith(".")


@each_check
def test_gives_short_advice(found):
    assert 20 < len(found.suggestion) < 250 and "`" not in found.suggestion


@each_check
def test_is_named_after_its_function(found):
    assert found.id == found.rule.__name__.replace("_", "-")


@each_check
def test_needs_columns_that_exist(found):
    for need in found.needs:
        for name in need.split(" | "):
            group, _, own = name.rpartition(".")
            known = {"steps": fields_of(Steps), "layers": fields_of(LayerStats), "loss.val": (own,)}
            open_ended = name.startswith("profiler.operation_categories.")
            assert name in SCALARS or name in WHOLE or open_ended or own in known.get(group, ())


@each_check
def test_has_a_test(found):
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert tests.count(f'"{found.id}"') >= 2


@each_check
@pytest.mark.parametrize("profile", BOTH)
def test_is_silent_on_an_empty_run(found, profile):
    assert found(Run.from_epochs([]), DEFAULTS, Profile(profile)) == []
    assert found(Run.from_epochs([{"epoch": 0}]), DEFAULTS, Profile(profile)) == []


@each_check
def test_says_which_columns_it_misses(found):
    assert diagnose(Run.from_epochs([])).skipped[found.id] == list(found.needs)


def test_every_module_is_imported():
    folder = Path(catalogue.__file__).parent
    assert catalogue.__all__ == sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")


def test_ids_of_the_catalogue():
    assert set(CHECKS) == {
        "loss-divergence", "loss-explosion", "loss-plateau", "overfitting", "high-loss-variance",
        "gradient-instability", "throughput-degradation", "memory-growth", "slow-epoch", "high-cpu", "error-logs",
        "diminishing-returns", "early-stop-opportunity", "nan-in-loss", "fc-dominates", "conv-bottleneck",
        "missing-pooling", "large-kernel", "early-channel-explosion", "learning-rate-too-high",
        "learning-rate-too-low", "not-learning", "first-epoch-blow-up", "initial-loss", "inf-gradients",
        "loss-below-minimum", "profiler-hotspot", "backward-dominance", "fwd-bwd-ratio", "device-underutilization",
        "over-parameterized-layer", "compute-inefficient-layer", "dead-neurons", "vanishing-gradients",
        "frozen-output", "activation-collapse", "redundant-layers", "high-carbon-intensity", "wasted-carbon",
        "unintended-freeze", "gradient-spike", "attention-head-count", "embedding-dimension", "position-encoding",
        "layer-norm-placement", "hidden-size-ratio", "num-layers", "bidirectional-usage", "sequence-length",
        "dead-relu", "saturated-activation", "activation-outliers", "exploding-gradients", "update-ratio",
        "attention-entropy",
        "learning-rate-schedule", "loss-spike", "oscillation", "weight-collapse",
        "below-baseline", "larger-than-baseline",
        "parameters-not-updated", "optimizer-misses-parameters", "missing-zero-grad", "no-gradient",
        "eval-mode-while-training", "train-mode-while-validating", "softmax-before-cross-entropy", "labels-all-masked",
        "class-imbalance", "input-scale", "padding-waste", "data-leakage", "gpu-underutilized", "gpu-memory-pressure",
        "input-bound", "slow-step", "fail-slow", "clipping-fraction", "amp-overflow",
        "anomalous-epoch", "batch-size-too-small", "batch-size-too-large",
        "ranks-diverged", "rank-straggler", "crash", "run-went-silent",
    }  # fmt: skip


def declare(name):
    return check(name, title="", category=None, severity=None, scope=Scope.epoch, needs=(), section="0")


def test_refuses_an_id_that_exists():
    def loss_explosion(run, limits):
        yield from ()

    with pytest.raises(ValueError, match="already"):
        declare("loss-explosion")(loss_explosion)


@pytest.mark.parametrize("name", ["LossExplosion", "loss_explosion", "other-name", ""])
def test_refuses_an_id_that_is_not_the_name_of_the_function(name):
    def loss_explosion(run, limits):
        yield from ()

    with pytest.raises(ValueError, match="kebab"):
        declare(name)(loss_explosion)


# What JSON, a CSV reader or a careless script may put where a number belongs.
numbers = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.floats(-3, 3),
    st.sampled_from(["nan", "inf", "-inf", "", "0.5", "x"]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
)


def record_of(names):
    return st.one_of(numbers, st.dictionaries(st.sampled_from(sorted(names)), numbers, max_size=6))


def fields_of(kind):
    return tuple(kind.__dataclass_fields__)


GROUPS = {name.partition(".")[0] for name in SCALARS if "." in name}
layer_health = st.fixed_dictionaries(
    {"layers": st.dictionaries(st.sampled_from(["a", "b", ""]), record_of(fields_of(LayerStats)), max_size=3)},
    optional={"correlations": st.lists(record_of(("layer_a", "layer_b", "correlation")), max_size=2)},
)
groups = {group: record_of([name.partition(".")[2] for name in SCALARS if name.startswith(group)]) for group in GROUPS}
counts = st.one_of(
    numbers,
    st.dictionaries(st.sampled_from(fields_of(ClassCounts)), st.lists(numbers, max_size=4), max_size=3),
)
good_loss = st.fixed_dictionaries(
    {"train_mean": st.floats(-3, 3)},
    optional={
        "train_std": numbers,
        "train_max": numbers,
        "n_batches": numbers,
        "val": st.dictionaries(st.sampled_from(["val_loss", "val_acc", "other_loss"]), numbers, max_size=3),
    },
)
epoch = st.one_of(
    numbers,
    st.fixed_dictionaries(
        {},
        optional={"epoch": numbers, "attempt": numbers, "duration_seconds": numbers, "learning_rate": numbers}
        | groups
        | {
            "loss": st.one_of(good_loss, groups["loss"]),
            "layer_health": st.one_of(numbers, layer_health),
            "steps": st.dictionaries(st.sampled_from(fields_of(Steps)), st.lists(numbers, max_size=6), max_size=4),
            "classes": st.one_of(numbers, st.dictionaries(st.sampled_from(["train", "val"]), counts, max_size=2)),
        },
    ),
)
node = st.dictionaries(
    st.sampled_from(["id", "type", "category", "kernel_size", "stride", "in_channels", "out_channels", "groups"]),
    st.one_of(numbers, st.sampled_from(["conv1", "Conv2d", "convolution", "fc", "Linear"])),
)
architecture = st.one_of(
    numbers,
    st.fixed_dictionaries(
        {},
        optional={
            "total_parameters": numbers,
            "input_shape": numbers,
            "layers": st.dictionaries(st.sampled_from(["conv1", "fc"]), st.one_of(numbers, node)),
            "layer_graph": st.one_of(
                numbers, st.fixed_dictionaries({"nodes": st.lists(node), "sequential_path": st.lists(numbers)})
            ),
        },
    ),
)
logs = st.lists(st.one_of(numbers, st.dictionaries(st.sampled_from(["level", "msg", "kind", "ts", "seq"]), numbers)))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(epoch, max_size=14), logs, architecture, st.sampled_from(BOTH))
def test_nothing_raises_on_an_absurd_run(epochs, lines, network, profile):
    report = diagnose(Run.from_epochs(epochs, logs=lines, architecture=network), profile=profile)
    json.dumps(report.as_dict(), allow_nan=False)
    assert 0 <= report.health_score <= 100
    assert isinstance(report.as_dict()["sustainability"]["wasted_compute_pct"], float)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(epoch, max_size=14), st.sets(st.sampled_from(sorted(GROUPS | {"layer_health", "steps"}))))
def test_a_check_whose_columns_are_missing_says_so(epochs, gone):
    left = [{k: v for k, v in each.items() if k not in gone} if isinstance(each, dict) else each for each in epochs]
    run = Run.from_epochs(left)
    skipped = diagnose(run).skipped
    for found in CHECKS.values():
        assert (found.id in skipped) == bool(found.missing(run))
        if found.id in skipped:
            assert found(run, DEFAULTS) == []


wide = st.one_of(st.floats(), st.sampled_from([0.0, -0.0, 1e-320, 1e308, -1e308, 5e-324]))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(wide, wide, wide, wide, wide), min_size=4, max_size=16), st.sampled_from(BOTH))
def test_nothing_raises_on_numbers_at_the_end_of_what_a_float_holds(rows, profile):
    epochs = [
        {
            "loss": {
                "train_mean": loss,
                "train_std": spread,
                "train_max": loss,
                "n_batches": 3,
                "val": {"val_loss": val},
            },
            "gradients": {"norm_mean": norm, "norm_max": norm},
            "memory": {"process_rss_mb": memory},
            "layer_health": {
                "layers": {"fc": {"gradient_norm_mean": norm, "weight_norm": val, "update_ratio": spread}}
            },
        }
        for loss, spread, val, norm, memory in rows
    ]
    report = diagnose(Run.from_epochs(epochs), profile=profile)
    json.dumps(report.as_dict(), allow_nan=False)
    score = report.summary["anomaly"]["score"]
    assert score is None or 0 <= score <= 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), max_size=40), st.lists(st.floats(0, 1e3), min_size=40, max_size=40))
def test_robust_reports_no_epoch_that_the_run_has_not(losses, spread):
    run = Run.from_epochs([{"loss": {"train_mean": a, "train_std": b}} for a, b in zip(losses, spread, strict=False)])
    report = diagnose(run)
    assert {issue.epoch_index for issue in report.issues + report.suppressed} <= {*range(len(losses)), None}


def test_committed_pages_are_up_to_date():
    assert outdated(ROOT / "docs") == []


def test_pages_are_written_once(tmp_path):
    (tmp_path / "checks").mkdir()
    (tmp_path / "checks" / "gone.md").write_text("of a check that is no more")
    assert len(write(tmp_path)) == len(pages()) + 1
    assert write(tmp_path) == [] and not (tmp_path / "checks" / "gone.md").exists()


def test_check_names_stale_pages(tmp_path, capsys):
    write(tmp_path)
    assert main(["--check", str(tmp_path)]) == 0
    (tmp_path / "thresholds.md").write_text("edited by hand")
    assert main(["--check", str(tmp_path)]) == 1
    assert "thresholds.md" in capsys.readouterr().out


def test_pages_name_what_they_are_about():
    assert "`loss-explosion`" in page(CHECKS["loss-explosion"])
    assert all(f"[`{name}`]({name}.md)" in index() for name in CHECKS)
    assert all(f"`{name}`" in thresholds_page() for name in DiagnosticThresholds.__dataclass_fields__)


@pytest.mark.parametrize("name", DiagnosticThresholds.__dataclass_fields__)
def test_every_threshold_is_read_by_a_check(name):
    assert readers_of(name)


def test_a_page_tells_thresholds_of_the_rule_from_evidence():
    assert thresholds_of(CHECKS["slow-epoch"]) == {
        "slow_epoch_ratio": True,
        "short_history": False,
        "slow_epoch_z": False,
    }
    assert "| `slow_epoch_z` | 5 sigmas | evidence |" in page(CHECKS["slow-epoch"])
    assert "no number to set" in page(CHECKS["nan-in-loss"])


@each_check
def test_a_page_tells_the_profiles_apart(found):
    said = page(found).partition("## Profiles\n")[2]
    assert said.startswith("`guide` reports" if found.gated else "`guide` and `robust` judge alike")


def test_sources_belong_to_checks_and_are_told():
    assert SOURCES.keys() <= CHECKS.keys()
    assert "guide, section 5.4; L. Prechelt" in page(CHECKS["overfitting"])
