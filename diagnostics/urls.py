from __future__ import annotations

from django.urls import path

from diagnostics import policy_views
from diagnostics.views import catalog, session

urlpatterns = [
    path("sessions/<int:pk>", session.session, name="session"),
    path("sessions/<int:pk>/series", session.series, name="series"),
    path("sessions/<int:pk>/layers", session.layers, name="layers"),
    path("sessions/<int:pk>/diagnosis", session.order, name="order"),
    path("sessions/<int:pk>/diagnosis/<int:run>", session.progress, name="progress"),
    path("sessions/<int:pk>/baseline", policy_views.pin, name="pin"),
    path("runs/<int:pk>", session.run, name="run"),
    path("checks", catalog.checks, name="checks"),
    path("checks/<slug:check_id>", catalog.check, name="check"),
    path("thresholds", catalog.thresholds, name="thresholds"),
    path("api/docs", catalog.api_docs, name="api-docs"),
]
