"""What is said of tills, PINs and locks, in the viewer's language."""

from datetime import datetime, timedelta
from math import ceil

from babel.dates import format_time
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from loyalty_saas.templatetags.loyalty import moment, viewer_locale


def until_words(until: datetime, *, at: datetime) -> str:
    """When a lock ends: 14:32, with the day if it is another one."""
    local = timezone.localtime(until)
    if local.date() == timezone.localtime(at).date():
        return str(format_time(local.time(), format="short", locale=viewer_locale()))
    return moment(until)


def minutes_words(left: timedelta) -> str:
    """How much is left of something short: 14 minutes."""
    minutes = max(ceil(left.total_seconds() / 60), 1)
    return ngettext("%(n)s minute", "%(n)s minutes", minutes) % {"n": minutes}


def wrong_pin(left: int) -> str:
    """That clerk and PIN do not fit together, and what is left."""
    if left < 1:
        return _("That PIN is not right.")
    tries = ngettext("%(n)s try left.", "%(n)s tries left.", left) % {"n": left}
    return _("That PIN is not right. %(tries)s") % {"tries": tries}


def clerk_locked(name: str, until: datetime, *, at: datetime) -> str:
    """That a clerk's PIN was wrong too often."""
    return _("Too many wrong PINs for %(name)s. Locked until %(until)s.") % {
        "name": name,
        "until": until_words(until, at=at),
    }


def till_locked(until: datetime, *, at: datetime) -> str:
    """That this device, or its location, saw too many wrong PINs."""
    return _("Too many wrong PINs here. This till stays locked until %(until)s, or until a manager opens it.") % {
        "until": until_words(until, at=at)
    }


def weak_pin(why: str) -> str:
    """Why a PIN will not do."""
    if why == "shape":
        return _("A PIN has 4 to 8 digits; 6 are best.")
    return _("This PIN would be guessed first. Choose one without runs or repeated digits.")
