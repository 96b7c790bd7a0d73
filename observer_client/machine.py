"""Readings of memory and load, cheap enough for every flush. ``psutil`` is used where there is no ``/proc``."""

from __future__ import annotations

import os
import sys
from time import perf_counter, process_time
from typing import Any

from observer_client.guard import harmless
from observer_client.record import Memory, System

_MIB = 1024 * 1024


@harmless
def memory() -> Memory:
    """Return the memory of the process, the machine and, if CUDA is in use, of its current device."""
    reading = Memory(process_rss_mb=_rss(), process_rss_peak_mb=_rss_peak(), system_available_mb=_available())
    cuda = _cuda()
    if cuda is not None:
        reading.gpu_allocated_mb = cuda.memory_allocated() / _MIB
        reading.gpu_reserved_mb = cuda.memory_reserved() / _MIB
        reading.gpu_peak_mb = cuda.max_memory_allocated() / _MIB
        reading.gpu_total_mb = cuda.get_device_properties(cuda.current_device()).total_memory / _MIB
    return reading


class LoadMeter:
    """Measures the load since the last reading."""

    def __init__(self) -> None:
        self._machine = _machine_times()
        self._process = process_time()
        self._clock = perf_counter()

    @harmless
    def read(self) -> System:
        """Return the mean load since the last call, or since the meter was made."""
        machine, process, clock = _machine_times(), process_time(), perf_counter()
        load = System()
        if machine and self._machine and machine[1] > self._machine[1]:
            busy, whole = machine[0] - self._machine[0], machine[1] - self._machine[1]
            load.cpu_percent = 100.0 * max(0.0, busy) / whole
        if clock > self._clock:
            load.process_cpu_percent = 100.0 * (process - self._process) / (clock - self._clock)
        self._machine, self._process, self._clock = machine, process, clock
        return load


def _cuda() -> Any:
    """Return ``torch.cuda`` when the training already uses it; asking must not start it."""
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    return cuda if cuda is not None and cuda.is_initialized() else None


def _psutil() -> Any:
    try:
        import psutil  # Optional, and slow to import where /proc tells the same.
    except ImportError:
        return None
    return psutil


def _rss() -> float | None:
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / _MIB
    except (OSError, IndexError, ValueError):
        psutil = _psutil()
        return psutil.Process().memory_info().rss / _MIB if psutil else None


def _rss_peak() -> float | None:
    try:
        import resource  # Not on Windows.
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak) / (_MIB if sys.platform == "darwin" else 1024)


def _available() -> float | None:
    try:
        with open("/proc/meminfo", "rb") as file:
            line = next(line for line in file if line.startswith(b"MemAvailable:"))
        return int(line.split()[1]) / 1024
    except (OSError, StopIteration, ValueError):
        psutil = _psutil()
        return psutil.virtual_memory().available / _MIB if psutil else None


def _machine_times() -> tuple[float, float] | None:
    """Return seconds or ticks (only ratios count) that all cores were busy, and all there were."""
    try:
        with open("/proc/stat", "rb") as file:
            # user, nice, system, idle, iowait, irq, softirq, steal; guest time is part of user.
            ticks = [int(each) for each in file.readline().split()[1:9]]
        return float(sum(ticks) - ticks[3] - ticks[4]), float(sum(ticks))
    except (OSError, IndexError, ValueError):
        psutil = _psutil()
        if not psutil:
            return None
        times = psutil.cpu_times()
        return sum(times) - times.idle, sum(times)
