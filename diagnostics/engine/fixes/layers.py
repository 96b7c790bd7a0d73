"""Fixes of single layers: initialization, activations, what is frozen."""

from __future__ import annotations

from diagnostics.engine.fixes.dynamics import set_rate
from diagnostics.engine.fixes.facts import Facts
from diagnostics.engine.fixes.recipes import recipe
from diagnostics.engine.fixes.source import LONGEST_NAME, figure, lines, module, quoted, replaced
from diagnostics.engine.issue import IssueData

_GAINS = {"Tanh": "tanh", "Sigmoid": "sigmoid", "LeakyReLU": "leaky_relu", "SELU": "selu"}
"""Activations that PyTorch knows a gain for, beside ReLU."""
_SQUASHES = ("Sigmoid", "Tanh", "Hardsigmoid", "Hardtanh", "Softsign")
_WEIGHTED = ("linear", "convolution")
_HEAVY_DECAY = 0.1
MOST_NAMED = 12


@recipe("dead-neurons", "dead-relu", "frozen-output")
def revive(facts: Facts, issue: IssueData) -> str | None:
    """Initialize a layer anew, by Kaiming's rule for the activation that follows it."""
    place = module(issue.layer_id) if issue.layer_id else None
    if place is None:
        return None
    slower = set_rate(facts, facts.lower_rate()) if facts.began_fast else None
    heavy = facts.weight_decay is not None and facts.weight_decay > _HEAVY_DECAY
    if heavy or issue.evidence.get("shrunk"):
        return decay_less(facts)
    anew = lines("# Before training: initialize the layer anew.", *_initialized(facts, str(issue.layer_id), place))
    return lines(slower, anew) if slower else anew


def _initialized(facts: Facts, name: str, place: str) -> list[str]:
    layer = facts.layer(name)
    if layer is None or layer.category not in _WEIGHTED:
        # Normalizations, recurrent layers and the rest know their own best start.
        return [f"{place}.reset_parameters()"]
    gain = _GAINS.get(facts.activation_after(name) or "", "relu")
    return [
        f"layer = {place}",
        f'torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="{gain}")',
        "if layer.bias is not None:",
        "    torch.nn.init.zeros_(layer.bias)",
    ]


def decay_less(facts: Facts) -> str:
    """Return how to decay the weights less, for layers that were pulled to zero."""
    told = "the weight decay" if facts.weight_decay is None else f"a weight decay of {facts.weight_decay:.2g}"
    return lines(
        f"# Before training: {told} pulls the weights to zero.",
        "for group in optimizer.param_groups:",
        '    group["weight_decay"] = 0.01',
    )


@recipe("saturated-activation")
def shrink_inputs(facts: Facts, issue: IssueData) -> str | None:
    """Initialize the layer before a saturated activation so that its outputs are small."""
    name = issue.layer_id or ""
    place = module(name) if name else None
    layer = facts.layer(name)
    if place is None:
        return None
    if layer is None or layer.category not in _WEIGHTED:
        return lines("# Before training: initialize the layer anew.", f"{place}.reset_parameters()")
    return lines(
        "# Before training: smaller weights keep the activation where it has a slope.",
        f"layer = {place}",
        "torch.nn.init.xavier_uniform_(layer.weight)",
        "if layer.bias is not None:",
        "    torch.nn.init.zeros_(layer.bias)",
    )


@recipe("vanishing-gradients")
def let_gradients_through(facts: Facts, issue: IssueData) -> str | None:
    """Replace activations that squash, or initialize a layer anew that is dead."""
    squashing = [layer.type for layer in facts.run.blueprint.layers if layer.type in _SQUASHES]
    if not squashing:
        return revive(facts, issue)
    kind = max(set(squashing), key=squashing.count)
    return lines(
        f"# Before training: {squashing.count(kind)} {kind} layers each hold back part of the gradient, ReLU does not.",
        "for name, module in list(model.named_modules()):",
        f"    if isinstance(module, torch.nn.{kind}):",
        '        parent, _, own = name.rpartition(".")',
        "        setattr(model.get_submodule(parent), own, torch.nn.ReLU())",
        "    elif isinstance(module, (torch.nn.Linear, torch.nn.Conv2d)):",
        '        torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")',
    )


@recipe("activation-collapse")
def restore_spread(facts: Facts, issue: IssueData) -> str | None:
    return revive(facts, issue)


@recipe("redundant-layers")
def try_without(facts: Facts, issue: IssueData) -> str | None:
    layer = facts.layer(issue.layer_id)
    same = layer is not None and layer.in_features and layer.in_features == layer.out_features
    statement = replaced(str(issue.layer_id), "torch.nn.Identity()") if same else None
    if statement is None:
        return None
    return lines("# Before training: compare the validation loss without the layer.", statement)


@recipe("unintended-freeze")
def unfreeze(facts: Facts, issue: IssueData) -> str | None:
    named = [name for name in issue.evidence.get("layers", ()) if isinstance(name, str) and len(name) <= LONGEST_NAME]
    places = [place for name in named if (place := module(name)) is not None and place != "model"]
    if not places:
        return None
    told = "# Before the optimizer is made: let all layers learn."
    if len(places) == 1:
        return lines(told, f"{places[0]}.requires_grad_(True)")
    if len(named) > MOST_NAMED:
        return lines(told, "model.requires_grad_(True)")
    return lines(
        told,
        f"for name in ({', '.join(quoted(name) for name in named)}):",
        "    model.get_submodule(name).requires_grad_(True)",
    )


@recipe("attention-entropy")
def warm_up(facts: Facts, issue: IssueData) -> str | None:
    if facts.steps is None:
        return set_rate(facts, facts.lower_rate())
    steps = max(10, facts.steps * facts.epochs // 20)
    return lines(
        "# Before training; warm_up.step() belongs after each optimizer.step(). Heads that fix on one position early "
        "never let go of it.",
        f"warm_up = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.01, total_iters={steps})",
    )


@recipe("activation-outliers")
def tame_outliers(facts: Facts, issue: IssueData) -> str | None:
    place = module(issue.layer_id) if issue.layer_id else None
    if place is None:
        return None
    bound = issue.evidence.get("limit")
    top = figure(bound) if isinstance(bound, float) else "10000.0"
    return lines(
        "# Before training: what float16 cannot hold is cut off before it becomes infinite.",
        f"{place}.register_forward_hook(lambda module, inputs, output: output.clamp(-{top}, {top}))",
    )
