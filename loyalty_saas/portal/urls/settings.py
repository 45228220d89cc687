"""Settings of the client."""

from django.urls import path

from loyalty_saas.portal.views import settings

urlpatterns = [
    path("settings/", settings.settings, name="settings"),
    path("settings/look/", settings.look, name="look"),
    path("settings/locations/", settings.locations, name="locations"),
    path("settings/locations/<uuid:location_id>/", settings.location, name="location"),
    path("settings/locations/<uuid:location_id>/doors/", settings.location_doors, name="location_doors"),
    path("settings/products/", settings.products, name="products"),
    path("settings/products/new/", settings.new_product, name="new_product"),
    path("settings/products/<uuid:product_id>/", settings.product, name="product"),
    path("settings/data/", settings.data, name="data"),
    path("settings/data/members/", settings.export_data, {"what": "members"}, name="export_all_members"),
    path("settings/data/purchases/", settings.export_data, {"what": "purchases"}, name="export_purchases"),
    path("settings/data/points/", settings.export_data, {"what": "points"}, name="export_points"),
]
