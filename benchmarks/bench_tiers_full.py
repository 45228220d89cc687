"""`tiers_full`: the tiers of all members as a night settles them, against the bare sum of twelve months."""

from datetime import timedelta
from typing import Any

from benchmarks import shops, tier_books

GOAL = 4.0
NIGHTS = 7


def run() -> dict[str, Any]:
    """Medians of seven nights in a row and of as many bare sums; a day of purchases leaves the window each night."""
    with tier_books.books("tiers"):
        nights = [shops.NOON + timedelta(days=n) for n in range(1, NIGHTS + 1)]
        tier_books.bare_sum(nights[0])
        spent = [
            (shops.seconds(lambda at=at: tier_books.bare_sum(at)), shops.seconds(lambda at=at: tier_books.settle(at)))
            for at in nights
        ]
    baseline, product = (sorted(column)[NIGHTS // 2] for column in zip(*spent, strict=True))
    return {
        "ratio": round(product / baseline, 2),
        "goal": GOAL,
        "higher_is_better": False,
        "product": round(product, 3),
        "baseline": round(baseline, 3),
        "members": tier_books.MEMBERS,
        "purchases": tier_books.PURCHASES,
        "unit": "s",
    }
