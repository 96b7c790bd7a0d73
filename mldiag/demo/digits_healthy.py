"""A training as it should be. Run it alone with ``python -m mldiag.demo.digits_healthy [FILE TO EXPORT TO]``."""

from __future__ import annotations

import sys

import torch
from torch import Tensor, nn

from mldiag.demo.digits import BATCH_SIZE, DigitsNet, digits
from observer_client import Observer, ObserverConfig

EPOCHS = 20
LEARNING_RATE = 4e-3


@torch.no_grad()
def validate(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, float]:
    """Return loss and accuracy on data that the model has not seen."""
    logits = model(images)
    return {
        "val_loss": nn.functional.cross_entropy(logits, labels).item(),
        "val_acc": (logits.argmax(1) == labels).float().mean().item(),
    }


def train(export_to: str | None = None) -> None:
    """Train for as many epochs as it takes, with a learning rate that falls to nothing."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    batches, images, labels = digits(seed=0)
    model = DigitsNet()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=EPOCHS)
    criterion = nn.CrossEntropyLoss()

    observer = Observer(run_name="digits, healthy", config=ObserverConfig(track_carbon_emissions=True))
    observer.register_model(model)
    observer.log_hyperparameters({"learning_rate": LEARNING_RATE, "batch_size": BATCH_SIZE, "optimizer": "AdamW"})

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
        schedule.step()
        metrics = validate(model, images, labels)
        observer.flush(val_metrics=metrics)
        figures = f"loss {loss.item():.4f}  val_loss {metrics['val_loss']:.4f}"
        print(f"epoch {epoch} ({epoch + 1}/{EPOCHS})  {figures}", flush=True)
    if export_to:
        observer.export(export_to)
    observer.close()


if __name__ == "__main__":
    train(*sys.argv[1:2])
