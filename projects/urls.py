from __future__ import annotations

from django.urls import path

from projects import views

urlpatterns = [
    path("projects/<int:pk>/policy", views.policy, name="policy"),
    path("projects/<int:pk>/policy/baselines", views.baseline, name="baseline"),
]
