"""The program document: read as a whole, refused with everything that is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from programs.rules.consistency import Coded, contradictions
from programs.rules.reading import Reader, choice, code, each, flag, text, whole
from programs.rules.rule_documents import property_name, read_rule
from programs.rules.specs import (
    DOWNGRADES,
    EXPIRY_POLICIES,
    REWARD_KINDS,
    SEGMENTS,
    TIER_BASES,
    TIER_PERIODS,
    UNIT_KINDS,
    Downgrade,
    EarningSpec,
    ExpiryPolicy,
    ExpirySpec,
    OfferSpec,
    Problem,
    ProgramError,
    ProgramSpec,
    RewardSpec,
    TierPeriod,
    TierSetSpec,
    TierSpec,
    UnitSpec,
)
from programs.rules.tiers import over

_PART: Final = re.compile(r"(units|rules|rewards|offers|tiers\.levels)\[([0-9]{1,4})\]\.?")
_WORDS: Final = {"units": "Unit", "rules": "Rule", "rewards": "Reward", "offers": "Offer", "tiers.levels": "Level"}
_MOST_MONTHS: Final = 1200


def parse_program(document: Mapping[str, object]) -> ProgramSpec:
    """
    Return the program that a document describes.

    :raises ProgramError: with all problems at once, if it is not sound
    """
    problems: list[Problem] = []
    program = _read_program(Reader(document, "", problems))
    unsound = {within for problem in problems for within in _around(problem.path)}
    problems += contradictions(program, lambda path: path not in unsound)
    if problems:
        raise ProgramError(tuple(_with_subject(problem, program) for problem in problems))
    return program


def _around(path: str) -> Iterator[str]:
    """Yield a path and all that it lies in: a[0].b, a[0] and a."""
    yield path
    yield from (path[:at] for at, sign in enumerate(path) if sign in ".[")


def _with_subject(problem: Problem, program: ProgramSpec) -> Problem:
    """Name the part that a problem is about, as its owner knows it."""
    part = _PART.match(problem.path)
    codes = _codes(program, part[1]) if part else ()
    if not part or int(part[2]) >= len(codes):
        return problem
    place, field = int(part[2]), problem.path[part.end() :]
    named = f'{_WORDS[part[1]]} "{codes[place]}"' if codes[place] else f"{_WORDS[part[1]]} {place + 1}"
    return replace(problem, subject=f"{named}: {field}" if field else named)


def _codes(program: ProgramSpec, name: str) -> Sequence[str]:
    levels = program.tiers.levels if program.tiers else ()
    parts: dict[str, Sequence[Coded]] = {
        "units": program.units,
        "rules": program.rules,
        "rewards": program.rewards,
        "offers": program.offers,
        "tiers.levels": levels,
    }
    return [part.code for part in parts[name]]


def _read_program(reader: Reader) -> ProgramSpec:
    units = tuple(map(_read_unit, reader.children("units", most=20, least=1)))
    program = ProgramSpec(
        name=reader.required("name", text(most=100), ""),
        units=units,
        rules=tuple(map(read_rule, reader.children("rules", most=200))),
        tiers=_read_tiers(reader.child("tiers"), units),
        rewards=tuple(map(_read_reward, reader.children("rewards", most=500))),
        offers=tuple(map(_read_offer, reader.children("offers", most=500))),
        earning=_read_earning(reader.child("earning")),
    )
    reader.close()
    return program


def _read_unit(reader: Reader) -> UnitSpec:
    unit = UnitSpec(
        code=reader.required("code", code(most=30), ""),
        name=reader.required("name", text(most=60), ""),
        kind=reader.required("kind", choice(UNIT_KINDS), "points"),
        decimals=reader.optional("decimals", whole(least=0, most=6), 0),
        pending_days=reader.optional("pending_days", whole(least=0, most=366), 0),
        expiry=_read_expiry(reader.child("expiry")),
        may_owe=reader.optional("may_owe", flag, False),
        debt_limit=reader.optional("debt_limit", whole(least=0), None),
    )
    if unit.debt_limit is not None and not unit.may_owe:
        reader.refuse("debt_limit", "is only for a unit that members may owe: set may_owe")
    reader.close()
    return unit


def _read_expiry(reader: Reader | None) -> ExpirySpec:
    if reader is None:
        return ExpirySpec()
    policy: ExpiryPolicy = reader.required("policy", choice(EXPIRY_POLICIES), "none")
    months = reader.optional("months", whole(least=0 if policy == "none" else 1, most=_MOST_MONTHS), 0)
    if policy != "none" and not reader.is_given("months"):
        reader.refuse("months", f"is missing: {policy} expiry counts in months")
    reader.close()
    return ExpirySpec(policy=policy, months=0 if policy == "none" else months)


def _read_earning(reader: Reader | None) -> EarningSpec:
    if reader is None:
        return EarningSpec()
    earning = EarningSpec(
        gift_cards=reader.optional("gift_cards", flag, False),
        paid_by_points=reader.optional("paid_by_points", flag, False),
    )
    reader.close()
    return earning


def _read_tiers(reader: Reader | None, units: Sequence[UnitSpec]) -> TierSetSpec | None:
    if reader is None:
        return None
    basis = reader.required("basis", choice(TIER_BASES), None)
    levels = tuple(map(_read_level, reader.children("levels", most=20, least=1)))
    counted = reader.optional("property", property_name, None)
    months = reader.optional("period_months", whole(least=1, most=_MOST_MONTHS), None)
    period = reader.optional("period", choice(TIER_PERIODS), None)
    downgrade: Downgrade = reader.optional("downgrade", choice(DOWNGRADES), "to_level")
    unit = reader.optional("unit", code(most=30), None)
    if basis and (basis == "quantity") != reader.is_given("property"):
        reader.refuse(
            "property", "is missing: it names what is counted" if basis == "quantity" else f"is not for {basis}"
        )
    if basis and basis != "earned" and reader.is_given("unit"):
        reader.refuse("unit", f"is not for {basis}")
    _check_period(reader, period)
    reader.close()
    by_code = {one.code: one for one in units}
    first = next((one for one in units if one.kind == "points"), units[0] if units else None)
    tiers = TierSetSpec(
        basis=basis or "spend",
        levels=levels,
        property=counted,
        period_months=months,
        period=period,
        downgrade=downgrade,
        unit=unit,
        counted=(by_code.get(unit) if unit else first) if basis == "earned" else None,
    )
    return replace(tiers, period=over(tiers))


def _check_period(reader: Reader, period: TierPeriod | None) -> None:
    """A window that rolls has months, and nothing else has."""
    if period == "rolling" and not reader.is_given("period_months"):
        reader.refuse("period_months", "is missing: a window that rolls counts in months")
    if period not in (None, "rolling") and reader.is_given("period_months"):
        reader.refuse("period_months", f"is not for {period}")


def _read_level(reader: Reader) -> TierSpec:
    enter = reader.required("enter", whole(least=0), 0)
    level = TierSpec(
        code=reader.required("code", code(most=30), ""),
        name=reader.required("name", text(most=60), ""),
        enter=enter,
        keep=reader.optional("keep", whole(least=0), enter),
        benefits=reader.optional("benefits", each(text(most=200), most=50, least=0), ()),
    )
    reader.close()
    return level


def _read_reward(reader: Reader) -> RewardSpec:
    reward = RewardSpec(
        code=reader.required("code", code(most=50), ""),
        name=reader.required("name", text(most=100), ""),
        kind=reader.required("kind", choice(REWARD_KINDS), "discount"),
        unit=reader.required("unit", code(most=30), ""),
        price=reader.required("price", whole(least=1), 1),
        value=reader.required("value", whole(least=0), 0),
        active=reader.optional("active", flag, True),
    )
    reader.close()
    return reward


def _read_offer(reader: Reader) -> OfferSpec:
    offer = OfferSpec(
        code=reader.required("code", code(most=50), ""),
        name=reader.required("name", text(most=100), ""),
        segments=reader.required("segments", each(choice(SEGMENTS), most=len(SEGMENTS)), ()),
        text=reader.required("text", text(most=200, lines=True), ""),
        points=reader.optional("points", whole(least=0), 0),
        unit=reader.optional("unit", code(most=30), None),
    )
    if offer.points and not reader.is_given("unit"):
        reader.refuse("unit", "is missing: a bonus of points needs one")
    reader.close()
    return offer
