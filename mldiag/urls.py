from __future__ import annotations

from django.contrib import admin
from django.contrib.auth import views as auth
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView

import diagnostics.api_urls
import diagnostics.problem_api_urls
import diagnostics.problem_urls
import diagnostics.urls
import projects.api_urls
import projects.urls
import sessions.api_urls
import sessions.urls
from projects.throttling import patient

admin.site.site_header = admin.site.site_title = "mldiag"
admin.site.index_title = "Staff"

handler404 = "mldiag.errors.not_found"
handler500 = "mldiag.errors.server_error"

urlpatterns = [
    path("api/schema", SpectacularAPIView.as_view(), name="schema"),
    path("api/", include(projects.api_urls)),
    path("api/", include(sessions.api_urls)),
    path("api/", include(diagnostics.problem_api_urls)),
    path("diagnostics/", include(diagnostics.api_urls)),
    path("admin/login/", patient(admin.site.login)),
    path("admin/", admin.site.urls),
    path("accounts/login", patient(auth.LoginView.as_view(redirect_authenticated_user=True)), name="login"),
    path("accounts/logout", auth.LogoutView.as_view(), name="logout"),
    path(
        "accounts/password",
        auth.PasswordChangeView.as_view(success_url="/accounts/password/done"),
        name="password_change",
    ),
    path("accounts/password/done", auth.PasswordChangeDoneView.as_view(), name="password_change_done"),
    path("", include(projects.urls)),
    path("", include(sessions.urls)),
    path("", include(diagnostics.urls)),
    path("", include(diagnostics.problem_urls)),
]
