"""Members through the API."""

from datetime import timedelta
from urllib.parse import quote

import pytest
from django.utils import timezone

from members.models import Consent, Identifier, Member
from tests.loyalty_saas.shops import counted_queries, credit, join, points_of, sale
from tests.machines import Answer, Machine


def test_somebody_joins_and_gets_the_points_for_it(till: Machine) -> None:
    made = till.post(
        "/members",
        {
            "name": "Bo",
            "birthday": "1990-05-31",
            "language": "de",
            "identifiers": {"phone": "0151 9876543", "email": "BO@Example.com", "card": None},
            "consents": [{"purpose": "mail", "granted": True, "text_version": "v1"}],
        },
    )

    assert made.status == 201
    assert (made["name"], made["birthday"], made["language"], made["status"]) == ("Bo", "1990-05-31", "de", "active")
    assert made["identifiers"] == [
        {"kind": "email", "value": "bo@example.com"},
        {"kind": "phone", "value": "+491519876543"},
    ]
    assert credit() == 1
    assert points_of(till, made["id"]) == 50
    assert Consent.objects.filter(member=made["id"], purpose="mail", granted=True, text_version="v1").count() == 1


def test_a_member_is_found_by_whatever_leads_to_her(till: Machine, ana: Answer) -> None:
    ways = [
        ana["id"],
        ana["id"].upper(),
        ana["number"],
        ana["number"].lower(),
        "+4915112345678",
        "+49 151 12345678",
        "0151 12345678",
        "ana@example.com",
        "ANA@EXAMPLE.COM",
        "400012345678",
        "4000 1234 5678",
        "ana-1",
    ]

    assert {till.get(f"/members/{quote(way, safe='')}")["id"] for way in ways} == {ana["id"]}
    assert [one["id"] for one in till.get(f"/members?identifier={quote('+49 151 12345678')}")["results"]] == [ana["id"]]
    assert till.get("/members?identifier=nobody")["results"] == []


def test_an_identifier_that_leads_to_two_members_leads_to_none(till: Machine) -> None:
    join(till, "Card", card="77777")
    other = join(till, "Pos", pos="77777")

    answer = till.get("/members/77777")
    assert (answer.status, answer.code) == (404, "unknown_member")
    assert till.post("/purchases", sale("77777", "R-1")).code == "unknown_member"
    assert till.get(f"/members/{other['number']}").status == 200


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"identifiers": {"phone": "nonsense"}}, 422, "identifiers.phone"),
        ({"identifiers": {"email": "nobody"}}, 422, "identifiers.email"),
        ({"identifiers": {"email": "ana@example.com"}}, 409, "identifiers.email"),
        ({"identifiers": {"fax": "1"}}, 400, "identifiers.fax"),
        ({"identifiers": {"pos": 14646}}, 400, "identifiers.pos"),
        ({"birthday": "31.5.1990"}, 400, "birthday"),
        ({"birthday": "1990-02-30"}, 400, "birthday"),
        ({"language": "xx"}, 400, "language"),
        ({"name": "x" * 101}, 400, "name"),
        ({"name": ["Ana"]}, 400, "name"),
        ({"nickname": "An"}, 400, "nickname"),
        ({"status": "closed"}, 400, "status"),
        ({"number": "AAAAAAAA"}, 400, "number"),
        ({"consents": [{"purpose": "mail", "granted": "yes", "text_version": "1"}]}, 400, "consents.0.granted"),
        (
            {"consents": [{"purpose": "mail", "granted": True, "text_version": "1"}, 5]},
            400,
            "consents.1.non_field_errors",
        ),
        ({"consents": {"mail": True}}, 400, "consents"),
    ],
)
def test_who_cannot_join_is_told_the_field(
    till: Machine, ana: Answer, body: dict[str, object], status: int, field: str
) -> None:
    answer = till.post("/members", body)

    assert (answer.status, answer.fields) == (status, [field])
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert Member.objects.count() == 1


def test_name_birthday_and_language_change_alone(till: Machine, ana: Answer) -> None:
    changed = till.send("PATCH", f"/members/{ana['id']}", {"name": "Anna", "birthday": "1991-01-02"})
    assert (changed.status, changed["name"], changed["birthday"]) == (200, "Anna", "1991-01-02")

    changed = till.send("PATCH", "/members/ana-1", {"birthday": None, "language": "de"})
    assert (changed["name"], changed["birthday"], changed["language"]) == ("Anna", None, "de")
    assert till.send("PATCH", "/members/ana-1", {"status": "closed"}).fields == ["status"]
    assert till.send("PATCH", "/members/nobody", {"name": "x"}).code == "unknown_member"


def test_a_further_identifier_leads_to_the_member_and_to_no_other(till: Machine, ana: Answer) -> None:
    join(till, "Bo", card="B-1")

    for _time in range(2):
        added = till.post(f"/members/{ana['id']}/identifiers", {"kind": "card", "value": "a 99"}, key=None)
        assert added.status == 201
    assert Identifier.objects.filter(value="A99").count() == 1
    assert till.get("/members/a%2099")["id"] == ana["id"]

    taken = till.post(f"/members/{ana['id']}/identifiers", {"kind": "card", "value": "b-1"}, key=None)
    assert (taken.status, taken.code, taken.fields) == (409, "identifier_taken", ["identifiers.card"])
    assert till.post("/members/ana-1/identifiers", {"kind": "fax", "value": "1"}, key=None).fields == ["kind"]
    assert till.post("/members/ana-1/identifiers", {"kind": "phone", "value": "x"}, key=None).status == 422


def test_consent_given_and_withdrawn_is_kept_in_rows(till: Machine, ana: Answer) -> None:
    for granted in (True, False):
        answer = till.post(
            "/members/ana-1/consents", {"purpose": "sms", "granted": granted, "text_version": "7"}, key=None
        )
        assert answer.status == 201

    assert list(Consent.objects.order_by("id").values_list("purpose", "granted", "source")) == [
        ("sms", True, "api"),
        ("sms", False, "api"),
    ]
    assert till.post("/members/ana-1/consents", {"purpose": "sms"}, key=None).fields == ["granted", "text_version"]


def test_a_double_is_merged_with_its_points_and_identifiers(till: Machine, ana: Answer) -> None:
    double = join(till, "Anna", card="D-1")
    till.post("/purchases", sale("D-1", "R-1", 20000))
    credit()

    merged = till.post("/members/ana-1/merge", {"double": "D-1"})

    assert (merged.status, merged["id"]) == (200, ana["id"])
    assert {"kind": "card", "value": "D-1"} in merged["identifiers"]
    assert points_of(till, "ana-1") == 50 + 50 + 200
    for way in (double["id"], double["number"], "D-1"):
        assert till.get(f"/members/{way}")["id"] == ana["id"]
    again = till.post("/members/ana-1/merge", {"double": double["id"]})
    assert (again.status, again.fields) == (422, ["double"])
    assert till.post("/members/ana-1/merge", {"double": "nobody"}).fields == ["double"]


def test_whoever_was_merged_twice_over_leads_to_the_last(till: Machine, ana: Answer) -> None:
    first, second = join(till, "A", card="M-1"), join(till, "B", card="M-2")

    till.post("/members/M-2/merge", {"double": "M-1"})
    till.post("/members/ana-1/merge", {"double": second["id"]})

    assert till.get(f"/members/{first['id']}")["id"] == ana["id"]
    assert Member.objects.filter(merged_into=ana["id"]).count() == 2


def test_pages_show_each_member_once_and_newest_first(till: Machine) -> None:
    made = [join(till, f"M{n}", pos=f"m-{n}")["id"] for n in range(5)]

    seen, cursor = [], ""
    while True:
        page = till.get(f"/members?limit=2{cursor}")
        seen += [one["id"] for one in page["results"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"

    assert seen == made[::-1]


def test_a_page_of_members_costs_the_same_for_any_length(till: Machine) -> None:
    def cost() -> int:
        with counted_queries() as count:
            assert till.get("/members?limit=200").status == 200
        return count()

    join(till, "M", pos="m")
    till.get("/members")
    first = cost()
    at = timezone.now() - timedelta(days=1)
    Member.objects.bulk_create(Member(number=f"N{n:07}", joined_at=at) for n in range(150))

    # Members with who they are, and their identifiers.
    assert (first, cost()) == (2, 2)
