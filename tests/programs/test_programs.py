"""Programs are published in versions that never change; what is wrong with a document is said field by field."""

from typing import Any

import pytest
from django.db import DatabaseError, connections, transaction

from loyalty_saas.flows.programs import apply_template, publish, templates
from members.models import LedgerEntry, Member
from programs.models import EarningRule, Location, Product, Program, Tier, UnitType
from programs.queries import NoProgram, products_by_sku, program_in_force, unit_by_code, units
from programs.rules import ProgramError
from programs.services.catalogue import add_location, put_products
from programs.services.publishing import next_version
from rewards.models import Offer, Reward
from tenants.context import use_client
from tenants.models import Client
from tests.members.world import (
    NOON,
    PENNY,
    buy,
    credit,
    crowd,
    level,
    line,
    live,
    new_member,
    per_amount,
    points,
    program,
    rule,
    tell,
    unit,
)
from tests.tenants.sql import ask

OFFER = {"code": "hello", "name": "Hello", "segments": ["new"], "text": "Hello."}
REWARD = {"code": "mug", "name": "Mug", "kind": "product", "unit": "points", "price": 500, "value": 300}


def problems(document: dict[str, Any]) -> list[str]:
    with pytest.raises(ProgramError) as refusal:
        publish(document=document, at=NOON)
    return [problem.path for problem in refusal.value.problems]


def test_without_a_program_none_is_in_force(acme: Client) -> None:
    with pytest.raises(NoProgram):
        program_in_force()
    assert next_version() == 1


def test_a_published_document_becomes_rules_tiers_rewards_and_offers(acme: Client) -> None:
    tiers = {"basis": "spend", "levels": [level("silver", 500, 400), level("gold", 900)]}
    version = publish(
        document=program(PENNY, rule("euro", per_amount(1, 100)), tiers=tiers, rewards=[REWARD], offers=[OFFER]),
        at=NOON,
    )

    assert (version.version, version.status, version.published_at) == (1, "published", NOON)
    assert sorted(tell(EarningRule.objects.all(), "code", "trigger")) == [("euro", "purchase"), ("penny", "line")]
    assert tell(Tier.objects.order_by("rank"), "code", "enter", "keep") == [("silver", 500, 400), ("gold", 900, 900)]
    assert (Reward.objects.get().price, Offer.objects.get().segments) == (500, ["new"])
    assert program_in_force().version == 1


def test_a_new_version_archives_the_one_before(acme: Client) -> None:
    for _version in range(3):
        live()
    assert dict(Program.objects.values_list("version", "status")) == {1: "archived", 2: "archived", 3: "published"}
    assert program_in_force().version == 3


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE programs_program SET name = 'Other'",
        "UPDATE programs_program SET document = '{}'",
        "UPDATE programs_program SET status = 'draft', published_at = NULL",
        "DELETE FROM programs_program",
        "UPDATE programs_earningrule SET spec = '{}'",
        "DELETE FROM programs_earningrule",
        "INSERT INTO programs_earningrule (id, program_id, code, name, unit_id, trigger, priority, spec)"
        " SELECT new_id(), program_id, 'more', name, unit_id, trigger, 0, spec FROM programs_earningrule",
        "UPDATE programs_tier SET enter = 1, keep = 1",
        "DELETE FROM programs_tier",
    ],
)
def test_a_published_version_never_changes(acme: Client, sql: str) -> None:
    live(tiers={"basis": "spend", "levels": [level("silver", 500)]})
    with pytest.raises(DatabaseError, match="never changes"), transaction.atomic():
        ask(sql)


def test_an_archived_version_is_not_published_again(acme: Client) -> None:
    live()
    live()
    with pytest.raises(DatabaseError), transaction.atomic():
        ask("UPDATE programs_program SET status = 'published' WHERE version = 1")


def test_everything_that_is_wrong_is_said_at_once_and_nothing_is_published(acme: Client) -> None:
    wrong = program(
        rule("penny", {"kind": "per_amount", "points": 1, "per": 0}),
        rule("penny", per_amount(), unit="stars"),
        offers=[{**OFFER, "segment": ["new"]}],
    )
    assert set(problems(wrong)) == {"rules[0].effect.per", "rules[1].code", "rules[1].unit", "offers[0].segment"}
    assert not Program.objects.exists()
    assert not UnitType.objects.exists()


@pytest.mark.parametrize(
    ("part", "path"),
    [
        ({"rewards": [{**REWARD, "price": 0}]}, "rewards[0].price"),
        ({"offers": [{**OFFER, "text": "x" * 201}]}, "offers[0].text"),
        ({"units": [unit("p" * 31)]}, "units[0].code"),
        ({"tiers": {"basis": "spend", "levels": [level("silver", 500, 600)]}}, "tiers.levels[0].keep"),
    ],
)
def test_what_the_database_could_not_hold_is_refused_at_the_field(
    acme: Client, part: dict[str, Any], path: str
) -> None:
    rules = [] if "units" in part else [PENNY]
    assert path in problems(program(*rules, **part))


def test_a_unit_that_members_collect_keeps_its_kind_and_decimals(acme: Client) -> None:
    live()
    assert problems(program(units=[unit(kind="stamps")])) == ["units[0].kind"]
    assert problems(program(units=[unit(decimals=2)])) == ["units[0].decimals"]
    live(PENNY, units=[unit(name="Stars", pending_days=3)])

    found = unit_by_code("points")
    assert found is not None
    assert (found.name, found.pending_days) == ("Stars", 3)


def test_a_unit_that_a_version_leaves_out_stays_with_those_who_have_it(acme: Client) -> None:
    ana = new_member("ana")
    live()
    buy(ana, receipt="R-1", lines=[line(100)])
    credit()
    live({**PENNY, "unit": "stars"}, units=[unit("stars")])
    buy(ana, receipt="R-2", lines=[line(50)])
    credit()

    assert [one.code for one in units()] == ["points", "stars"]
    assert (points(ana), points(ana, "stars")) == (100, 50)


def test_several_who_publish_at_once_make_versions_one_after_the_other(acme: Client) -> None:
    live()
    with crowd(4, acme) as people:
        ends = people.act(lambda place: publish(document=program(rule(f"rule-{place}", per_amount())), at=NOON).version)

    made = [end for end in ends if isinstance(end, int)]
    assert sorted(Program.objects.values_list("version", flat=True)) == list(range(1, len(made) + 2))
    assert sorted(made) == [2, 3, 4, 5]
    assert Program.objects.get(status="published").version == 5


def test_each_client_has_its_own_program(acme: Client, bravo: Client) -> None:
    live()
    with use_client(bravo):
        with pytest.raises(NoProgram):
            program_in_force()
        live(rule("euro", per_amount(1, 100)))
        assert list(program_in_force().rule_ids) == ["euro"]
    assert list(program_in_force().rule_ids) == ["penny"]


@pytest.mark.parametrize("template", ["cafe", "hiking", "retail"])
def test_each_template_is_a_sound_program(acme: Client, template: str) -> None:
    assert template in templates()
    version = apply_template(template=template, at=NOON)

    assert version.rules.exists()
    assert Reward.objects.filter(active=True).exists()
    assert Offer.objects.filter(active=True).exists()


def test_a_template_that_is_none_is_refused(acme: Client) -> None:
    for name in ("yacht", "../penny", "retail.program"):
        with pytest.raises(KeyError):
            apply_template(template=name, at=NOON)


def test_a_location_is_made_once_and_products_are_brought_up_to_date(acme: Client) -> None:
    assert add_location(code="main", name="Main street") == add_location(code="main")
    assert Location.objects.get().name == "Main street"

    put_products([Product(sku="tea", name="Tea", category="drinks"), Product(sku="card", earning=False)])
    put_products([Product(sku="tea", name="Green tea", category="drinks")])
    assert tell(products_by_sku(["tea", "none"]).values(), "name", "category") == [("Green tea", "drinks")]
    assert Product.objects.count() == 2


def test_publishing_fails_as_a_whole(acme: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from loyalty_saas.flows import programs

    def broken(**_given: Any) -> None:
        raise RuntimeError("shelf")

    monkeypatch.setattr(programs, "publish_rewards", broken)
    with pytest.raises(RuntimeError):
        live()

    assert not Program.objects.exists()
    assert not connections["default"].in_atomic_block
    assert (LedgerEntry.objects.count(), Member.objects.count()) == (0, 0)
