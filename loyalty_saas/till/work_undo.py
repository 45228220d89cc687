"""The one thing a tap undoes: the last sale or reward of this till within ten minutes."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from babel.dates import format_time
from django.utils import timezone
from django.utils.translation import gettext as _

from loyalty_saas.templatetags.loyalty import money, viewer_locale
from loyalty_saas.till.work_rewards import last_redemption
from loyalty_saas.till.work_sales import UNDO_FOR, Stand, last_sale
from members.models import Purchase
from rewards.models import RewardIssue

SALE, REWARD = "sale", "reward"


@dataclass(frozen=True)
class Undoable:
    """What can be undone, how it is called on the button, and until when."""

    kind: str
    id: UUID
    words: str
    until: datetime


def last_done(*, stand: Stand, at: datetime) -> Undoable | None:
    """The last sale or reward of this till that can still be undone."""
    found = [
        *([of_sale(sale)] if (sale := last_sale(stand=stand, at=at)) else []),
        *([of_reward(issue)] if (issue := last_redemption(stand=stand, at=at)) else []),
    ]
    return max(found, key=lambda one: one.until, default=None)


def of_sale(sale: Purchase) -> Undoable:
    """A sale on the button: €6.20, 12:41."""
    words = _("%(what)s, %(time)s") % {"what": money(sale.amount, sale.currency), "time": _time(sale.received_at)}
    return Undoable(SALE, sale.pk, words, sale.received_at + UNDO_FOR)


def of_reward(issue: RewardIssue) -> Undoable:
    """A reward on the button: Free drink, 12:41."""
    words = _("%(what)s, %(time)s") % {"what": issue.reward.name, "time": _time(issue.at)}
    return Undoable(REWARD, issue.pk, words, issue.at + UNDO_FOR)


def _time(at: datetime) -> str:
    return str(format_time(timezone.localtime(at), format="short", locale=viewer_locale()))
