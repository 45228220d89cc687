"""The addresses on the platform's host."""

from django.conf import settings
from django.urls import include, path

from loyalty_saas import health, invitation
from loyalty_saas.styleguide import styleguide

handler500 = "loyalty_saas.failing.failed"
urlpatterns = [
    path("livez", health.livez, name="livez"),
    path("readyz", health.readyz, name="readyz"),
    path("api/", include("loyalty_saas.api.urls.platform")),
    path("", include("loyalty_saas.console.urls")),
    path("brand/", include("loyalty_saas.urls.brand")),
    path("invitation/<str:token>/", invitation.accept, name="invitation"),
    path("accounts/", include("loyalty_saas.urls.accounts")),
]
if settings.DEBUG:
    urlpatterns += [path("styleguide/", styleguide, name="styleguide")]
