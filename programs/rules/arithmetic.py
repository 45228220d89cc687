"""Sharing, taking back and dating points, in whole numbers only."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Sequence
from datetime import date
from decimal import ROUND_FLOOR, Context, Decimal
from typing import Final

from programs.rules.specs import LIMIT, ExpiryPolicy, Number, Period

_THOUSANDTH: Final = Decimal("0.001")
# Its own context: the thread's may round otherwise or hold fewer digits.
_EXACT: Final = Context(prec=40, rounding=ROUND_FLOOR)


def is_number(value: Number) -> bool:
    """Tell whether a value can be counted with: not NaN, not infinite, not beyond 10^15."""
    return (not isinstance(value, Decimal) or value.is_finite()) and -LIMIT <= value <= LIMIT


def thousandths(number: Number) -> int:
    """Return a number in whole thousandths, rounded down; 0 for one that cannot be counted with."""
    if not is_number(number):
        return 0
    if not isinstance(number, Decimal):
        return number * 1000
    return int(_EXACT.scaleb(_EXACT.quantize(number, _THOUSANDTH), 3))


def distribute(total: int, weights: Sequence[int]) -> tuple[int, ...]:
    """
    Split a total in proportion to weights by largest remainder, ties to the lower position; equally if all weigh 0.

    :raises ValueError: if a weight is negative, or nothing is there to take the total
    """
    if total < 0:
        return tuple(-share for share in distribute(-total, weights))
    if (total and not weights) or (weights and min(weights) < 0):
        raise ValueError("a total needs weights of 0 or more to be split by")
    whole = sum(weights)
    if not whole:
        weights, whole = [1] * len(weights), len(weights)
    return _largest_remainder(total, weights, whole) if weights else ()


def _largest_remainder(total: int, weights: Sequence[int], whole: int) -> tuple[int, ...]:
    shares = [total * weight // whole for weight in weights]
    left = total - sum(shares)
    if not left:
        return tuple(shares)
    by_remainder = sorted(range(len(weights)), key=lambda place: -(total * weights[place] % whole))
    for place in by_remainder[:left]:
        shares[place] += 1
    return tuple(shares)


def cut_from_the_end(shares: Sequence[int], excess: int) -> tuple[int, ...]:
    """Return the shares with `excess` taken off, from the last one backwards."""
    kept = list(shares)
    for place in range(len(kept) - 1, -1, -1):
        cut = min(kept[place], excess)
        kept[place] -= cut
        excess -= cut
    return tuple(kept)


def reversal(earned: int, quantity: Decimal, before: Decimal, after: Decimal) -> int:
    """
    Return what a return takes back of `earned`, once `after` of `quantity` pieces are back and `before` already were.

    However a return is split, its parts add up to what the whole takes.

    :raises ValueError: unless 0 <= before <= after <= quantity, quantity > 0 and earned >= 0
    """
    if not all(number.is_finite() for number in (quantity, before, after)):
        raise ValueError("quantities must be numbers")
    if earned < 0 or quantity <= 0 or not 0 <= before <= after <= quantity:
        raise ValueError("a return cannot take back more than there is")
    return _share_of(earned, after, quantity) - _share_of(earned, before, quantity)


def _share_of(earned: int, part: Decimal, whole: Decimal) -> int:
    part_up, part_down = part.as_integer_ratio()
    whole_up, whole_down = whole.as_integer_ratio()
    return earned * part_up * whole_down // (part_down * whole_up)


def period_key(period: Period, day: date) -> str:
    """Name the period a day falls in: 2026-11-22, 2026-W47 (ISO week), 2026-11, 2026 or ever."""
    match period:
        case "day":
            return day.isoformat()
        case "week":
            year, week, _ = day.isocalendar()
            return f"{year:04d}-W{week:02d}"
        case "month":
            return f"{day.year:04d}-{day.month:02d}"
        case "year":
            return f"{day.year:04d}"
        case "ever":
            return "ever"


def add_months(day: date, months: int) -> date:
    """Return the same day some months later, or that month's last day if it is shorter."""
    years, month = divmod(day.month - 1 + months, 12)
    year = day.year + years
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def expires_on(policy: ExpiryPolicy, months: int, day: date) -> date | None:
    """
    Return the last local day on which units earned on `day` can be spent; None if none is set for them.

    Where expiry slides, a day is set for the whole account instead: see `slides_to`.
    """
    match policy:
        case "none" | "sliding":
            return None
        case "rolling":
            return add_months(day, months)
        case "calendar":
            return date(add_months(day, months).year, 12, 31)


def slides_to(months: int, day: date) -> date:
    """Return the last local day of a sliding account whose member last earned or spent on `day`."""
    return add_months(day, months)
