"""The addresses on a client's host."""

from django.urls import include, path

from loyalty_saas import health, invitation

urlpatterns = [
    path("livez", health.livez, name="livez"),
    path("readyz", health.readyz, name="readyz"),
    path("api/", include("loyalty_saas.api.urls.client")),
    path("", include("loyalty_saas.portal.urls")),
    path("invitation/<str:token>/", invitation.accept, name="invitation"),
    path("accounts/", include("loyalty_saas.urls.accounts")),
]
