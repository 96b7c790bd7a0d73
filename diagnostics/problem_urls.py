from __future__ import annotations

from django.urls import path

from diagnostics import problem_views as views

urlpatterns = [
    path("problems", views.inbox, name="problems"),
    path("problems/actions", views.act, name="problem_actions"),
    path("problems/<int:pk>", views.problem, name="problem"),
    path("problems/searches/<int:pk>/delete", views.forget_search, name="forget_search"),
    path("projects/<int:pk>/problems", views.of_project, name="project_problems"),
    path("projects/<int:pk>/problems/searches", views.save_search, name="save_search"),
    path("projects/<int:pk>/problems/settings", views.save_settings, name="problem_settings"),
]
