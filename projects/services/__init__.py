"""What can be done with projects and keys."""

from __future__ import annotations

from projects.services.access import NAME_LENGTH, create_project, find_project, is_owner
from projects.services.baselines import declare_baseline, drop_baseline
from projects.services.keys import issue_key, matches, public_part, revoke_key
from projects.services.policy import amend_policy, policy_settings, project_policy, replace_policy
from projects.services.refusals import NotAllowed, NotFound, Refused, Taken

__all__ = [
    "NAME_LENGTH",
    "NotAllowed",
    "NotFound",
    "Refused",
    "Taken",
    "amend_policy",
    "create_project",
    "declare_baseline",
    "drop_baseline",
    "find_project",
    "is_owner",
    "issue_key",
    "matches",
    "policy_settings",
    "project_policy",
    "public_part",
    "replace_policy",
    "revoke_key",
]
