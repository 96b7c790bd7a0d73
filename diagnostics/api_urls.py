from __future__ import annotations

from django.urls import path

from diagnostics import api

urlpatterns = [
    path("sessions/<int:session_id>/run", api.diagnose_session, name="api_diagnose"),
    path("sessions/<int:session_id>", api.SessionRuns.as_view(), name="api_session_runs"),
    path("runs/<int:run_id>", api.diagnostic_run, name="api_diagnostic_run"),
    path("sessions/<int:session_id>/health", api.session_health, name="api_session_health"),
    path("sessions/<int:session_id>/baseline", api.pin_session, name="api_pin_session"),
    path("projects/<int:project_id>/trend", api.project_trend, name="api_project_trend"),
]
