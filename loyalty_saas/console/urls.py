from django.urls import path

from loyalty_saas.console import views

app_name = "console"
urlpatterns = [
    path("", views.overview, name="overview"),
    path("clients/add/", views.add_client, name="add_client"),
    path("clients/onboarding/<uuid:onboarding_id>/", views.onboarding, name="onboarding"),
]
