from __future__ import annotations

from django.urls import path

from diagnostics import policy_views, views

urlpatterns = [
    path("sessions/<int:pk>", views.session, name="session"),
    path("sessions/<int:pk>/diagnosis", views.order, name="order"),
    path("sessions/<int:pk>/diagnosis/<int:run>", views.progress, name="progress"),
    path("sessions/<int:pk>/baseline", policy_views.pin, name="pin"),
    path("runs/<int:pk>", views.run, name="run"),
    path("checks", views.checks, name="checks"),
    path("checks/<slug:check_id>", views.check, name="check"),
    path("thresholds", views.thresholds, name="thresholds"),
    path("api/docs", views.api_docs, name="api-docs"),
]
