"""What a clerk sees of a member: who it is, what there is, what can be redeemed now, what to say."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils.translation import gettext as _

from loyalty_saas.sentences import amount_of, why_offer
from loyalty_saas.sentences_program import figure_of_basis
from loyalty_saas.sentences_tiers import to_keep
from loyalty_saas.templatetags.loyalty import number
from loyalty_saas.till.work_find import masked, with_contacts
from members.models import Member
from members.queries import Balance, TierView, balances, tier_of
from members.services.refusals import UnknownMember
from programs.queries import NoProgram, ProgramInForce, Unit, program_in_force, units
from programs.rules import TierSetSpec
from rewards.models import OfferAssignment, Reward
from rewards.queries import shelf

ICONS = {Reward.Kind.PRODUCT: "gift", Reward.Kind.DISCOUNT: "badge-percent", Reward.Kind.MONEY: "banknote"}


@dataclass(frozen=True)
class Step:
    """The way to the next tier: what is missing in words, and how much of it is done."""

    name: str
    missing: str
    done: int
    whole: int


@dataclass(frozen=True)
class OnShelf:
    """A reward with its price in words, whether it can be had now, and what is missing if not."""

    reward: Reward
    icon: str
    price: str
    missing: str
    after: str
    # Whether others of the household pay a part of it.
    together: bool = False

    @property
    def is_near(self) -> bool:
        """Whether it can be had now."""
        return not self.missing


@dataclass(frozen=True)
class Panel:
    """A member at the till."""

    id: UUID
    name: str
    number: str
    contact: str
    since: datetime
    tier: str
    keep: str
    step: Step | None
    balances: tuple[Balance, ...]
    rewards: tuple[OnShelf, ...]
    next_reward: OnShelf | None
    offer: str
    reason: str

    @property
    def first(self) -> Balance | None:
        """What the member has of the program's first unit."""
        return self.balances[0] if self.balances else None

    @property
    def others(self) -> tuple[Balance, ...]:
        """What there is of the other units."""
        return tuple(one for one in self.balances[1:] if one.balance or one.pending)


def panel(*, member_id: UUID, currency: str, at: datetime) -> Panel:
    """All that the till shows of a member. :raises UnknownMember: if there is none"""
    member = _member(member_id)
    program = _program()
    held = _in_order(balances(member_id=member.pk, at=at, of=_units(program)), program=program)
    rewards = [_on_shelf(reward, held) for reward in shelf()]
    offer = getattr(member, "offer_assignment", None)
    offered: OfferAssignment | None = offer if offer and offer.offer.active else None
    tiers = program.spec.tiers if program else None
    view = tier_of(member_id=member.pk, program=program, at=at) if program else None
    return Panel(
        id=member.pk,
        name=member.name or "",
        number=member.number,
        contact=masked(member),
        since=member.joined_at,
        tier=view.name if view else "",
        step=_step(tiers, view, currency) if tiers and view else None,
        keep=to_keep(view, tiers, currency=currency) if tiers and view else "",
        balances=tuple(held),
        rewards=tuple(one for one in rewards if one.is_near),
        next_reward=next((one for one in rewards if not one.is_near), None),
        offer=offered.offer.text if offered else "",
        reason=why_offer(offered, currency=currency) if offered else "",
    )


def in_units(amount: int, unit: Unit) -> str:
    """An amount with its unit: 28 points."""
    return amount_of(amount, decimals=unit.decimals, unit=unit.name)


def _member(member_id: UUID) -> Any:
    found = Member.objects.filter(pk=member_id).select_related("tier_status", "offer_assignment__offer")
    row = with_contacts(found).first()
    if row is not None and row.merged_into_id:
        return _member(row.merged_into_id)
    if row is None or row.status != Member.Status.ACTIVE:
        raise UnknownMember(_("This membership is closed."), field="member")
    return row


def _program() -> ProgramInForce | None:
    try:
        return program_in_force()
    except NoProgram:
        return None


def _units(program: ProgramInForce | None) -> Sequence[Unit]:
    return list(program.units.values()) if program else units()


def _in_order(held: list[Balance], *, program: ProgramInForce | None) -> list[Balance]:
    """As the program names its units; those it names no more come last."""
    named = [unit.code for unit in program.spec.units] if program else []
    places = {code: place for place, code in enumerate(named)}
    return sorted(held, key=lambda one: (places.get(one.unit.code, len(places)), one.unit.code))


def _on_shelf(reward: Reward, held: Sequence[Balance]) -> OnShelf:
    mine = next((one for one in held if one.unit.code == reward.unit_code), None)
    icon = ICONS.get(Reward.Kind(reward.kind), "gift")
    if mine is None:
        return OnShelf(reward, icon, number(reward.price), number(reward.price), "")
    missing = max(0, reward.price - mine.spendable)
    return OnShelf(
        reward,
        icon,
        price=in_units(reward.price, mine.unit),
        missing=in_units(missing, mine.unit) if missing else "",
        after=in_units(max(mine.balance - reward.price, 0), mine.unit),
        together=reward.price > mine.available,
    )


def _step(tiers: TierSetSpec, view: TierView, currency: str) -> Step | None:
    level = next((one for one in tiers.levels if one.code == view.next_code), None)
    if level is None:
        return None
    # From the level held, whatever it took to enter it: the bar begins where the member stands safely.
    floor = next((one.keep for one in tiers.levels if one.code == view.code), 0)
    whole = max(1, level.enter - floor)
    done = min(whole, max(0, view.basis - floor))
    return Step(level.name, figure_of_basis(view.missing_to_next, tiers, currency), done, whole)
