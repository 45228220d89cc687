"""Finding members, and lists of them."""

from calendar import isleap
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from django.db import connections
from django.db.models import Exists, FilteredRelation, OuterRef, Prefetch, Q, QuerySet

from members.models import (
    Consent,
    Identifier,
    Insight,
    Member,
    PointsAccount,
    TierStatus,
)
from tenants.routers import CLIENT


def member_ids_for(values: Sequence[str]) -> dict[str, UUID]:
    """The active members that identifiers or member numbers lead to; a merged one leads to the member it became."""
    if not values:
        return {}
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(_FIND, {"values": list(values)})
        return dict(cursor.fetchall())


def find_members(text: str, *, also: Sequence[str] = (), limit: int = 20) -> QuerySet[Member]:
    """
    Members for one search field: whom an identifier or number leads to, else those whose name contains the text.

    `also` are further spellings, such as a phone number with the code of the country.
    """
    found = _by_text(text, also=also).filter(status=Member.Status.ACTIVE)
    return found.select_related("identity", "insight").order_by("pk")[:limit]


def _by_text(text: str, *, also: Sequence[str] = ()) -> QuerySet[Member]:
    bare = text.strip()
    exact = [bare, bare.lower(), bare.upper(), bare.replace(" ", "").upper(), *also]
    if any(c.isdigit() for c in bare):
        exact.append("+" + "".join(c for c in bare if c.isdigit()))
    found = set(member_ids_for(list(dict.fromkeys(exact))).values())
    return Member.objects.filter(pk__in=found) if found else Member.objects.filter(identity__name__icontains=bare)


def member_by_id(member_id: UUID) -> Member | None:
    """The member with everything its page shows in the head."""
    return (
        Member.objects.select_related("identity", "insight", "tier_status")
        .prefetch_related("identifiers")
        .filter(pk=member_id)
        .first()
    )


@dataclass(frozen=True)
class Asked:
    """Whom a list is to show; what is empty does not matter. Of `has`, ``no-`` before a kind means without one."""

    text: str = ""
    also: tuple[str, ...] = ()
    segment: str = ""
    tier: str | None = None
    has: str = ""
    joined_from: datetime | None = None
    joined_before: datetime | None = None


NO_SEGMENT = "none"


"""Members who have not bought anything."""


MARKETING = "marketing"


"""The consent to news by all channels; those to one channel begin with it."""


def listed(asked: Asked, *, unit_id: UUID | None = None) -> QuerySet[Member]:
    """Active members whom a list asks for; ``account__balance`` is what they have of the unit."""
    found = _by_text(asked.text, also=asked.also) if asked.text else Member.objects.all()
    account = FilteredRelation("accounts", condition=Q(accounts__unit=unit_id))
    found = found.filter(status=Member.Status.ACTIVE).alias(account=account)
    if asked.segment == NO_SEGMENT:
        found = found.filter(~Exists(Insight.objects.filter(pk=OuterRef("pk")).exclude(segment="")))
    elif asked.segment:
        found = found.filter(insight__segment=asked.segment)
    if asked.tier is not None:
        found = found.filter(tier_status__tier=asked.tier) if asked.tier else found.filter(_without_tier())
    if asked.joined_from:
        found = found.filter(joined_at__gte=asked.joined_from)
    if asked.joined_before:
        found = found.filter(joined_at__lt=asked.joined_before)
    return found.filter(_reached_by(asked.has)) if asked.has else found


def _without_tier() -> Q:
    return Q(~Exists(TierStatus.objects.filter(pk=OuterRef("pk")).exclude(tier="")))


def _reached_by(has: str) -> Q:
    found = Exists(Identifier.objects.filter(member=OuterRef("pk"), kind=has.removeprefix("no-")))
    return ~Q(found) if has.startswith("no-") else Q(found)


@dataclass(frozen=True)
class MemberLine:
    """One member as a list shows it: what they have by unit, and what they allowed last."""

    member: Member
    balances: dict[UUID, int]
    consents: dict[str, tuple[bool, datetime]]

    @property
    def agrees_to_news(self) -> bool:
        """Whether news may be sent by any channel: what was said last counts, for all channels or for one."""
        said = {purpose: one for purpose, one in self.consents.items() if purpose.startswith(MARKETING)}
        withdrawn = next((at for granted, at in [said[MARKETING]] if not granted), None) if MARKETING in said else None
        return any(granted and (withdrawn is None or at > withdrawn) for granted, at in said.values())

    def identifier(self, kind: str) -> str:
        """One of their identifiers of that kind, or nothing."""
        return next((one.value for one in self.member.identifiers.all() if one.kind == kind), "")


def member_lines(member_ids: Sequence[UUID], *, with_consents: bool = False) -> list[MemberLine]:
    """These members in that order, with all that a list shows of them, in the same few queries for any number."""
    members = (
        Member.objects.select_related("identity", "insight", "tier_status")
        .prefetch_related(Prefetch("identifiers", Identifier.objects.order_by("pk")))
        .in_bulk(list(member_ids))
    )
    held: dict[UUID, dict[UUID, int]] = {member_id: {} for member_id in member_ids}
    accounts = PointsAccount.objects.filter(member__in=held).values_list("member_id", "unit_id", "balance")
    for member_id, unit_id, balance in accounts:
        held[member_id][unit_id] = balance
    allowed = _allowed(member_ids) if with_consents else {}
    return [MemberLine(members[one], held[one], allowed.get(one, {})) for one in member_ids if one in members]


def _allowed(member_ids: Sequence[UUID]) -> dict[UUID, dict[str, tuple[bool, datetime]]]:
    newest = Consent.objects.filter(member__in=list(member_ids)).order_by("member", "purpose", "-at", "-pk")
    allowed: dict[UUID, dict[str, tuple[bool, datetime]]] = {}
    rows = newest.distinct("member", "purpose").values_list("member_id", "purpose", "granted", "at")
    for member_id, purpose, granted, at in rows:
        allowed.setdefault(member_id, {})[purpose] = (granted, at)
    return allowed


def family_of(member_id: UUID) -> list[UUID]:
    """The member and those merged into it: what they bought and held before keeps its rows."""
    return [member_id, *Member.objects.filter(merged_into=member_id).values_list("pk", flat=True)]


def consents_of(member_ids: Sequence[UUID]) -> QuerySet[Consent]:
    """All that was allowed or withdrawn, newest first."""
    return Consent.objects.filter(member__in=list(member_ids)).order_by("-at", "-pk")


def birthdays_on(day: date) -> list[UUID]:
    """Active members whose birthday it is; those born on 29 February celebrate on the 28th in other years."""
    days = [(day.month, day.day)]
    if (day.month, day.day) == (2, 28) and not isleap(day.year):
        days.append((2, 29))
    born = Q()
    for month, number in days:
        born |= Q(identity__birthday__month=month, identity__birthday__day=number)
    return list(Member.objects.filter(born, status=Member.Status.ACTIVE).order_by("pk").values_list("pk", flat=True))


_FIND = """
    WITH wanted AS (SELECT DISTINCT v FROM unnest(%(values)s::text[]) AS r(v)),
    found AS (
        SELECT w.v, i.member_id AS id FROM wanted w JOIN members_identifier i ON i.value = w.v
        UNION SELECT w.v, m.id FROM wanted w JOIN members_member m ON m.number = w.v
        UNION SELECT w.v, m.id FROM wanted w JOIN members_member m
            ON m.id = CASE WHEN w.v ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN w.v::uuid END
    )
    SELECT f.v, min(COALESCE(m.merged_into_id, m.id)::text)::uuid FROM found f JOIN members_member m ON m.id = f.id
    WHERE m.status <> 'closed' GROUP BY f.v HAVING count(DISTINCT COALESCE(m.merged_into_id, m.id)) = 1
"""
