"""Searches that people keep. Each has their own; whoever comes without an account shares those of nobody."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from diagnostics.problem_models import SavedSearch
from projects.models import Project
from projects.services import Refused
from projects.services.documents import clean

MOST_SEARCHES = 50
NAME_LENGTH, QUERY_LENGTH = 80, 1000


def own_searches(project: Project, user: Any) -> QuerySet[SavedSearch]:
    return SavedSearch.objects.filter(project=project, user=_account(user))


def _account(user: Any) -> Any:
    return user if user and user.is_authenticated else None


@transaction.atomic
def save_search(project: Project, user: Any, name: str, query: str) -> tuple[SavedSearch, bool]:
    """Keep a search, as it stands in the address of the page, under a name; the same name again replaces it.

    Returns it and whether it is new. Raises Refused.
    """
    name, query = clean(name.strip(), NAME_LENGTH), clean(query.strip().removeprefix("?"))
    if not name:
        raise Refused("Give the search a name.", "$.name")
    if len(query) > QUERY_LENGTH:
        raise Refused("This search is too long to be kept.", "$.query")
    if own_searches(project, user).exclude(name=name).count() >= MOST_SEARCHES:
        raise Refused(f"At most {MOST_SEARCHES} searches are kept. Delete one first.")
    return SavedSearch.objects.update_or_create(
        project=project, user=_account(user), name=name, defaults={"query": query}
    )
