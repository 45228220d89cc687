"""Overview, members, returns, imports, search."""

from django.urls import path

from loyalty_saas.portal.views import imports, member, member_changes, members, overview, returns, search

urlpatterns = [
    path("", overview.overview, name="overview"),
    path("when/", overview.heat, name="overview_heat"),
    path("search/", search.search, name="search"),
    path("members/", members.members, name="members"),
    path("members/new/", members.new_member, name="new_member"),
    path("members/export/", members.export_members, name="export_members"),
    path("members/<uuid:member_id>/", member.member, name="member"),
    path("members/<uuid:member_id>/identity/", member_changes.identity, name="identity"),
    path("members/<uuid:member_id>/identifiers/", member_changes.new_identifier, name="new_identifier"),
    path(
        "members/<uuid:member_id>/identifiers/<uuid:identifier_id>/remove/",
        member_changes.remove_identifier,
        name="drop_identifier",
    ),
    path("members/<uuid:member_id>/adjust/", member_changes.adjust, name="adjust"),
    path("members/<uuid:member_id>/merge/", member_changes.merge, name="merge"),
    path("members/<uuid:member_id>/card/", member_changes.card_link, name="card_link"),
    path("receipts/<uuid:purchase_id>/", member.receipt, name="receipt"),
    path("returns/", returns.parked, name="parked"),
    path("returns/<uuid:line_id>/dismiss/", returns.dismiss, name="dismiss"),
    path("imports/", imports.imports, name="imports"),
    path("imports/template.csv", imports.import_template, name="import_template"),
    path("imports/<uuid:job_id>/", imports.import_job, name="import_job"),
    path("imports/<uuid:job_id>/errors.csv", imports.import_errors, name="import_errors"),
]
