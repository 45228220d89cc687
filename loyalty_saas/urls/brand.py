"""The look of a house: its tokens and its logo, under addresses that change when it changes."""

from django.urls import path

from loyalty_saas import branding

app_name = "brand"
urlpatterns = [
    path("<uuid:brand_id>/<int:version>/tokens.css", branding.tokens_css, name="tokens"),
    path("<uuid:brand_id>/<int:version>/logo.png", branding.logo_png, name="logo"),
]
