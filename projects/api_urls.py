from __future__ import annotations

from django.urls import path

from projects import api

urlpatterns = [
    path("projects", api.ProjectList.as_view(), name="api-projects"),
    path("projects/<int:project_id>", api.ProjectDetail.as_view(), name="api-project"),
    path("projects/<int:project_id>/keys", api.KeyList.as_view(), name="api-keys"),
    path("projects/<int:project_id>/keys/<int:key_id>", api.KeyDetail.as_view(), name="api-key"),
]
