"""
Households: members who spend together.

What one of them lacks for a reward comes from the others, lot by lot with its dates, in the transaction that holds it;
what was lent for a reward that is not taken after all goes back.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from django.utils.translation import gettext as _

from members import ledger
from members.ledger import NotEnoughPoints
from members.models import Hold, Household, HouseholdMember, LedgerEntry, Member
from members.services.refusals import Refused, UnknownMember
from programs.queries import Unit

# All of them are locked for a reward that one of them cannot pay alone.
MOST_MEMBERS: Final = 20


class UnknownHousehold(Refused):
    """There is no such household, or it has ended."""

    code = "unknown_household"


def make_household(*, name: str, member_ids: Sequence[UUID], at: datetime) -> Household:
    """Make a household of some members, inside the caller's transaction. :raises Refused: as `add_to_household`"""
    if not name.strip() or not member_ids:
        raise Refused(_("Give a name and at least one member."), field="members" if name.strip() else "name")
    ledger.lock(member_ids)
    household = Household.objects.create(name=name.strip(), made_at=at)
    for member_id in dict.fromkeys(member_ids):
        add_to_household(household_id=household.pk, member_id=member_id, at=at)
    return household


def add_to_household(*, household_id: UUID, member_id: UUID, at: datetime) -> HouseholdMember:
    """
    Let a member spend with a household; again changes nothing.

    :raises UnknownHousehold: it has ended
    :raises Refused: the member is in another household, is closed or merged, or the household is full
    """
    ledger.lock([member_id])
    household = _open(household_id)
    member = Member.objects.filter(pk=member_id).first()
    if member is None:
        raise UnknownMember(_("No such member."), field="member")
    if member.status != Member.Status.ACTIVE:
        raise Refused(_("This member is merged or closed already."), field="member")
    if known := HouseholdMember.objects.filter(member=member_id, left_at=None).first():
        if known.household_id == household.pk:
            return known
        raise Refused(_("This member is in another household already."), field="member")
    if HouseholdMember.objects.filter(household=household, left_at=None).count() >= MOST_MEMBERS:
        raise Refused(_("A household has at most %(n)s members.") % {"n": MOST_MEMBERS}, field="member")
    return HouseholdMember.objects.create(household=household, member_id=member_id, joined_at=at)


def remove_from_household(*, household_id: UUID, member_id: UUID, at: datetime) -> Household:
    """Let a member go with their own points; again changes nothing. The household ends when its last member leaves."""
    ledger.lock([member_id])
    household = Household.objects.select_for_update().filter(pk=household_id).first()
    if household is None:
        raise UnknownHousehold(_("There is no such household."), field="household")
    HouseholdMember.objects.filter(household=household, member=member_id, left_at=None).update(left_at=at)
    if household.ended_at is None and not HouseholdMember.objects.filter(household=household, left_at=None).exists():
        household.ended_at = at
        household.save(update_fields=["ended_at"])
    return household


def end_household(*, household_id: UUID, at: datetime) -> Household:
    """End a household; each goes with their own points. Again changes nothing."""
    members = HouseholdMember.objects.filter(household=household_id, left_at=None)
    ledger.lock(members.values_list("member_id", flat=True))
    household = Household.objects.select_for_update().filter(pk=household_id).first()
    if household is None:
        raise UnknownHousehold(_("There is no such household."), field="household")
    members.update(left_at=at)
    if household.ended_at is None:
        household.ended_at = at
        household.save(update_fields=["ended_at"])
    return household


def hand_on(*, kept_id: UUID, double_id: UUID, at: datetime) -> None:
    """Two memberships of one person become one: the member kept takes the double's place, unless they have one."""
    place = HouseholdMember.objects.filter(member=double_id, left_at=None).first()
    if place is None:
        return
    if not HouseholdMember.objects.filter(member=kept_id, left_at=None).exists():
        HouseholdMember.objects.create(household_id=place.household_id, member_id=kept_id, joined_at=at)
    remove_from_household(household_id=place.household_id, member_id=double_id, at=at)


def _open(household_id: UUID) -> Household:
    household = Household.objects.select_for_update().filter(pk=household_id, ended_at=None).first()
    if household is None:
        raise UnknownHousehold(_("There is no such household."), field="household")
    return household


# ── spending together ───────────────────────────────────────────────────────────────────────────────────────────────


def mates_of(member_id: UUID) -> list[UUID]:
    """Those who spend with a member now."""
    mine = HouseholdMember.objects.filter(member=member_id, left_at=None).values("household")
    mates = HouseholdMember.objects.filter(household__in=mine, left_at=None).exclude(member=member_id)
    return list(mates.values_list("member_id", flat=True))


def fill_up(*, book: ledger.Book, account: ledger.Account, unit: Unit, amount: int, tag: str) -> None:
    """
    Move to an account what it lacks of `amount` from the others of the book, soonest expiry first.

    A debt of the one who spends is made up for first, since whatever arrives pays it.

    :raises NotEnoughPoints: if they do not have it together
    """
    missing = amount - account.available(book.at) + account.debt
    others = [one for one in book.accounts(unit=unit) if one is not account]
    owners = {lot_id: one for one in others for lot_id in one.lots}
    parts = ledger.pick(lots=[lot for one in others for lot in one.lots.values()], amount=missing, at=book.at)
    shared = sum(part for _lot, part in parts)
    if shared < missing:
        together = account.available(book.at) + max(shared - account.debt, 0)
        raise NotEnoughPoints(asked=amount, available=together)
    for lot, part in parts:
        cause = ledger.Cause(key=f"{tag}:{lot.entry_id}", occurred_at=book.at)
        book.move_part(source=owners[lot.entry_id], target=account, unit=unit, lot=lot, amount=part, cause=cause)


def lenders_of(holds: Sequence[Hold]) -> dict[UUID, list[tuple[LedgerEntry, int]]]:
    """What holds pin of points that others of the household lent for them: the entries by which it came, by hold."""
    keys = {str(hold.pk): hold.pk for hold in holds}
    lent: dict[UUID, list[tuple[LedgerEntry, int]]] = {}
    rows = LedgerEntry.objects.filter(lot__holds__hold__in=list(holds), kind=LedgerEntry.Kind.MOVE, key__startswith=TAG)
    pinned = rows.values_list("pk", "lot__holds__hold_id", "lot__holds__amount")
    found = {entry.pk: entry for entry in rows.select_related("corrects__account__member")}
    for entry_id, hold_id, amount in pinned:
        entry = found[entry_id]
        if keys.get(entry.key.split(":")[1]) == hold_id:
            lent.setdefault(hold_id, []).append((entry, amount))
    return lent


def lender_id(entry: LedgerEntry) -> UUID:
    """Whose points came by an entry: the member's, or whom they have become."""
    if entry.corrects is None:
        raise ValueError("An entry that lends names the one by which the points left.")
    member = entry.corrects.account.member
    return member.merged_into_id or member.pk


def give_back(
    *, hold: Hold, spender_id: UUID, lent: Sequence[tuple[LedgerEntry, int]], unit: Unit, at: datetime, zone: ZoneInfo
) -> None:
    """Give what was lent for a hold that nobody captured back to those it came from, with its dates."""
    book = ledger.Book(member_ids=[spender_id, *{lender_id(entry) for entry, _n in lent}], at=at, zone=zone)
    account = book.account(member_id=spender_id, unit=unit)
    for entry, amount in lent:
        lot = account.lots.get(entry.pk)
        if lot is None or lender_id(entry) == spender_id:
            continue
        target = book.account(member_id=lender_id(entry), unit=unit)
        cause = ledger.Cause(key=f"{BACK}{hold.pk}:{entry.pk}", occurred_at=at)
        part = min(amount, lot.remaining - lot.held)
        book.move_part(source=account, target=target, unit=unit, lot=lot, amount=part, cause=cause)
    book.write()


TAG: Final = "pool:"
BACK: Final = "back:"
