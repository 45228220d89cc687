"""Every reason that the rules can give has a sentence."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings
from django.utils import translation

from loyalty_saas.sentences import Why, why_offer, why_points
from members.models import Insight
from programs.models import Product
from tenants.models import Client

NAMES = {"double": "Double coffee"}


def why(result: str, amount: int = 0, reason: str = "", **detail: Any) -> Why:
    """What the rule “Coffee” made of something, in stamps."""
    return Why("Coffee", "Stamps", 0, result, amount, reason, detail, NAMES)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (why("fired", 1200), "“Coffee” gave 1,200 stamps."),
        (
            why("fired", 3, lost_to="double", lost_lines=2),
            "“Coffee” gave 3 stamps. On 2 lines “Double coffee” counted instead.",
        ),
        (
            why("fired", 3, lost_to="double", lost_lines=1),
            "“Coffee” gave 3 stamps. On 1 line “Double coffee” counted instead.",
        ),
        (why("fired", -3, "taken_back"), "3 stamps given under “Coffee” were taken back."),
        (
            why("fired", -3, "taken_back", forgiven=2),
            "3 stamps given under “Coffee” were taken back. "
            "2 stamps of them had been spent or had expired, and were let go.",
        ),
        (why("fired", 0, "taken_back", carried=-60), "What had been left over under “Coffee” counts no more."),
        (why("fired", -3, "taken_back", carried=-60), "3 stamps given under “Coffee” were taken back."),
        (why("fired", 3, carried=60), "“Coffee” gave 3 stamps. What was left over counts the next time."),
        (why("fired", 3, carried=-40), "“Coffee” gave 3 stamps. What was left over before counted as well."),
        (
            why("not_eligible", 0, "too_small", carried=60),
            "“Coffee” gave nothing yet: the amount counts towards the next point.",
        ),
        (
            why("not_eligible", 0, "paid_by_points"),
            "“Coffee” did not apply: what is paid by points earns nothing, and the rest was too small.",
        ),
        (
            why("not_eligible", 0, "dismissed", why="A test sale"),
            "“Coffee” gave nothing: it could not be credited, and was closed by hand: A test sale",
        ),
        (
            why("capped", 3, "cap:per_purchase", before_cap=5),
            "“Coffee” gave 3 stamps instead of 5 stamps: the limit for one purchase was reached.",
        ),
        (
            why("capped", 0, "cap:per_member:month", before_cap=5),
            "“Coffee” gave nothing instead of 5 stamps: the member's limit for the month was reached.",
        ),
        (
            why("lost_to", 0, "lost_to:double", would_earn=5),
            "“Coffee” would have given 5 stamps, but “Double coffee” counted instead.",
        ),
        (why("lost_to", 0, "lost_to:gone"), "“Coffee” did not count: “gone” counted instead."),
        (why("not_eligible", 0, "condition:category"), "“Coffee” did not apply: it is for other categories."),
        (why("not_eligible", 0, "condition:properties.days"), "“Coffee” did not apply: its figures did not fit."),
        (why("not_eligible", 0, "visited_today"), "“Coffee” did not apply: this day's visit had counted already."),
        (why("not_eligible", 0, "something_new"), "“Coffee” did not apply: its conditions did not hold."),
    ],
)
def test_what_a_rule_made_of_something_is_a_sentence(given: Why, sentence: str) -> None:
    with translation.override("en"):
        assert why_points(given) == sentence


def reasons_of_the_rules() -> set[str]:
    """Every reason that stands in the source of the rules."""
    source = "".join(path.read_text() for path in (Path(settings.BASE_DIR) / "programs" / "rules").glob("*.py"))
    plain = re.findall(
        r'"(not_valid_yet|no_longer_valid|outside_schedule|visited_today|no_earning_line|too_small|paid_by_points)"',
        source,
    )
    caps = re.findall(r'"(cap:[a-z_]+)"', source)
    periods = re.findall(r"Period: TypeAlias = Literal\[(.*)\]", source)[0]
    return {*plain, *caps, *(f"cap:per_member:{period}" for period in re.findall(r'"(\w+)"', periods))}


def test_every_reason_in_the_rules_has_words_of_its_own() -> None:
    found = reasons_of_the_rules()
    assert len(found) >= 14

    with translation.override("en"):
        said = {reason: why_points(why("capped" if "cap" in reason else "not_eligible", 0, reason)) for reason in found}

    assert len(set(said.values())) == len(found)
    for reason, sentence in said.items():
        assert "its conditions did not hold" not in sentence, reason
        assert "a limit was reached" not in sentence, reason


def test_every_field_that_a_rule_can_ask_for_has_words_of_its_own() -> None:
    from programs.rules.rule_documents import _FIELDS

    with translation.override("en"):
        for field in (*_FIELDS, "properties.days"):
            assert "one of its conditions" not in why_points(why("not_eligible", 0, f"condition:{field}")), field


def test_decimals_of_a_unit_are_shown() -> None:
    money = Why("Trips", "Dollars", 2, "fired", 10050, "", {}, {})

    with translation.override("en"):
        assert why_points(money) == "“Trips” gave 100.50 Dollars."
    with translation.override("de"):
        assert "100,50" in why_points(money)


def test_a_favourite_is_called_what_the_catalogue_calls_it(acme: Client) -> None:
    Product.objects.create(sku="FLW", name="Flat white")
    for sku, words in (("FLW", "Flat white"), ("OLD", "OLD")):
        assigned = SimpleNamespace(reason="favourite", figures={"favourite": sku})
        assert why_offer(assigned, currency="EUR") == f"Bought most often: {words}."  # type: ignore[arg-type]


@pytest.mark.parametrize("reason", [*Insight.Segment.values, "welcome"])
def test_every_offer_has_a_reason_that_can_be_said(reason: str) -> None:
    figures = {
        "purchases": 7,
        "spend": 12345,
        "last_day": "2026-03-01",
        "first_day": "2025-01-01",
        "favourite": "latte",
    }

    with translation.override("en"):
        said = why_offer(SimpleNamespace(reason=reason, figures=figures), currency="EUR")  # type: ignore[arg-type]

    assert said.endswith(".")
    assert said != "It is for all members."
    assert "None" not in said
