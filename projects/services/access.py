"""Making projects and finding the one a request means."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import transaction

from projects.models import DEFAULT_PROJECT_ID, ApiKey, Membership, Project, Role
from projects.services.refusals import NotFound, Refused

NAME_LENGTH = 200


@transaction.atomic
def create_project(
    name: str, *, description: str = "", owner: AbstractBaseUser | AnonymousUser | None = None
) -> tuple[Project, bool]:
    """Return the project of that name and whether it is new. ``owner`` becomes its first member.

    Raises Refused for an unusable name. Whether ``owner`` may see a project that exists already is for the
    caller to ask (`ProjectQuerySet.visible_to`).
    """
    name = name.strip()
    if not name or len(name) > NAME_LENGTH:
        raise Refused(f"A project's name has 1 to {NAME_LENGTH} characters.", "$.name")
    project, created = Project.objects.get_or_create(name=name, defaults={"description": description})
    if created and owner is not None and owner.is_authenticated:
        Membership.objects.create(project=project, user_id=owner.pk, role=Role.OWNER)
    return project, created


def find_project(
    *,
    project_id: int | None,
    name: str | None,
    user: AbstractBaseUser | AnonymousUser | None,
    key: ApiKey | None,
) -> Project:
    """Return the project that a run belongs to: by id, else by name, else the key's, else project 1.

    A name that nobody uses makes a project where everybody may (the open mode). Raises NotFound.
    """
    visible = Project.objects.visible_to(user or AnonymousUser(), key)
    if project_id is not None:
        project = visible.filter(pk=project_id).first() if 0 <= project_id < 2**63 else None
        if project is None:
            raise NotFound(f"There is no project {project_id} here. Leave project_id out to use the default project.")
        return project
    if name is not None and (name := name.strip()):
        return visible.filter(name=name).first() or _project_made_on_the_way(name, user, key)
    if key is not None:
        return key.project
    project = visible.filter(pk=DEFAULT_PROJECT_ID).first()
    if project is None:
        raise NotFound("Say which project the run belongs to, by project_id or by project (its name).")
    return project


def _project_made_on_the_way(name: str, user: AbstractBaseUser | AnonymousUser | None, key: ApiKey | None) -> Project:
    if key is not None or settings.MLDIAG_AUTH != "open":
        raise NotFound(f"There is no project {name!r} here. Make it first (POST /api/projects).")
    return create_project(name, owner=user)[0]


def is_owner(project: Project, user: AbstractBaseUser | AnonymousUser) -> bool:
    """Whether ``user`` may manage the project's keys and settings."""
    if settings.MLDIAG_AUTH == "open" or getattr(user, "is_superuser", False):
        return True
    return project.memberships.filter(user_id=user.pk, role=Role.OWNER).exists()
