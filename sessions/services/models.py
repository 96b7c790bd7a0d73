"""The network that a session trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from observer_client.record import Architecture, plain
from projects.services.documents import clean, storable
from projects.services.refusals import Refused
from sessions.models import Model, TrainSession
from sessions.services.epochs import MAX_LAYERS, MAX_NAME

LARGEST_COUNT = 2**63 - 1


@transaction.atomic
def register_model(
    session: TrainSession, architecture: Architecture, *, document: Mapping[str, Any] | None = None
) -> Model:
    """Keep a session's architecture; the latest stays.

    ``document`` is the body as it was sent, which may know more than `Architecture`. Raises Refused if it is
    over a limit.
    """
    _check(architecture)
    model, _ = Model.objects.update_or_create(
        session=session,
        defaults={
            "model_class": clean(architecture.model_class or "", 200),
            "total_parameters": architecture.total_parameters,
            "architecture": storable(plain(architecture if document is None else document)),
        },
    )
    return model


def _check(architecture: Architecture) -> None:
    nodes = architecture.layer_graph.nodes if architecture.layer_graph else []
    if max(len(architecture.layers), len(nodes)) > MAX_LAYERS:
        raise Refused(f"At most {MAX_LAYERS:,} layers.", "$.layers")
    if any(len(name) > MAX_NAME for name in [*architecture.layers, *(node.id for node in nodes)]):
        raise Refused(f"A layer's name has at most {MAX_NAME} characters.", "$.layers")
    if not 0 <= architecture.total_parameters <= LARGEST_COUNT:
        raise Refused("total_parameters is from 0 to 2^63 - 1.", "$.total_parameters")
