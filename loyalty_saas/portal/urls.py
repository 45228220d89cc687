from django.urls import path

from loyalty_saas.portal import views

app_name = "portal"
urlpatterns = [
    path("", views.overview, name="overview"),
    path("program/", views.program, name="program"),
    path("members/", views.members, name="members"),
    path("members/<uuid:member_id>/", views.member, name="member"),
    path("returns/", views.parked, name="parked"),
    path("returns/<uuid:line_id>/dismiss/", views.dismiss, name="dismiss"),
    path("imports/", views.imports, name="imports"),
    path("imports/<uuid:job_id>/", views.import_job, name="import_job"),
    path("imports/<uuid:job_id>/errors.csv", views.import_errors, name="import_errors"),
]
