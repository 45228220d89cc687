"""What is missing to rise to a tier and to keep one, and until when one was given, in words for member and clerk."""

from datetime import timedelta

from django.utils import timezone
from django.utils.translation import gettext as _

from loyalty_saas.sentences_program import figure_of_basis
from loyalty_saas.templatetags.loyalty import day
from members.queries import TierView
from programs.rules import TierSetSpec


def to_keep(tier: TierView, tiers: TierSetSpec, *, currency: str) -> str:
    """Spend €120.00 more by 31 December 2026 to keep Gold; nothing where it is safe."""
    if not tier.missing_to_keep or not tier.earned_name:
        return ""
    words = {
        "spend": _("Spend %(figure)s more by %(day)s to keep %(tier)s."),
        "count": _("%(figure)s more by %(day)s to keep %(tier)s."),
        "earned": _("Earn %(figure)s more by %(day)s to keep %(tier)s."),
        "quantity": _("%(figure)s more by %(day)s to keep %(tier)s."),
    }
    figure = figure_of_basis(tier.missing_to_keep, tiers, currency)
    return words[tiers.basis] % {"figure": figure, "day": day(tier.keep_by), "tier": tier.earned_name}


def to_reach(tier: TierView, tiers: TierSetSpec, *, currency: str) -> str:
    """Spend €380.00 more by 31 December 2026 to reach Gold; without a day where figures never begin anew."""
    if not tier.next_name:
        return ""
    words = {
        "spend": _("Spend %(figure)s more to reach %(tier)s."),
        "count": _("%(figure)s more to reach %(tier)s."),
        "earned": _("Earn %(figure)s more to reach %(tier)s."),
        "quantity": _("%(figure)s more to reach %(tier)s."),
    }
    by_a_day = {
        "spend": _("Spend %(figure)s more by %(day)s to reach %(tier)s."),
        "count": _("%(figure)s more by %(day)s to reach %(tier)s."),
        "earned": _("Earn %(figure)s more by %(day)s to reach %(tier)s."),
        "quantity": _("%(figure)s more by %(day)s to reach %(tier)s."),
    }
    figure = figure_of_basis(tier.missing_to_next, tiers, currency)
    values = {"figure": figure, "day": day(tier.next_by), "tier": tier.next_name}
    return (by_a_day if tier.next_by else words)[tiers.basis] % values


def given(tier: TierView) -> str:
    """Gold is a gift until 31 May 2027; nothing where it was earned."""
    if not tier.is_granted or tier.granted_until is None:
        return ""
    last = timezone.localtime(tier.granted_until - timedelta(seconds=1)).date()
    return _("%(tier)s was given until %(day)s.") % {"tier": tier.name, "day": day(last)}
