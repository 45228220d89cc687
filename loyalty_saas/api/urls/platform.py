"""The addresses under /api/ on the platform's host."""

from django.urls import include, path, re_path

from loyalty_saas.api.front import Description, Elsewhere, ProblemMeaning
from loyalty_saas.api.providers import ClientKpis, Clients, OneClient, OneOnboarding, ResumeClient, SuspendClient

app_name = "api"

_v1 = [
    path("clients", Clients.as_view(), name="clients"),
    path("clients/<str:slug>", OneClient.as_view(), name="client"),
    path("clients/<str:slug>/kpis", ClientKpis.as_view(), name="client-kpis"),
    path("clients/<str:slug>/suspend", SuspendClient.as_view(), name="client-suspend"),
    path("clients/<str:slug>/resume", ResumeClient.as_view(), name="client-resume"),
    path("onboardings/<str:onboarding>", OneOnboarding.as_view(), name="onboarding"),
    path("problems/<str:code>", ProblemMeaning.as_view(), name="problem"),
    path("schema/", Description.as_view(face="platform"), name="schema"),
    path("schema", Description.as_view(face="platform")),
]
urlpatterns = [path("v1/", include(_v1)), re_path(r"", Elsewhere.as_view(), name="elsewhere")]
