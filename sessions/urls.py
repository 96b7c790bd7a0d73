from __future__ import annotations

from django.urls import path

from sessions import views

urlpatterns = [
    path("", views.home, name="home"),
    path("projects/<int:pk>", views.project, name="project"),
    path("sessions/<int:pk>/logs", views.logs, name="logs"),
]
