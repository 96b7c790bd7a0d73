"""A training with four planted faults. Run it alone with ``python -m mldiag.demo.digits_faulty [FILE TO EXPORT TO]``.

Each fault is a mistake that people really make; search for FAULT. The loss falls at first, as it should: without
something that watches, the run looks fine for the first minutes and fails over night.
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor, nn

from mldiag.demo.digits import BATCH_SIZE, digits
from observer_client import Observer, ObserverConfig

EPOCHS = 24
WARM_UP_EPOCHS = 8
# FAULT 1, learning rate too high: the schedule warms up to 1.0 where 0.1 was meant.
LEARNING_RATE = 1.0


class WideNet(nn.Module):
    """Two wide convolutions and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Linear(64 * 16, 10)
        # FAULT 2, a forgotten frozen layer: left over from fine-tuning a model whose first layer was trained already.
        self.conv1.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        features = self.conv2(self.conv1(images).relu()).relu()
        return self.head(self.pool(features).flatten(1))


def train(export_to: str | None = None) -> None:
    """Train for a fixed number of epochs, whatever happens."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    batches, images, labels = digits(seed=0)
    model = WideNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=0.9)
    warm_up = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: min(1.0, (epoch + 1) / WARM_UP_EPOCHS))
    criterion = nn.CrossEntropyLoss()

    observer = Observer(run_name="digits, planted faults", config=ObserverConfig(track_carbon_emissions=True))
    observer.register_model(model)
    observer.log_hyperparameters({"learning_rate": LEARNING_RATE, "batch_size": BATCH_SIZE, "optimizer": "SGD"})

    history = []
    # FAULT 4, wasted epochs: nothing stops the run when it no longer gets better.
    for epoch in range(EPOCHS):
        for step, (x, y) in enumerate(batches):
            if observer.should_profile(step):
                _, loss = observer.profile_step(model, x, y, criterion)
            else:
                loss = criterion(model(x), y)
                loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            observer.step(step, loss, batch_size=len(x))
        warm_up.step()

        # FAULT 3, a memory leak: without torch.no_grad() and .item() each entry keeps all activations alive.
        logits = model(images)
        val_loss = criterion(logits, labels)
        history.append(val_loss)

        accuracy = (logits.argmax(1) == labels).float().mean().item()
        observer.flush(val_metrics={"val_loss": val_loss.item(), "val_acc": accuracy})
        figures = f"loss {loss.item():.4f}  val_loss {val_loss.item():.4f}"
        print(f"epoch {epoch} ({epoch + 1}/{EPOCHS})  {figures}", flush=True)
    if export_to:
        observer.export(export_to)
    observer.close()


if __name__ == "__main__":
    train(*sys.argv[1:2])
