"""Load and memory of the GPU as its driver tells them, where ``nvidia-ml-py`` is installed and CUDA is in use.

A thread asks, once a second: a driver may take its time, and the training must not wait for it.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

from observer_client.guard import harmless

SECONDS = 1.0
_MIB = 1024 * 1024


class GpuMeter:
    """Means of the load since the last reading, of the device that the training uses."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loads: list[float] = []
        self._used: list[float] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @harmless
    def read(self) -> tuple[float | None, float | None]:
        """Return load in percent and the most MiB in use since the last call; begin to ask once CUDA is in use."""
        if self._thread is None and (identity := _device()) is not None:
            self._thread = threading.Thread(target=self._ask, args=(identity,), name="mldiag-gpu", daemon=True)
            self._thread.start()
        with self._lock:
            loads, used, self._loads, self._used = self._loads, self._used, [], []
        return (sum(loads) / len(loads) if loads else None), max(used, default=None)

    @harmless
    def _ask(self, identity: tuple[str, int]) -> None:
        try:
            import pynvml  # Optional, and it loads the driver's library.
        except ImportError:
            return
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError:
            # No driver: then there is nothing to ask.
            return
        try:
            handle = _handle(pynvml, identity)
            while not self._stop.wait(SECONDS):
                self._sample(pynvml, handle)
        except pynvml.NVMLError:
            # A slice of a GPU, for instance, tells no load.
            return
        finally:
            pynvml.nvmlShutdown()

    def _sample(self, pynvml: Any, handle: Any) -> None:
        load = float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
        used = pynvml.nvmlDeviceGetMemoryInfo(handle).used / _MIB
        with self._lock:
            # Bounded, should nobody read for a day.
            self._loads, self._used = [*self._loads[-9999:], load], [max([used, *self._used])]

    def close(self) -> None:
        """Stop asking."""
        self._stop.set()


def _device() -> tuple[str, int] | None:
    """Return identity and number of the CUDA device in use; None before there is one: asking must not start it."""
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    if cuda is None or not cuda.is_initialized():
        return None
    number = cuda.current_device()
    return str(getattr(cuda.get_device_properties(number), "uuid", "")), number


def _handle(pynvml: Any, identity: tuple[str, int]) -> Any:
    uuid, number = identity
    if uuid:
        return pynvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith("GPU-") else f"GPU-{uuid}")
    # An older torch does not tell the identity: the driver does not know which devices are hidden.
    visible = [each.strip() for each in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if each.strip()]
    if visible and number < len(visible):
        name = visible[number]
        if not name.isdigit():
            return pynvml.nvmlDeviceGetHandleByUUID(name)
        number = int(name)
    return pynvml.nvmlDeviceGetHandleByIndex(number)
