"""A file of purchases comes in: to the exact figures, once, whatever interrupts it; what is wrong is named by row."""

import csv
import gzip
import io
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.db import transaction

from loyalty_saas.flows import imports as flow
from members.models import (
    ImportJob,
    ImportRow,
    LedgerEntry,
    Member,
    ParkedReturn,
    Purchase,
    PurchaseLine,
    WorkItem,
)
from members.queries import client_figures
from members.services import imports as service
from members.services.enrolment import NewMember, enrol
from members.services.purchases import PurchaseInput, fingerprint
from members.services.refusals import Refused
from programs.models import Location, Product
from tenants.context import use_client
from tenants.models import Client
from tests.conftest import NewClient
from tests.live import PROJECT
from tests.members import invariants
from tests.members.conftest import _the_books_add_up  # noqa: F401
from tests.members.world import (
    BERLIN,
    NOON,
    bring_back,
    buy,
    credit,
    crowd,
    line,
    live,
    new_member,
    points,
    purchase,
    tell,
)

DATA = PROJECT / "data"
HEADER = "purchase_id,member_id,timestamp,amount,currency,sku,description,qty,unit_price"
LATER = datetime(2026, 11, 22, 12, tzinfo=UTC)


def file(*rows: str, header: str = HEADER) -> io.BytesIO:
    return io.BytesIO("\n".join([header, *rows, ""]).encode())


def take(content: io.BytesIO, *, dry_run: bool = False, name: str = "log.csv", **mapping: str) -> ImportJob:
    job = flow.start(file=content, name=name, mapping=mapping, dry_run=dry_run, at=LATER)
    return flow.run(job_id=job.pk, at=LATER)


def errors_of(job: ImportJob) -> list[tuple[int, str]]:
    """Row and column of each line of the job's error file."""
    if not job.errors_path:
        return []
    with default_storage.open(job.errors_path) as opened:
        rows = list(csv.reader(io.TextIOWrapper(opened, encoding="utf-8")))
    assert rows[0] == ["row", "column", "problem"]
    assert all(row[2] for row in rows[1:])
    return [(int(row[0]), row[1]) for row in rows[1:]]


def documents() -> list[Any]:
    return sorted(tell(Purchase.objects.all(), "kind", "document", "amount"))


# ── a real log ──────────────────────────────────────────────────────────────────────────────────────────────────────

CDNOW = DATA / "cdnow_sample.csv.gz"


def _is_whole(figures: dict[str, Any]) -> bool:
    top = figures["top_members"][0]
    return (
        (figures["sales"], figures["returns"], figures["members"], figures["balance"]) == (6919, 0, 2357, 24_409_194)
        and (figures["earned"], figures["reversed"], figures["unmatched_lines"], figures["lines"])
        == (24_409_194, 0, 0, 6919)
        and (top["member"], top["balance"]) == ("19339", 655_270)
    )


def test_the_cdnow_log_ends_at_its_exact_figures_however_often_it_comes(
    new_client: NewClient, capsys: pytest.CaptureFixture[str]
) -> None:
    music = new_client("Music", currency="USD", time_zone="America/New_York")

    def run(command: str, *arguments: str) -> Any:
        call_command(command, *arguments, "--client", music.slug)
        return json.loads(capsys.readouterr().out)

    assert run("publish_program", str(DATA / "penny.program.json"))["rules"] == 1
    for new in (6919, 0):
        assert run("import_purchases", str(CDNOW)) | {"job": "", "waiting": 0} == {
            "client": music.slug, "job": "", "state": "done", "dry_run": False, "rows": 6919, "rows_refused": 0,
            "documents": 6919, "documents_new": new, "errors": None, "waiting": 0, "set_aside": 0,
        }  # fmt: skip
        with use_client(music):
            credit(at=LATER)
        assert _is_whole(run("client_figures"))
    invariants.check(music)
    with use_client(music):
        assert not WorkItem.objects.exists()
        assert not ImportRow.objects.exists()


# ── interrupted ─────────────────────────────────────────────────────────────────────────────────────────────────────

MANY = [f"D-{n},M-{n % 7},2026-05-{n % 28 + 1:02} 10:00,{n}.50,EUR,S-{n % 5},,1," for n in range(1, 41)]
BAD = "D-x,M-1,2026-05-01,many,EUR,,,1,"


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "DOCUMENTS_PER_BATCH", 4)
    monkeypatch.setattr(service, "_ROWS_PER_COPY", 10)


def _killed_after(times: int, function: Any) -> Any:
    calls = iter(range(times))

    def until_killed(*args: Any, **given: Any) -> Any:
        if next(calls, None) is None:
            raise Killed
        return function(*args, **given)

    return until_killed


@pytest.mark.parametrize(
    ("where", "what", "times"),
    [
        ("service", "record_next_batch", 0),
        ("service", "record_next_batch", 4),
        ("service", "record_next_batch", 10),
        ("service", "_copy", 2),
        ("service", "sort_into_batches", 0),
        ("flow", "_finish", 0),
        ("flow", "_save", 1),
        ("flow", "_save", 2),
        ("flow", "_save", 6),
    ],
)
def test_an_interrupted_import_goes_on_to_the_same_end(
    acme: Client, small_batches: None, monkeypatch: pytest.MonkeyPatch, where: str, what: str, times: int
) -> None:
    live()
    module = {"service": service, "flow": flow}[where]
    job = flow.start(file=file(BAD, *MANY), name="log.csv", mapping={}, dry_run=False, at=LATER)
    with monkeypatch.context() as patch:
        patch.setattr(module, what, _killed_after(times, getattr(module, what)))
        with pytest.raises(Killed):
            flow.run(job_id=job.pk, at=LATER)

    again = flow.start(file=file(BAD, *MANY), name="again.csv", mapping={}, dry_run=False, at=LATER)
    assert again == job
    done = flow.run(job_id=job.pk, at=LATER)
    credit(at=LATER)

    assert (done.state, done.rows, done.rows_refused, done.documents) == ("done", 41, 1, 40)
    assert (done.documents_done, done.documents_new) == (40, 40)
    assert errors_of(done) == [(2, "amount")]
    assert (Purchase.objects.count(), PurchaseLine.objects.count(), ImportRow.objects.count()) == (40, 40, 0)
    assert sum(tell(LedgerEntry.objects.all(), "amount")) == sum(n * 100 + 50 for n in range(1, 41))


def test_two_processes_that_run_one_job_record_it_once(acme: Client, small_batches: None) -> None:
    live()
    job = flow.start(file=file(*MANY), name="log.csv", mapping={}, dry_run=False, at=LATER)

    with crowd(3, acme) as people:
        ends = people.act(lambda _place: flow.run(job_id=job.pk, at=LATER).state, atomic=False)
    done = flow.run(job_id=job.pk, at=LATER)
    credit(at=LATER)

    assert [end for end in ends if not isinstance(end, str)] == []
    assert (done.documents_done, done.documents_new) == (40, 40)
    assert (done.state, Purchase.objects.count(), LedgerEntry.objects.count()) == ("done", 40, 40)


def test_an_import_that_is_done_is_begun_anew_and_finds_nothing_new(acme: Client) -> None:
    first = take(file(*MANY))
    again = take(file(*MANY))

    assert again.pk != first.pk
    assert (again.documents, again.documents_new, again.rows_refused) == (40, 0, 0)
    assert Purchase.objects.count() == 40


# ── rows ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_rows_of_one_document_become_one_purchase_with_lines_in_their_order(acme: Client) -> None:
    take(
        file(
            "R-1,ana,2026-05-01 09:30,10.00,EUR,tea,Green tea,2,5.00",
            "R-2,bob,2026-05-01 09:40:15,0.5,EUR,cup,,1,0.505",
            "R-1,ana,2026-05-01 09:30,2.345,eur,cup,Cup,0.5,",
        )
    )

    assert documents() == [("sale", "R-1", 1235), ("sale", "R-2", 50)]
    lines = PurchaseLine.objects.filter(purchase__document="R-1").order_by("position")
    assert [(str(x.quantity), x.sku, x.amount) for x in lines] == [("2.000", "tea", 1000), ("0.500", "cup", 235)]
    assert Purchase.objects.get(document="R-1").occurred_at == datetime(2026, 5, 1, 9, 30, tzinfo=BERLIN)
    assert (
        dict(Product.objects.values_list("sku", "name")) == {"tea": "Green tea", "cup": "Cup"}
        or Product.objects.count() == 2
    )
    assert Member.objects.count() == 2


def test_a_document_with_lines_of_both_signs_is_a_sale_and_a_return(acme: Client) -> None:
    live()
    take(
        file(
            "R-1,ana,2026-05-01 09:30,-3.00,EUR,tea,,-1,3.00",
            "R-1,ana,2026-05-01 09:30,6.00,EUR,tea,,2,3.00",
            "R-1,ana,2026-05-01 09:30,-1.00,EUR,jam,,1,1.00",
        )
    )
    credit(at=LATER)

    assert documents() == [("return", "R-1", -400), ("sale", "R-1", 600)]
    assert points(Member.objects.get()) == 300
    assert tell(ParkedReturn.objects.all(), "quantity") == [1]


@pytest.mark.parametrize(
    ("row", "column"),
    [
        (",ana,2026-05-01,1,EUR,,,1,", "document"),
        ("R-1,,2026-05-01,1,EUR,,,1,", "member"),
        ("R-1,ana,,1,EUR,,,1,", "timestamp"),
        ("R-1,ana,yesterday,1,EUR,,,1,", "timestamp"),
        ("R-1,ana,2026-02-30,1,EUR,,,1,", "timestamp"),
        ("R-1,ana,0001-01-01,1,EUR,,,1,", "timestamp"),
        ("R-1,ana,9999-12-31T23:59:59,1,EUR,,,1,", "timestamp"),
        ("R-1,ana,2026-05-01,,EUR,,,1,", "amount"),
        ("R-1,ana,2026-05-01,1 €,EUR,,,1,", "amount"),
        ('R-1,ana,2026-05-01,"1,50",EUR,,,1,', "amount"),
        ("R-1,ana,2026-05-01,NaN,EUR,,,1,", "amount"),
        ("R-1,ana,2026-05-01,-Infinity,EUR,,,1,", "amount"),
        ("R-1,ana,2026-05-01,1e400,EUR,,,1,", "amount"),
        ("R-1,ana,2026-05-01,1e999999999999999999999,EUR,,,1,", "amount"),
        ("R-1,ana,2026-05-01,10000000000001,EUR,,,1,", "amount"),
        ("R-1,ana,2026-05-01,1,USD,,,1,", "currency"),
        ("R-1,ana,2026-05-01,1,EUR,,,0,", "quantity"),
        ("R-1,ana,2026-05-01,1,EUR,,,two,", "quantity"),
        ("R-1,ana,2026-05-01,1,EUR,,,1.2345,", "quantity"),
        ("R-1,ana,2026-05-01,1,EUR,,,500000000000,", "quantity"),
        ("R-1,ana,2026-05-01,1,EUR,,,-1,", "quantity"),
        ("R-1,ana,2026-05-01,1,EUR,,,1,many", "unit_price"),
        ("R-1,ana,2026-05-01,1,EUR,,,1,1000000000000", "unit_price"),
        (f"{'R' * 65},ana,2026-05-01,1,EUR,,,1,", "document"),
        (f"R-1,{'a' * 255},2026-05-01,1,EUR,,,1,", "member"),
        (f"R-1,ana,2026-05-01,1,EUR,{'s' * 65},,1,", "sku"),
        ("R\x00-1,ana,2026-05-01,1,EUR,,,1,", "document"),
        ("R-1,an\x00a,2026-05-01,1,EUR,,,1,", "member"),
        ("R-1,ana", "amount"),
    ],
)
def test_a_bad_row_is_named_by_number_and_column_and_the_others_go_on(acme: Client, row: str, column: str) -> None:
    job = take(file("good,ana,2026-05-01,1,EUR,,,1,", row, "fine,ana,2026-05-01,1,EUR,,,1,"))

    assert errors_of(job) == [(3, column)]
    assert (job.state, job.rows, job.rows_refused, job.documents) == ("done", 3, 1, 2)
    assert documents() == [("sale", "fine", 100), ("sale", "good", 100)]


def test_texts_are_kept_as_they_are(acme: Client) -> None:
    """What other programs write for nothing is a text here; so are quotes, line breaks and formulas."""
    take(
        file(
            "R-1,\\N,2026-05-01,1,EUR,\\N,\\N,1,",
            'R-2,"a ""b"" c",2026-05-01,1,EUR,"x,y","two\nlines\x00",1,',
            "R-3,=1+1,2026-05-01,1,EUR,éß漢,,1,",
        )
    )

    assert sorted(tell(PurchaseLine.objects.all(), "sku")) == ["\\N", "x,y", "éß漢"]
    assert sorted(tell(Product.objects.all(), "name")) == ["", "\\N", "two\nlines"]


def test_a_document_of_two_members_is_refused_row_by_row(acme: Client) -> None:
    job = take(file("R-1,ana,2026-05-01,1,EUR,,,1,", "R-1,bob,2026-05-01,1,EUR,,,1,", "R-2,bob,2026-05-01,1,EUR,,,1,"))

    assert sorted(errors_of(job)) == [(2, "member"), (3, "member")]
    assert documents() == [("sale", "R-2", 100)]


def test_two_shops_may_use_the_same_receipt_numbers(acme: Client) -> None:
    header = "receipt,customer_id,date,total,store,channel"
    rows = ["1,ana,2026-05-01,1,north,till", "1,bob,2026-05-02,2,south,till", "2,ana,2026-05-01,3,north,till",
            "2,ana,2026-05-01,4,south,web"]  # fmt: skip
    job = take(file(*rows, header=header))

    assert (job.rows_refused, job.documents, job.documents_new) == (0, 4, 4)
    found = sorted(
        tell(Purchase.objects.select_related("location"), "document", "location", "amount", "channel"),
        key=lambda row: row[2],
    )
    assert [(d, str(where), amount, channel) for d, where, amount, channel in found] == [
        ("1", "north", 100, "till"), ("1", "south", 200, "till"), ("2", "north", 300, "till"), ("2", "south", 400, "web"),
    ]  # fmt: skip
    assert Location.objects.count() == 2
    assert take(file(*rows, header=header)).documents_new == 0


def test_what_points_paid_is_read_row_by_row_and_stays_within_the_sale(acme: Client) -> None:
    header = "receipt,customer_id,date,total,paid_by_points"
    job = take(
        file(
            "1,ana,2026-05-01,10.00,2.50", "1,ana,2026-05-01,5.00,", "2,ana,2026-05-01,1.00,1.01",
            "3,ana,2026-05-01,-1.00,0.50", "4,ana,2026-05-01,1.00,x",
            header=header,
        )
    )  # fmt: skip

    assert sorted(errors_of(job)) == [(4, "paid_by_points"), (5, "paid_by_points"), (6, "paid_by_points")]
    found = Purchase.objects.get()
    assert (found.document, found.amount, found.paid_by_points) == ("1", 1500, 250)
    told = PurchaseInput(
        kind="sale", document="1", member_id=found.member_id, currency="EUR", amount=1500, occurred_at=NOON,
        paid_by_points=250,
    )  # fmt: skip
    assert found.fingerprint == fingerprint(told)


def test_an_unknown_member_is_made_and_a_known_one_found_by_any_identifier(acme: Client) -> None:
    with transaction.atomic():
        eve = enrol(new=NewMember(identifiers={"card": "C 77", "phone": "+49 151 12345678"}), region="DE", at=NOON)
    take(file("R-1,C77,2026-05-01,1,EUR,,,1,", "R-2,+4915112345678,2026-05-01,1,EUR,,,1,",
              f"R-3,{eve.number},2026-05-01,1,EUR,,,1,", "R-4,new,2026-05-03,1,EUR,,,1,", "R-5,new,2026-05-02,1,EUR,,,1,"))  # fmt: skip

    assert Purchase.objects.filter(member=eve).count() == 3
    (other,) = Member.objects.exclude(pk=eve.pk)
    assert (other.identifiers.get().kind, other.joined_at) == ("pos", datetime(2026, 5, 2, tzinfo=BERLIN))


def test_times_with_an_offset_are_instants_and_others_the_shop_s_clock(acme: Client) -> None:
    take(
        file(
            "R-1,ana,2026-05-01T23:30:00Z,1,EUR,,,1,",
            "R-2,ana,2026-05-01 23:30,1,EUR,,,1,",
            "R-3,ana,20260501T233000+0500,1,EUR,,,1,",
        )
    )

    days = dict(Purchase.objects.values_list("document", "day"))
    assert {document: day.isoformat() for document, day in days.items()} == {
        "R-1": "2026-05-02",
        "R-2": "2026-05-01",
        "R-3": "2026-05-01",
    }


def test_an_old_log_can_be_moved_in_time(acme: Client) -> None:
    job = flow.start(
        file=file("R-1,ana,1997-01-01 10:00,1,EUR,,,1,"), name="old.csv", mapping={}, dry_run=False, at=LATER
    )
    flow.run(job_id=job.pk, at=LATER, shift=timedelta(days=10_000))

    assert Purchase.objects.get().occurred_at == datetime(2024, 5, 19, 10, tzinfo=BERLIN)


def test_a_category_comes_from_the_row_or_else_from_the_catalogue(acme: Client) -> None:
    Product.objects.create(sku="tea", category="drinks", earning=True)
    Product.objects.create(sku="card", category="gift cards", earning=False)
    header = "purchase_id,member_id,timestamp,amount,sku,category"
    take(
        file(
            "R-1,ana,2026-05-01,1,tea,", "R-2,ana,2026-05-01,1,tea,leaves", "R-3,ana,2026-05-01,1,card,", header=header
        )
    )

    rows = PurchaseLine.objects.order_by("purchase__document")
    assert tell(rows, "category", "earning") == [("drinks", True), ("leaves", True), ("gift cards", False)]


# ── by two ways ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_r06_the_same_receipt_by_till_and_by_import_counts_once(acme: Client) -> None:
    live()
    ana = new_member("ana")
    buy(ana, receipt="R-1", lines=[line(100)])
    job = take(file("R-1,ana,2026-06-17 12:00,1.00,EUR,,,1,", "R-2,ana,2026-06-17 12:00,2.00,EUR,,,1,"))
    again = buy(ana, receipt="R-2", lines=[line(200)])
    credit(at=LATER)

    assert (job.documents, job.documents_new, job.rows_refused, again.repeated) == (2, 1, 0, True)
    assert (points(ana), Purchase.objects.count()) == (300, 2)


def test_a_return_by_till_and_by_import_counts_once(acme: Client) -> None:
    live()
    ana = new_member("ana")
    take(file("R-1,ana,2026-06-01,1.00,EUR,tea,,1,", "B-1,ana,2026-06-02,-1.00,EUR,tea,,-1,"))
    again = bring_back(ana, receipt="B-1", lines=[line(100, sku="tea")])
    credit(at=LATER)

    assert (again.repeated, points(ana)) == (True, 0)


@pytest.mark.parametrize(
    "row", ["R-1,ana,2026-06-17,1.01,EUR,,,1,", "R-1,bob,2026-06-17,1.00,EUR,,,1,"], ids=["amount", "member"]
)
def test_a_document_recorded_with_other_content_is_named(acme: Client, row: str) -> None:
    ana = new_member("ana")
    buy(ana, receipt="R-1", lines=[line(100)])
    job = take(file(row))

    assert (errors_of(job), job.rows_refused, job.documents_new) == ([(2, "document")], 1, 0)
    assert documents() == [("sale", "R-1", 100)]


def test_python_and_sql_agree_on_what_a_receipt_is(acme: Client) -> None:
    from members.services.purchases import fingerprint

    take(file("R-1,ana,2026-06-17,12.34,EUR,,,1,", "B-1,ana,2026-06-18,-12.34,EUR,,,-1,"))
    ana = Member.objects.get()
    sale, back = purchase(ana, receipt="R-1", amount=1234), purchase(ana, receipt="B-1", kind="return", amount=-1234)

    marks = dict(Purchase.objects.values_list("document", "fingerprint"))
    assert marks == {"R-1": fingerprint(sale), "B-1": fingerprint(back)}


# ── headers and files ───────────────────────────────────────────────────────────────────────────────────────────────


def test_other_headers_are_known_or_mapped(acme: Client) -> None:
    take(file("1,ana,2026-05-01,5", header="InvoiceNo, CustomerID ,InvoiceDate,Total"))
    take(
        file("2,ana,2026-05-01,5,9", header="Bon,Kunde,Zeit,Summe,amount"),
        document="Bon",
        member="Kunde",
        timestamp="zeit",
        amount="Summe",
    )

    assert documents() == [("sale", "1", 500), ("sale", "2", 500)]


@pytest.mark.parametrize(
    ("header", "mapping", "field"),
    [
        ("purchase_id,member_id,timestamp", {}, "amount"),
        ("Bon,member_id,timestamp,amount", {}, "document"),
        ("purchase_id,member_id,timestamp,amount", {"document": "Bon"}, "document"),
        ("purchase_id,member_id,timestamp,amount", {"colour": "amount"}, "colour"),
        ("x", {}, "document"),
        ("", {}, "file"),
    ],
)
def test_a_header_without_what_is_needed_is_refused_naming_the_field(
    acme: Client, header: str, mapping: dict[str, str], field: str
) -> None:
    with pytest.raises(Refused) as refusal:
        flow.start(file=io.BytesIO(header.encode()), name="log.csv", mapping=mapping, dry_run=False, at=LATER)
    assert refusal.value.field == field
    assert not ImportJob.objects.exists()


@pytest.mark.parametrize(
    "pack",
    [
        pytest.param(lambda text: text, id="plain"),
        pytest.param(gzip.compress, id="gzip"),
        pytest.param(lambda text: b"\xef\xbb\xbf" + text, id="byte order mark"),
        pytest.param(lambda text: gzip.compress(b"\xef\xbb\xbf" + text), id="both"),
        pytest.param(lambda text: text.replace(b"\n", b"\r\n"), id="Windows' line ends"),
        pytest.param(lambda text: text.rstrip(b"\n"), id="no last line end"),
        pytest.param(lambda text: text + b"\n\n", id="blank lines at the end"),
    ],
)
def test_a_file_is_read_however_it_is_packed(acme: Client, pack: Any) -> None:
    job = take(io.BytesIO(pack(file("R-1,ana,2026-05-01,1,EUR,,,1,").getvalue())))
    assert (job.state, job.rows, job.rows_refused, documents()) == ("done", 1, 0, [("sale", "R-1", 100)])


_GOOD = file(*MANY).getvalue()
_PACKED = gzip.compress(
    file(*(f"D-{n},M,2026-05-01,{n * 7919 % 1000},EUR,,{n * 104729},1," for n in range(20_000))).getvalue()
)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(_GOOD.decode().encode("utf-16"), id="UTF-16"),
        pytest.param(b"\x1f\x8b" + b"x" * 100, id="no gzip"),
        pytest.param(gzip.compress(_GOOD)[:40], id="gzip cut at the start"),
        pytest.param(_PACKED[: len(_PACKED) // 2], id="gzip cut in the middle"),
        pytest.param(_PACKED[:20_000] + b"\xff" * 500 + _PACKED[20_500:], id="gzip damaged"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(range(256)), id="a picture"),
        pytest.param(_GOOD + "R-\xff,ana".encode("latin-1"), id="Latin-1"),
        pytest.param(_GOOD + b'"' + b"x" * 200_000, id="a field without end"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_as_a_whole_with_the_reason(acme: Client, content: bytes) -> None:
    try:
        job = take(io.BytesIO(content))
    except Refused as refusal:
        assert refusal.field
    else:
        assert job.state == "failed"
        assert job.error
    assert not Purchase.objects.exists()
    assert not ImportRow.objects.exists()


def test_r50_a_file_that_unfolds_without_end_is_refused(acme: Client, settings: Any) -> None:
    settings.IMPORT_MAX_BYTES = 20_000
    bomb = io.BytesIO(gzip.compress(_GOOD + b"\n" * 2_000_000))
    assert len(bomb.getvalue()) < 20_000
    job = take(bomb)
    assert (job.state, Purchase.objects.count()) == ("failed", 0)
    with pytest.raises(Refused) as refusal:
        take(io.BytesIO(b"x" * 20_001))
    assert refusal.value.field == "file"


def test_a_dry_run_checks_every_row_and_records_nothing(acme: Client) -> None:
    job = take(file(*MANY, BAD), dry_run=True)

    assert (job.state, job.rows, job.rows_refused, errors_of(job)) == ("done", 41, 1, [(42, "amount")])
    assert (Purchase.objects.count(), Member.objects.count(), ImportRow.objects.count()) == (0, 0, 0)
    assert take(file(*MANY, BAD)).documents_new == 40


def test_a_finished_job_leaves_no_file_of_purchases_behind(acme: Client) -> None:
    job = take(file(*MANY))
    assert not default_storage.exists(job.path)


# ── commands ────────────────────────────────────────────────────────────────────────────────────────────────────────


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A command as somebody types it."""
    environment = {**os.environ, "COLUMNS": "100"}
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("name", ["import_purchases", "client_figures", "publish_program"])
def test_a_command_explains_itself(name: str) -> None:
    with pytest.raises(SystemExit) as end:
        call_command(name, "--help")
    assert end.value.code == 0


def test_the_commands_speak_json_on_stdout_progress_on_stderr_and_end_with_0(acme: Client, tmp_path: Path) -> None:
    log, mistakes = tmp_path / "log.csv", tmp_path / "mistakes.csv"
    log.write_bytes(file(*MANY, BAD).getvalue())
    published = command("publish_program", str(DATA / "penny.program.json"), "--client", acme.slug)
    assert (published.returncode, json.loads(published.stdout)["version"]) == (0, 1)

    imported = command("import_purchases", str(log), "--client", acme.slug, "--errors", str(mistakes))
    result = json.loads(imported.stdout)
    assert (imported.returncode, result["documents_new"], result["errors"], result["waiting"]) == (
        0,
        40,
        str(mistakes),
        40,
    )
    assert "40 of 40 documents recorded, 1 rows refused" in imported.stderr
    assert mistakes.read_text().splitlines()[1].startswith("42,amount,")

    credit(at=LATER)
    figures = command("client_figures", "--client", acme.slug, "--top", "1")
    assert (figures.returncode, json.loads(figures.stdout)) == (0, json.loads(json.dumps(client_figures(top=1))))
    keys = "lines, members, sales, returns, earned, reversed, unmatched_lines, balance, top_members"
    assert list(json.loads(figures.stdout)) == keys.split(", ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["import_purchases", "LOG", "--client", "nobody"], "there is no client 'nobody'"),
        (["import_purchases", "MISSING", "--client", "ACME"], "No such file"),
        (["import_purchases", "LOG", "--client", "ACME", "--map", "document"], "write FIELD=COLUMN"),
        (
            ["import_purchases", "LOG", "--client", "ACME", "--map", "document=Bon"],
            "document: The file has no column “Bon”",
        ),
        (["publish_program", "LOG", "--client", "ACME"], "LOG"),
        (["publish_program", "WRONG", "--client", "ACME"], 'Rule "penny": effect.per must be a whole number above 0.'),
        (["publish_program", "LIST", "--client", "ACME"], "a program document is a JSON object"),
        (["client_figures", "--client", "nobody"], "there is no client 'nobody'"),
    ],
)
def test_a_command_that_fails_says_why(acme: Client, tmp_path: Path, arguments: list[str], words: str) -> None:
    files = {name: tmp_path / name for name in ("LOG", "MISSING", "WRONG", "LIST")}
    files["LOG"].write_bytes(file(*MANY).getvalue())
    files["WRONG"].write_text((DATA / "penny.program.json").read_text().replace('"per": 1', '"per": 0'))
    files["LIST"].write_text("[]")
    typed = [str(files.get(one, acme.slug if one == "ACME" else one)) for one in arguments]
    with pytest.raises(CommandError, match=words.replace(".", r"\.")):
        call_command(*typed)
    with use_client(acme):
        assert not Purchase.objects.exists()


def test_a_command_that_fails_ends_with_another_code_than_0_and_no_json(acme: Client, tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_bytes(_PACKED[: len(_PACKED) // 2])
    failed = command("import_purchases", str(log), "--client", acme.slug)

    assert (failed.returncode, failed.stdout) == (1, "")
    assert "CommandError" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_a_suspended_client_imports_nothing(acme: Client, tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_bytes(file(*MANY).getvalue())
    Client.objects.filter(pk=acme.pk).update(status="suspended")
    with pytest.raises(CommandError, match="is not open"):
        call_command("import_purchases", str(log), "--client", acme.slug)
