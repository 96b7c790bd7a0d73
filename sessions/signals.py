"""News that travels up: whoever stands above listens, nobody here knows who.

``session_opened``, ``epochs_stored``, ``logs_stored``, ``session_finished`` and ``session_returned`` (heard of again
after it was given up, or resumed) carry ``session``, ``sessions_deleted`` carries ``project``. All are sent inside the
transaction that stores what they tell of.
"""

from __future__ import annotations

from django.dispatch import Signal

session_opened = Signal()
epochs_stored = Signal()
logs_stored = Signal()
session_finished = Signal()
sessions_deleted = Signal()
session_returned = Signal()
