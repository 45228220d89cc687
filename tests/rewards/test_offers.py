"""One offer for each member, chosen by segment, with the figures behind it; refreshed by what the member does."""

from datetime import timedelta
from typing import Any

import pytest

from loyalty_saas.flows.nights import spend_night
from loyalty_saas.flows.purchases import settle_in
from members.models import Insight, InsightScale, Member
from rewards.models import Offer, OfferAssignment
from rewards.queries import current_offer
from rewards.rules import Candidate, best_offer, reason_for
from tenants.models import Client
from tests.members.world import DAY, NOON, PENNY, buy, credit, do, line, live, new_member, tell


def offer(code: str, *segments: str) -> dict[str, Any]:
    return {"code": code, "name": code.title(), "segments": list(segments), "text": f"For {code}."}


OFFERS = [
    offer("hello", "new"),
    offer("thanks", "regular", "champion"),
    offer("come-back", "slipping"),
    offer("miss-you", "lapsed"),
]


def visits(who: Member, *days_ago: int, amount: int = 1000, sku: str = "tea") -> None:
    for days in days_ago:
        buy(who, receipt=f"{who.number} {days}", lines=[line(amount, sku=sku)], at=NOON - days * DAY)
    credit()


def offered(who: Member) -> tuple[str, str] | None:
    found = current_offer(who.pk)
    return (found.offer.code, found.reason) if found else None


# ── segments ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("days_ago", "segment"),
    [
        ([1], "new"),
        ([21, 11, 1], "regular"),
        ([45, 35, 25], "slipping"),
        ([120, 110, 100], "lapsed"),
        ([100], "lapsed"),
    ],
)
def test_a_member_s_rhythm_gives_the_segment(ana: Member, days_ago: list[int], segment: str) -> None:
    """Somebody who came every ten days; with few purchases, what is usual in the shop (here ten days) counts."""
    live()
    for n in range(8):
        visits(new_member(f"other {n}"), 10, 0, amount=2000)
    visits(ana, *days_ago)
    settle_in(at=NOON)
    spend_night(at=NOON)

    assert Insight.objects.get(pk=ana.pk).segment == segment


def test_those_who_come_and_spend_most_are_champions(acme: Client) -> None:
    live()
    who = [new_member(f"member {n}") for n in range(10)]
    for n, member in enumerate(who):
        visits(member, *range(0, 10 * (n + 1), 10), amount=1000 * (n + 1))
    spend_night(at=NOON)

    champions = Insight.objects.filter(segment="champion").order_by("-spend")
    assert tell(champions, "member") == [who[9], who[8]]
    assert {row.segment for row in Insight.objects.exclude(pk__in=[who[9].pk, who[8].pk])} <= {"new", "regular"}


def test_what_a_shop_calls_much_is_taken_anew_when_it_has_grown_by_a_tenth(acme: Client) -> None:
    live()
    for n in range(11):
        visits(new_member(f"member {n}"), 0)
    settle_in(at=NOON)
    assert InsightScale.objects.get().members == 11
    visits(new_member("one more"), 0)
    settle_in(at=NOON + timedelta(minutes=1))
    assert InsightScale.objects.get().members == 11
    visits(new_member("and another"), 0)
    settle_in(at=NOON + timedelta(minutes=2))
    assert InsightScale.objects.get().members == 13


def test_a_return_lowers_what_was_spent_and_not_how_often(ana: Member) -> None:
    from tests.members.world import bring_back

    live()
    visits(ana, 3, 1)
    bring_back(ana, receipt="B-1", sale=f"{ana.number} 1", at=NOON)
    credit()

    assert tell(Insight.objects.all(), "purchases", "spend", "last_day") == [(2, 1000, (NOON - DAY).date())]


# ── offers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_member_has_one_offer_with_a_reason_that_follows_the_segment(ana: Member, bob: Member) -> None:
    live(PENNY, offers=OFFERS)
    visits(ana, 1)
    visits(bob, 131, 121, 111)
    spend_night(at=NOON)

    assert (offered(ana), offered(bob)) == (("hello", "new"), ("miss-you", "lapsed"))
    assert OfferAssignment.objects.count() == 2
    figures = OfferAssignment.objects.get(pk=bob.pk).figures
    assert (figures["purchases"], figures["spend"], figures["last_day"]) == (
        3,
        3000,
        (NOON - 111 * DAY).date().isoformat(),
    )


def test_an_offer_is_refreshed_by_a_purchase(ana: Member) -> None:
    live(PENNY, offers=OFFERS)
    visits(ana, 131, 121, 111)
    spend_night(at=NOON)
    assert offered(ana) == ("miss-you", "lapsed")

    buy(ana, receipt="R-1", lines=[line(1000, sku="tea")])
    credit()
    assert offered(ana) == ("thanks", "favourite")


def test_an_offer_that_suits_no_longer_goes_even_if_none_takes_its_place(ana: Member) -> None:
    live(PENNY, offers=[offer("miss-you", "lapsed")])
    visits(ana, 131, 121, 111)
    spend_night(at=NOON)
    assert offered(ana) == ("miss-you", "lapsed")

    buy(ana, receipt="R-1", lines=[line(1000)])
    credit()
    assert offered(ana) is None
    assert not OfferAssignment.objects.exists()


def test_an_offer_that_a_new_version_does_not_name_is_shown_no_more(ana: Member) -> None:
    live(PENNY, offers=OFFERS)
    visits(ana, 1)
    assert offered(ana) == ("hello", "new")
    live(PENNY, offers=[offer("other", "new")])
    assert offered(ana) is None
    spend_night(at=NOON)

    assert offered(ana) == ("other", "new")
    assert dict(Offer.objects.values_list("code", "active"))["hello"] is False


def test_an_offer_that_stays_keeps_the_day_on_which_it_was_given(ana: Member) -> None:
    live(PENNY, offers=[offer("anyone", "new", "regular", "champion")])
    visits(ana, 2)
    given = OfferAssignment.objects.get().assigned_at
    buy(ana, receipt="R-1", lines=[line(1000)])
    credit(at=NOON + DAY)

    now = OfferAssignment.objects.get()
    assert (now.assigned_at, now.figures["purchases"]) == (given, 2)


def test_a_visit_alone_is_no_purchase_to_judge_by(ana: Member) -> None:
    live(PENNY, offers=OFFERS)
    do(ana, "visit")
    credit()

    assert tell(Insight.objects.all(), "purchases", "segment") == [(0, "")]
    assert offered(ana) is None


def test_an_offer_made_for_a_segment_goes_before_one_for_everybody_then_by_priority() -> None:
    everybody, low, high = (
        Candidate("a", frozenset(), 9),
        Candidate("b", frozenset({"new"}), 1),
        Candidate("c", frozenset({"new"}), 2),
    )

    assert best_offer(segment="new", offers=[everybody, low, high]) == high
    assert best_offer(segment="lapsed", offers=[everybody, low, high]) == everybody
    assert best_offer(segment="lapsed", offers=[low]) is None
    assert reason_for(segment="champion", figures={"favourite": "tea"}) == "favourite"
    assert reason_for(segment="", figures={}) == "welcome"
