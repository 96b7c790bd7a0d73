"""The same training in the frameworks, under their adapters. Each of these twists comes last."""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks.detection.acceptance.fronts import loader_of, trainable
from benchmarks.detection.training import Setup
from observer_client import Observer


def _renamed(setup: Setup) -> None:
    # The framework's module holds the network as `net`.
    setup.at_fault = frozenset(f"net.{name}" for name in setup.at_fault)


def lightning(setup: Setup) -> None:
    """A LightningModule under the callback."""
    _renamed(setup)
    setup.loop = _fit_lightning


def _fit_lightning(setup: Setup, observer: Observer) -> None:
    import lightning as framework

    from observer_client.frameworks.lightning import ObserverCallback

    class Module(framework.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = setup.model

        def training_step(self, batch: Any, number: int) -> Tensor:
            x, y = batch
            for hook in setup.on_batch:
                x, y = hook(self.global_step, x, y)
            loss = setup.criterion(self.net(x), y)
            self.log("train_loss", loss)
            return loss

        def validation_step(self, batch: Any, number: int) -> None:
            output = self.net(batch[0])
            self.log("val_loss", setup.criterion(output, batch[1]), batch_size=len(batch[1]))
            if setup.accuracy:
                self.log("val_acc", setup.accuracy(output, batch[1]), batch_size=len(batch[1]))

        def configure_optimizers(self) -> Any:
            optimizer = setup.optimizer(setup.rate)(trainable(setup))
            if setup.schedule is None:
                return optimizer
            schedule = {"scheduler": setup.schedule(optimizer, setup.steps), "interval": "step"}
            return {"optimizer": optimizer, "lr_scheduler": schedule}

    fit = framework.Trainer(
        max_epochs=setup.epochs,
        accelerator="cpu",
        gradient_clip_val=setup.clip,
        accumulate_grad_batches=setup.accumulate,
        precision="bf16-mixed" if setup.precision == torch.bfloat16 else "32-true",
        callbacks=[ObserverCallback(observer)],
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    fit.fit(Module(), loader_of(setup), DataLoader(setup.val, 128) if setup.val else None)


def skorch(setup: Setup) -> None:
    """A scikit-learn estimator: no hooks, no schedule."""
    setup.loop = _fit_skorch


def _fit_skorch(setup: Setup, observer: Observer) -> None:
    import skorch as framework
    from skorch.helper import predefined_split

    from observer_client.frameworks.skorch import ObserverCallback

    net = framework.NeuralNet(
        setup.model,
        criterion=setup.criterion,
        optimizer=lambda _, lr: setup.optimizer(lr)(trainable(setup)),
        lr=setup.rate,
        max_epochs=setup.epochs,
        batch_size=setup.batch_size,
        iterator_train__shuffle=True,
        train_split=predefined_split(setup.val) if setup.val else None,
        callbacks=[("mldiag", ObserverCallback(observer))],
        verbose=0,
    )
    net.fit(setup.train, None)


class _Answering(nn.Module):
    """Returns the loss with the answers, as models of Transformers do."""

    def __init__(self, setup: Setup) -> None:
        super().__init__()
        self.net, self.criterion = setup.model, setup.criterion

    def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        logits = self.net(x)
        return {"loss": self.criterion(logits, labels), "logits": logits}


def trainer(setup: Setup) -> None:
    """The Trainer of Transformers, with its own clipping at norm 1 and its linear decay unless another is chosen."""
    _renamed(setup)
    setup.loop = _fit_trainer


def _fit_trainer(setup: Setup, observer: Observer) -> None:
    import transformers

    from observer_client.frameworks.transformers import ObserverCallback

    train, val = ([{"x": x, "labels": y} for x, y in part] if part else None for part in (setup.train, setup.val))
    optimizer = setup.optimizer(setup.rate)(trainable(setup))
    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            output_dir=folder,
            num_train_epochs=setup.epochs,
            learning_rate=setup.rate,
            per_device_train_batch_size=setup.batch_size,
            gradient_accumulation_steps=setup.accumulate,
            bf16=setup.precision == torch.bfloat16,
            max_grad_norm=setup.clip or 1.0,
            eval_strategy="epoch" if val else "no",
            save_strategy="no",
            report_to="none",
            logging_steps=5,
            disable_tqdm=True,
            use_cpu=True,
            dataloader_pin_memory=False,
        )
        transformers.Trainer(
            model=_Answering(setup),
            args=arguments,
            train_dataset=train,
            eval_dataset=val,
            callbacks=[ObserverCallback(observer)],
            optimizers=(optimizer, setup.schedule(optimizer, setup.steps) if setup.schedule else None),
        ).train()
