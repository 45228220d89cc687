from django.urls import path

from loyalty_saas.console.views import activity, clients, overview, search, settings, team, wizard

app_name = "console"
urlpatterns = [
    path("", overview.overview, name="overview"),
    path("clients/", overview.clients, name="clients"),
    path("clients/add/", wizard.add_client, name="add_client"),
    path("clients/add/address/", wizard.address, name="address"),
    path("clients/add/<uuid:draft_id>/<int:number>/", wizard.draft, name="draft"),
    path("clients/add/<uuid:draft_id>/discard/", wizard.discard, name="discard"),
    path("clients/add/<uuid:draft_id>/again/", wizard.again, name="again"),
    path("clients/onboarding/<uuid:onboarding_id>/", wizard.onboarding, name="onboarding"),
    path("clients/<uuid:client_id>/", clients.client, name="client"),
    path("clients/<uuid:client_id>/recount/", clients.recount, name="recount"),
    path("clients/<uuid:client_id>/ledger/", clients.ledger, name="ledger"),
    path("clients/<uuid:client_id>/prove/", clients.prove, name="prove"),
    path("team/", team.team, name="team"),
    path("team/<uuid:grant_id>/remove/", team.remove, name="remove"),
    path("team/invitations/<uuid:invitation_id>/resend/", team.resend, name="resend"),
    path("team/invitations/<uuid:invitation_id>/withdraw/", team.withdraw, name="withdraw"),
    path("activity/", activity.activity, name="activity"),
    path("settings/", settings.settings, name="settings"),
    path("search/", search.search, name="search"),
]
