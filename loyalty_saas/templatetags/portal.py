"""Small words of the portal's lists."""

from django import template
from django.utils.translation import gettext as _

from loyalty_saas.templatetags.loyalty import number
from members.queries import MemberLine
from programs.queries import Unit

register = template.Library()


@register.simple_tag
def tier_name(names: dict[str, str], code: str) -> str:
    """The name of a tier; its code where the program in force does not know it."""
    return names.get(code, code)


@register.simple_tag
def held(line: MemberLine, unit: Unit | None) -> str:
    """What a member of a list has of a unit."""
    return number(line.balances.get(unit.id, 0), unit.decimals) if unit else "–"


@register.filter
def consent_name(purpose: str) -> str:
    """What somebody agreed to, in words; as it is written where we do not know it."""
    words = {
        "marketing": _("News and offers"),
        "marketing_email": _("News and offers by e-mail"),
        "marketing_sms": _("News and offers by text message"),
        "marketing_post": _("News and offers by post"),
        "profiling": _("Offers that fit their purchases"),
    }
    return words.get(purpose.replace("-", "_").replace(":", "_").replace(".", "_"), purpose)
