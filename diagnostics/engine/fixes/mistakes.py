"""Fixes of mistakes in the training loop itself."""

from __future__ import annotations

from diagnostics.engine.fixes.facts import Facts
from diagnostics.engine.fixes.recipes import recipe
from diagnostics.engine.fixes.source import figure, lines, module, replaced
from diagnostics.engine.issue import IssueData

_MOST_CLASSES = 100


@recipe("optimizer-misses-parameters", "parameters-not-updated")
def optimize_all(facts: Facts, issue: IssueData) -> str:
    return lines(
        "# Before training: give the optimizer every parameter of the model that it does not know.",
        'known = {id(weight) for group in optimizer.param_groups for weight in group["params"]}',
        "missing = [weight for weight in model.parameters() if weight.requires_grad and id(weight) not in known]",
        "if missing:",
        '    optimizer.add_param_group({"params": missing})',
    )


@recipe("missing-zero-grad")
def clear_gradients(facts: Facts, issue: IssueData) -> str:
    return lines("# Before loss.backward(): forget the gradients of the last step.", "optimizer.zero_grad()")


@recipe("no-gradient")
def use_the_layer(facts: Facts, issue: IssueData) -> str | None:
    place = module(issue.layer_id) if issue.layer_id else None
    if place is None:
        return None
    return lines(
        "# After loss.backward(), for one step: no detach(), .data, .item() or torch.no_grad() may lie between this "
        "layer and the loss.",
        f"print([(name, weight.requires_grad, weight.grad is None) for name, weight in {place}.named_parameters()])",
    )


@recipe("eval-mode-while-training")
def train_mode(facts: Facts, issue: IssueData) -> str:
    return lines("# Before each epoch of training, after any validation.", "model.train()")


@recipe("train-mode-while-validating")
def eval_mode(facts: Facts, issue: IssueData) -> str:
    return lines("# Before each validation; model.train() belongs after it.", "model.eval()")


@recipe("softmax-before-cross-entropy")
def leave_out_softmax(facts: Facts, issue: IssueData) -> str:
    last = facts.run.blueprint.layers[-1:]
    if last and last[0].type in ("Softmax", "LogSoftmax", "Softmax2d"):
        statement = replaced(last[0].id, "torch.nn.Identity()")
        if statement is not None:
            return lines(
                "# Before training: cross-entropy takes the scores and computes the softmax itself.", statement
            )
    return lines(
        "# Where the loss is computed: the outputs are probabilities already.",
        "loss = torch.nn.functional.nll_loss(torch.log(output.clamp(min=1e-9)), y)",
    )


@recipe("labels-all-masked")
def show_labels(facts: Facts, issue: IssueData) -> str:
    return lines(
        "# Before training: how many labels of a batch are not masked.",
        "x, y = next(iter(train_loader))",
        'print(f"{(y != -100).float().mean():.1%} of the labels count")',
    )


@recipe("class-imbalance")
def weigh_classes(facts: Facts, issue: IssueData) -> str:
    """Weigh classes by the inverse of their counts, so that each matters as much as the others."""
    counts = next((found for name in ("counts", "support", "class_counts") if (found := _counts(issue, name))), None)
    told = "# Where the criterion is made: the rarer a class, the more each of its samples weighs."
    if counts is None or len(counts) > _MOST_CLASSES:
        return lines(
            told,
            "counts = torch.bincount(torch.cat([y for _, y in train_loader])).clamp(min=1)",
            "weight = (counts.float().mean() / counts).clamp(max=100.0)",
            "criterion = torch.nn.CrossEntropyLoss(weight=weight)",
        )
    mean = sum(counts) / len(counts)
    weights = ", ".join(figure(min(100.0, mean / max(1.0, count))) for count in counts)
    return lines(
        told,
        f"criterion = torch.nn.CrossEntropyLoss(weight=torch.tensor([{weights}]))",
    )


def _counts(issue: IssueData, name: str) -> list[float] | None:
    found = issue.evidence.get(name)
    if isinstance(found, dict):
        found = list(found.values())
    if not isinstance(found, list) or len(found) < 2:
        return None
    return [float(each) for each in found] if all(isinstance(each, (int, float)) for each in found) else None


@recipe("input-scale")
def normalize(facts: Facts, issue: IssueData) -> str:
    return lines(
        "# Before training, and the same two numbers for validation; then x = (x - mean) / std before model(x).",
        "sample = torch.cat([x for x, *_ in train_loader]).float()",
        "mean, std = sample.mean(), sample.std()",
    )
