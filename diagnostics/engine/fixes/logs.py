"""Fixes of errors that were logged, by their class and by the numbers that their messages hold."""

from __future__ import annotations

import re
from collections.abc import Callable

from diagnostics.engine.fixes.dynamics import clip, load
from diagnostics.engine.fixes.facts import Facts
from diagnostics.engine.fixes.recipes import recipe
from diagnostics.engine.fixes.source import lines, quoted, replaced
from diagnostics.engine.issue import IssueData
from diagnostics.engine.task import task_of

_PRODUCT = re.compile(r"shapes cannot be multiplied \((\d{1,9})x(\d{1,9}) and (\d{1,9})x(\d{1,9})\)")
_MISSING_STEP = 500


@recipe("error-logs")
def answer(facts: Facts, issue: IssueData) -> str | None:
    maker = _BY_CLASS.get(str(issue.evidence.get("class")))
    return maker(facts, issue) if maker else None


def _smaller_batch(facts: Facts, issue: IssueData) -> str | None:
    size = facts.batch_size
    if size is None or size < 2:
        return None
    return lines(
        load(facts, size // 2, "half a batch needs about half the memory"),
        "accumulate = 2  # loss / 2, and optimizer.step() every second batch: each step sees as many samples",
    )


def _check_labels(facts: Facts, issue: IssueData) -> str:
    classes = task_of(facts.run).classes or facts.run.blueprint.classes
    known = f"0 <= int(y.min()) and int(y.max()) < {classes}" if classes else "0 <= int(y.min())"
    return lines(
        "# Before training, on the CPU: an index out of range is what trips such an assertion most often.",
        "for x, y in train_loader:",
        f'    assert {known}, f"labels from {{int(y.min())}} to {{int(y.max())}}"',
    )


def _wait_for_kernels(facts: Facts, issue: IssueData) -> str:
    return lines(
        "# In the first lines of the script, before torch is imported: errors are raised where they happen.",
        "import os",
        "",
        'os.environ["CUDA_LAUNCH_BLOCKING"] = "1"',
    )


def _tell_ranks(facts: Facts, issue: IssueData) -> str:
    return lines(
        "# In the first lines of the script: each rank tells what it waits for, and which one is missing.",
        "import os",
        "",
        'os.environ["TORCH_DISTRIBUTED_DEBUG"] = "DETAIL"',
        'os.environ["NCCL_DEBUG"] = "INFO"',
    )


def _load_here(facts: Facts, issue: IssueData) -> str:
    size = facts.batch_size or "train_loader.batch_size"
    return lines(
        "# Before training: without workers the error names the sample that breaks the loader.",
        f"train_loader = torch.utils.data.DataLoader(train_loader.dataset, batch_size={size}, num_workers=0)",
        "for number, sample in enumerate(train_loader):",
        "    print(number, end=chr(13))",
    )


def _save_often(facts: Facts, issue: IssueData) -> str:
    steps = min(_MISSING_STEP, facts.steps) if facts.steps else _MISSING_STEP
    return lines(
        f"# After each optimizer.step(), every {steps} steps; load both before training, if the file exists.",
        'torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, "checkpoint.pt")',
    )


def _fit_layer(facts: Facts, issue: IssueData) -> str | None:
    """Give the layer as many inputs as arrive, which the message of a matrix product tells."""
    found = _PRODUCT.search(str(issue.evidence.get("message", "")))
    if found is None:
        return None
    _, arriving, expected, outputs = map(int, found.groups())
    fitting = [
        layer
        for layer in facts.run.blueprint.of("linear")
        if (layer.in_features, layer.out_features) == (expected, outputs)
    ]
    statement = replaced(fitting[0].id, f"torch.nn.Linear({arriving}, {outputs})") if len(fitting) == 1 else None
    if statement is None:
        return None
    return lines("# Before the optimizer is made: as many inputs as arrive.", f"{statement}  # was {expected} inputs")


def _rename_keys(facts: Facts, issue: IssueData) -> str:
    message = str(issue.evidence.get("message", ""))
    prefix = next((each for each in ("_orig_mod.", "module.") if f'"{each}' in message), "module.")
    return lines(
        "# Where the checkpoint is loaded: names that a wrapper made longer, and what is left that differs.",
        f"state = {{name.removeprefix({quoted(prefix)}): weight for name, weight in state.items()}}",
        "print(model.load_state_dict(state, strict=False))",
    )


_BY_CLASS: dict[str, Callable[[Facts, IssueData], str | None]] = {
    "GPU out of memory": _smaller_batch,
    "out of memory": _smaller_batch,
    "device-side assert": _check_labels,
    "index out of range": _check_labels,
    "CUDA": _wait_for_kernels,
    "NCCL or distributed": _tell_ranks,
    "data loader": _load_here,
    "data loader worker": _load_here,
    "preemption or time limit": _save_often,
    "NaN or infinity": clip,
    "shape mismatch": _fit_layer,
    "checkpoint mismatch": _rename_keys,
}
