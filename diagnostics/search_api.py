"""A person's saved searches among a project's problems, over HTTP."""

from __future__ import annotations

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from diagnostics.problem_models import SavedSearch
from diagnostics.problem_serializers import SavedSearchIn, SavedSearchOut
from diagnostics.services.problems import own_searches, save_search
from projects.models import Project
from projects.parsers import sent
from projects.serializers import ErrorOut
from projects.services import NotFound

ERROR = OpenApiResponse(ErrorOut)


class SavedSearchList(ListAPIView):
    serializer_class = SavedSearchOut
    queryset = SavedSearch.objects.none()

    def get_queryset(self) -> QuerySet[SavedSearch]:
        return own_searches(_project(self.request, self.kwargs["project_id"]), self.request.user)

    @extend_schema(operation_id="list_saved_searches", responses={200: SavedSearchOut(many=True), 404: ERROR})
    def get(self, request: Request, project_id: int) -> Response:
        """List one's own saved searches; programs with a key share theirs."""
        return self.list(request)

    @extend_schema(
        operation_id="save_search",
        request=SavedSearchIn,
        responses={200: SavedSearchOut, 201: SavedSearchOut, 400: ERROR, 404: ERROR},
    )
    def post(self, request: Request, project_id: int) -> Response:
        """Keep a search under a name; the same name again replaces it."""
        project = _project(request, project_id)
        asked = SavedSearchIn(data=sent(request))
        asked.is_valid(raise_exception=True)
        saved, created = save_search(project, request.user, **asked.validated_data)
        return Response(SavedSearchOut(saved, context={"request": request}).data, status=201 if created else 200)


class SavedSearchDetail(APIView):
    @extend_schema(operation_id="forget_search", responses={204: None, 404: ERROR})
    def delete(self, request: Request, project_id: int, search_id: int) -> Response:
        """Delete a saved search of one's own."""
        found = own_searches(_project(request, project_id), request.user).filter(pk=search_id)
        if not found.delete()[0]:
            raise NotFound(f"There is no search {search_id} here.")
        return Response(status=204)


def _project(request: Request, project_id: int) -> Project:
    project = Project.objects.visible_to(request.user, request.auth).filter(pk=project_id).first()
    if project is None:
        raise NotFound(f"There is no project {project_id} here.")
    return project
