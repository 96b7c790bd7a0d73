"""Two trainings to look at and to copy from: one as it should be, one with planted faults."""

from __future__ import annotations
