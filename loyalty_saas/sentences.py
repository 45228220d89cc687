"""Why points were given or not, and why an offer is made, in plain sentences."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from loyalty_saas.templatetags.loyalty import day, money, number
from members.models import LedgerEntry, RuleTrace
from programs.queries import ProgramInForce, products_by_sku
from programs.rules import Outcome
from rewards.models import OfferAssignment

_Words = Mapping[str, Callable[[], str]]


@dataclass(frozen=True)
class Why:
    """What one rule made of a purchase or activity, before it is put in words; amounts in the unit's smallest step."""

    rule: str
    unit: str
    decimals: int
    result: str
    amount: int
    reason: str
    detail: Mapping[str, Any]
    names: Mapping[str, str]

    @staticmethod
    def of_trace(trace: RuleTrace, *, names: Mapping[str, str]) -> "Why":
        """What was kept when the points were credited; `names` are those of the rules by code."""
        unit = trace.rule.unit
        return Why(
            trace.rule.name, unit.name, unit.decimals, trace.result, trace.amount, trace.reason, trace.detail, names
        )

    @staticmethod
    def of_outcome(outcome: Outcome, *, program: ProgramInForce) -> "Why":
        """What a rule would make of something that has not happened yet."""
        unit, names = program.units[outcome.unit], program.rule_names
        return Why(
            names[outcome.code],
            unit.name,
            unit.decimals,
            outcome.result,
            outcome.amount,
            outcome.reason,
            outcome.detail,
            names,
        )

    def points(self, amount: int) -> str:
        """An amount with its unit: 120 points."""
        return amount_of(amount, decimals=self.decimals, unit=self.unit)


def amount_of(steps: int, *, decimals: int, unit: str) -> str:
    """Smallest steps of a unit with its name: 1 point, 12 stamps, 8.00 Trip dollars."""
    values = {"n": number(steps, decimals), "unit": unit}
    if decimals:
        return _("%(n)s %(unit)s") % values
    if unit.casefold() in {"points", _("Points").casefold()}:
        return ngettext("%(n)s point", "%(n)s points", steps) % values
    if unit.casefold() in {"stamps", _("Stamps").casefold()}:
        return ngettext("%(n)s stamp", "%(n)s stamps", steps) % values
    return _("%(n)s %(unit)s") % values


def change_of(steps: int, *, decimals: int, unit: str) -> str:
    """An amount with its sign and its unit: +1 stamp, −12 stamps."""
    return f"{'−' if steps < 0 else '+'}{amount_of(abs(steps), decimals=decimals, unit=unit)}"


def why_points(why: Why) -> str:
    """Why a rule gave what it did, in a sentence: “Double coffee” gave 12 stamps."""
    words: dict[str, Callable[[Why], str]] = {
        "fired": _fired,
        "capped": _capped,
        "lost_to": _lost,
        "not_eligible": _not_eligible,
    }
    return words.get(why.result, _not_eligible)(why)


def _fired(why: Why) -> str:
    if why.reason == "taken_back":
        return _taken_back(why)
    said = _("“%(rule)s” gave %(points)s.") % {"rule": why.rule, "points": why.points(why.amount)}
    if lines := int(why.detail.get("lost_lines", 0)):
        said += " " + ngettext(
            "On %(n)d line “%(winner)s” counted instead.", "On %(n)d lines “%(winner)s” counted instead.", lines
        ) % {"n": lines, "winner": _name(why, str(why.detail.get("lost_to", "")))}
    return said + _kept(why)


def _kept(why: Why) -> str:
    """What of the amount goes on to the next time, or came from the last."""
    moved = int(why.detail.get("carried", 0))
    if moved > 0:
        return " " + _("What was left over counts the next time.")
    return " " + _("What was left over before counted as well.") if moved < 0 else ""


def _taken_back(why: Why) -> str:
    said = _("%(points)s given under “%(rule)s” were taken back.") % {
        "rule": why.rule,
        "points": why.points(abs(why.amount)),
    }
    if not why.amount:
        said = _("What had been left over under “%(rule)s” counts no more.") % {"rule": why.rule}
    elif forgiven := int(why.detail.get("forgiven", 0)):
        said += " " + _("%(points)s of them had been spent or had expired, and were let go.") % {
            "points": why.points(forgiven)
        }
    return said


def _capped(why: Why) -> str:
    values = {
        "rule": why.rule,
        "points": why.points(why.amount),
        "wanted": why.points(int(why.detail.get("before_cap", why.amount))),
        "cap": _cap(why.reason),
    }
    if why.amount:
        return _("“%(rule)s” gave %(points)s instead of %(wanted)s: %(cap)s.") % values + _kept(why)
    return _("“%(rule)s” gave nothing instead of %(wanted)s: %(cap)s.") % values


def _cap(reason: str) -> str:
    words: _Words = {
        "cap:per_purchase": lambda: _("the limit for one purchase was reached"),
        "cap:budget": lambda: _("what was set aside for this rule is used up"),
        "cap:limit": lambda: _("no single credit may be larger"),
        "cap:per_member:day": lambda: _("the member's limit for the day was reached"),
        "cap:per_member:week": lambda: _("the member's limit for the week was reached"),
        "cap:per_member:month": lambda: _("the member's limit for the month was reached"),
        "cap:per_member:year": lambda: _("the member's limit for the year was reached"),
        "cap:per_member:ever": lambda: _("the member has had all that this rule gives"),
    }
    return words.get(reason, lambda: _("a limit was reached"))()


def _lost(why: Why) -> str:
    values = {"rule": why.rule, "winner": _name(why, why.reason.partition(":")[2])}
    if would := int(why.detail.get("would_earn", 0)):
        return _("“%(rule)s” would have given %(points)s, but “%(winner)s” counted instead.") % {
            **values,
            "points": why.points(would),
        }
    return _("“%(rule)s” did not count: “%(winner)s” counted instead.") % values


def _name(why: Why, code: str) -> str:
    return why.names.get(code, code)


def _not_eligible(why: Why) -> str:
    if why.detail.get("carried"):
        return _("“%(rule)s” gave nothing yet: the amount counts towards the next point.") % {"rule": why.rule}
    if why.reason == "dismissed":
        said = _("“%(rule)s” gave nothing: it could not be credited, and was closed by hand: %(reason)s")
        return said % {"rule": why.rule, "reason": why.detail.get("why", "")}
    return _("“%(rule)s” did not apply: %(reason)s.") % {"rule": why.rule, "reason": _reason(why.reason)}


def _reason(reason: str) -> str:
    kind, _colon, about = reason.partition(":")
    if kind == "condition":
        return _CONDITIONS.get(about.partition(".")[0], lambda: _("one of its conditions did not hold"))()
    return _REASONS.get(kind, lambda: _("its conditions did not hold"))()


_REASONS: _Words = {
    "not_valid_yet": lambda: _("it was not valid yet on that day"),
    "no_longer_valid": lambda: _("it was no longer valid on that day"),
    "outside_schedule": lambda: _("it holds at other days or hours"),
    "visited_today": lambda: _("this day's visit had counted already"),
    "no_earning_line": lambda: _("nothing was bought that earns"),
    "too_small": lambda: _("the amount was too small"),
    "paid_by_points": lambda: _("what is paid by points earns nothing, and the rest was too small"),
}
_CONDITIONS: _Words = {
    "amount": lambda: _("the amount did not fit"),
    "category": lambda: _("it is for other categories"),
    "sku": lambda: _("it is for other articles"),
    "location": lambda: _("it is for other locations"),
    "channel": lambda: _("it is for another way of buying"),
    "weekday": lambda: _("it is for other days of the week"),
    "hour": lambda: _("it is for other hours of the day"),
    "tier": lambda: _("it is for another tier"),
    "segment": lambda: _("it is for other members"),
    "first_purchase": lambda: _("it depends on whether this is the first purchase"),
    "quantity": lambda: _("the quantity did not fit"),
    "activity": lambda: _("it is for another kind of activity"),
    "properties": lambda: _("its figures did not fit"),
}


# ── entries of the ledger ───────────────────────────────────────────────────────────────────────────────────────────


def what_happened(entry: LedgerEntry, *, together: int | None = None) -> str:
    """An entry of the ledger, or all that moved `together` with it, in a sentence: 120 points for purchase R-17."""
    unit = entry.account.unit
    points = amount_of(abs(entry.amount if together is None else together), decimals=unit.decimals, unit=unit.name)
    if entry.kind == LedgerEntry.Kind.EARN:
        return _("%(points)s for %(source)s.") % {"points": points, "source": _source(entry)}
    if entry.kind == LedgerEntry.Kind.REVERSE:
        return _("%(points)s taken back with %(source)s.") % {"points": points, "source": _source(entry)}
    if entry.kind in {LedgerEntry.Kind.ADJUST, LedgerEntry.Kind.MOVE}:
        return _moved(entry, points)
    if entry.kind == LedgerEntry.Kind.EXPIRE and entry.reason:
        return _("%(points)s lapsed: %(reason)s") % {"points": points, "reason": entry.reason}
    words: _Words = {
        LedgerEntry.Kind.SPEND: lambda: _("%(points)s spent on a reward."),
        LedgerEntry.Kind.RESTORE: lambda: _("%(points)s given back."),
        LedgerEntry.Kind.EXPIRE: lambda: _("%(points)s expired."),
    }
    return words[entry.kind]() % {"points": points}


def _moved(entry: LedgerEntry, points: str) -> str:
    if entry.kind == LedgerEntry.Kind.MOVE:
        return _went_over(entry, points)
    given, taken = _("%(points)s added by hand: %(reason)s"), _("%(points)s taken by hand: %(reason)s")
    return (given if entry.amount > 0 else taken) % {"points": points, "reason": entry.reason}


def _went_over(entry: LedgerEntry, points: str) -> str:
    """A move names the member at its other end, as `members.queries` has put it beside the entry."""
    came: _Words = {
        "transfer": lambda: _("%(points)s came from member %(number)s: %(reason)s"),
        "pool": lambda: _("%(points)s came from the household, from member %(number)s, for a reward."),
        "back": lambda: _("%(points)s came back from member %(number)s: the reward was not taken."),
        "move": lambda: _("%(points)s came over from another membership of the same person, %(number)s."),
    }
    went: _Words = {
        "transfer": lambda: _("%(points)s went to member %(number)s: %(reason)s"),
        "pool": lambda: _("%(points)s went to member %(number)s of the household, for a reward."),
        "back": lambda: _("%(points)s went back to member %(number)s: the reward was not taken."),
        "move": lambda: _("%(points)s went over to another membership of the same person, %(number)s."),
    }
    number_of_other = getattr(entry, "other_number", None) or "–"
    words = (came if entry.amount > 0 else went)[entry.key.partition(":")[0]]()
    return words % {"points": points, "number": number_of_other, "reason": entry.reason}


def _source(entry: LedgerEntry) -> str:
    if entry.purchase is not None:
        kinds: _Words = {
            "sale": lambda: _("purchase %(document)s"),
            "return": lambda: _("return %(document)s"),
            "void": lambda: _("the cancelled purchase %(document)s"),
        }
        return kinds[entry.purchase.kind]() % {"document": entry.purchase.document}
    return activity_words(entry.activity.kind if entry.activity else "")


def activity_words(kind: str) -> str:
    """A kind of activity as it stands in a sentence: the birthday, a trip."""
    activities: _Words = {
        "sign_up": lambda: _("joining"),
        "birthday": lambda: _("the birthday"),
        "visit": lambda: _("a visit"),
        "trip": lambda: _("a trip"),
        "review": lambda: _("a review"),
    }
    return activities.get(kind, lambda: kind.replace("_", " "))()


# ── offers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def why_offer(assignment: OfferAssignment, *, currency: str) -> str:
    """Why this member is made this offer, in a sentence that a clerk can say."""
    figures = assignment.figures
    values = {
        "n": number(int(figures.get("purchases") or 0)),
        "spend": money(int(figures.get("spend") or 0), currency),
        "first": day(_day(figures.get("first_day"))),
        "last": day(_day(figures.get("last_day"))),
        "favourite": _article(str(figures.get("favourite") or "")) if assignment.reason == "favourite" else "",
    }
    return _OFFERS.get(assignment.reason, lambda: _("It is for all members."))() % values


def _article(sku: str) -> str:
    """What the catalogue calls it."""
    product = products_by_sku([sku]).get(sku) if sku else None
    return product.name or sku if product else sku


def _day(text: Any) -> date | None:
    return date.fromisoformat(text) if isinstance(text, str) else None


_OFFERS: _Words = {
    "favourite": lambda: _("Bought most often: %(favourite)s."),
    "new": lambda: _("New here: the first purchase was on %(first)s."),
    "regular": lambda: _("Comes regularly: %(n)s purchases so far, the last on %(last)s."),
    "champion": lambda: _("One of the most faithful: %(n)s purchases for %(spend)s so far."),
    "slipping": lambda: _("Used to come more often: the last purchase was on %(last)s."),
    "lapsed": lambda: _("Has not been here for long: the last purchase was on %(last)s."),
    "welcome": lambda: _("Has not bought anything yet."),
}
