"""`tiers_day`: the tiers of the members who bought on one day, against those of all members in a night."""

from datetime import timedelta
from typing import Any

from benchmarks import shops, tier_books

GOAL = 0.3
DAYS = 5


def run() -> dict[str, Any]:
    """Seconds of five nights in a row (medians), each followed by a day on which 1.7 % of the members buy."""
    with tier_books.books("tiers"):
        full, day = [], []
        for n in range(1, DAYS + 1):
            at = shops.NOON + timedelta(days=n)
            full.append(shops.seconds(lambda at=at: tier_books.settle(at)))
            member_ids = tier_books.buy(at + timedelta(hours=3))
            moment = at + timedelta(hours=3)
            day.append(shops.seconds(lambda m=moment, i=member_ids: tier_books.settle_some(member_ids=i, at=m)))
    product, baseline = sorted(day)[DAYS // 2], sorted(full)[DAYS // 2]
    return {
        "ratio": round(product / baseline, 3),
        "goal": GOAL,
        "higher_is_better": False,
        "product": round(product, 3),
        "baseline": round(baseline, 3),
        "members": len(member_ids),
        "unit": "s",
    }
