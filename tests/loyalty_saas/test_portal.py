"""The shop's portal: three numbers, members with their reasons, returns without a sale, and files on their way in."""

import re
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from loyalty_saas.flows import imports
from loyalty_saas.portal import figures
from loyalty_saas.sentences_program import figure_of_basis
from members.models import ImportJob, Member, ParkedReturn, Purchase
from programs.rules import TierSetSpec, TierSpec
from rewards.models import Reward
from tenants.access import Actor
from tenants.context import use_client
from tenants.keys import uuid7
from tenants.models import AuditEvent, Client, KpiDay, Provider
from tests.conftest import NewClient
from tests.http import ClientBrowser
from tests.loyalty_saas.portals import cost
from tests.loyalty_saas.shops import credit, join, open_shop, sale
from tests.machines import Answer, Machine
from tests.people import browser, person


@pytest.fixture
def owner(shop: Client) -> ClientBrowser:
    """The portal, open before the owner."""
    return browser(shop, person(Actor.OWNER, client=shop))


def text(answer: Any) -> str:
    """What a page says, without its tags, in one line."""
    body = re.sub(r"<(script|style|svg).*?</\1>", " ", answer.content.decode(), flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body)).replace("&#x27;", "'").replace("&amp;", "&")


def buy(till: Machine, member: Answer, document: str, amount: int = 1000, **more: Any) -> None:
    """A sale, and its points given."""
    answer = till.post("/purchases", sale(member["id"], document, amount, **more))
    assert answer.status == 201, answer.raw
    credit()


def a_day(client: Client, *, back: int = 0, **counts: Any) -> KpiDay:
    """One counted day of the shop, so many days ago."""
    values = {"members": 3, "sales": 5, "active_members": 2, "revenue": 10_000, "repeat_revenue": 4_000, **counts}
    today = timezone.now().astimezone(ZoneInfo(client.time_zone)).date()
    return KpiDay.objects.create(client=client, day=today - timedelta(days=back), counted_at=timezone.now(), **values)


# ── three numbers ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_screen_answers_three_questions(
    shop: Client, owner: ClientBrowser, till: Machine, ana: Answer
) -> None:
    buy(till, ana, "R-1", 50_000)
    a_day(shop, back=1, earned=275)
    page = text(owner.get("/"))
    assert "Are people coming back? 40.0%" in page
    # 550 points are owed; the best reward gives 3.00 for 40 of them.
    assert "550 Points owed (€41.25)" in page
    assert "What does it cost? €20.62" in page
    assert "What does it bring? €40.00" in page


def test_what_is_owed_is_valued_at_the_reward_that_gives_most(shop: Client, till: Machine, ana: Answer) -> None:
    values = {one.unit.code: one.value for one in figures.owed()}
    assert values == {"points": 375, "stamps": None}


def test_without_rewards_nothing_is_said_about_money(shop: Client, owner: ClientBrowser, ana: Answer) -> None:
    Reward.objects.update(active=False)
    assert "What does it cost? –" in text(owner.get("/"))


def test_a_shop_whose_last_sale_is_long_ago_sees_the_days_before_it(shop: Client) -> None:
    rows = [a_day(shop, back=back, revenue=1000, repeat_revenue=500) for back in (200, 210)]
    a_day(shop, back=0, sales=0, revenue=0, repeat_revenue=0)
    numbers = figures.three_numbers(days=figures.days_of(shop), at=timezone.now())
    assert (numbers.until, numbers.is_old, numbers.revenue) == (rows[0].day, True, 2000)


def test_the_change_is_against_the_thirty_days_before(shop: Client) -> None:
    a_day(shop, back=1, revenue=1000, repeat_revenue=500)
    a_day(shop, back=35, revenue=1000, repeat_revenue=400)
    numbers = figures.three_numbers(days=figures.days_of(shop), at=timezone.now())
    assert numbers.repeat_change == pytest.approx(0.1)


def test_a_shop_without_anything_is_told_what_comes(acme: Client) -> None:
    page = text(browser(acme, person(Actor.OWNER, client=acme)).get("/"))
    assert "No program is published yet" in page
    assert "The line begins with the first purchase." in page


def test_a_provider_sees_figures_but_no_members(shop: Client, till: Machine, provider: Provider) -> None:
    join(till, "Bertha", pos="bertha-1")
    staff = browser(shop, person(Actor.PROVIDER, provider=provider))
    assert "bertha-1" not in text(staff.get("/"))
    assert [staff.get(url).status_code for url in ("/members/", "/returns/", "/imports/")] == [403, 403, 403]


def test_a_clerk_begins_with_the_members(shop: Client) -> None:
    clerk = browser(shop, person(Actor.CLERK, client=shop, factor=False))
    assert clerk.get("/")["Location"] == "/members/"


def test_the_program_stands_there_in_sentences(owner: ClientBrowser) -> None:
    page = text(owner.get("/program/"))
    for words in ("A point per euro", "Silver", "€500.00", "12 months", "€400.00"):
        assert words in page
    shelf = text(owner.get("/rewards/"))
    assert ("5 off" in shelf, "500" in shelf) == (True, True)


@pytest.mark.parametrize(
    ("basis", "words"),
    [("spend", "€7.00"), ("count", "700 purchases"), ("earned", "700 points"), ("quantity", "700 days")],
)
def test_a_tier_says_what_it_counts(basis: Any, words: str) -> None:
    level = TierSpec(code="silver", name="Silver", enter=700, keep=700)
    tiers = TierSetSpec(basis=basis, levels=(level,), property="days", period_months=None)
    assert figure_of_basis(700, tiers, "EUR") == words


# ── members ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("typed", ["Ana", "an", "+49 151 12345678", "ana@example.com", "ana-1", "4000 1234 5678"])
def test_one_field_finds_a_member_by_anything(owner: ClientBrowser, ana: Answer, typed: str) -> None:
    assert f"/members/{ana['id']}/" in owner.get("/members/", {"q": typed}).content.decode()


def test_nobody_found_says_so_and_keeps_what_was_typed(owner: ClientBrowser) -> None:
    answer = owner.get("/members/", {"q": "<b>nobody"})
    assert "Nobody found" in text(answer)
    assert 'value="&lt;b&gt;nobody"' in answer.content.decode()


@pytest.mark.parametrize("typed", ["\x00", "%", "x" * 5000, "'; --"])
def test_a_strange_search_is_only_a_search(owner: ClientBrowser, typed: str) -> None:
    assert owner.get("/members/", {"q": typed}).status_code == 200


def test_a_member_page_tells_balance_tier_and_why(owner: ClientBrowser, till: Machine, ana: Answer) -> None:
    line = {"sku": "latte", "category": "coffee", "quantity": 5, "amount": 2500}
    buy(till, ana, "R-7", lines=[line])
    page = text(owner.get(f"/members/{ana['id']}/"))
    for words in (
        "Points 75",
        "To Silver €475.00",
        "€25.00 so far",
        "25 points for purchase R-7.",
        "“A point per euro” gave 25 points.",
        "“A stamp per coffee” gave 3 stamps instead of 5 stamps: the limit for one purchase was reached.",
        "50 points for joining.",
    ):
        assert words in page


def test_a_merged_member_leads_to_the_one_who_stays(owner: ClientBrowser, ana: Answer) -> None:
    double = Member.objects.create(number="DOUBLE-1", status="merged", merged_into_id=ana["id"])
    assert owner.get(f"/members/{double.pk}/")["Location"] == f"/members/{ana['id']}/"


def test_the_statement_costs_the_same_for_any_length(owner: ClientBrowser, till: Machine, ana: Answer) -> None:
    counts = []
    for number in (2, 22):
        for n in range(number):
            buy(till, ana, f"R-{number}-{n}")
        counts.append(cost(owner, f"/members/{ana['id']}/"))
    assert counts[0] == counts[1] <= 18


def test_a_long_statement_comes_in_pages(
    owner: ClientBrowser, till: Machine, ana: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loyalty_saas.portal.views.member.PAGE", 2)
    for n in range(2):
        buy(till, ana, f"R-{n}")
    pages = [text(owner.get(f"/members/{ana['id']}/?page={n}")) for n in (1, 2)]
    first, second = (page.partition("What is there, by expiry")[0] for page in pages)
    assert ("purchase R-1." in first, "joining" in first, "joining" in second) == (True, False, True)


def test_r20_another_clients_member_is_not_there(owner: ClientBrowser, new_client: NewClient) -> None:
    member_id = _member_of(new_client("Bravo"))
    known, unknown = owner.get(f"/members/{member_id}/"), owner.get(f"/members/{uuid7()}/")
    assert (known.status_code, known.content) == (404, unknown.content)


def _member_of(client: Client) -> Any:
    with use_client(client):
        open_shop()
        return Member.objects.create(number="FOREIGN-1").pk


def test_the_search_costs_the_same_for_any_number_of_hits(owner: ClientBrowser, till: Machine) -> None:
    counts = []
    for number in (1, 9):
        for n in range(number):
            join(till, f"Zoe {number}-{n}")
        counts.append(cost(owner, "/members/", q="Zoe"))
    assert counts[0] == counts[1] <= 14


# ── returns that found no sale ──────────────────────────────────────────────────────────────────────────────────────


def bring_back(till: Machine, member: Answer, document: str) -> None:
    """A return without a receipt."""
    line = {"sku": "umbrella", "quantity": 1, "amount": 900}
    answer = till.post("/purchases", {"kind": "return", "document": document, "member": member["id"], "lines": [line]})
    assert answer.status == 201, answer.raw
    credit()


@pytest.fixture
def parked(till: Machine, ana: Answer) -> ParkedReturn:
    """A return without a receipt, of something never bought."""
    bring_back(till, ana, "B-1")
    return ParkedReturn.objects.get()


def test_a_parked_return_waits_and_is_closed_with_a_reason(
    shop: Client, owner: ClientBrowser, parked: ParkedReturn
) -> None:
    assert "1 return found no sale and waits for you." in text(owner.get("/"))
    assert "umbrella" in text(owner.get("/returns/"))
    assert owner.post(f"/returns/{parked.pk}/dismiss/", {"reason": "Bought before the program"}).status_code == 302
    parked.refresh_from_db()
    assert (parked.state, parked.reason) == ("dismissed", "Bought before the program")
    assert AuditEvent.objects.filter(client=shop, action="parked_return.dismissed", subject=str(parked.pk)).exists()
    assert "Nothing waits" in text(owner.get("/returns/"))


def test_without_a_reason_it_stays_and_the_field_says_so(owner: ClientBrowser, parked: ParkedReturn) -> None:
    answer = owner.post(f"/returns/{parked.pk}/dismiss/", {"reason": ""})
    parked.refresh_from_db()
    assert (answer.status_code, parked.state) == (422, "open")
    assert f'id="error-{parked.pk}"' in answer.content.decode()


def test_a_return_closed_by_somebody_else_says_so(owner: ClientBrowser, parked: ParkedReturn) -> None:
    owner.post(f"/returns/{parked.pk}/dismiss/", {"reason": "First"})
    answer = owner.post(f"/returns/{parked.pk}/dismiss/", {"reason": "Second"})
    assert (answer.status_code, "not waiting any more" in text(answer)) == (422, True)


def test_the_list_costs_the_same_for_any_length(owner: ClientBrowser, till: Machine, ana: Answer) -> None:
    counts = []
    for number in (1, 9):
        for n in range(number):
            bring_back(till, ana, f"B-{number}-{n}")
        counts.append(cost(owner, "/returns/"))
    assert counts[0] == counts[1] <= 8


def test_closing_needs_a_post(owner: ClientBrowser, parked: ParkedReturn) -> None:
    assert owner.get(f"/returns/{parked.pk}/dismiss/").status_code == 405


# ── files ───────────────────────────────────────────────────────────────────────────────────────────────────────────

HEADER = "purchase_id,member_id,timestamp,amount,sku,qty\n"
ROWS = "T-1,lena-1,2026-03-01T10:00:00,12.50,latte,1\nT-2,lena-1,2026-03-02T10:00:00,8.00,scone,2\n"
BAD = "T-3,lena-1,yesterday,1.00,tea,1\n"


def a_file(body: str = HEADER + ROWS + BAD, name: str = "tills.csv") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, body.encode(), content_type="text/csv")


def upload(page: ClientBrowser, **given: Any) -> str:
    """Send a file; the address of its page."""
    answer = page.post("/imports/", {"file": a_file(), **given})
    assert answer.status_code == 302, text(answer)
    return str(answer["Location"])


def carry_out(address: str) -> ImportJob:
    """Do what the worker does."""
    return imports.run(job_id=address.strip("/").split("/")[-1], at=timezone.now())  # type: ignore[arg-type]


def test_a_file_goes_from_the_form_to_its_result(shop: Client, owner: ClientBrowser) -> None:
    address = upload(owner)
    waiting = owner.get(address).content.decode()
    assert 'hx-trigger="every 1s"' in waiting
    assert '<noscript><meta http-equiv="refresh"' in waiting
    carry_out(address)
    page = owner.get(address)
    assert "Rows read 3 Rows refused 1 Receipts in the file 2 Receipts recorded 2 of them new 2" in text(page)
    assert "every 1s" not in page.content.decode()
    assert Purchase.objects.count() == 2
    assert AuditEvent.objects.filter(client=shop, action="import.started").exists()


def test_the_refused_rows_are_a_file_with_their_reasons(owner: ClientBrowser) -> None:
    address = upload(owner)
    carry_out(address)
    answer = owner.get(f"{address}errors.csv")
    assert "tills.errors.csv" in answer["Content-Disposition"]
    assert b"".join(answer.streaming_content).startswith(b"row,column,problem\r\n4,timestamp,")


def test_a_file_without_errors_has_no_error_file(owner: ClientBrowser) -> None:
    address = upload(owner, file=a_file(HEADER + ROWS))
    carry_out(address)
    assert owner.get(f"{address}errors.csv").status_code == 404


def test_trying_out_records_nothing_and_says_so(owner: ClientBrowser) -> None:
    address = upload(owner, dry_run="on")
    carry_out(address)
    assert "Tried out: nothing was recorded" in text(owner.get(address))
    assert not Purchase.objects.exists()


def test_a_column_that_is_missing_is_named_at_its_field(owner: ClientBrowser) -> None:
    answer = owner.post("/imports/", {"file": a_file("bon,member_id,timestamp,amount\n1,a,2026-01-01,1\n")})
    assert answer.status_code == 422
    assert 'id="id_column_document_errors"' in answer.content.decode()
    assert "nothing has been recorded" in text(answer)


def test_a_column_with_another_name_is_mapped(owner: ClientBrowser) -> None:
    body = "bon,member_id,timestamp,amount\nT-9,lena-1,2026-03-01T10:00:00,5.00\n"
    address = upload(owner, file=a_file(body), column_document="bon")
    assert carry_out(address).documents_new == 1


def test_a_file_that_is_none_is_refused(owner: ClientBrowser) -> None:
    for body in ("", "\x00\x01"):
        assert owner.post("/imports/", {"file": a_file(body)}).status_code == 422


def test_r19_a_file_and_its_errors_are_not_there_for_another_client(
    owner: ClientBrowser, new_client: NewClient
) -> None:
    address = upload(owner)
    carry_out(address)
    bravo = new_client("Bravo")
    stranger = browser(bravo, person(Actor.OWNER, client=bravo))
    assert [stranger.get(url).status_code for url in (address, f"{address}errors.csv")] == [404, 404]


def test_a_fragment_is_answered_with_the_progress_alone(owner: ClientBrowser) -> None:
    fragment = owner.get(upload(owner), headers={"HX-Request": "true"}).content.decode()
    assert fragment.lstrip().startswith("<section")


# ── the frame ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_everybody_is_shown_only_where_they_may_go(shop: Client, provider: Provider) -> None:
    visitors = {
        "owner": browser(shop, person(Actor.OWNER, client=shop)),
        "clerk": browser(shop, person(Actor.CLERK, client=shop, factor=False)),
        "provider": browser(shop, person(Actor.PROVIDER, provider=provider)),
    }
    shown = {
        who: sorted(set(re.findall(r'<a href="(/[a-z]*/?)"', page.get("/program/").content.decode())) - {"/"})
        for who, page in visitors.items()
    }
    assert shown == {
        "owner": [
            "/approvals/",
            "/imports/",
            "/liability/",
            "/machines/",
            "/members/",
            "/program/",
            "/returns/",
            "/rewards/",
            "/settings/",
            "/staff/",
        ],
        "clerk": ["/members/", "/program/", "/rewards/"],
        "provider": ["/machines/", "/program/", "/rewards/"],
    }
    for who, page in visitors.items():
        assert all(page.get(url).status_code == 200 for url in shown[who])


def test_days_and_hours_are_the_shops(owner: ClientBrowser, till: Machine, ana: Answer) -> None:
    # 22:30 in UTC is past midnight in Berlin, where Acme is.
    buy(till, ana, "R-1", occurred_at="2026-07-01T22:30:00Z")
    assert "Jul 2, 2026, 12:30" in text(owner.get(f"/members/{ana['id']}/"))


def test_pages_have_no_inline_style_or_script(owner: ClientBrowser, ana: Answer) -> None:
    for url in (
        "/",
        "/members/?q=Ana",
        f"/members/{ana['id']}/",
        "/program/",
        "/returns/",
        "/imports/",
        "/accounts/2fa/",
    ):
        body = owner.get(url).content.decode()
        assert not re.search(r"\sstyle=|<style|<script(?![^>]*\ssrc=)|\son\w+=", body), url


def test_an_address_that_does_not_exist_says_so_in_our_design(owner: ClientBrowser) -> None:
    answer = owner.get("/nothing/")
    assert (answer.status_code, "There is nothing here" in text(answer)) == (404, True)


def test_a_form_from_another_session_is_refused_in_our_design(shop: Client) -> None:
    page = browser(shop, person(Actor.OWNER, client=shop), enforce_csrf_checks=True)
    answer = page.post("/accounts/logout/")
    assert (answer.status_code, "The page was too old" in text(answer)) == (403, True)


def test_a_failure_of_ours_shows_nothing_of_the_inside(owner: ClientBrowser, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**kwargs: Any) -> None:
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr("loyalty_saas.portal.figures.three_numbers", fail)
    owner.raise_request_exception = False
    answer = owner.get("/")
    assert (answer.status_code, "secret" in text(answer), "Something went wrong" in text(answer)) == (500, False, True)
