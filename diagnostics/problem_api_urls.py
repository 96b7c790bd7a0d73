from __future__ import annotations

from django.urls import path

from diagnostics import problem_api as api
from diagnostics import search_api

urlpatterns = [
    path("problems", api.ProblemList.as_view(), name="api_problems"),
    path("problems/bulk", api.ProblemBulk.as_view(), name="api_problems_bulk"),
    path("problems/<int:problem_id>", api.ProblemDetail.as_view(), name="api_problem"),
    path("problems/<int:problem_id>/activity", api.ProblemActivity.as_view(), name="api_problem_activity"),
    path("problems/<int:problem_id>/comments", api.ProblemComments.as_view(), name="api_problem_comments"),
    path("projects/<int:project_id>/searches", search_api.SavedSearchList.as_view(), name="api_searches"),
    path(
        "projects/<int:project_id>/searches/<int:search_id>",
        search_api.SavedSearchDetail.as_view(),
        name="api_search",
    ),
]
