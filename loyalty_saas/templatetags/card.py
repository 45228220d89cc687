"""What the member's card needs in templates."""

from django import template

from loyalty_saas.branding import Look
from loyalty_saas.card import app

register = template.Library()


@register.simple_tag
def touch_icon(look: Look) -> str:
    """The address of the icon that iOS asks for."""
    return app.touch_icon(look)
