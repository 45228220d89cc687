"""What a member sees at a glance: balances, what comes and what goes, rewards and how far, the tier, the offer."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Final
from uuid import UUID

from django.utils import timezone
from django.utils.translation import gettext as _

from loyalty_saas.portal.shared import published
from loyalty_saas.sentences_program import figure_of_basis
from loyalty_saas.sentences_tiers import given, to_keep, to_reach
from loyalty_saas.templatetags.loyalty import day, number
from members.models import Lot
from members.queries import Balance, balances, tier_of
from programs.queries import ProgramInForce, products_by_sku
from rewards.models import OfferAssignment, Reward
from rewards.queries import current_offer, shelf

SOON: Final = timedelta(days=60)
"""How long before points lapse their day is said aloud."""
DAYS_SHOWN: Final = 4


@dataclass(frozen=True)
class Coming:
    """Points that become available on a day."""

    day: date
    amount: int


@dataclass(frozen=True)
class Purse:
    """What a member has of one unit."""

    have: Balance
    coming: Sequence[Coming] = ()
    lapses_soon: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever collected, or nothing is left of it."""
        return not (self.have.balance or self.have.pending or self.have.held or self.have.debt)


@dataclass(frozen=True)
class OnShelf:
    """A reward, and how far a member is from it."""

    reward: Reward
    unit: str
    decimals: int
    have: int

    @property
    def missing(self) -> int:
        """What is still to be collected."""
        return max(0, self.reward.price - self.have)

    @property
    def reached(self) -> int:
        """What counts towards it."""
        return max(0, min(self.have, self.reward.price))

    @property
    def share(self) -> float:
        """How much of the way is done."""
        return self.reached / self.reward.price


@dataclass(frozen=True)
class Rank:
    """The tier held, what it brings, and the way to the next."""

    name: str
    benefits: Sequence[str]
    reached: str
    next_name: str = ""
    next_missing: str = ""
    next_benefits: Sequence[str] = ()
    done: int = 0
    whole: int = 1
    keep_missing: str = ""
    next_said: str = ""
    given: str = ""


@dataclass(frozen=True)
class Glance:
    """All of a card's figures."""

    purses: Sequence[Purse]
    now: Sequence[OnShelf]
    ahead: Sequence[OnShelf]
    rank: Rank | None = None
    offer: OfferAssignment | None = None
    offer_reason: str = ""
    names: dict[str, str] = field(default_factory=dict)

    @property
    def first(self) -> Purse | None:
        """The purse that stands large on the card."""
        return self.purses[0] if self.purses else None

    @property
    def others(self) -> Sequence[Purse]:
        """Those beside it that hold something."""
        return [purse for purse in self.purses[1:] if not purse.is_empty]

    @property
    def next_reward(self) -> OnShelf | None:
        """The reward that is nearest among those not reached yet."""
        return max(self.ahead, key=lambda one: (one.share, -one.reward.price), default=None)


def glance_of(*, member_id: UUID, currency: str, at: datetime) -> Glance:
    """What a member's card shows."""
    program = published()
    purses = purses_of(member_id=member_id, program=program, at=at)
    now, ahead = rewards_of(purses)
    offer = current_offer(member_id)
    return Glance(
        purses=purses,
        now=now,
        ahead=ahead,
        rank=_rank(member_id=member_id, program=program, currency=currency, at=at),
        offer=offer,
        offer_reason=_because(offer) if offer else "",
    )


def purses_of(*, member_id: UUID, program: ProgramInForce | None, at: datetime) -> list[Purse]:
    """What a member has of each unit, in the program's order."""
    coming = _coming(member_id=member_id, at=at)
    order = [unit.code for unit in program.spec.units] if program else []
    found = [
        Purse(have, coming.get(have.unit.id, ()), bool(have.next_expiry and have.next_expiry - at <= SOON))
        for have in balances(member_id=member_id, at=at)
    ]
    known = [purse for purse in found if purse.have.unit.code in order or not purse.is_empty]
    return sorted(known, key=lambda purse: (*_place(purse.have.unit.code, order), purse.have.unit.code))


def rewards_of(purses: Sequence[Purse]) -> tuple[list[OnShelf], list[OnShelf]]:
    """The shelf: what can be had now, and what is ahead."""
    by_code = {purse.have.unit.code: purse.have for purse in purses}
    found = [
        OnShelf(reward, have.unit.name, have.unit.decimals, have.spendable)
        for reward in shelf()
        if (have := by_code.get(reward.unit_code))
    ]
    return [one for one in found if not one.missing], [one for one in found if one.missing]


def _place(code: str, order: list[str]) -> tuple[int]:
    return (order.index(code) if code in order else len(order),)


def _coming(*, member_id: UUID, at: datetime) -> dict[UUID, list[Coming]]:
    lots = Lot.objects.filter(account__member_id=member_id, remaining__gt=0, available_at__gt=at)
    rows = lots.order_by("account__unit_id", "available_at").values_list(
        "account__unit_id", "available_at", "remaining"
    )
    found = {}
    for unit_id, of_unit in groupby(rows, key=lambda row: row[0]):
        days = groupby(of_unit, key=lambda row: timezone.localtime(row[1]).date())
        found[unit_id] = [Coming(one, sum(row[2] for row in rows)) for one, rows in days][:DAYS_SHOWN]
    return found


# ── tiers ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _rank(*, member_id: UUID, program: ProgramInForce | None, currency: str, at: datetime) -> Rank | None:
    tiers = program.spec.tiers if program else None
    if program is None or tiers is None:
        return None
    view = tier_of(member_id=member_id, program=program, at=at)
    if view is None:
        return None
    levels = {level.code: level for level in tiers.levels}

    def said(amount: int) -> str:
        return figure_of_basis(amount, tiers, currency)

    ahead = levels.get(view.next_code)
    return Rank(
        name=view.name,
        benefits=levels[view.code].benefits if view.code in levels else (),
        reached=said(view.basis),
        next_name=view.next_name,
        next_missing=said(view.missing_to_next) if ahead else "",
        next_benefits=ahead.benefits if ahead else (),
        done=max(0, min(view.basis, ahead.enter)) if ahead else 1,
        whole=max(1, ahead.enter) if ahead else 1,
        keep_missing=to_keep(view, tiers, currency=currency),
        next_said=to_reach(view, tiers, currency=currency),
        given=given(view),
    )


# ── the offer, in words for the one it is made to ───────────────────────────────────────────────────────────────────


def _because(assignment: OfferAssignment) -> str:
    figures = assignment.figures
    values = {
        "n": number(int(figures.get("purchases") or 0)),
        "first": day(_day(figures.get("first_day"))),
        "last": day(_day(figures.get("last_day"))),
        "favourite": _name_of(str(figures.get("favourite") or "")),
    }
    words = {
        "favourite": _("Because you often choose %(favourite)s."),
        "new": _("Because you are new here: your first purchase was on %(first)s."),
        "regular": _("Because you come regularly: %(n)s purchases so far."),
        "champion": _("Because you are one of our most faithful: %(n)s purchases so far."),
        "slipping": _("Because we have not seen you since %(last)s."),
        "lapsed": _("Because we have not seen you since %(last)s."),
        "welcome": _("Because you have just joined."),
    }
    return words.get(assignment.reason, _("For all members.")) % values


def _name_of(sku: str) -> str:
    product = products_by_sku([sku]).get(sku) if sku else None
    return str(product or sku)


def _day(text: object) -> date | None:
    return date.fromisoformat(text) if isinstance(text, str) else None
