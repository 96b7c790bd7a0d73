"""How a project judges, over HTTP: its policy, the history of it, and its baselines."""

from __future__ import annotations

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from projects.api import ERROR, changeable_project, visible_project
from projects.models import Baseline, PolicyChange, Project
from projects.parsers import sent
from projects.serializers import BaselineIn, BaselineOut, PolicyChangeOut, PolicySettings
from projects.services import (
    NotFound,
    amend_policy,
    declare_baseline,
    drop_baseline,
    policy_settings,
    replace_policy,
)


class PolicyDetail(APIView):
    """What a project has set. What it has not set is the default (`mldiag explain --thresholds`)."""

    @extend_schema(responses={200: PolicySettings, 404: ERROR})
    def get(self, request: Request, project_id: int) -> Response:
        return Response(policy_settings(visible_project(request, project_id)))

    @extend_schema(request=PolicySettings, responses={200: PolicySettings, 400: ERROR, 403: ERROR, 404: ERROR})
    def put(self, request: Request, project_id: int) -> Response:
        """Set all of it: what the body does not name goes back to the default."""
        project = changeable_project(request, project_id)
        replace_policy(project, sent(request), user=request.user, key=request.auth)
        return Response(policy_settings(project))

    @extend_schema(request=PolicySettings, responses={200: PolicySettings, 400: ERROR, 403: ERROR, 404: ERROR})
    def patch(self, request: Request, project_id: int) -> Response:
        """Change what the body names. Thresholds and severities are merged by name; null resets one."""
        project = changeable_project(request, project_id)
        amend_policy(project, sent(request), user=request.user, key=request.auth)
        return Response(policy_settings(project))

    @extend_schema(responses={204: None, 403: ERROR, 404: ERROR})
    def delete(self, request: Request, project_id: int) -> Response:
        """Go back to the defaults. The history stays, and so do the baselines."""
        replace_policy(changeable_project(request, project_id), {}, user=request.user, key=request.auth)
        return Response(status=status.HTTP_204_NO_CONTENT)


class PolicyChanges(ListAPIView):
    """Who changed what and when, newest first."""

    serializer_class = PolicyChangeOut
    queryset = PolicyChange.objects.none()

    def get_queryset(self) -> QuerySet[PolicyChange]:
        return visible_project(self.request, self.kwargs["project_id"]).policy_changes.all()


class BaselineList(ListAPIView):
    """The project's own baselines. Those that ship with mldiag (mnist_cnn, cifar10_resnet) are there besides."""

    serializer_class = BaselineOut
    queryset = Baseline.objects.none()

    def get_queryset(self) -> QuerySet[Baseline]:
        return visible_project(self.request, self.kwargs["project_id"]).baselines.all()


class BaselineDetail(APIView):
    @extend_schema(responses={200: BaselineOut, 404: ERROR})
    def get(self, request: Request, project_id: int, name: str) -> Response:
        return Response(BaselineOut(_baseline(visible_project(request, project_id), name)).data)

    @extend_schema(
        request=BaselineIn, responses={200: BaselineOut, 201: BaselineOut, 400: ERROR, 403: ERROR, 404: ERROR}
    )
    def put(self, request: Request, project_id: int, name: str) -> Response:
        """Declare what is usual for the task of this name, or replace what was."""
        project = changeable_project(request, project_id)
        made, created = declare_baseline(project, name, sent(request), user=request.user, key=request.auth)
        code = status.HTTP_201_CREATED if created else status.HTTP_200_OK
        return Response(BaselineOut(made).data, status=code)

    @extend_schema(responses={204: None, 403: ERROR, 404: ERROR, 409: ERROR})
    def delete(self, request: Request, project_id: int, name: str) -> Response:
        project = changeable_project(request, project_id)
        drop_baseline(project, _baseline(project, name), user=request.user, key=request.auth)
        return Response(status=status.HTTP_204_NO_CONTENT)


def _baseline(project: Project, name: str) -> Baseline:
    found = project.baselines.filter(name=name).first() if "\0" not in name else None
    if found is None:
        raise NotFound(f"There is no baseline {name!r} here.")
    return found
