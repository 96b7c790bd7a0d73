"""What a run says it learns: the kind of its loss and the number of its classes."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from diagnostics.engine.once import once
from diagnostics.engine.reading import integer
from diagnostics.engine.run import Run

_LOSS_NAMES = ("loss", "criterion", "loss_fn", "loss_function", "loss_name", "objective")
_CLASS_NAMES = ("num_classes", "n_classes", "classes", "num_labels", "vocab_size")
_NOTHING = ("", "none", "false", "no", "0")
_CROSS_ENTROPY = re.compile(r"cross_?entropy|^ce(_?loss)?$|^bce|softmax_?loss", re.IGNORECASE)
_NEVER_NEGATIVE = re.compile(
    r"^(mse|l1|l2|mae|rmse|bce|huber|smooth_?l1|hinge)|squared_?error|absolute_?error|focal", re.IGNORECASE
)
_TRAINED_BEFORE = (
    r"pre[-_ ]?train|fine[-_ ]?tun|\b(q|d)?lora|peft|adapter|head[-_ ]?only|linear[-_ ]?(eval|probe)|prompt[-_ ]?tun"
)
_REUSED = re.compile(
    rf"{_TRAINED_BEFORE}|transfer|backbone|probe|distil|teacher(?!_?forc)|trainable|from_checkpoint|init_from",
    re.IGNORECASE,
)
_BEGUN_BEFORE = re.compile(
    rf"{_TRAINED_BEFORE}|transfer_?learn|resum|warm_?start|continue_?from|(from|load|init)_?(ckpt|checkpoint|weights)",
    re.IGNORECASE,
)
_GAME = re.compile(
    r"adversari|discriminator|\b(w|dc|style|cycle|info|big)?gan\b|\bcritic\b|\bactor[-_ ]?critic|\breinforce\b"
    r"|\b(ppo|dqn|ddqn|grpo|sac|td3|ddpg|a2c|a3c|trpo|rlhf)\b|reinforcement|policy[- ]?(gradient|loss)"
    r"|\bq[-_ ]?(learning|network)|\btd[- ]?(target|error|lambda)|\bgae[- ]?lambda|replay[- ]?(buffer|memory)"
    r"|epsilon[- ]?(greedy|decay)|\brollouts?\b|target[- ]?(network[- ]?)?update|\bnum[- ]?envs\b|\benv[- ]?id\b"
    r"|entropy[- ]?coef|\btotal[- ]?timesteps\b|\bn[- ]?envs\b|\bclip[- ]?range\b|\b(target|policy)[-_ ]?net\b"
    r"|\bnet[-_ ]?[gd]\b"
    r"|\bgym(nasium)?\b|\batari\b|\bmujoco\b|cart[- ]?pole|lunar[- ]?lander|mountain[- ]?car|half[- ]?cheetah",
    re.IGNORECASE,
)
_REWARD = re.compile(r"(^|[._/])(mean_|episode_|avg_)?(return|returns|reward|rewards)(_mean)?$", re.IGNORECASE)
_OBSERVED_KINDS = ("losses_seen", "cross_entropy", "binary_cross_entropy", "squared_error")
_OBSERVED = "the loss, a cross-entropy or squared error by its graph,"
_PLANNED = ("epochs", "num_epochs", "n_epochs", "max_epochs", "num_train_epochs", "total_epochs")
ACCURACY = "loss.val.val_acc"


@dataclass(frozen=True, slots=True)
class Task:
    """``classes`` is None unless the run is known to tell classes apart; ``loss`` is what its author called it."""

    loss: str | None
    classes: int | None
    never_negative: bool
    """Whether the loss is by its name one that cannot fall below zero."""
    other: bool = False
    """Whether nobody named the loss, and its graph shows no cross-entropy: what guessing costs is not known."""

    @property
    def chance(self) -> float | None:
        """Cross-entropy of guessing: the logarithm of the number of classes. None of a loss that is known to be no
        cross-entropy."""
        return math.log(self.classes) if self.classes and not self.other else None


@once
def task_of(run: Run) -> Task:
    """Return the task of ``run`` by its hyperparameters; without any, an accuracy tells that there are classes, or the
    graph of the loss, if it shows nothing but cross-entropies."""
    given = {str(name).lower(): value for name, value in run.hyperparameters.items()}
    named = next((value for name in _LOSS_NAMES if isinstance(value := given.get(name), str)), None)
    told = next((count for name in _CLASS_NAMES if (count := integer(given.get(name)))), None)
    crosses = named is not None and bool(_CROSS_ENTROPY.search(named))
    observed = named is None and _observed_never_negative(run)
    tells = run.column(ACCURACY) or (_observed_classifier(run) and run.blueprint.ends_linear)
    guessed = run.blueprint.classes if crosses or (named is None and tells) else None
    classes = told if told and (named is None or crosses) else guessed
    return Task(
        loss=named or (_OBSERVED if observed else None),
        classes=classes if classes and classes >= 2 else None,
        never_negative=observed or named is not None and (crosses or bool(_NEVER_NEGATIVE.search(named))),
        other=named is None and _observed_other(run),
    )


@once
def planned_epochs(run: Run) -> int | None:
    """Return how many epochs the hyperparameters say that the run shall have."""
    given = {str(name).lower(): value for name, value in run.hyperparameters.items()}
    return next((count for name in _PLANNED if (count := integer(given.get(name)))), None)


def told_of(run: Run) -> str:
    """Return what the hyperparameters say, as one text; what is set to nothing is left out."""
    given = ((str(name), str(value)) for name, value in run.hyperparameters.items())
    return " ".join(f"{name} {value}" for name, value in given if value.lower() not in _NOTHING)


@once
def reuse_of(run: Run) -> str | None:
    """Return the word by which hyperparameters or names of layers tell that parts of the model are kept as they are;
    None if there is none."""
    return _word(_REUSED, run)


@once
def trained_before(run: Run) -> str | None:
    """Return the word by which the run tells that it began with trained weights, its own earlier ones included."""
    return _word(_BEGUN_BEFORE, run)


@once
def game_of(run: Run) -> str | None:
    """Return the word by which the run tells of players that train against each other, or for a reward: their loss says
    who is ahead, not how good they are, and need not fall. None if there is none.

    In reinforcement learning the targets are the agent's own, and move with it: the loss measures how much there is to
    be surprised at, and grows when the agent finds something new (Sutton and Barto, Reinforcement Learning, 2018,
    section 11.2). What it learns shows in a return or reward, so that a metric of this name tells of it, too.
    """
    layers = {part for name in run.blueprint.types for part in name.split(".")}
    found = _GAME.search(told_of(run).replace("_", " ")) or _GAME.search(" ".join(sorted(layers)))
    if found is not None:
        return found.group()
    if {"g", "d"} <= {name.lower() for name in layers}:
        return "g and d"
    if _other_player(run):
        return "a second model's optimizer"
    earned = (name.removeprefix("loss.val.").removeprefix("val_") for name in run.names if name.startswith("loss.val."))
    return next((name for name in sorted(earned) if _REWARD.search(name)), None)


def _other_player(run: Run) -> bool:
    """Whether optimizers step in the same windows that hold parameters of the model, and none of them, and no
    validation loss tells how good the model is by itself."""
    own, other = (run.column(f"loop.{name}").values > 0 for name in ("optimizer_steps", "other_optimizer_steps"))
    both = np.count_nonzero(own & other)
    return bool(both > 1 and both * 2 >= np.count_nonzero(own)) and not run.column("loss.val.val_loss")


def _word(pattern: re.Pattern[str], run: Run) -> str | None:
    types = run.blueprint.types
    names = " ".join((run.architecture.model_class or "" if run.architecture else "", *types, *set(types.values())))
    found = pattern.search(told_of(run)) or pattern.search(names)
    return found.group() if found else None


def _observed_classifier(run: Run) -> bool:
    if not run.has("loop.losses_seen"):
        return False
    seen, crossed = (np.nansum(run.column(f"loop.{name}").values) for name in ("losses_seen", "cross_entropy"))
    return bool(0 < seen == crossed)


def _observed_other(run: Run) -> bool:
    """Whether graphs of the loss were looked at and none was a cross-entropy, but a hinge, or what a teacher says."""
    seen, crossed, binary, _ = (np.nansum(run.column(f"loop.{name}").values) for name in _OBSERVED_KINDS)
    return bool(seen > 0 and crossed == binary == 0)


def _observed_never_negative(run: Run) -> bool:
    """Whether each loss whose graph was looked at was a cross-entropy or an error, and nothing else."""
    if not run.has("loop.losses_seen"):
        return False
    seen, *kinds = (np.nansum(run.column(f"loop.{name}").values) for name in _OBSERVED_KINDS)
    return bool(seen > 0 and sum(kinds) == seen)
