"""Energy and emissions by CodeCarbon, where it is installed. Offline: no socket is ever opened."""

from __future__ import annotations

import logging
import threading
from inspect import signature
from time import monotonic
from typing import Any

from observer_client.guard import harmless, log
from observer_client.record import Carbon

_UNKNOWN_COUNTRY = "WLD"


class CarbonMeter:
    """Measures from one `read` to the next.

    CodeCarbon takes seconds to learn the hardware: that happens on a thread of its own, and a window that was
    not watched for at least half its time has no figure.
    """

    def __init__(self, country: str) -> None:
        self._country = country.upper() or _UNKNOWN_COUNTRY
        self._tracker: Any = None
        self._since = 0.0
        self._ready = threading.Event()
        threading.Thread(target=self._warm_up, name="mldiag-carbon", daemon=True).start()

    @harmless
    def _warm_up(self) -> None:
        try:
            # Optional, and half a second to import.
            from codecarbon.emissions_tracker import BaseEmissionsTracker, OfflineEmissionsTracker
        except ImportError:
            log.info("mldiag: codecarbon is not installed, so no emissions are measured")
            return
        # Between the import, which sets a level, and the constructor, which talks.
        logging.getLogger("codecarbon").setLevel(logging.CRITICAL)
        by_name = "output_methods" in signature(BaseEmissionsTracker.__init__).parameters
        quiet: dict[str, Any] = {"output_methods": []} if by_name else {"save_to_file": False}
        tracker = OfflineEmissionsTracker(
            country_iso_code=self._country,
            log_level="critical",
            allow_multiple_runs=True,
            tracking_mode="process",
            **quiet,
        )
        tracker.start_task("warm-up")
        tracker.stop_task("warm-up")
        tracker.start_task("window")
        self._tracker, self._since = tracker, monotonic()
        self._ready.set()

    @harmless
    def read(self, window_seconds: float) -> Carbon | None:
        """Return the emissions since the last reading, for a window of that length, and start the next."""
        if not self._ready.is_set():
            return None
        found = self._tracker.stop_task("window")
        watched, self._since = monotonic() - self._since, monotonic()
        self._tracker.start_task("window")
        if found is None or watched < window_seconds / 2:
            return None
        # The first window began before the meter was ready.
        scale = max(1.0, window_seconds / watched) if watched else 1.0
        return Carbon(
            epoch_co2_kg=found.emissions * scale,
            epoch_energy_kwh=found.energy_consumed * scale,
            power_draw_watts=found.energy_consumed * 3.6e6 / watched if watched else None,
            estimated=scale > 1.01 or self._is_guess(),
        )

    def _is_guess(self) -> bool:
        modes = [getattr(each, "_mode", "") for each in getattr(self._tracker, "_hardware", [])]
        return not any(mode in ("intel_rapl", "intel_power_gadget") for mode in modes)

    def close(self) -> None:
        """Stop measuring."""
        self._ready.clear()
