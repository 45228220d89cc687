"""What the shop owes its members: how much, until when, how much of it will be used, and the entries for the books."""

from datetime import date
from typing import Any

from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from loyalty_saas.faces import ClientRequest
from loyalty_saas.portal.liability import HEAD, Books, Span, chart, journal_lines
from loyalty_saas.portal.shared import MANAGERS
from loyalty_saas.tables import csv_response
from tenants.access import admits


@admits(*MANAGERS)
@require_safe
def liability(request: ClientRequest) -> HttpResponse:
    """The figures of one unit, its months, and where to fetch the journal."""
    return _page(request, Books(request.client, at=timezone.now()))


@admits(*MANAGERS)
@require_safe
def journal(request: ClientRequest) -> HttpResponseBase:
    """The journal of some months as a file; every entry balances."""
    books = Books(request.client, at=timezone.now())
    form = Span(request.GET, months=_months(books))
    if not form.is_valid():
        return _page(request, books, form=form, status=422)
    first, last = (date.fromisoformat(f"{form.cleaned_data[name]}-01") for name in ("first", "last"))
    chosen = [book for book in books.months if first <= book.month <= last]
    lines = list(journal_lines(chosen, currency=request.client.currency))
    name = f"{request.client.slug}-journal-{first:%Y-%m}-{last:%Y-%m}"
    return csv_response(name=name, head=[str(words) for words in HEAD], lines=lines)


def _page(request: ClientRequest, books: Books, *, form: Span | None = None, status: int = 200) -> HttpResponse:
    owed = books.owed(request.GET.get("unit", "")) or books.owed("")
    code = owed.found.unit.code if owed else ""
    context: dict[str, Any] = {
        "client": request.client,
        "owed": owed,
        "units": [(unit, name, unit == code) for unit, name in books.codes],
        "chart": chart(request.client, today=books.today),
        "months": books.of_unit(code),
        "form": form or Span(months=_months(books)),
        "counted_at": books.counted_at,
    }
    return render(request, "portal/liability.html", context, status=status)


def _months(books: Books) -> list[date]:
    return sorted({book.month for book in books.months})
