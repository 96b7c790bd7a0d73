"""The Observer, the floors below it and what people would use instead, behind one face. Nothing goes to a network."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any


@dataclass(slots=True)
class Recorder:
    """``step(number, loss, batch_size=...)`` records a training step, ``close()`` ends the run.

    ``before``, if any, is called ahead of the optimizer, where the gradients are.
    """

    step: Callable[..., object]
    close: Callable[[], object] = lambda: None
    before: Callable[[], object] | None = None


def nothing(folder: str, model: Any) -> Recorder:
    return Recorder(lambda step, loss, batch_size: None)


def floor(folder: str, model: Any) -> Recorder:
    """The clock and three appends. Keeps the tensor, and so its graph, which no observer should."""
    times, losses, sizes = [], [], []

    def step(step: int, loss: Any, batch_size: int) -> None:
        times.append(perf_counter())
        losses.append(loss)
        sizes.append(batch_size)
        if len(times) > 1_000:
            times.clear(), losses.clear(), sizes.clear()

    return Recorder(step)


def reading_floor(folder: str, model: Any) -> Recorder:
    """The same, with the loss as a number."""
    times, losses, sizes = [], [], []

    def step(step: int, loss: Any, batch_size: int) -> None:
        times.append(perf_counter())
        losses.append(loss.item())
        sizes.append(batch_size)
        if len(times) > 1_000:
            times.clear(), losses.clear(), sizes.clear()

    return Recorder(step)


def bundling_floor(folder: str, model: Any) -> Recorder:
    """The same, with the losses kept as tensors and read in bundles of 16: the call is short, and the graphs stay."""
    times, losses, sizes = [], [], []

    def step(step: int, loss: Any, batch_size: int) -> None:
        times.append(perf_counter())
        losses.append(loss)
        sizes.append(batch_size)
        if len(times) >= 16:
            [each.item() for each in losses]
            times.clear(), losses.clear(), sizes.clear()

    return Recorder(step)


def observer(folder: str, model: Any, preset: str = "standard", **settings: Any) -> Recorder:
    """The Observer with the settings of ``preset``, but ``settings``."""
    from observer_client import Observer, ObserverConfig

    settings = {"mode": "offline", "quiet": True, **settings}
    made = Observer(config=ObserverConfig.preset(preset, directory=folder, **settings))
    if model is not None:
        made.register_model(model)
    return Recorder(made.step, made.close)


def tensorboard(folder: str, model: Any) -> Recorder:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(folder)
    return Recorder(lambda step, loss, batch_size: writer.add_scalar("loss", loss, step), writer.close)


def tensorboard_histograms(folder: str, model: Any) -> Recorder:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(folder)

    number = itertools.count()

    def before() -> None:
        step = next(number)
        for name, parameter in model.named_parameters():
            writer.add_histogram(name, parameter, step)
            writer.add_histogram(f"{name}.grad", parameter.grad, step)

    return Recorder(lambda step, loss, batch_size: writer.add_scalar("loss", loss, step), writer.close, before)


def wandb(folder: str, model: Any) -> Recorder:
    return _wandb(folder)


def wandb_watch(folder: str, model: Any) -> Recorder:
    """``wandb.watch(log="all")`` at every step."""
    made = _wandb(folder)
    import wandb

    wandb.watch(model, log="all", log_freq=1)
    return made


def _wandb(folder: str) -> Recorder:
    os.environ.update(WANDB_MODE="offline", WANDB_SILENT="true", WANDB_ERROR_REPORTING="false")
    import wandb

    run = wandb.init(project="bench", dir=folder, reinit="finish_previous")
    return Recorder(lambda step, loss, batch_size: run.log({"loss": loss.item(), "size": batch_size}), run.finish)


def trackio(folder: str, model: Any) -> Recorder:
    os.environ.update(TRACKIO_DIR=folder, HF_HUB_OFFLINE="1")
    import trackio

    run = trackio.init(project="bench")
    return Recorder(lambda step, loss, batch_size: run.log({"loss": loss.item(), "size": batch_size}), trackio.finish)


def mlflow(folder: str, model: Any) -> Recorder:
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    mlflow.start_run()

    def step(step: int, loss: Any, batch_size: int) -> None:
        mlflow.log_metrics({"loss": loss.item(), "size": batch_size}, step=step)

    return Recorder(step, mlflow.end_run)


PEERS: dict[str, Callable[[str, Any], Recorder]] = {
    "TensorBoard": tensorboard,
    "W&B, offline": wandb,
    "Trackio": trackio,
    "MLflow, SQLite": mlflow,
}
LAYER_PEERS: dict[str, Callable[[str, Any], Recorder]] = {
    'wandb.watch("all")': wandb_watch,
    "TensorBoard histograms": tensorboard_histograms,
}
