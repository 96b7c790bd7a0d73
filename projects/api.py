"""Projects and their keys over HTTP."""

from __future__ import annotations

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from projects.models import ApiKey, Project
from projects.parsers import sent
from projects.serializers import ErrorOut, KeyIn, KeyOut, NewKeyOut, ProjectIn, ProjectOut
from projects.services import NotAllowed, NotFound, Taken, create_project, is_owner, issue_key, revoke_key

ERROR = OpenApiResponse(ErrorOut)


def visible_project(request: Request, project_id: int) -> Project:
    project = Project.objects.visible_to(request.user, request.auth).filter(pk=project_id).first()
    if project is None:
        raise NotFound(f"There is no project {project_id} here.")
    return project


def own_project(request: Request, project_id: int) -> Project:
    """Return the project if the caller may manage its keys. No key may make keys."""
    project = visible_project(request, project_id)
    if request.auth is not None or not is_owner(project, request.user):
        raise NotAllowed("Only an owner of the project may do this.")
    return project


def changeable_project(request: Request, project_id: int) -> Project:
    """Return the project if the caller may change how it judges: an owner, or a key that reads and writes."""
    project = visible_project(request, project_id)
    if request.auth is None and not is_owner(project, request.user):
        raise NotAllowed("Only an owner of the project may do this.")
    return project


class ProjectList(ListAPIView):
    serializer_class = ProjectOut
    open_to_ingest_keys = True

    def get_queryset(self) -> QuerySet[Project]:
        return Project.objects.visible_to(self.request.user, self.request.auth)

    @extend_schema(request=ProjectIn, responses={200: ProjectOut, 201: ProjectOut, 400: ERROR, 409: ERROR})
    def post(self, request: Request) -> Response:
        """Make a project, or find it by name."""
        asked = ProjectIn(data=sent(request))
        asked.is_valid(raise_exception=True)
        name, description = asked.validated_data["name"], asked.validated_data["description"]
        project, created = self._found_or_made(request, name, description)
        body = ProjectOut(project, context={"request": request}).data
        return Response(body, status=status.HTTP_201_CREATED if created else status.HTTP_200_OK)

    def _found_or_made(self, request: Request, name: str, description: str) -> tuple[Project, bool]:
        if request.auth is not None:
            # A key belongs to one project: it may learn its id by name, not make another.
            if request.auth.project.name != name:
                raise NotAllowed("This key belongs to another project and cannot make one.")
            return request.auth.project, False
        project, created = create_project(name, description=description, owner=request.user)
        if not created and not self.get_queryset().filter(pk=project.pk).exists():
            raise Taken("This name is taken. Choose another, or ask to become a member.", "$.name")
        return project, created


class ProjectDetail(APIView):
    @extend_schema(responses={200: ProjectOut, 404: ERROR})
    def get(self, request: Request, project_id: int) -> Response:
        project = visible_project(request, project_id)
        return Response(ProjectOut(project, context={"request": request}).data)


class KeyList(ListAPIView):
    """The keys of a project, for its owners. No key is ever shown again."""

    serializer_class = KeyOut
    queryset = ApiKey.objects.none()

    def get_queryset(self) -> QuerySet[ApiKey]:
        return own_project(self.request, self.kwargs["project_id"]).api_keys.all()

    @extend_schema(request=KeyIn, responses={201: NewKeyOut, 400: ERROR, 403: ERROR, 404: ERROR})
    def post(self, request: Request, project_id: int) -> Response:
        """Make a key. The answer is the only place where it is ever written."""
        project = own_project(request, project_id)
        asked = KeyIn(data=sent(request))
        asked.is_valid(raise_exception=True)
        made, text = issue_key(project, created_by=request.user, **asked.validated_data)
        return Response({**KeyOut(made).data, "key": text}, status=status.HTTP_201_CREATED)


class KeyDetail(APIView):
    @extend_schema(responses={204: None, 403: ERROR, 404: ERROR})
    def delete(self, request: Request, project_id: int, key_id: int) -> Response:
        """Revoke a key. It stays in the list, with the date."""
        made = own_project(request, project_id).api_keys.filter(pk=key_id).first()
        if made is None:
            raise NotFound(f"There is no key {key_id} here.")
        revoke_key(made)
        return Response(status=status.HTTP_204_NO_CONTENT)
