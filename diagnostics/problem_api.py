"""Triage over HTTP: the problems of the projects that a request may see."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction
from django.db.models import Prefetch, QuerySet
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.generics import GenericAPIView, ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from diagnostics.problem_models import Act, Activity, Problem
from diagnostics.problem_serializers import (
    ActivityOut,
    BulkIn,
    BulkOut,
    CommentIn,
    ProblemOut,
    ProblemPatch,
    SearchIn,
)
from diagnostics.services.problems import Person, Search, carry_out, comment, rates
from projects.parsers import sent
from projects.serializers import ErrorOut
from projects.services import NotFound

ERROR = OpenApiResponse(ErrorOut)
PARTS = Prefetch("merged", Problem.objects.only("merged_into").order_by("pk"))


class ProblemList(GenericAPIView):
    serializer_class = ProblemOut
    queryset = Problem.objects.none()

    @extend_schema(operation_id="list_problems", parameters=[SearchIn], responses={200: ProblemOut(many=True)})
    def get(self, request: Request) -> Response:
        """List problems, the gravest first."""
        asked = SearchIn(data=request.query_params)
        asked.is_valid(raise_exception=True)
        said = dict(asked.validated_data)
        problems = _visible(request)
        if (project := said.pop("project", None)) is not None:
            problems = problems.filter(project=project)
        page = self.paginate_queryset(Search(**said).found(problems, request.user)) or []
        return self.get_paginated_response(_shown(request, page))


class ProblemDetail(APIView):
    @extend_schema(operation_id="get_problem", responses={200: ProblemOut, 404: ERROR})
    def get(self, request: Request, problem_id: int) -> Response:
        """Give one problem."""
        return Response(_shown(request, [_problem(request, problem_id)])[0])

    @extend_schema(
        operation_id="change_problem", request=ProblemPatch, responses={200: ProblemOut, 400: ERROR, 404: ERROR}
    )
    def patch(self, request: Request, problem_id: int) -> Response:
        """Resolve, reopen, mute, assign or mark as reviewed."""
        problem = _problem(request, problem_id)
        asked = ProblemPatch(data=sent(request))
        asked.is_valid(raise_exception=True)
        with transaction.atomic():
            for order in asked.orders():
                carry_out([problem], Person.of(request.user, request.auth), order)
        return Response(_shown(request, [_problem(request, problem_id)])[0])


class ProblemBulk(APIView):
    @extend_schema(operation_id="change_problems", request=BulkIn, responses={200: BulkOut, 400: ERROR, 404: ERROR})
    def post(self, request: Request) -> Response:
        """Do the same to several problems, to all or to none of them."""
        asked = BulkIn(data=sent(request))
        asked.is_valid(raise_exception=True)
        wanted = set(asked.validated_data["ids"])
        found = list(_visible(request).filter(pk__in=wanted))
        if missing := wanted - {problem.pk for problem in found}:
            raise NotFound(f"There is no problem {min(missing)} here.")
        return Response({"changed": carry_out(found, Person.of(request.user, request.auth), asked.order())})


class _OfProblem(ListAPIView):
    """What is listed of one problem, newest first."""

    serializer_class = ActivityOut
    queryset = Activity.objects.none()

    def get_queryset(self) -> QuerySet[Activity]:
        return _problem(self.request, self.kwargs["problem_id"]).activity.all()


class ProblemActivity(_OfProblem):
    @extend_schema(operation_id="list_problem_activity", responses={200: ActivityOut(many=True), 404: ERROR})
    def get(self, request: Request, problem_id: int) -> Response:
        """List who did what to a problem, comments included."""
        return self.list(request)


class ProblemComments(_OfProblem):
    def get_queryset(self) -> QuerySet[Activity]:
        return super().get_queryset().filter(act=Act.COMMENTED)

    @extend_schema(operation_id="list_problem_comments", responses={200: ActivityOut(many=True), 404: ERROR})
    def get(self, request: Request, problem_id: int) -> Response:
        """List the comments on a problem."""
        return self.list(request)

    @extend_schema(
        operation_id="comment_problem", request=CommentIn, responses={201: ActivityOut, 400: ERROR, 404: ERROR}
    )
    def post(self, request: Request, problem_id: int) -> Response:
        """Comment on a problem."""
        problem = _problem(request, problem_id)
        asked = CommentIn(data=sent(request))
        asked.is_valid(raise_exception=True)
        comment([problem], Person.of(request.user, request.auth), asked.validated_data["text"])
        return Response(ActivityOut(self.get_queryset().first()).data, status=201)


def _visible(request: Request) -> QuerySet[Problem]:
    return Problem.objects.visible_to(request.user, request.auth).select_related("assignee").prefetch_related(PARTS)


def _problem(request: Request, problem_id: int) -> Problem:
    """Return a problem, in place of a merged one that which it became part of."""
    problem = _visible(request).followed([problem_id]).first()
    if problem is None:
        raise NotFound(f"There is no problem {problem_id} here.")
    return problem


def _shown(request: Request, problems: Sequence[Problem]) -> list[dict[str, object]]:
    context = {"request": request, "rates": rates(problems)}
    return list(ProblemOut(problems, many=True, context=context).data)
