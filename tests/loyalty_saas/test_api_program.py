"""The program, locations and figures through the API."""

import copy

from programs.models import Location, Program
from tenants.models import AuditEvent, Client
from tests.loyalty_saas.shops import PROGRAM, credit, sale
from tests.machines import Answer, Machine


def test_a_program_is_published_read_and_replaced(acme: Client) -> None:
    till = Machine(acme)
    assert (till.get("/program").status, till.get("/program").code) == (409, "no_program")

    made = till.post("/program", PROGRAM, key=None)
    replaced = till.send("PUT", "/program", {**PROGRAM, "name": "Better club"}, key=None)

    assert (made.status, made["version"], made["document"]) == (201, 1, PROGRAM)
    assert (replaced.status, replaced["version"]) == (200, 2)
    assert till.get("/program")["name"] == "Better club"
    assert list(Program.objects.order_by("version").values_list("status", flat=True)) == ["archived", "published"]
    assert AuditEvent.objects.filter(client=acme, action="program.published").count() == 2
    assert [one["code"] for one in till.get("/rewards")["results"]] == ["mug", "five-off"]


def test_a_program_that_is_not_sound_is_told_everything_wrong_with_it(till: Machine) -> None:
    broken = copy.deepcopy(PROGRAM)
    broken["rules"][0]["effect"]["per"] = 0
    broken["rules"][1]["unit"] = "gold"
    broken["rewards"][0]["prize"] = 1

    answer = till.post("/program", broken, key=None)

    assert (answer.status, answer.code) == (422, "program_invalid")
    assert set(answer.fields) >= {"rules[0].effect.per", "rules[1].unit", "rewards[0].prize"}
    assert till.get("/program")["version"] == 1


def test_a_fraction_in_a_program_is_kept_as_it_is_written(till: Machine) -> None:
    document = copy.deepcopy(PROGRAM)
    document["rules"].append(
        {
            "code": "double",
            "name": "Half as much again",
            "unit": "points",
            "trigger": "purchase",
            "effect": {"kind": "multiplier", "factor": 1.5},
        }
    )

    answer = till.post("/program", document, key=None)

    assert (answer.status, answer["document"]["rules"][-1]["effect"]["factor"]) == (201, "1.5")


def test_hostile_programs_are_refused(till: Machine) -> None:
    for raw in (
        b'{"name": "x", "units": 1e400}',
        b'{"name": "x", "units": [{"code": "p", "name": "P", "kind": "points", "decimals": 1e999999999}]}',
        b'{"name": "x", "units": [' + b"[" * 15 + b"]" * 15 + b"]}",
        b"{}",
    ):
        assert till.post("/program", raw, key=None).status == 422


def test_a_location_is_made_once_and_listed(till: Machine) -> None:
    first = till.post("/locations", {"code": "main", "name": "Main street"}, key=None)
    again = till.post("/locations", {"code": "main", "name": "Other name"}, key=None)
    plain = till.post("/locations", {"code": "web"}, key=None)

    assert (first.status, again.status, first.body) == (201, 201, again.body)
    assert [(one["code"], one["name"]) for one in till.get("/locations")["results"]] == [
        ("web", "web"),
        ("main", "Main street"),
    ]
    assert plain["name"] == "web"
    assert till.post("/locations", {"name": "x"}, key=None).fields == ["code"]
    assert till.post("/locations", {"code": "x" * 51}, key=None).fields == ["code"]
    assert Location.objects.count() == 2


def test_figures_are_counted_from_rows(till: Machine, ana: Answer) -> None:
    till.post("/purchases", sale("ana-1", "R-1", 5000))
    credit()

    figures = till.get("/figures")

    assert (figures["lines"], figures["members"], figures["sales"], figures["earned"], figures["balance"]) == (
        1,
        1,
        1,
        100,
        100,
    )
    assert figures["top_members"] == [{"member": "ana-1", "balance": 100}]
    assert figures["segments"] == {"new": 1}
    assert till.get("/figures?unit=stamps")["balance"] == 0
    assert till.get("/figures?units=stamps").fields == ["units"]
