"""What can be done with projects and keys."""

from __future__ import annotations

from projects.services.access import NAME_LENGTH, create_project, find_project, is_owner
from projects.services.keys import issue_key, matches, public_part, revoke_key
from projects.services.refusals import NotAllowed, NotFound, Refused, Taken

__all__ = [
    "NAME_LENGTH",
    "NotAllowed",
    "NotFound",
    "Refused",
    "Taken",
    "create_project",
    "find_project",
    "is_owner",
    "issue_key",
    "matches",
    "public_part",
    "revoke_key",
]
