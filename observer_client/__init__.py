"""Observes a training for mldiag."""

from __future__ import annotations

from observer_client.config import ObserverConfig
from observer_client.observer import Observer
from observer_client.watching import watch

__version__ = "0.1.0"
__all__ = ["Observer", "ObserverConfig", "__version__", "watch"]
