from __future__ import annotations

from django.urls import path

from projects import api, policy_api

urlpatterns = [
    path("projects", api.ProjectList.as_view(), name="api-projects"),
    path("projects/<int:project_id>", api.ProjectDetail.as_view(), name="api-project"),
    path("projects/<int:project_id>/keys", api.KeyList.as_view(), name="api-keys"),
    path("projects/<int:project_id>/keys/<int:key_id>", api.KeyDetail.as_view(), name="api-key"),
    path("projects/<int:project_id>/policy", policy_api.PolicyDetail.as_view(), name="api-policy"),
    path("projects/<int:project_id>/policy/changes", policy_api.PolicyChanges.as_view(), name="api-policy-changes"),
    path("projects/<int:project_id>/baselines", policy_api.BaselineList.as_view(), name="api-baselines"),
    path("projects/<int:project_id>/baselines/<str:name>", policy_api.BaselineDetail.as_view(), name="api-baseline"),
]
