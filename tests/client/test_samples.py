"""Samples that two data sets share."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset, random_split

from observer_client import samples
from tests.client.conftest import records

X = torch.randn(100, 3, 4, generator=torch.Generator().manual_seed(0))


class Items(Dataset):
    """Makes its samples when asked, and counts how often it was."""

    def __init__(self, x):
        self.x, self.asked = x, 0

    def __len__(self):
        return len(self.x)

    def __getitem__(self, place):
        self.asked += 1
        return self.x[place], 0


class Held(Items):
    """Holds its inputs in ``data``, as small image sets do."""

    @property
    def data(self):
        return self.x


class Folder(Items):
    """Holds names of files, as image folders do."""

    def __init__(self, places):
        super().__init__(X)
        self.samples = [(f"images/{place}.png", 0) for place in places]


def compared(observer, train, val):
    observer.watch_data(train, val)
    if observer._signals.samples.reading is not None:
        observer._signals.samples.reading.join(20)
    observer.flush()
    return records(observer, "epoch")[-1].get("data", {})


def tensor_set(x):
    return TensorDataset(x, torch.zeros(len(x)))


WHOLE = tensor_set(X)


@pytest.mark.parametrize(
    ("train", "val", "share"),
    [
        pytest.param(tensor_set(X[:80]), tensor_set(X[80:]), 0.0, id="apart"),
        pytest.param(tensor_set(X[:80]), tensor_set(X[70:]), 1 / 3, id="overlap"),
        pytest.param(Subset(WHOLE, range(80)), Subset(WHOLE, range(70, 100)), 1 / 3, id="subsets of one"),
        pytest.param(Subset(Subset(WHOLE, range(50, 100)), [0, 1]), Subset(WHOLE, [51, 3]), 0.5, id="nested subsets"),
        pytest.param(DataLoader(tensor_set(X), shuffle=True), DataLoader(tensor_set(X[:5])), 1.0, id="loaders"),
        pytest.param(X[:80], X[79:], 1 / 21, id="tensors"),
        pytest.param(X.half().numpy(), X.half().numpy()[:3], 1.0, id="arrays"),
        pytest.param(Held((X > 0).numpy().astype(np.uint8)), Held((X > 0).numpy().astype(np.uint8)), 1.0, id="bytes"),
        pytest.param(Held(X > 9), Held(X < 9), 0.0, id="truth values"),
        pytest.param(Folder(range(10)), Folder(range(8, 12)), 0.5, id="names of files"),
    ],
)
def test_shared_samples(observe, train, val, share):
    assert compared(observe(), train, val)["overlap_share"] == pytest.approx(share)


def test_random_parts_of_one_set_are_apart(observe):
    train, val = random_split(WHOLE, [80, 20])
    found = compared(observe(), train, val)
    assert found == {"train_samples": 80, "val_samples": 20, "overlap_share": 0.0, "duplicate_share": 0.0}


def test_repeated_samples_count_once(observe):
    found = compared(observe(), tensor_set(X.repeat(4, 1, 1)), tensor_set(X[:10].repeat(2, 1, 1)))
    assert (found["train_samples"], found["val_samples"], found["duplicate_share"]) == (100, 10, 0.75)


def test_the_smallest_difference_makes_another_sample(observe):
    other = X.clone()
    other[:, 2, 3] = torch.nextafter(other[:, 2, 3], torch.tensor(9.0))
    assert compared(observe(), X, other)["overlap_share"] == 0.0


def test_large_sets_are_thinned(observe, monkeypatch):
    monkeypatch.setitem(samples.MOST, "train", 50)
    assert compared(observe(), X, X)["train_samples"] == 50


def run_through(observer, train, val):
    loaders = DataLoader(train, batch_size=16), DataLoader(val, batch_size=16)
    observer.watch_data(*loaders)
    for _ in range(2):
        for each in loaders:
            list(observer.data(each))
        observer.flush()
    return [each.get("data", {}).get("overlap_share") for each in records(observer, "epoch")]


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_other_data_is_compared_as_it_comes(observe, share):
    train, val = Items(X[:80]), Items(X[60:] if share else X[80:])
    assert run_through(observe(), train, val) == [share, share]
    assert train.asked == 160


def test_streams_without_a_length(observe):
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(X)

    assert run_through(observe(), Stream(), Stream()) == [1.0, 1.0]


def test_no_item_is_asked_for(observe):
    train, val = Items(X), Items(X)
    observer = observe()
    assert compared(observer, ConcatDataset([train, val]), val) == {}
    assert train.asked == val.asked == 0


def test_random_numbers_stay_the_training_s(observe):
    torch.manual_seed(3)
    expected = torch.rand(2).tolist()
    torch.manual_seed(3)
    compared(observe(), X, X)
    assert torch.rand(2).tolist() == expected


@pytest.mark.parametrize("nothing", [None, [], object()], ids=["None", "empty", "object"])
def test_nothing_to_compare_is_survived(observe, nothing):
    assert compared(observe(), WHOLE, nothing) == {}


def test_a_disabled_observer_compares_nothing(observe):
    observer = observe(mode="disabled")
    observer.watch_data(X, X)
    assert observer._signals.samples.reading is None
