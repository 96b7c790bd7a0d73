"""`watch`: what is seen of a loop that stays as it is."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.data import DataLoader, TensorDataset

from observer_client import Observer, ObserverConfig, losstap, watch
from tests.client.conftest import example, net, recorded, records


@pytest.fixture
def setting(seeded):
    """A model, its optimizer and a loader of 4 batches."""
    model = net()
    data = TensorDataset(torch.randn(24, 4), torch.randint(0, 3, (24,)))
    return model, torch.optim.SGD(model.parameters(), lr=0.1), DataLoader(data, batch_size=6)


@pytest.fixture
def watched(setting, tmp_path):
    """``watched(loader=...)`` watches the setting, recording only."""
    made = []

    def start(loader=setting[2], optimizer=setting[1]):
        made.append(watch(setting[0], optimizer, loader, config=ObserverConfig(mode="offline", quiet=True)))
        return made[-1]

    yield start
    for each in made:
        each.close()


def train(setting, epochs=1, *, loader=None, divide=1):
    """The user's own loop; returns the losses that it saw."""
    model, optimizer, own = setting
    seen = []
    for _ in range(epochs):
        for number, (x, y) in enumerate(own if loader is None else loader):
            loss = torch.nn.functional.cross_entropy(model(x), y) / divide
            loss.backward()
            seen.append(loss.item())
            if (number + 1) % divide == 0:
                optimizer.step()
                optimizer.zero_grad()
    return seen


def epochs(observer):
    return records(observer, "epoch")


def means(observer):
    return [each["loss"]["train_mean"] for each in epochs(observer)]


def test_a_loop_that_knows_nothing_of_it(watched, setting):
    with watched() as obs:
        seen = train(setting, epochs=2)
    assert means(obs) == pytest.approx([sum(seen[:4]) / 4, sum(seen[4:]) / 4])
    assert [each["throughput"]["samples_processed"] for each in epochs(obs)] == [24, 24]


def test_model_and_rate_are_recorded(watched, setting):
    with watched() as obs:
        train(setting)
    assert records(obs, "architecture")
    assert epochs(obs)[0]["learning_rate"] == 0.1


def test_metrics_of_a_validation_belong_to_the_epoch_before(watched, setting):
    with watched() as obs:
        for value in (0.5, 0.25):
            train(setting)
            obs.flush(val_metrics={"val_loss": value})
    assert [each["loss"]["val"] for each in epochs(obs)] == [{"val_loss": 0.5}, {"val_loss": 0.25}]
    assert [each["loss"]["n_batches"] for each in epochs(obs)] == [4, 4]


@pytest.mark.parametrize("calls", ["before the optimizer", "after the optimizer"])
def test_steps_that_the_loop_tells_count_once(watched, setting, calls):
    model, optimizer, loader = setting
    with watched() as obs:
        for number, (x, y) in enumerate(loader):
            loss = torch.nn.functional.cross_entropy(model(x), y)
            loss.backward()
            if calls == "before the optimizer":
                obs.step(number, 8.0)
            optimizer.step()
            if calls == "after the optimizer":
                obs.step(number, 8.0)
    assert [(each["loss"]["n_batches"], each["loss"]["train_mean"]) for each in epochs(obs)] == [(4, 8.0)]


def test_waits_for_the_loader_are_measured_once(watched, setting):
    with watched() as obs:
        train(setting, loader=obs.data(setting[2]))
    assert epochs(obs)[0]["throughput"]["data_wait_steps"] == 4


def test_a_broken_off_pass_is_an_epoch(watched, setting):
    with watched() as obs:
        for _ in range(3):
            train(setting, loader=_first(setting[2], 2))
    assert [each["loss"]["n_batches"] for each in epochs(obs)] == [2, 2, 2]


def _first(loader, count):
    for number, batch in enumerate(loader, start=1):
        yield batch
        if number == count:
            break


def test_a_look_at_a_batch_ends_no_epoch(watched, setting):
    loader = setting[2]
    with watched() as obs:
        next(iter(loader))
        for batch in loader:
            train(setting, loader=[batch])
            next(iter(loader))
    assert [each["loss"]["n_batches"] for each in epochs(obs)] == [4]


def test_accumulated_passes_are_one_step(watched, setting):
    with watched() as obs:
        seen = train(setting, divide=2)
    assert epochs(obs)[0]["loss"]["n_batches"] == 2
    assert means(obs) == pytest.approx([sum(seen) / 4])
    assert epochs(obs)[0]["throughput"]["samples_processed"] == 24


def test_the_factor_of_a_scaler_is_taken_off(watched, setting):
    model, optimizer, loader = setting
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    seen = []
    with watched() as obs:
        for x, y in loader:
            loss = torch.nn.functional.cross_entropy(model(x), y)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            seen.append(loss.item())
    assert means(obs) == pytest.approx([sum(seen) / 4])
    assert epochs(obs)[0]["loss_scale"] == {"scale": 1024.0, "updates": 4, "skipped": 0}


@pytest.mark.parametrize(
    "scaled",
    [lambda loss: loss * 0.25, lambda loss: loss / 4, lambda loss: 2 * loss, lambda loss: loss.sum() * 3],
    ids=["times a quarter", "divided", "twice", "sum"],
)
def test_a_factor_of_the_user_stays(scaled):
    loss = scaled(torch.ones((), requires_grad=True) + 1)
    assert losstap.unscaled(loss) is loss


def test_each_pass_belongs_to_the_optimizer_that_steps_next(watched, setting):
    other = torch.nn.Parameter(torch.ones(()))
    others = torch.optim.SGD([other], lr=0.1)
    with watched() as obs:
        for batch in setting[2]:
            (other * 1000).backward()
            others.step()
            train(setting, loader=[batch])
    assert epochs(obs)[0]["loss"]["n_batches"] == 4
    assert means(obs)[0] < 10


def test_without_an_optimizer_the_one_of_the_model_is_found(watched, setting):
    with watched(optimizer=None) as obs:
        train(setting)
    assert epochs(obs)[0]["loss"]["n_batches"] == 4


def test_phases_of_every_epoch_are_measured(watched, setting):
    with watched() as obs:
        train(setting, epochs=3)
    assert ["backward_seconds" in each["phases"] for each in epochs(obs)] == [True] * 3


def test_hooks_of_others_go_on(watched, setting):
    calls = []
    with watched(optimizer=None) as obs:
        hook = register_optimizer_step_post_hook(lambda *stepped: calls.append(stepped))
        train(setting)
        hook.remove()
    assert (len(calls), epochs(obs)[0]["learning_rate"]) == (4, 0.1)


def test_a_loss_that_is_not_finite_stays_so(watched, setting):
    model, optimizer, loader = setting
    with watched() as obs:
        for x, _ in loader:
            (model(x).sum() * math.nan).backward()
            optimizer.zero_grad()
            optimizer.step()
    assert epochs(obs)[0]["loss"]["non_finite"] == 4


def test_a_list_of_batches_is_one_epoch_unless_told(watched, setting, forgiving, caplog):
    loader = list(setting[2])
    with watched(loader=loader) as obs:
        train(setting, epochs=2, loader=loader)
    assert [each["loss"]["n_batches"] for each in epochs(obs)] == [8]
    assert "a list cannot be watched" in caplog.text


def test_everything_is_as_before_afterwards(watched, setting):
    backward, loader = torch.autograd.backward, setting[2]
    obs = watched()
    assert torch.autograd.backward is not backward
    obs.close()
    assert torch.autograd.backward is backward
    assert type(loader) is DataLoader
    before = len(records(obs))
    train(setting)
    assert len(records(obs)) == before


def test_a_watched_loader_is_still_itself(watched, setting):
    loader = setting[2]
    watched()
    assert isinstance(loader, DataLoader)
    assert (len(loader), loader.batch_size, repr(type(loader))) == (4, 6, repr(DataLoader))
    assert len(iter(loader)) == 4


@pytest.mark.parametrize(
    "duplicate",
    [copy.copy, copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_copies_of_a_watched_loader_are_plain(watched, setting, duplicate):
    watched()
    twin = duplicate(setting[2])
    assert type(twin) is DataLoader
    assert len(list(twin)) == 4


def test_two_at_once_leave_in_any_order(setting, tmp_path):
    backward = torch.autograd.backward
    config = ObserverConfig(mode="offline", quiet=True)
    first, second = (watch(*setting, config=config) for _ in range(2))
    train(setting)
    first.close()
    train(setting)
    second.close()
    assert [len(epochs(each)) for each in (first, second)] == [1, 2]
    assert torch.autograd.backward is backward


def test_a_tap_that_is_forgotten_leaves_with_the_next_pass():
    backward = torch.autograd.backward
    losstap.LossTap()
    assert torch.autograd.backward is not backward
    torch.ones((), requires_grad=True).backward()
    assert torch.autograd.backward is backward


def test_a_crash_is_recorded_and_passed_on(watched, setting):
    obs = watched()
    with pytest.raises(ZeroDivisionError), obs:
        train(setting)
        raise ZeroDivisionError("no such batch")
    (ending,) = records(obs, "ending")
    assert (ending["status"], ending["reason"]) == ("crashed", "ZeroDivisionError: no such batch")
    assert type(setting[2]) is DataLoader


def test_disabled_it_touches_nothing(setting, monkeypatch):
    monkeypatch.setenv("MLDIAG_MODE", "disabled")
    backward = torch.autograd.backward
    with watch(*setting) as obs:
        assert torch.autograd.backward is backward
        assert type(setting[2]) is DataLoader
        train(setting)
    assert obs.folder is None


def test_checkpointed_parts_begin_no_pass(watched, setting):
    from torch.utils.checkpoint import checkpoint

    model, optimizer, loader = setting
    seen = []
    with watched() as obs:
        for x, y in loader:
            loss = torch.nn.functional.cross_entropy(checkpoint(model, x.requires_grad_(), use_reentrant=True), y)
            loss.backward()
            optimizer.step()
            seen.append(loss.item())
    assert means(obs) == pytest.approx([sum(seen) / 4])


def test_it_is_an_observer(watched):
    assert isinstance(watched(), Observer)


def test_progress_bars_stay_whole(capsys, setting):
    from tqdm import tqdm

    for _ in tqdm(range(2)):
        watch(*setting, config=ObserverConfig(mode="offline")).close()
    lines = capsys.readouterr().err.replace("\r", "\n").split("\n")
    assert [line for line in lines if "mldiag: recording" in line and "it/s" in line] == []
    assert sum(line.startswith("mldiag: recording to ") for line in lines) == 2


def test_in_a_notebook_only_the_report_is_said(capsys, setting, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ipykernel", object())
    obs = watch(*setting, config=ObserverConfig(mode="offline"))
    obs.close()
    captured = capsys.readouterr()
    assert captured.err == ""
    assert obs.folder.name.startswith("notebook-")
    assert captured.out.count("mldiag:") == 1


def test_a_loop_as_documented(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLDIAG_MODE", "offline")
    monkeypatch.setenv("MLDIAG_QUIET", "1")
    exec(example("A loop that stays as it is"), {"__name__": "documented"})
    assert recorded(tmp_path / "runs") == (["finished"], 3)
