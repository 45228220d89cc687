"""The addresses of the pages for developers."""

from django.urls import path

from loyalty_saas.machines import views

app_name = "machines"
urlpatterns = [
    path("", views.overview, name="overview"),
    path("keys/new/", views.new_key, name="new_key"),
    path("keys/<uuid:key_id>/rotate/", views.rotate, name="rotate"),
    path("keys/<uuid:key_id>/revoke/", views.revoke, name="revoke"),
    path("requests/", views.requests, name="requests"),
    path("requests/<uuid:request_id>/", views.one_request, name="request"),
    path("reference/", views.read, name="reference"),
    path("reference/openapi.yaml", views.download, {"kind": "yaml"}, name="openapi_yaml"),
    path("reference/openapi.json", views.download, {"kind": "json"}, name="openapi_json"),
]
