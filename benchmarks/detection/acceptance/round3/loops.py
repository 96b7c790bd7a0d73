"""Trainings of the third round with loops of their own."""

from __future__ import annotations

import math
import os
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.detection.acceptance.fronts import Script
from benchmarks.detection.acceptance.round3 import data
from benchmarks.detection.training import Setup
from observer_client import Observer

_SIDE = 5
"""Fields of the meadow's side; food lies in one corner, a pit in the middle."""


class Grazer(nn.Module):
    """Logits of four ways and the value of a field."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(_SIDE**2, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh())
        self.policy, self.value = nn.Linear(48, 4), nn.Linear(48, 1)

    def forward(self, fields: Tensor) -> Tensor:
        seen = self.body(functional.one_hot(fields, _SIDE**2).float())
        return torch.cat([self.policy(seen), self.value(seen)], -1)


def _walked(fields: Tensor, ways: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    row, column = fields // _SIDE, fields % _SIDE
    row = (row + torch.tensor([1, -1, 0, 0])[ways]).clamp(0, _SIDE - 1)
    column = (column + torch.tensor([0, 0, 1, -1])[ways]).clamp(0, _SIDE - 1)
    after = row * _SIDE + column
    food, pit = after == _SIDE**2 - 1, after == _SIDE**2 // 2
    return after, torch.where(food, 1.0, torch.where(pit, -1.0, -0.03)), food | pit


def meadow_grazer(seed: int) -> Setup:
    """Proximal policy optimization, four passes over each batch of play; its loss says next to nothing."""
    nothing = TensorDataset(torch.zeros(512, dtype=torch.int64), torch.zeros(512, 5))
    return Setup(
        model=Grazer(),
        train=nothing,
        val=None,
        criterion=functional.mse_loss,
        rate=2e-3,
        epochs=20,
        told={"algorithm": "PPO", "clip_range": 0.2, "gamma": 0.97},
        loop=_graze,
    )


def _graze(setup: Setup, observer: Observer) -> None:
    optimizer = torch.optim.Adam(setup.model.parameters(), setup.rate)
    observer.register_model(setup.model, optimizer)
    observer.log_hyperparameters({"learning_rate": setup.rate, **setup.told})
    fields = torch.zeros(32, dtype=torch.int64)
    for _ in range(setup.epochs):
        play, fields, paid = _played(setup.model, fields)
        for _ in range(4):
            for rows in torch.randperm(512).split(128):
                loss = _proximal(setup.model, *(each[rows] for each in play))
                optimizer.zero_grad()
                loss.backward()
                norm = float(nn.utils.clip_grad_norm_(setup.model.parameters(), 0.5))
                optimizer.step()
                observer.step(loss=loss.item(), batch_size=128, grad_norm=norm, clipped=norm > 0.5)
        observer.flush(mean_reward=paid)


@torch.no_grad()
def _played(model: nn.Module, fields: Tensor) -> tuple[list[Tensor], Tensor, float]:
    seen, ways, chances, values, rewards, ends = [], [], [], [], [], []
    for _ in range(16):
        output = model(fields)
        choice = torch.distributions.Categorical(logits=output[:, :4])
        way = choice.sample()
        seen.append(fields), ways.append(way), chances.append(choice.log_prob(way)), values.append(output[:, 4])
        fields, reward, over = _walked(fields, way)
        fields = torch.where(over, 0, fields)
        rewards.append(reward), ends.append(over)
    gain, gains = model(fields)[:, 4], []
    for reward, over in zip(reversed(rewards), reversed(ends), strict=True):
        gain = reward + 0.97 * torch.where(over, 0.0, gain)
        gains.insert(0, gain)
    parts = (seen, ways, chances, gains, values)
    return [torch.cat(each) for each in parts], fields, float(torch.stack(rewards).mean())


def _proximal(model: nn.Module, fields: Tensor, ways: Tensor, before: Tensor, gains: Tensor, values: Tensor) -> Tensor:
    output, advantage = model(fields), gains - values
    advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-6)
    choice = torch.distributions.Categorical(logits=output[:, :4])
    ratio = (choice.log_prob(ways) - before).exp()
    policy = -torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage).mean()
    return policy + 0.5 * functional.mse_loss(output[:, 4], gains) - 0.01 * choice.entropy().mean()


def waves_generator(seed: int) -> Setup:
    """An adversarial pair with squared losses; both are told as metrics, the generator's as the loss."""
    made = torch.Generator().manual_seed(seed)
    phase = 2 * math.pi * torch.rand(800, 1, generator=made)
    real = (torch.linspace(0, 2 * math.pi, 16) + phase).sin() + 0.05 * torch.randn(800, 16, generator=made)
    generator = nn.Sequential(
        nn.Linear(6, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(),
        nn.Linear(64, 16),
    )  # fmt: skip
    return Setup(
        model=generator,
        train=TensorDataset(torch.randn(800, 6, generator=made), real),
        val=None,
        criterion=functional.mse_loss,
        rate=5e-4,
        epochs=20,
        batch_size=32,
        told={"task": "LSGAN"},
        loop=_rival,
    )


def _rival(setup: Setup, observer: Observer) -> None:
    judge = nn.Sequential(nn.Linear(16, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))
    make = torch.optim.Adam(setup.model.parameters(), setup.rate, betas=(0.5, 0.99))
    doubt = torch.optim.Adam(judge.parameters(), setup.rate, betas=(0.5, 0.99))
    observer.register_model(setup.model, make)
    for _ in range(setup.epochs):
        doubts = []
        for noise, real in DataLoader(setup.train, setup.batch_size, shuffle=True):
            fake = setup.model(torch.randn_like(noise))
            against = (judge(real) - 1).square().mean() + judge(fake.detach()).square().mean()
            doubt.zero_grad()
            against.backward()
            doubt.step()
            loss = (judge(fake) - 1).square().mean()
            make.zero_grad()
            loss.backward()
            make.step()
            doubts.append(against.item())
            observer.step(loss=loss.item(), batch_size=len(real))
        observer.flush(discriminator_loss=sum(doubts) / len(doubts))


def tasks_reptile(seed: int) -> Setup:
    """Learns to learn sines from ten points (Nichol et al. 2018): a step is a task, and each is another."""
    model = nn.Sequential(nn.Linear(1, 40), nn.Tanh(), nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, 1))
    return Setup(
        model=model,
        train=TensorDataset(torch.zeros(64, 1), torch.zeros(64, 1)),
        val=None,
        criterion=functional.mse_loss,
        rate=0.1,
        epochs=12,
        told={"algorithm": "reptile", "inner_steps": 8},
        loop=_learn_to_learn,
    )


def _sine(made: torch.Generator) -> tuple[Tensor, Tensor]:
    x = 8 * torch.rand(10, 1, generator=made) - 4
    size, phase = 0.5 + 2 * torch.rand(1, generator=made), math.pi * torch.rand(1, generator=made)
    return x, size * (x + phase).sin()


def _learn_to_learn(setup: Setup, observer: Observer) -> None:
    model, made = setup.model, torch.Generator().manual_seed(5)
    outer = torch.optim.SGD(model.parameters(), lr=setup.rate)
    observer.register_model(model, outer)
    for _ in range(setup.epochs):
        for _ in range(60):
            kept = [weight.detach().clone() for weight in model.parameters()]
            inner, (x, y) = torch.optim.SGD(model.parameters(), lr=0.02), _sine(made)
            for _ in range(8):
                inner.zero_grad()
                loss = functional.mse_loss(model(x), y)
                loss.backward()
                inner.step()
            with torch.no_grad():
                for weight, before in zip(model.parameters(), kept, strict=True):
                    weight.grad = before - weight
                    weight.copy_(before)
            outer.step()
            observer.step(loss=loss.item(), batch_size=10)
        observer.flush()


def second_order(setup: Setup) -> None:
    """LBFGS over all points, as solvers of equations use it."""

    def run(ready: Setup, observer: Observer) -> None:
        optimizer = torch.optim.LBFGS(ready.model.parameters(), max_iter=8, line_search_fn="strong_wolfe")
        observer.register_model(ready.model, optimizer)
        script, (x, y) = Script(ready), ready.train.tensors

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = ready.criterion(ready.model(x), y)
            loss.backward()
            return loss

        for _ in range(ready.epochs):
            observer.step(loss=float(optimizer.step(closure)))
            observer.flush(script.validated())

    setup.loop = run


def blend_keras(seed: int) -> Setup:
    """A dense regression of Keras, on PyTorch."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    keras.utils.set_random_seed(seed)
    layers = keras.layers
    model: Any = keras.Sequential(
        [
            keras.Input((20,)),
            layers.Dense(48, activation="swish"),
            layers.BatchNormalization(),
            layers.Dense(24, activation="swish"),
            layers.Dropout(0.2),
            layers.Dense(1),
        ]
    )
    made = torch.Generator().manual_seed(seed)
    x = torch.randn(1200, 20, generator=made)
    y = (x[:, :4].sum(1) + x[:, 4] * x[:, 5]).unsqueeze(1) / 2 + 0.2 * torch.randn(1200, 1, generator=made)
    train, val = data.split(x, y, seed)
    return Setup(
        model=model,
        train=train,
        val=val,
        criterion=nn.MSELoss(),
        rate=3e-3,
        epochs=12,
        batch_size=32,
        loop=_fit_keras,
    )


def _fit_keras(setup: Setup, observer: Observer) -> None:
    import keras

    from observer_client.frameworks.keras import ObserverCallback

    model: Any = setup.model
    setup.train_mode(model)
    model.compile(optimizer=keras.optimizers.Adam(setup.rate), loss="mse", metrics=["mae"])
    x, y = (each.numpy() for each in setup.train.tensors)
    held = tuple(each.numpy() for each in setup.val.tensors) if setup.val else None
    model.fit(
        x, y, epochs=setup.epochs, batch_size=setup.batch_size, validation_data=held, verbose=0,
        callbacks=[ObserverCallback(observer)],
    )  # fmt: skip


def accelerated(setup: Setup) -> None:
    """Accelerate with the tracker: what is logged, and nothing else."""
    setup.loop = _fit_accelerate


def _fit_accelerate(setup: Setup, observer: Observer) -> None:
    from accelerate import Accelerator

    from observer_client.frameworks.accelerate import ObserverTracker

    script = Script(setup)
    accelerator = Accelerator(cpu=True, log_with=ObserverTracker(observer=observer))
    accelerator.init_trackers("run", config={"learning_rate": setup.rate, "batch_size": setup.batch_size})
    observer.register_model(setup.model, script.optimizer)
    for epoch, steps in enumerate(script.epochs()):
        for loss in steps:
            rate = script.optimizer.param_groups[0]["lr"]
            accelerator.log({"train_loss": loss.item(), "lr": rate, "epoch": epoch})
        accelerator.log({**script.validated(), "epoch": epoch})
    accelerator.end_training()
