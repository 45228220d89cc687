"""The till: an enrolled device at a location, unlocked by a clerk's PIN."""

from django.urls import path

from loyalty_saas.till import access, views

app_name = "till"
urlpatterns = [
    path("", views.till, name="till"),
    path("enrol/", access.enrol, name="enrol"),
    path("lock/", access.lock, name="lock"),
    path("unlock/", access.unlock, name="unlock"),
    path("leave/", access.leave, name="leave"),
    path("awake/", access.awake, name="awake"),
    path("sw.js", views.service_worker, name="service_worker"),
    path("find/", views.find, name="find"),
    path("preview/", views.preview, name="preview"),
    path("articles/", views.articles, name="articles"),
    path("sales/", views.record, name="record"),
    path("sales/<uuid:purchase_id>/", views.credited, name="credited"),
    path("undo/", views.undo, name="undo"),
    path("members/", views.join, name="join"),
    path("members/<uuid:member_id>/", views.member, name="member"),
    path("members/<uuid:member_id>/returns/", views.returns, name="returns"),
    path("rewards/", views.redeem, name="redeem"),
    path("rewards/<uuid:issue_id>/", views.hand_over, name="hand_over"),
    path("sync/", views.sync, name="sync"),
]
