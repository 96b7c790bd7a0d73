"""Trainings of the second round with loops of their own."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.detection.acceptance.fronts import Script
from benchmarks.detection.acceptance.round2 import data
from benchmarks.detection.training import Setup
from observer_client import Observer


class Actor(nn.Module):
    """Logits of two pushes and the value of a state."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 48), nn.Tanh())
        self.policy, self.value = nn.Linear(48, 2), nn.Linear(48, 1)

    def forward(self, state: Tensor) -> Tensor:
        seen = self.body(state)
        return torch.cat([self.policy(seen), self.value(seen)], -1)


def _pushed(state: Tensor, push: Tensor) -> tuple[Tensor, Tensor]:
    """Return the next states of carts with poles and which of these fell."""
    place, speed, angle, turn = state.unbind(1)
    force = torch.where(push.bool(), 10.0, -10.0)
    part = (force + 0.05 * turn**2 * angle.sin()) / 1.1
    spin = (9.8 * angle.sin() - angle.cos() * part) / (0.5 * (4 / 3 - 0.1 * angle.cos() ** 2 / 1.1))
    pull = part - 0.05 * spin * angle.cos() / 1.1
    after = torch.stack([place + 0.02 * speed, speed + 0.02 * pull, angle + 0.02 * turn, turn + 0.02 * spin], 1)
    return after, (after[:, 0].abs() > 2.4) | (after[:, 2].abs() > 0.21)


def pole_actor(seed: int) -> Setup:
    """Advantage actor and critic: the loss rises as rewards do."""
    nothing = TensorDataset(torch.zeros(160, 4), torch.zeros(160, 3))
    return Setup(
        model=Actor(), train=nothing, val=None, criterion=functional.mse_loss, rate=3e-3, epochs=12, batch_size=16,
        told={"algorithm": "A2C", "gamma": 0.99}, loop=_act,
    )  # fmt: skip


def _act(setup: Setup, observer: Observer) -> None:
    optimizer = torch.optim.RMSprop(setup.model.parameters(), setup.rate)
    observer.register_model(setup.model, optimizer)
    observer.log_hyperparameters({"learning_rate": setup.rate, **setup.told})
    state, lasted, ages = 0.05 * torch.randn(16, 4), [16.0], torch.zeros(16)
    for _ in range(setup.epochs):
        for _ in range(25):
            outputs, pushes, fallen = [], [], []
            for _ in range(16):
                output = setup.model(state)
                push = torch.distributions.Categorical(logits=output[:, :2]).sample()
                state, fell = _pushed(state, push)
                ages += 1
                lasted += ages[fell].tolist()
                ages[fell] = 0
                state = torch.where(fell[:, None], 0.05 * torch.randn(16, 4), state)
                outputs.append(output), pushes.append(push), fallen.append(fell)
            loss = _advantage_loss(outputs, pushes, fallen, setup.model(state)[:, 2].detach())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(setup.model.parameters(), 0.5)
            optimizer.step()
            observer.step(loss=loss.item())
        observer.flush(episode_length=sum(lasted[-30:]) / len(lasted[-30:]))


def _advantage_loss(outputs: list[Tensor], pushes: list[Tensor], fallen: list[Tensor], last: Tensor) -> Tensor:
    gain, loss = last, torch.zeros(())
    for output, push, fell in reversed(list(zip(outputs, pushes, fallen, strict=True))):
        gain = torch.where(fell, 0.0, 1.0 + 0.99 * gain)
        choice = torch.distributions.Categorical(logits=output[:, :2])
        advantage = (gain - output[:, 2]).detach()
        policy = -(choice.log_prob(push) * advantage).mean()
        loss = loss + policy + 0.5 * functional.huber_loss(output[:, 2], gain) - 0.01 * choice.entropy().mean()
    return loss / len(outputs)


def tiles_generator(seed: int) -> Setup:
    """An adversarial pair with hinge losses; the observer sees the generator."""
    points = data.tiles(seed)
    generator = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    train = TensorDataset(torch.randn(len(points[0]), 8), points[0].tensors[0])
    return Setup(
        model=generator, train=train, val=None, criterion=functional.mse_loss, rate=4e-4, epochs=20,
        told={"loss": "hinge", "task": "gan"}, loop=_duel,
    )  # fmt: skip


def _duel(setup: Setup, observer: Observer) -> None:
    critic = nn.Sequential(nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))
    make = torch.optim.Adam(setup.model.parameters(), setup.rate, betas=(0.5, 0.9))
    doubt = torch.optim.Adam(critic.parameters(), setup.rate, betas=(0.5, 0.9))
    observer.register_model(setup.model, make)
    for _ in range(setup.epochs):
        doubts = 0.0
        for _, real in DataLoader(setup.train, setup.batch_size, shuffle=True):
            fake = setup.model(torch.randn(len(real), 8))
            against = (1 - critic(real)).relu().mean() + (1 + critic(fake.detach())).relu().mean()
            doubt.zero_grad()
            against.backward()
            doubt.step()
            loss = -critic(fake).mean()
            make.zero_grad()
            loss.backward()
            make.step()
            doubts += against.item()
            observer.step(loss=loss.item(), batch_size=len(real))
        observer.flush(critic_loss=doubts / 15)


def second_order(setup: Setup) -> None:
    """LBFGS over all the data: a step is an epoch, and some twenty looks at the loss are a step."""

    def run(ready: Setup, observer: Observer) -> None:
        optimizer = torch.optim.LBFGS(ready.model.parameters(), lr=0.5, max_iter=10, line_search_fn="strong_wolfe")
        observer.register_model(ready.model, optimizer)
        script, (x, y) = Script(ready), ready.train.tensors

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = ready.criterion(ready.model(x), y)
            for weight in ready.model.parameters():
                loss = loss + 3e-4 * weight.square().sum()
            loss.backward()
            return loss

        for _ in range(ready.epochs):
            ready.model.train()
            observer.step(loss=float(optimizer.step(closure)), batch_size=len(y))
            observer.flush(script.validated())

    setup.loop = run


def chords_keras(seed: int) -> Setup:
    """A convolutional network of Keras, on PyTorch."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    keras.utils.set_random_seed(seed)
    layers = keras.layers
    model: Any = keras.Sequential(
        [
            keras.Input((24, 10, 1)),
            layers.Conv2D(12, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(32, activation="relu"),
            layers.Dropout(0.3),
            layers.Dense(4),
        ]
    )
    train, val = (TensorDataset(part.tensors[0].movedim(1, -1), part.tensors[1]) for part in data.chords(seed))
    return Setup(
        model=model, train=train, val=val, criterion=nn.CrossEntropyLoss(), rate=3e-3, epochs=8, batch_size=32,
        loop=_fit_keras,
    )  # fmt: skip


def _fit_keras(setup: Setup, observer: Observer) -> None:
    import keras

    from observer_client.frameworks.keras import ObserverCallback

    model: Any = setup.model
    setup.train_mode(model)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(setup.rate), loss=loss, metrics=["accuracy"])
    x, y = (each.numpy() for each in setup.train.tensors)
    held = tuple(each.numpy() for each in setup.val.tensors) if setup.val else None
    callbacks = [ObserverCallback(observer)]
    model.fit(
        x, y, epochs=setup.epochs, batch_size=setup.batch_size, validation_data=held, verbose=0, callbacks=callbacks
    )
