from __future__ import annotations

from django.urls import path

from sessions import bulk_views, views

urlpatterns = [
    path("", views.home, name="home"),
    path("projects/<int:pk>", views.project, name="project"),
    path("projects/<int:pk>/sessions", bulk_views.change, name="change_sessions"),
    path("sessions/<int:pk>/logs", views.logs, name="logs"),
]
