"""A replay's result laid out for its page: the verdict in a sentence, figures, charts, and examples with their why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any

from babel.numbers import format_percent
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from loyalty_saas.portal.replay_charts import by_change, by_month
from loyalty_saas.sentences import Why, amount_of, why_points
from loyalty_saas.sentences_words import and_list
from loyalty_saas.templatetags.loyalty import day, money, number, percent, round_money, signed_percent, viewer_locale
from members.models import Replay

_DAYS_A_MONTH = 30.4375


@dataclass(frozen=True)
class Told:
    """One unit under both programs."""

    name: str
    published: str
    draft: str
    change: float | None
    more: bool


@dataclass(frozen=True)
class RuleLine:
    """One rule under both programs: what it gave and how often; None where a program lacks it."""

    name: str
    unit: str
    published: str
    draft: str
    fired: str
    capped: str
    lost: str
    not_eligible: str
    is_new: bool
    is_gone: bool


@dataclass(frozen=True)
class Example:
    """A member with what both programs would have given, and the purchase that tells most, rule by rule."""

    member_id: str
    number: str
    name: str
    published: str
    draft: str
    what: str
    purchase_id: str
    under_published: list[str]
    under_draft: list[str]


def months_of(replay: Replay) -> int:
    """How many months it spans."""
    return max(1, round(((replay.last_day - replay.first_day).days + 1) / _DAYS_A_MONTH))


def laid_out(replay: Replay, *, currency: str, names: Mapping[str, str]) -> dict[str, Any]:
    """Everything the result page shows; `names` are those of members whom the viewer may know, by id."""
    result, words = replay.result, _Words.of(replay.result)
    members = result["members"]
    bought = sum(members.values())
    return {
        "verdict": verdict(replay, currency=currency),
        "units": [_unit(one) for one in result["units"] if one["published"] or one["draft"]],
        "cost": _cost(replay, currency=currency),
        "members": [
            (words_, css, members[key], members[key] / bought if bought else None)
            for key, css, words_ in (
                ("more", "badge-good", _("get more")),
                ("same", "", _("get the same")),
                ("less", "badge-warn", _("get less")),
            )
        ],
        "bought": bought,
        "charts": [
            (one["name"], by_month(result["months"], unit=one["code"], decimals=one["decimals"]))
            for one in result["units"]
            if one["published"] or one["draft"]
        ],
        "changes": by_change(result["bars"], same=members["same"]),
        "rules": [words.rule(one) for one in result["rules"]],
        "moves": [(words.level(one["before"]), words.level(one["after"]), one["members"]) for one in result["moves"]],
        "winners": [words.example(one, currency=currency, names=names) for one in result["winners"]],
        "losers": [words.example(one, currency=currency, names=names) for one in result["losers"]],
        "in_python": [words.rules.get(code, code) for code in result["in_python"]],
    }


def verdict(replay: Replay, *, currency: str) -> str:
    """What it comes to, in a sentence or two: Members would have got 12% more points: about €340 a month more."""
    units = replay.result["units"]
    changed = [one for one in units if one["published"] != one["draft"]]
    if not sum(replay.result["members"].values()):
        return _("Nobody bought anything in this time, so there is nothing to compare.")
    if not changed:
        return _("Members would have got exactly as much as they did under the program in force.")
    said = _("Members would have got %(changes)s") % {"changes": and_list([_change(one) for one in changed])}
    cost = replay.result["cost"]
    difference = round((cost["draft"] - cost["published"]) / months_of(replay)) if cost else 0
    if not difference:
        return f"{said}."
    words = _("about %(money)s a month more") if difference > 0 else _("about %(money)s a month less")
    return f"{said}: {words % {'money': round_money(abs(difference), currency)}}."


def _change(unit: Mapping[str, Any]) -> str:
    before, after = unit["published"], unit["draft"]
    values = {"unit": _within(unit["name"])}
    if before <= 0:
        amount = amount_of(after - before, decimals=unit["decimals"], unit=unit["name"])
        return _("%(amount)s where there were none") % {"amount": amount}
    share = abs(after - before) / before
    values["share"] = _whole(share) if share >= 0.1 else percent(share) if share >= 0.0005 else _("a little")
    return (_("%(share)s more %(unit)s") if after > before else _("%(share)s fewer %(unit)s")) % values


def _whole(share: float) -> str:
    """A large share without places."""
    return str(format_percent(share, locale=viewer_locale()))


def _within(name: str) -> str:
    """A name within a sentence: English writes it small."""
    return name[:1].lower() + name[1:] if get_language().startswith("en") else name


def _unit(one: Mapping[str, Any]) -> Told:
    change = (one["draft"] - one["published"]) / one["published"] if one["published"] > 0 else None
    words = partial(number, decimals=one["decimals"])
    return Told(one["name"], words(one["published"]), words(one["draft"]), change, one["draft"] > one["published"])


def _cost(replay: Replay, *, currency: str) -> dict[str, str] | None:
    cost = replay.result["cost"]
    if not cost:
        return None
    months = months_of(replay)
    published, draft = round(cost["published"] / months), round(cost["draft"] / months)
    change = (draft - published) / published if published > 0 else None
    return {
        "published": round_money(published, currency),
        "draft": round_money(draft, currency),
        "change": signed_percent(change) if change else "",
    }


@dataclass(frozen=True)
class _Words:
    """How units, rules and levels are called in a result."""

    units: Mapping[str, tuple[str, int]]
    rules: Mapping[str, str]
    levels: Mapping[str, str]

    @staticmethod
    def of(result: Mapping[str, Any]) -> "_Words":
        return _Words(
            {one["code"]: (one["name"], one["decimals"]) for one in result["units"]},
            {one["code"]: one["name"] for one in result["rules"]},
            result["levels"],
        )

    def level(self, code: str) -> str:
        return self.levels.get(code, code) if code else _("no tier")

    def amount(self, steps: int, unit: str) -> str:
        name, decimals = self.units.get(unit, (unit, 0))
        return amount_of(steps, decimals=decimals, unit=name)

    def figure(self, side: Mapping[str, Any] | None, unit: str) -> str:
        """What a rule gave, without the unit's name; nothing where a program lacks it."""
        return number(side["points"], self.units.get(unit, (unit, 0))[1]) if side else ""

    def points(self, points: Mapping[str, int]) -> str:
        told = [self.amount(steps, unit) for unit, steps in sorted(points.items()) if steps]
        return ", ".join(told) or _("Nothing")

    def rule(self, one: Mapping[str, Any]) -> RuleLine:
        now = one["draft"] or one["published"]
        return RuleLine(
            name=one["name"],
            unit=self.units.get(one["unit"], (one["unit"], 0))[0],
            published=self.figure(one["published"], one["unit"]),
            draft=self.figure(one["draft"], one["unit"]),
            fired=number(now["fired"] + now["capped"]),
            capped=number(now["capped"]),
            lost=number(now["lost"]),
            not_eligible=number(now["not_eligible"]),
            is_new=one["published"] is None,
            is_gone=one["draft"] is None,
        )

    def example(self, one: Mapping[str, Any], *, currency: str, names: Mapping[str, str]) -> Example:
        purchase = one["example"] or {}
        return Example(
            member_id=one["member_id"],
            number=one["number"],
            name=names.get(one["member_id"], ""),
            published=self.points(one["published"]),
            draft=self.points(one["draft"]),
            what=_what(purchase, currency=currency) if purchase else "",
            purchase_id=purchase.get("id", "") if purchase.get("document") else "",
            under_published=self.why(purchase.get("published", ())),
            under_draft=self.why(purchase.get("draft", ())),
        )

    def why(self, outcomes: Sequence[Mapping[str, Any]]) -> list[str]:
        return [
            why_points(
                Why(
                    rule=self.rules.get(one["code"], one["code"]),
                    unit=self.units.get(one["unit"], (one["unit"], 0))[0],
                    decimals=self.units.get(one["unit"], (one["unit"], 0))[1],
                    result=one["result"],
                    amount=one["amount"],
                    reason=one["reason"],
                    detail=one["detail"],
                    names=self.rules,
                )
            )
            for one in outcomes
        ]


def _what(purchase: Mapping[str, Any], *, currency: str) -> str:
    told = {
        "what": purchase["document"] or purchase["activity"].replace("_", " "),
        "day": day(date.fromisoformat(purchase["day"])),
        "amount": money(purchase["amount"], currency),
    }
    if purchase["amount"]:
        return _("%(what)s, %(day)s, %(amount)s") % told
    return _("%(what)s, %(day)s") % told
