"""The addresses of the member's card."""

from django.urls import path

from loyalty_saas.card import app, leaving, views

app_name = "card"
urlpatterns = [
    path("", views.card, name="card"),
    path("sign-in/", views.sign_in, name="sign_in"),
    path("open/<str:token>/", views.open_card, name="open"),
    path("history/", views.history, name="history"),
    path("history/<uuid:entry_id>/", views.movement, name="movement"),
    path("rewards/", views.rewards, name="rewards"),
    path("me/", views.me, name="me"),
    path("me/language/", views.change_language, name="change_language"),
    path("me/allowed/", views.change_consent, name="change_consent"),
    path("me/phones/<uuid:session_id>/end/", views.end_phone, name="end_phone"),
    path("me/data/", views.download, name="download"),
    path("me/leave/", leaving.leave, name="leave"),
    path("sign-out/", views.sign_out, name="sign_out"),
    path("offline/", app.offline, name="offline"),
    path("manifest.webmanifest", app.manifest, name="manifest"),
    path("sw.js", app.service_worker, name="sw"),
    path("icons/<slug:kind>-<int:size>.png", app.icon, name="icon"),
]
