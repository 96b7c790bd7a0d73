"""Adapters, one module for each training framework; each needs its framework and nothing else.

=========================================== ===========================================
`observer_client.frameworks.lightning`      `ObserverCallback`, `ObserverLogger`
`observer_client.frameworks.transformers`   `ObserverCallback`
`observer_client.frameworks.accelerate`     `ObserverTracker`
`observer_client.frameworks.keras`          `ObserverCallback`, for the torch backend
`observer_client.frameworks.skorch`         `ObserverCallback`
`observer_client.frameworks.ultralytics`    `ObserverCallbacks`
=========================================== ===========================================
"""

from __future__ import annotations
