"""Sound trainings with loops of their own, whose loss does not fall as that of a classifier does."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

from benchmarks.detection.acceptance import data
from benchmarks.detection.training import Setup
from observer_client import Observer

_LENGTH = 7
"""Places of the corridor; the last one pays."""

_EPISODES = 16
_PATIENCE = 24


class Player(nn.Module):
    """Values or logits of going left and right for each place of a corridor."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(_LENGTH, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 2))

    def forward(self, places: Tensor) -> Tensor:
        return self.body(functional.one_hot(places, _LENGTH).float())


def _moved(places: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Return the next places and what the move pays: 1 at the end, and a little less than nothing elsewhere."""
    slipped = torch.rand(len(places)) < 0.1
    step = torch.where(right.bool() ^ slipped, 1, -1)
    following = (places + step).clamp(0, _LENGTH - 1)
    return following, torch.where(following == _LENGTH - 1, 1.0, -0.02)


def _nothing(samples: int) -> TensorDataset:
    """Return places and values that nobody learns from: a game makes its own samples."""
    return TensorDataset(torch.zeros(samples, dtype=torch.int64), torch.zeros(samples, 2))


def corridor_policy(seed: int) -> Setup:
    """A policy gradient: the loss is as noisy at the end as at the beginning, the return grows."""
    return Setup(
        model=Player(),
        train=_nothing(30 * _EPISODES),
        val=None,
        criterion=functional.mse_loss,
        rate=5e-3,
        epochs=16,
        batch_size=_EPISODES,
        told={"algorithm": "policy gradient"},
        loop=_reinforce,
    )


def _reinforce(setup: Setup, observer: Observer) -> None:
    optimizer = torch.optim.Adam(setup.model.parameters(), setup.rate)
    _introduce(setup, observer, optimizer)
    step = 0
    for _ in range(setup.epochs):
        paid = 0.0
        for _ in range(30):
            loss, mean = _episodes(setup.model)
            optimizer.zero_grad()
            loss.backward()
            norm = float(nn.utils.clip_grad_norm_(setup.model.parameters(), 1.0))
            optimizer.step()
            observer.step(step, loss.detach(), batch_size=_EPISODES, grad_norm=norm, clipped=norm > 1.0)
            paid, step = paid + mean / 30, step + 1
        observer.flush({"val_return": paid})


def _episodes(model: nn.Module) -> tuple[Tensor, float]:
    places = torch.zeros(_EPISODES, dtype=torch.int64)
    chances, rewards, running = [], [], torch.ones(_EPISODES)
    for _ in range(_PATIENCE):
        choice = torch.distributions.Categorical(logits=model(places))
        right = choice.sample()
        chances.append(choice.log_prob(right) * running)
        places, reward = _moved(places, right)
        rewards.append(reward * running)
        running = running * (places != _LENGTH - 1)
    gains = torch.stack(rewards).flip(0).cumsum(0).flip(0)
    advantage = (gains - gains.mean()) / (gains.std() + 1e-6)
    return -(torch.stack(chances) * advantage).sum(0).mean() / _PATIENCE, float(torch.stack(rewards).sum(0).mean())


def corridor_values(seed: int) -> Setup:
    """Q-learning with a target network: as values spread from the end backwards, the loss rises at first."""
    return Setup(
        model=Player(),
        train=_nothing(1280),
        val=None,
        criterion=functional.smooth_l1_loss,
        rate=2e-3,
        epochs=16,
        batch_size=32,
        told={"algorithm": "Q-learning"},
        loop=_learn_values,
    )


def _learn_values(setup: Setup, observer: Observer) -> None:
    optimizer = torch.optim.Adam(setup.model.parameters(), setup.rate)
    target = Player()
    target.load_state_dict(setup.model.state_dict())
    _introduce(setup, observer, optimizer)
    places = torch.zeros(setup.batch_size, dtype=torch.int64)
    for epoch in range(setup.epochs):
        for at in range(40):
            step = 40 * epoch + at
            with torch.no_grad():
                best = setup.model(places).argmax(1)
            explore = torch.rand(len(places)) < max(0.1, 1 - step / 200)
            right = torch.where(explore, torch.randint(2, (len(places),)), best)
            following, reward = _moved(places, right)
            over = following == _LENGTH - 1
            with torch.no_grad():
                goal = reward + 0.95 * target(following).amax(1) * ~over
            found = setup.model(places)[torch.arange(len(places)), right]
            loss = functional.smooth_l1_loss(found, goal)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            observer.step(step, loss.detach(), batch_size=len(places))
            places = torch.where(over | (torch.rand(len(places)) < 0.02), 0, following)
            if step % 60 == 59:
                target.load_state_dict(setup.model.state_dict())
        with torch.no_grad():
            observer.flush({"val_value_of_start": float(setup.model(torch.zeros(1, dtype=torch.int64)).max())})


class Critics(nn.Module):
    """A generator of points in the plane and a critic of them."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
        self.critic = nn.Sequential(nn.Linear(2, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1))

    def forward(self, points: Tensor) -> Tensor:
        return self.critic(points)


def spiral_critic(seed: int) -> Setup:
    """A Wasserstein pair with gradient penalty (Gulrajani et al. 2017); the critic's loss is negative and shrinks."""
    return Setup(
        model=Critics(),
        train=data.spiral(seed, 1024),
        val=None,
        criterion=functional.mse_loss,
        rate=1e-3,
        epochs=20,
        told={"loss": "wasserstein"},
        loop=_criticize,
    )


def _criticize(setup: Setup, observer: Observer) -> None:
    model: Critics = setup.model  # type: ignore[assignment]
    judge = torch.optim.Adam(model.critic.parameters(), setup.rate, betas=(0.0, 0.9))
    maker = torch.optim.Adam(model.generator.parameters(), setup.rate, betas=(0.0, 0.9))
    _introduce(setup, observer)
    step = 0
    for _ in range(setup.epochs):
        for real, _ in setup.batches():
            for _ in range(3):
                made = model.generator(torch.randn(len(real), 4)).detach()
                between = torch.lerp(real, made, torch.rand(len(real), 1)).requires_grad_(True)
                slope = torch.autograd.grad(model.critic(between).sum(), between, create_graph=True)[0]
                penalty = (slope.norm(dim=1) - 1).square().mean()
                loss = model.critic(made).mean() - model.critic(real).mean() + 5 * penalty
                judge.zero_grad()
                loss.backward()
                judge.step()
            maker.zero_grad()
            (-model.critic(model.generator(torch.randn(len(real), 4))).mean()).backward()
            maker.step()
            observer.step(step, loss.detach(), batch_size=len(real))
            step += 1
        observer.flush({"val_distance": _distance(model, setup.train.tensors[0])})


@torch.no_grad()
def _distance(model: Critics, real: Tensor) -> float:
    """Return the mean distance of made points to the nearest real one, and back."""
    between = torch.cdist(model.generator(torch.randn(256, 4)), real)
    return float(between.amin(1).mean() + between.amin(0).mean())


def _introduce(setup: Setup, observer: Observer, *optimizer: torch.optim.Optimizer) -> None:
    observer.register_model(setup.model, *optimizer)
    observer.log_hyperparameters(
        {"learning_rate": setup.rate, "batch_size": setup.batch_size, "epochs": setup.epochs, **setup.told}
    )
