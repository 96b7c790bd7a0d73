from __future__ import annotations

from django.urls import path

from sessions import api, history_api

urlpatterns = [
    path("metrics", history_api.MetricHistories.as_view(), name="api-histories"),
    path("sessions", api.SessionList.as_view(), name="api-sessions"),
    path("sessions/<str:key>", api.SessionDetail.as_view(), name="api-session"),
    path("sessions/<str:key>/model", api.ModelDetail.as_view(), name="api-model"),
    path("sessions/<str:key>/epochs", api.EpochList.as_view(), name="api-epochs"),
    path("sessions/<str:key>/metrics", history_api.MetricHistory.as_view(), name="api-metrics"),
    path("sessions/<str:key>/logs", api.LogList.as_view(), name="api-logs"),
    path("sessions/<str:key>/heartbeat", api.Heartbeat.as_view(), name="api-heartbeat"),
    path("sessions/<str:key>/finish", api.Finish.as_view(), name="api-finish"),
]
