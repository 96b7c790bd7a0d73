"""Why a request is not done. The API turns each into one status."""

from __future__ import annotations


class NotFound(LookupError):
    """What was asked for does not exist, or not for this caller: the two must look alike."""


class NotAllowed(PermissionError):
    """The caller may see it, but not do this."""


class Refused(ValueError):
    """The request contradicts itself or what is stored. ``path`` says where, as ``$.name``."""

    def __init__(self, sentence: str, path: str | None = None) -> None:
        super().__init__(sentence)
        self.path = path


class Taken(Refused):
    """It exists already, with other contents or for others."""
