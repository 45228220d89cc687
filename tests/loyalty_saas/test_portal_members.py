"""The list of all members: sorted, filtered, turned over, taken along as a file; and somebody taken in by hand."""

from datetime import date, timedelta
from typing import Any

import pytest
from django.utils import timezone

from loyalty_saas.portal.shared import LongPaginator
from members.models import Consent, Identifier, Insight, Member, TierStatus
from tenants.access import Actor
from tenants.models import AuditEvent, Client
from tests.conftest import NewClient
from tests.http import ClientBrowser
from tests.loyalty_saas.portals import at_portal, cost, file_of, show_who, words
from tests.loyalty_saas.shops import credit, join, open_shop, sale
from tests.machines import Answer, Machine


@pytest.fixture
def owner(shop: Client) -> ClientBrowser:
    """The portal, open before the owner."""
    return at_portal(shop)


@pytest.fixture
def three(till: Machine) -> dict[str, str]:
    """Three members by name: Bea has bought most, Cem is in silver, Dora has an e-mail address and nothing else."""
    ids = {}
    for name, more, amount in (("Bea", {"phone": "+4915100000001"}, 9000), ("Cem", {"card": "77"}, 2000)):
        ids[name] = join(till, name, **more)["id"]
        assert till.post("/purchases", sale(ids[name], f"R-{name}", amount)).status == 201
    ids["Dora"] = join(till, "Dora", email="dora@example.com")["id"]
    credit()
    TierStatus.objects.update_or_create(
        pk=ids["Cem"], defaults={"tier": "silver", "since": timezone.now(), "settled_at": timezone.now()}
    )
    return ids


def names_on(answer: Any) -> list[str]:
    """Who is on the list, in order."""
    said = words(answer)
    return sorted((name for name in ("Bea", "Cem", "Dora") if name in said), key=said.index)


# ── the list ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_everybody_is_on_the_list_with_their_figures(owner: ClientBrowser, three: dict[str, str]) -> None:
    said = words(owner.get("/members/"))
    assert "3 members" in said
    # 50 for joining and a point per euro.
    assert "140 1 €90.00" in said[said.index("Bea") : said.index("Bea") + 120]
    assert "Silver" in said[said.index("Cem") : said.index("Cem") + 60]


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("name", ["Bea", "Cem", "Dora"]),
        ("-name", ["Dora", "Cem", "Bea"]),
        ("-spent", ["Bea", "Cem", "Dora"]),
        ("spent", ["Cem", "Bea", "Dora"]),
        ("-balance", ["Bea", "Cem", "Dora"]),
        ("joined", ["Bea", "Cem", "Dora"]),
        ("-joined", ["Dora", "Cem", "Bea"]),
        ("'; DROP", ["Dora", "Cem", "Bea"]),
    ],
)
def test_the_list_sorts_and_those_without_a_figure_come_last(
    owner: ClientBrowser, three: dict[str, str], sort: str, order: list[str]
) -> None:
    Insight.objects.filter(pk=three["Dora"]).delete()
    assert names_on(owner.get("/members/", {"sort": sort})) == order


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ({"q": "bea"}, ["Bea"]),
        ({"q": "0151 00000001"}, ["Bea"]),
        ({"q": "DORA@example.com"}, ["Dora"]),
        ({"tier": "silver"}, ["Cem"]),
        ({"tier": "-"}, ["Bea", "Dora"]),
        ({"has": "email"}, ["Dora"]),
        ({"has": "no-email"}, ["Bea", "Cem"]),
        ({"segment": "none"}, ["Dora"]),
        ({"segment": "regular"}, []),
        ({"joined": "7"}, ["Bea", "Cem", "Dora"]),
        ({"tier": "no-such", "segment": "'"}, ["Bea", "Cem", "Dora"]),
    ],
)
def test_the_list_filters(owner: ClientBrowser, three: dict[str, str], asked: dict[str, str], shown: list[str]) -> None:
    assert names_on(owner.get("/members/", {"sort": "name", **asked})) == shown


def test_who_joined_before_the_period_is_not_shown(owner: ClientBrowser, three: dict[str, str]) -> None:
    Member.objects.filter(pk=three["Cem"]).update(joined_at=timezone.now() - timedelta(days=8))
    assert names_on(owner.get("/members/", {"joined": "7", "sort": "name"})) == ["Bea", "Dora"]


def test_filters_and_order_stay_while_the_list_is_turned_over(
    owner: ClientBrowser, three: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loyalty_saas.portal.views.members.PAGE", 1)
    body = owner.get("/members/", {"has": "no-email", "sort": "name"}).content.decode()
    assert "has=no-email&amp;sort=name&amp;page=2" in body
    assert names_on(owner.get("/members/", {"has": "no-email", "sort": "name", "page": "2"})) == ["Cem"]


def test_a_long_list_is_turned_over_so_far_and_no_further() -> None:
    pages = LongPaginator(range(100_000), 25)
    assert (pages.num_pages, pages.is_cut, pages.count) == (400, True, 100_000)
    assert not LongPaginator(range(10_000), 25).is_cut


def test_the_list_costs_the_same_for_any_length(owner: ClientBrowser, till: Machine) -> None:
    counts = []
    for number in (1, 9):
        for n in range(number):
            join(till, f"Zoe {number}-{n}", email=f"zoe-{number}-{n}@example.com")
        counts.append(cost(owner, "/members/"))
    assert counts[0] == counts[1] <= 14


def test_a_shop_without_members_is_told_what_to_do(shop: Client, owner: ClientBrowser) -> None:
    page = owner.get("/members/")
    assert "No member yet" in words(page)
    assert 'href="/members/new/"' in page.content.decode()


def test_a_clerk_finds_members_and_sees_no_list(shop: Client, three: dict[str, str]) -> None:
    clerk = at_portal(shop, Actor.CLERK)
    assert names_on(clerk.get("/members/")) == []
    assert names_on(clerk.get("/members/", {"q": "Cem"})) == ["Cem"]
    assert [clerk.get(url).status_code for url in ("/members/new/", "/members/export/")] == [403, 403]


def test_closed_and_merged_members_are_not_on_the_list(owner: ClientBrowser, three: dict[str, str]) -> None:
    Member.objects.filter(pk=three["Bea"]).update(status="closed")
    Member.objects.filter(pk=three["Cem"]).update(status="merged", merged_into=three["Dora"])
    assert names_on(owner.get("/members/")) == ["Dora"]


# ── taken along ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_customer_list_is_given_only_to_who_has_just_shown_who_they_are(
    owner: ClientBrowser, three: dict[str, str]
) -> None:
    for answer in (owner.get("/members/export/"), owner.post("/members/export/")):
        assert (answer.status_code, "reauthenticate" in answer["Location"]) == (302, True)
    assert (
        not AuditEvent.objects.filter(action="members.exported").filter(subject="members", detail__members=3).exists()
    )


def test_the_customer_list_is_a_file_and_stands_in_the_record(
    shop: Client, owner: ClientBrowser, three: dict[str, str]
) -> None:
    show_who(owner)
    assert "All 3 members" in words(owner.get("/members/export/"))
    head, *rows = file_of(owner.post("/members/export/?has=no-email"))
    assert [row[1] for row in rows] == ["Bea", "Cem"]
    bea = dict(zip(head, rows[0], strict=True))
    assert (bea["Phone"], bea["Spent"], bea["Points"]) == ("'+4915100000001", "90.00", "140")
    event = AuditEvent.objects.get(client=shop, action="members.exported")
    assert event.detail == {"members": 2, "filters": ["has"]}


def test_no_name_in_the_file_is_a_formula(owner: ClientBrowser, till: Machine) -> None:
    join(till, "=cmd|' /C calc'!A0")
    show_who(owner)
    assert file_of(owner.post("/members/export/"))[1][1].startswith("'=")


def test_the_file_goes_on_where_a_part_of_it_ended(
    owner: ClientBrowser, three: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loyalty_saas.portal.exports.CHUNK", 2)
    show_who(owner)
    assert sorted(row[1] for row in file_of(owner.post("/members/export/"))[1:]) == ["Bea", "Cem", "Dora"]


@pytest.mark.parametrize(
    ("said", "agrees"),
    [
        ([], "no"),
        ([("marketing", True)], "yes"),
        ([("marketing", True), ("marketing", False)], "no"),
        ([("marketing_email", True), ("marketing", False)], "no"),
        ([("marketing", False), ("marketing_sms", True)], "yes"),
        ([("terms", True)], "no"),
    ],
)
def test_the_file_says_who_agrees_to_news_by_what_was_said_last(
    owner: ClientBrowser, ana: Answer, said: list[tuple[str, bool]], agrees: str
) -> None:
    member, at = Member.objects.get(), timezone.now()
    for hours, (purpose, granted) in enumerate(said):
        moment = at + timedelta(hours=hours)
        Consent.objects.create(member=member, purpose=purpose, granted=granted, text_version="1", source="t", at=moment)
    show_who(owner)
    head, row = file_of(owner.post("/members/export/"))
    assert row[head.index("Agrees to news and offers")] == agrees


def test_a_manager_takes_no_list_along(shop: Client) -> None:
    manager = at_portal(shop, Actor.MANAGER)
    assert manager.get("/members/export/").status_code == 403
    assert "/members/export/" not in manager.get("/members/").content.decode()


def test_r19_a_file_holds_nobody_of_another_client(
    owner: ClientBrowser, three: dict[str, str], new_client: NewClient
) -> None:
    bravo = new_client("Bravo")
    stranger = at_portal(bravo)
    show_who(stranger)
    assert len(file_of(stranger.post("/members/export/"))) == 1


# ── taken in by hand ────────────────────────────────────────────────────────────────────────────────────────────────

ELI = {
    "name": "Eli Roth",
    "phone": "0151 12345699",
    "email": "ELI@example.com",
    "card": "12 34",
    "birthday": "1990-02-28",
}


def test_somebody_joins_and_is_found_by_everything(shop: Client, owner: ClientBrowser) -> None:
    answer = owner.post("/members/new/", {**ELI, "language": "en", "marketing": "on"})
    assert answer.status_code == 302
    member = Member.objects.get()
    assert answer["Location"] == f"/members/{member.pk}/"
    assert (member.identity.name, member.identity.birthday) == ("Eli Roth", date(1990, 2, 28))
    found = {one.kind: one.value for one in Identifier.objects.filter(member=member)}
    assert found == {"phone": "+4915112345699", "email": "eli@example.com", "card": "1234"}
    consent = Consent.objects.get(member=member)
    assert (consent.purpose, consent.granted, consent.source) == ("marketing", True, "portal")
    assert AuditEvent.objects.filter(client=shop, action="member.enrolled", subject=str(member.pk)).exists()
    credit()
    assert "50 points for joining." in words(owner.get(answer["Location"]))


def test_who_does_not_agree_has_no_consent(owner: ClientBrowser) -> None:
    owner.post("/members/new/", ELI)
    assert not Consent.objects.exists()


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"phone": "call me"}, "phone"),
        ({"phone": "+4915112345678"}, "phone"),
        ({"email": "ana@example.com"}, "email"),
        ({"email": "nothing"}, "email"),
        ({"birthday": "2999-01-01"}, "birthday"),
        ({"birthday": "31 February"}, "birthday"),
        ({"language": "xx"}, "language"),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_what_was_typed_stays(
    owner: ClientBrowser, ana: Answer, given: dict[str, str], field: str
) -> None:
    answer = owner.post("/members/new/", {"name": "Eli Roth", **given})
    body = answer.content.decode()
    assert (answer.status_code, f'id="id_{field}_errors"' in body) == (422, True)
    assert 'value="Eli Roth"' in body
    assert Member.objects.count() == 1


def test_nobody_joins_with_nothing(owner: ClientBrowser) -> None:
    answer = owner.post("/members/new/", {"birthday": "1990-01-01"})
    assert (answer.status_code, "Enter at least a name" in words(answer)) == (422, True)


def test_the_name_looked_for_in_vain_stands_in_the_form(acme: Client) -> None:
    open_shop()
    page = at_portal(acme)
    assert "/members/new/?name=Frida" in page.get("/members/", {"q": "Frida"}).content.decode()
    assert 'value="Frida"' in page.get("/members/new/?name=Frida").content.decode()
