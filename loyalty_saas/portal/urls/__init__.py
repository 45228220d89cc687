"""The addresses of the portal, by what they are about."""

from loyalty_saas.portal.urls import people, program, settings, staff

app_name = "portal"
urlpatterns = [*people.urlpatterns, *program.urlpatterns, *settings.urlpatterns, *staff.urlpatterns]
