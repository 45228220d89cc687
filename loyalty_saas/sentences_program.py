"""What a program promises, in plain sentences made from its structure alone: rules, tiers, units, rewards, offers."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction

from babel.numbers import format_currency, format_decimal, get_currency_precision
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from loyalty_saas.sentences import amount_of
from loyalty_saas.sentences_conditions import condition_clause
from loyalty_saas.sentences_words import Wording, and_list, clock, quoted, segment_name, spelt, weekday_name
from loyalty_saas.templatetags.loyalty import day, money, number, quantity, viewer_locale
from programs.rules import (
    Caps,
    Condition,
    MemberCap,
    OfferSpec,
    RewardSpec,
    RuleSpec,
    Schedule,
    TierSetSpec,
    TierSpec,
    UnitSpec,
    over,
)

_WEEK = (1, 2, 3, 4, 5, 6, 7)
_Words = Mapping[str, Callable[[], str]]

# ── rules ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def rule_sentence(rule: RuleSpec, wording: Wording) -> str:
    """A whole rule: 1 point for every whole €1.00 of a purchase, on Saturday, at most 50 points per member and day."""
    return _sentence(_clauses(rule, wording))


def _clauses(rule: RuleSpec, wording: Wording) -> Iterator[str]:
    yield _occasion(rule) % {"gain": _gain(rule, wording), "activity": _only_activity(rule)}
    yield from _fine_points(rule)
    named, by_item = _named_activity(rule), rule.trigger == "line"
    yield from (condition_clause(one, wording, by_item=by_item) for one in rule.conditions if one is not named)
    if rule.schedule is not None:
        yield schedule_clause(rule.schedule)
    yield from _validity(rule)
    yield from _caps(rule.caps, rule.unit, wording)
    yield from _rank(rule)


def _sentence(clauses: Iterable[str]) -> str:
    said = ""
    for clause in clauses:
        said = _("%(before)s, %(clause)s") % {"before": said, "clause": clause} if said else clause
    return _("%(said)s.") % {"said": said[:1].upper() + said[1:]}


def _gain(rule: RuleSpec, wording: Wording) -> str:
    """What the effect gives, without when."""
    effect, points = rule.effect, wording.amount(rule.effect.points, rule.unit)
    match effect.kind:
        case "per_amount":
            words = _("%(points)s for every whole %(per)s") if _is_whole(rule) else _("%(points)s for every %(per)s")
            return words % {"points": points, "per": money(effect.per, wording.currency)}
        case "per_quantity":
            return _per_quantity(rule, points)
        case "fixed":
            return points
        case "table":
            return _table(rule, wording)
        case "multiplier":
            return _multiple(rule, wording)


def _is_whole(rule: RuleSpec) -> bool:
    return rule.effect.points == 1 and rule.rounding == "down" and rule.remainder == "drop"


def _per_quantity(rule: RuleSpec, points: str) -> str:
    effect = rule.effect
    values = {"points": points, "n": number(effect.per), "property": spelt(effect.property)}
    if effect.property == "quantity":
        return ngettext("%(points)s for every piece", "%(points)s for every %(n)s pieces", effect.per) % values
    each, some = _("%(points)s for each of the %(property)s"), _("%(points)s for every %(n)s of the %(property)s")
    return (each if effect.per == 1 else some) % values


def _table(rule: RuleSpec, wording: Wording) -> str:
    steps = and_list(
        _("%(points)s from %(bound)s")
        % {"points": wording.amount(points, rule.unit), "bound": quantity(Decimal(bound))}
        for bound, points in rule.effect.steps
    )
    if rule.effect.property == "quantity":
        return _("by the number of pieces (%(steps)s)") % {"steps": steps}
    return _("by the number of %(property)s (%(steps)s)") % {"property": spelt(rule.effect.property), "steps": steps}


def _multiple(rule: RuleSpec, wording: Wording) -> str:
    values = {
        "factor": format_decimal(rule.effect.factor, format="#,##0.####", locale=viewer_locale()),
        "unit": wording.unit_name(rule.unit),
        "rules": and_list(quoted(wording.rules.get(code, code)) for code in rule.effect.of),
    }
    if rule.effect.of:
        return _("%(factor)s times the %(unit)s of %(rules)s") % values
    return _("%(factor)s times the %(unit)s of all other rules") % values


def _occasion(rule: RuleSpec) -> str:
    """When the effect is given, as a sentence that `gain` goes into."""
    if rule.effect.kind == "per_amount":
        of_amount: _Words = {
            "line": lambda: _("%(gain)s of each item of a purchase"),
            "purchase": lambda: _("%(gain)s of a purchase"),
            "visit": lambda: _("%(gain)s of the first visit of a day"),
            "activity": lambda: _("%(gain)s of the amount of an activity"),
        }
        return of_amount.get(rule.trigger, lambda: _("%(gain)s of the amount"))() + _with_activity(rule)
    words: _Words = {
        "line": lambda: _("%(gain)s on each item of a purchase"),
        "purchase": lambda: _("%(gain)s with a purchase"),
        "visit": lambda: _("%(gain)s for the first visit of a day"),
        "activity": lambda: _("%(gain)s for the activity “%(activity)s”"),
        "sign_up": lambda: _("%(gain)s for joining"),
        "birthday": lambda: _("%(gain)s for the birthday"),
    }
    if rule.trigger == "activity" and _named_activity(rule) is None:
        return _("%(gain)s for any activity")
    if rule.trigger == "line" and rule.effect.kind == "per_quantity":
        return _("%(gain)s bought, item by item")
    return words[rule.trigger]()


def _with_activity(rule: RuleSpec) -> str:
    return " " + _("“%(activity)s”") if _named_activity(rule) is not None else ""


def _named_activity(rule: RuleSpec) -> Condition | None:
    """The condition that names the one activity a rule is for: it is said at the beginning."""
    named = [one for one in rule.conditions if (one.field, one.op) == ("activity", "eq")]
    return named[0] if rule.trigger == "activity" and len(named) == 1 else None


def _only_activity(rule: RuleSpec) -> str:
    named = _named_activity(rule)
    return spelt(str(named.value)) if named else ""


def _fine_points(rule: RuleSpec) -> Iterator[str]:
    if rule.effect.kind not in ("per_amount", "per_quantity"):
        return
    if rule.remainder == "carry":
        yield _("with the rest kept for the next time")
    elif rule.rounding == "up":
        yield _("rounded up")
    elif rule.rounding == "nearest":
        yield _("rounded to the nearest")
    elif not _is_whole(rule):
        yield _("rounded down")


# ── when, how much ──────────────────────────────────────────────────────────────────────────────────────────────────


def schedule_clause(schedule: Schedule) -> str:
    """On Tuesday and Wednesday from 14:00 to 17:00."""
    days = _days(schedule.weekdays)
    if schedule.starts is None or schedule.ends is None:
        return days
    values = {"days": days, "starts": clock(schedule.starts), "ends": clock(schedule.ends)}
    if schedule.starts < schedule.ends:
        return _("%(days)s from %(starts)s to %(ends)s") % values
    return _("%(days)s from %(starts)s to %(ends)s of the next day") % values


def _days(weekdays: Sequence[int]) -> str:
    if tuple(weekdays) == _WEEK:
        return _("every day")
    if len(weekdays) > 2 and weekdays[-1] - weekdays[0] == len(weekdays) - 1:
        return _("%(first)s to %(last)s") % {"first": weekday_name(weekdays[0]), "last": weekday_name(weekdays[-1])}
    return _("on %(days)s") % {"days": and_list(map(weekday_name, weekdays))}


def _validity(rule: RuleSpec) -> Iterator[str]:
    if rule.valid_from:
        yield _("from %(day)s on") % {"day": day(rule.valid_from)}
    if rule.valid_until:
        yield _("until %(day)s") % {"day": day(rule.valid_until)}


def _caps(caps: Caps, unit: str, wording: Wording) -> Iterator[str]:
    if caps.per_purchase is not None:
        yield _("at most %(points)s at a time") % {"points": wording.amount(caps.per_purchase, unit)}
    if caps.per_member is not None:
        yield member_cap_clause(caps.per_member) % {"points": wording.amount(caps.per_member.points, unit)}
    if caps.budget is not None:
        yield _("at most %(points)s for all members together") % {"points": wording.amount(caps.budget, unit)}


def member_cap_clause(cap: MemberCap) -> str:
    """The most a member gets, as a phrase that `points` goes into."""
    words: _Words = {
        "day": lambda: _("at most %(points)s per member and day"),
        "week": lambda: _("at most %(points)s per member and week"),
        "month": lambda: _("at most %(points)s per member and month"),
        "year": lambda: _("at most %(points)s per member and year"),
        "ever": lambda: _("at most %(points)s per member in all"),
    }
    return words[cap.period]()


def _rank(rule: RuleSpec) -> Iterator[str]:
    values = {"group": rule.group, "n": number(rule.priority)}
    if rule.group is not None and rule.priority:
        yield _("one of the group “%(group)s”, of which only the best ranked counts (rank %(n)s here)") % values
    elif rule.group is not None:
        yield _("one of the group “%(group)s”, of which only the best ranked counts") % values
    elif rule.priority:
        yield _("rank %(n)s") % values


# ── tiers, units, rewards, offers ───────────────────────────────────────────────────────────────────────────────────


def tier_set_sentence(tiers: TierSetSpec) -> str:
    """What levels are counted by: what members spend within 12 months."""
    words: _Words = {
        "spend": lambda: _("what a member spends"),
        "count": lambda: _("how often a member buys"),
        "earned": lambda: _("what a member earns"),
        "quantity": lambda: _("the sum of “%(property)s”"),
    }
    what = words[tiers.basis]() % {"property": spelt(tiers.property or "")}
    if tiers.counted and tiers.basis == "earned":
        what = _("what a member earns in %(unit)s") % {"unit": tiers.counted.name}
    return " ".join([_counted_over(tiers, what), *_downgrade(tiers)])


def _counted_over(tiers: TierSetSpec, what: str) -> str:
    match over(tiers):
        case "lifetime":
            return _("Levels go by %(what)s, over all time.") % {"what": what}
        case "calendar":
            return _("Levels go by %(what)s in a calendar year, and are held to the end of the next.") % {"what": what}
        case "anniversary":
            said = _("Levels go by %(what)s in a year from the day of joining, and are held to the end of the next.")
            return said % {"what": what}
    months = tiers.period_months or 1
    said = ngettext("Levels go by %(what)s within %(n)s month.", "Levels go by %(what)s within %(n)s months.", months)
    return said % {"what": what, "n": number(months)}


def _downgrade(tiers: TierSetSpec) -> Iterator[str]:
    """How a level is lost; what is usual goes without saying."""
    if over(tiers) != "lifetime" and tiers.downgrade == "one_step":
        yield _("They fall by one level at most in a period.")
    elif over(tiers) != "lifetime" and tiers.downgrade == "none":
        yield _("What was reached is kept.")


def tier_sentence(level: TierSpec, tiers: TierSetSpec, wording: Wording) -> str:
    """One level: From €500.00, kept with €400.00: 25% more points, free gift wrapping."""
    values = {
        "enter": figure_of_basis(level.enter, tiers, wording.currency),
        "keep": figure_of_basis(level.keep, tiers, wording.currency),
        "benefits": "; ".join(level.benefits),
    }
    said = _("From %(enter)s, kept with %(keep)s") if level.keep < level.enter else _("From %(enter)s")
    if level.benefits:
        said = said + _(": %(benefits)s")
    return _("%(said)s.") % {"said": said % values}


def figure_of_basis(amount: int, tiers: TierSetSpec, currency: str) -> str:
    """A threshold in words: $120.00, 3 purchases, 200 points, 7 days."""
    if tiers.basis == "spend":
        return money(amount, currency)
    if tiers.basis == "count":
        return ngettext("%(n)s purchase", "%(n)s purchases", amount) % {"n": number(amount)}
    if tiers.basis == "earned" and tiers.counted and tiers.counted.kind != "points":
        return _("%(n)s %(unit)s") % {"n": number(amount, tiers.counted.decimals), "unit": tiers.counted.name}
    if tiers.basis == "earned":
        decimals = tiers.counted.decimals if tiers.counted else 0
        return ngettext("%(n)s point", "%(n)s points", amount) % {"n": number(amount, decimals)}
    return _("%(n)s %(unit)s") % {"n": number(amount), "unit": spelt(tiers.property or "")}


def unit_sentence(unit: UnitSpec) -> str:
    """What members collect: Points, whole; usable at once; they expire 18 months after they were earned."""
    return " ".join([_unit_kind(unit), _pending(unit), _expiry(unit), _debt(unit)])


def _unit_kind(unit: UnitSpec) -> str:
    kinds: _Words = {"points": lambda: _("Points"), "stamps": lambda: _("Stamps"), "money": lambda: _("Money")}
    kind = kinds[unit.kind]()
    if not unit.decimals:
        return _("%(kind)s in whole numbers.") % {"kind": kind}
    said = ngettext("%(kind)s with %(n)s decimal place.", "%(kind)s with %(n)s decimal places.", unit.decimals)
    return said % {"kind": kind, "n": number(unit.decimals)}


def _pending(unit: UnitSpec) -> str:
    days = unit.pending_days
    if not days:
        return _("Usable at once.")
    return ngettext("Usable after %(n)s day.", "Usable after %(n)s days.", days) % {"n": number(days)}


def _expiry(unit: UnitSpec) -> str:
    months, values = unit.expiry.months, {"n": number(unit.expiry.months)}
    if unit.expiry.policy == "rolling":
        said = ngettext(
            "Expire %(n)s month after they were earned.", "Expire %(n)s months after they were earned.", months
        )
        return said % values
    if unit.expiry.policy == "calendar":
        return (
            ngettext(
                "Expire at the end of the year that is %(n)s month later.",
                "Expire at the end of the year that is %(n)s months later.",
                months,
            )
            % values
        )
    if unit.expiry.policy == "sliding":
        said = ngettext(
            "All expire %(n)s month after the member last earned or spent.",
            "All expire %(n)s months after the member last earned or spent.",
            months,
        )
        return said % values
    return _("Never expire.")


def _debt(unit: UnitSpec) -> str:
    if unit.may_owe and unit.debt_limit is not None:
        most = amount_of(unit.debt_limit, decimals=unit.decimals, unit=unit.name)
        return _("A return may take a balance below zero, down to %(most)s owed.") % {"most": most}
    if unit.may_owe:
        return _("A return may take a balance below zero.")
    return _("A balance never goes below zero.")


def reward_sentence(reward: RewardSpec, wording: Wording) -> str:
    """500 points → A free drink, worth €3.20: a point is worth €0.0064."""
    values = {
        "price": wording.amount(reward.price, reward.unit),
        "name": reward.name,
        "value": money(reward.value, wording.currency),
        "kind": reward_kind(reward.kind),
    }
    if not reward.value:
        said = _("%(price)s → %(name)s (%(kind)s), which costs you nothing.") % values
    else:
        said = _("%(price)s → %(name)s (%(kind)s), worth %(value)s: %(worth)s.") % {
            **values,
            "worth": _worth(reward, wording),
        }
    return said if reward.active else _("%(said)s Not on the shelf.") % {"said": said}


def _worth(reward: RewardSpec, wording: Wording) -> str:
    """What one of the unit is worth when it is spent on this."""
    unit = wording.units.get(reward.unit)
    one = 10 ** (unit.decimals if unit else 0)
    share = Fraction(reward.value * one, reward.price) / 10 ** get_currency_precision(wording.currency)
    worth = _fine_money(Decimal(share.numerator) / Decimal(share.denominator), wording.currency)
    return _("%(one)s is worth %(worth)s") % {"one": wording.amount(one, reward.unit), "worth": worth}


def _fine_money(amount: Decimal, currency: str) -> str:
    """Money with as many places as a single point needs."""
    locale, places = viewer_locale(), get_currency_precision(currency)
    if amount == round(amount, places):
        return str(format_currency(amount, currency, locale=locale))
    pattern = locale.currency_formats["standard"].pattern
    fine = ";".join(part.replace("0.00", "0.00##") for part in pattern.split(";"))
    return str(format_currency(amount, currency, format=fine, currency_digits=False, locale=locale))


def reward_kind(kind: str) -> str:
    """What sort of reward it is."""
    words: _Words = {
        "discount": lambda: _("discount"),
        "product": lambda: _("free product"),
        "money": lambda: _("money off"),
    }
    return words[kind]()


def offer_sentence(offer: OfferSpec, wording: Wording) -> str:
    """For New and Regular members: “See you again soon.”."""
    words = ngettext(
        "For the group %(groups)s: “%(text)s”", "For the groups %(groups)s: “%(text)s”", len(offer.segments)
    )
    said = words % {
        "groups": and_list(segment_name(code) for code in offer.segments),
        "text": offer.text,
    }
    if offer.points and offer.unit:
        return _("%(said)s and %(points)s") % {"said": said, "points": wording.amount(offer.points, offer.unit)}
    return said
