"""Fixes of how the loss develops: learning rate, clipping, length of the run."""

from __future__ import annotations

import math

from diagnostics.engine.fixes.facts import Facts
from diagnostics.engine.fixes.recipes import recipe
from diagnostics.engine.fixes.source import figure, lines, usable
from diagnostics.engine.issue import IssueData

_TOO_FAST = frozenset({"learning-rate-too-high", "first-epoch-blow-up", "loss-explosion", "loss-divergence"})
_CLASSIFIES, _MEASURES = "cross_entropy", "mse_loss"


@recipe("gradient-spike", "gradient-instability", "loss-spike", "exploding-gradients")
def clip(facts: Facts, issue: IssueData) -> str:
    """Clip to what was usual before the event, or to 1 where nobody measured."""
    usual = facts.usual_norm(issue.epoch_index)
    known = "1.0 is a common choice" if usual is None else f"the usual norm of this run is {usual:.2g}"
    return lines(
        f"# After loss.backward(), before optimizer.step(): {known}.",
        f"torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm={figure(usual or 1.0)})",
    )


@recipe("loss-explosion")
def clip_and_slow_down(facts: Facts, issue: IssueData) -> str:
    """Clipping holds what only jumped; where the whole run was too fast, it is slowed down as well."""
    slower = set_rate(facts, facts.lower_rate())
    clipped = clip(facts, issue)
    if facts.usual_norm(issue.epoch_index) is not None or slower is None:
        return clipped
    return lines(slower, clipped)


@recipe("learning-rate-too-high", "first-epoch-blow-up", "loss-divergence", "oscillation")
def slow_down(facts: Facts, issue: IssueData) -> str | None:
    return set_rate(facts, facts.lower_rate())


@recipe("learning-rate-too-low")
def speed_up(facts: Facts, issue: IssueData) -> str | None:
    return set_rate(facts, facts.higher_rate())


@recipe("update-ratio")
def fit_rate(facts: Facts, issue: IssueData) -> str | None:
    small = isinstance(issue.metric_value, float) and issue.metric_value < 1e-3
    return set_rate(facts, facts.higher_rate() if small else facts.lower_rate())


def set_rate(facts: Facts, rate: float | None) -> str | None:
    """Return how to set a learning rate other than that of the run."""
    if rate is None or not usable(rate) or facts.rate is None:
        return None
    return lines(
        f"# Before training, and before a scheduler is made: the learning rate was {facts.rate:.2g}.",
        "for group in optimizer.param_groups:",
        f'    group["lr"] = {figure(rate)}',
    )


@recipe("learning-rate-schedule")
def schedule(facts: Facts, issue: IssueData) -> str | None:
    if facts.steps is None:
        return None
    total = facts.steps * facts.epochs
    return lines(
        f"# Before training; scheduler.step() belongs after each optimizer.step(), {total} times in all.",
        f"scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max={total})",
    )


@recipe("loss-plateau")
def decay_on_plateau(facts: Facts, issue: IssueData) -> str:
    patience = min(10, max(2, len(facts.run) // 10))
    return lines(
        "# Before training; scheduler.step(val_loss) belongs after each validation.",
        f"scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.3, patience={patience})",
    )


@recipe("overfitting")
def regularize(facts: Facts, issue: IssueData) -> str:
    best = issue.evidence.get("best_epoch")
    best = best if isinstance(best, int) else _best_epoch(facts)
    decay = max(0.01, min(0.1, 10 * (facts.weight_decay or 0.0)))
    return lines(
        "# Before training: decay the weights, and stop soon after the epoch whose validation loss was the best.",
        "for group in optimizer.param_groups:",
        f'    group["weight_decay"] = {figure(decay)}',
        *([] if best is None else [f"epochs = {best + 1}  # of {facts.epochs}"]),
    )


def _best_epoch(facts: Facts) -> int | None:
    column = facts.run.column("loss.val.val_loss")
    rows = column.finite
    return int(facts.run.epochs[rows[column.values[rows].argmin()]]) if rows.size else None


@recipe("early-stop-opportunity", "diminishing-returns", "wasted-carbon")
def stop_early(facts: Facts, issue: IssueData) -> str | None:
    stop = issue.evidence.get("optimal_stop_epoch", issue.epoch_index)
    if not isinstance(stop, int) or not 0 <= stop < facts.epochs - 1:
        return None
    patience = max(3, facts.epochs // 10)
    return lines(
        f"# Before training: epoch {stop} was the best, and {patience} more epochs show that none is better.",
        f"epochs = {min(stop + 1 + patience, facts.epochs - 1)}  # was {facts.epochs}",
    )


@recipe("high-loss-variance", "batch-size-too-small")
def enlarge_batch(facts: Facts, issue: IssueData) -> str | None:
    if facts.batch_size is None:
        return None
    # The noise of a mean falls with the root of the number of samples.
    excess = issue.evidence.get("ratio")
    times = 4.0 * excess**2 if isinstance(excess, float) and math.isfinite(excess) and excess > 0 else 4.0
    size = facts.batch_size * 2 ** min(5, max(1, round(math.log2(times))))
    return load(facts, size, "the noise of a batch falls with the root of its size")


@recipe("batch-size-too-large")
def shrink_batch(facts: Facts, issue: IssueData) -> str | None:
    if facts.batch_size is None or facts.batch_size < 8:
        return None
    return load(facts, facts.batch_size // 4, "smaller batches make more steps of the same data")


def load(facts: Facts, size: int, why: str) -> str:
    """Return how to load batches of another size."""
    return lines(
        f"# Before training: {why}; the size was {facts.batch_size}.",
        "train_loader = torch.utils.data.DataLoader(",
        f"    train_loader.dataset, batch_size={size}, shuffle=True, num_workers=train_loader.num_workers",
        ")",
    )


@recipe("inf-gradients")
def skip_bad_steps(facts: Facts, issue: IssueData) -> str | None:
    if issue.caused_by in _TOO_FAST:
        return slow_down(facts, issue)
    usual = facts.usual_norm(issue.epoch_index) or 1.0
    return lines(
        "# In place of optimizer.step(): a gradient that is not finite must not reach the weights.",
        f"norm = torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm={figure(usual)})",
        "if torch.isfinite(norm):",
        "    optimizer.step()",
    )


@recipe("nan-in-loss")
def drop_bad_samples(facts: Facts, issue: IssueData) -> str | None:
    if issue.caused_by in _TOO_FAST or issue.caused_by == "inf-gradients":
        return slow_down(facts, issue)
    return lines(
        "# Before model(x): leave out samples that are not finite, and clip what they leave behind.",
        "finite = torch.isfinite(x).flatten(1).all(dim=1)",
        "x, y = x[finite], y[finite]",
    )


@recipe("initial-loss")
def start_right(facts: Facts, issue: IssueData) -> str:
    chance, first = issue.evidence.get("chance"), issue.metric_value
    size = facts.batch_size
    if size and isinstance(chance, float) and isinstance(first, float) and 0.5 < first / (chance * size) < 2:
        return lines(
            f"# Where the criterion is made: the first loss is that of guessing times the batch size, {size}; it is "
            "summed, not averaged.",
            'criterion = torch.nn.CrossEntropyLoss(reduction="mean")',
        )
    return lines(
        "# Before training: the default initialization begins near the loss of guessing.",
        "for module in model.modules():",
        '    if hasattr(module, "reset_parameters"):',
        "        module.reset_parameters()",
    )


@recipe("loss-below-minimum")
def right_sign(facts: Facts, issue: IssueData) -> str:
    name = str(facts.told.get("loss", facts.told.get("criterion", ""))).lower()
    function = _MEASURES if any(word in name for word in ("mse", "squared", "l2")) else _CLASSIFIES
    return lines(
        "# Where the loss is computed: no minus, and the outputs of the model as they are.",
        f"loss = torch.nn.functional.{function}(output, y)",
    )


@recipe("clipping-fraction")
def loosen_clipping(facts: Facts, issue: IssueData) -> str | None:
    usual = facts.usual_norm()
    if usual is None:
        return None
    return lines(
        f"# After loss.backward(): half of the gradients are below {usual:.2g}, clip only what is far above.",
        f"torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm={figure(3 * usual)})",
    )


@recipe("amp-overflow")
def scale_less(facts: Facts, issue: IssueData) -> str:
    return lines(
        "# Before training: bfloat16 holds what float16 cannot, and needs no gradient scaler.",
        "autocast = torch.autocast(next(model.parameters()).device.type, dtype=torch.bfloat16)",
    )
