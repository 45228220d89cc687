"""The addresses on the platform's host."""

from django.urls import include, path

from loyalty_saas import health, invitation

urlpatterns = [
    path("livez", health.livez, name="livez"),
    path("readyz", health.readyz, name="readyz"),
    path("api/", include("loyalty_saas.api.urls.platform")),
    path("", include("loyalty_saas.console.urls")),
    path("invitation/<str:token>/", invitation.accept, name="invitation"),
    path("accounts/", include("loyalty_saas.urls.accounts")),
]
