"""Who belongs to a project. It never loses its last owner: nobody could manage it any more."""

from __future__ import annotations

from django.contrib.auth import get_user_model
from django.db import transaction

from projects.models import Membership, Project, Role
from projects.services.refusals import Refused, Taken


@transaction.atomic
def add_member(project: Project, username: str, role: str) -> Membership:
    """Make a user of this server a member. Raises Refused for an unknown user or role, Taken for a member."""
    _check(role)
    username = username.strip().replace("\0", "")
    user = get_user_model().objects.filter(username=username, is_active=True).first()
    if user is None:
        raise Refused(f"There is no user {username!r} here. Whoever runs this server makes accounts.", "$.username")
    member, created = Membership.objects.get_or_create(project=project, user=user, defaults={"role": role})
    if not created:
        raise Taken(f"{username} is a member already.", "$.username")
    return member


@transaction.atomic
def change_role(member: Membership, role: str) -> None:
    """Make a member an owner, or an owner a member. Raises Refused for the last owner."""
    _check(role)
    if role != Role.OWNER:
        _keep_an_owner(member)
    member.role = role
    member.save(update_fields=["role"])


@transaction.atomic
def remove_member(member: Membership) -> None:
    """End a membership; the runs and keys that somebody made stay. Raises Refused for the last owner."""
    _keep_an_owner(member)
    Membership.objects.filter(pk=member.pk).delete()


def _keep_an_owner(member: Membership) -> None:
    # Whoever else is removing an owner waits here.
    Project.objects.select_for_update(no_key=True).get(pk=member.project_id)
    owners = Membership.objects.filter(project=member.project_id, role=Role.OWNER)
    if member.role == Role.OWNER and not owners.exclude(pk=member.pk).exists():
        raise Refused("A project keeps at least one owner. Make somebody else an owner first.")


def _check(role: str) -> None:
    if role not in Role.values:
        raise Refused(f"role is one of {', '.join(Role.values)}.", "$.role")
