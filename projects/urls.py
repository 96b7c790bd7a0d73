from __future__ import annotations

from django.urls import path

from projects import access_views, views

urlpatterns = [
    path("projects/<int:pk>/access", access_views.access, name="access"),
    path("accounts/me", access_views.account, name="account"),
    path("projects/<int:pk>/policy", views.policy, name="policy"),
    path("projects/<int:pk>/policy/baselines", views.baseline, name="baseline"),
]
