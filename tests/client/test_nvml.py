"""The driver of a GPU, which these tests have not: a module stands in its place."""

from __future__ import annotations

import sys
import types

import pytest
import torch

from observer_client import nvml
from tests.client.conftest import records, wait_until


class NVMLError(Exception):
    pass


class Driver(types.ModuleType):
    """Answers as ``pynvml`` does for one device, and notes what it was asked."""

    NVMLError = NVMLError

    def __init__(self, loads=(40, 60), fails=""):
        super().__init__("pynvml")
        self.loads, self.fails, self.asked = list(loads), fails, []

    def _answer(self, name, answer=None):
        self.asked.append(name)
        if name == self.fails:
            raise NVMLError("not supported")
        return answer

    def nvmlInit(self):
        self._answer("init")

    def nvmlShutdown(self):
        self._answer("shutdown")

    def nvmlDeviceGetHandleByUUID(self, uuid):
        return self._answer(f"uuid {uuid}", "handle")

    def nvmlDeviceGetHandleByIndex(self, number):
        return self._answer(f"index {number}", "handle")

    def nvmlDeviceGetUtilizationRates(self, handle):
        load = self.loads.pop(0) if len(self.loads) > 1 else self.loads[0]
        return self._answer("load", types.SimpleNamespace(gpu=load))

    def nvmlDeviceGetMemoryInfo(self, handle):
        return self._answer("memory", types.SimpleNamespace(used=3 * 1024**3))


@pytest.fixture
def driver(monkeypatch):
    """``driver()`` takes the place of pynvml, and torch says that it uses the device of that identity."""

    def install(uuid="GPU-1", **answers):
        module = Driver(**answers)
        monkeypatch.setitem(sys.modules, "pynvml", module)
        monkeypatch.setattr(nvml, "SECONDS", 0.001)
        monkeypatch.setattr(nvml, "_device", lambda: (uuid, 1))
        return module

    return install


def test_load_and_memory_of_a_window(observe, driver):
    asked = driver(loads=(40, 60, 60)).asked
    observer = observe()
    observer.flush()
    wait_until(lambda: asked.count("memory") > 2)
    observer.flush()
    found = records(observer, "epoch")[-1]
    assert 40 < found["system"]["gpu_percent"] <= 60
    assert found["memory"]["gpu_used_mb"] == 3072


@pytest.mark.parametrize(
    ("uuid", "visible", "asked"),
    [
        pytest.param("abc", "", "uuid GPU-abc", id="identity"),
        pytest.param("GPU-abc", "3,4", "uuid GPU-abc", id="whole identity"),
        pytest.param("", "", "index 1", id="number"),
        pytest.param("", "5,7", "index 7", id="hidden devices"),
        pytest.param("", "GPU-a,GPU-b", "uuid GPU-b", id="hidden by identity"),
    ],
)
def test_asks_for_the_device_in_use(driver, monkeypatch, uuid, visible, asked):
    module = driver(uuid)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    meter = nvml.GpuMeter()
    meter.read()
    wait_until(lambda: "load" in module.asked)
    meter.close()
    wait_until(lambda: not meter._thread.is_alive())
    assert [each for each in module.asked if " " in each] == [asked]
    assert module.asked[-1] == "shutdown"


@pytest.mark.parametrize("fails", ["init", "uuid GPU-1", "load", "memory"])
def test_a_driver_that_does_not_answer_is_survived(driver, fails):
    module, meter = driver(fails=fails), nvml.GpuMeter()
    meter.read()
    wait_until(lambda: fails in module.asked and not meter._thread.is_alive())
    assert meter.read() == (None, None)


def test_without_the_package_nothing_is_asked(driver, monkeypatch):
    driver()
    monkeypatch.setitem(sys.modules, "pynvml", None)
    meter = nvml.GpuMeter()
    meter.read()
    wait_until(lambda: not meter._thread.is_alive())
    assert meter.read() == (None, None)


def test_without_a_gpu_in_use_no_thread_starts():
    assert not torch.cuda.is_initialized()
    meter = nvml.GpuMeter()
    assert meter.read() == (None, None) and meter._thread is None
