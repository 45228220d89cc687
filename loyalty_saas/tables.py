"""Lists that sort, filter, page and export, all by the query of their address and by allow-lists alone."""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any, Final

from django.core.paginator import Page, Paginator
from django.http import HttpRequest, StreamingHttpResponse
from django.utils.functional import Promise

# What spreadsheets, or whoever cleans a file for them, may drop before they look at a cell: blanks, quotes, no width.
_DROPPED: Final = r"[\s'\"\x00-\x1f\x7f\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]*"
_BEGINS: Final = r"[=+\-@|\u2212\ufe62\ufe63\ufe66\ufe6b＝＋－＠｜]"
_FORMULA: Final = re.compile(rf"{_DROPPED}{_BEGINS}|[\t\r]")
# A spreadsheet set to a country that writes decimals with a comma parts cells at semicolons, quoted or not.
_FORMULA_INSIDE: Final = re.compile(rf"([;\t\r\n])(?={_DROPPED}{_BEGINS})")
_NUMBER: Final = re.compile(r"-?[0-9]+([.,][0-9]+)?")


@dataclass(frozen=True)
class Column:
    """
    One column: `order` names what a database sorts by, nothing where it does not sort.

    `value` gives the cell of an export; a column without one is not exported.
    """

    key: str
    words: str | Promise
    order: tuple[str, ...] = ()
    figure: bool = False
    value: Callable[[Any], object] | None = None


@dataclass(frozen=True)
class Head:
    """A column's head on the page: the address that sorts by it, and how it is sorted now."""

    column: Column
    url: str
    sorted: str

    @property
    def icon(self) -> str:
        """What shows the direction."""
        return {"ascending": "arrow-up", "descending": "arrow-down"}.get(self.sorted, "chevrons-up-down")


class Listing:
    """Rows of a query set or list, as the address asks: ``?sort=-balance&page=2``; what it does not know it ignores."""

    def __init__(
        self, request: HttpRequest, rows: Any, *, columns: Sequence[Column], default: str, size: int = 25
    ) -> None:
        self._request, self._rows, self.columns, self._default, self._size = request, rows, columns, default, size

    @cached_property
    def sort(self) -> str:
        """The key of the column sorted by, with a minus where the largest comes first."""
        asked = self._request.GET.get("sort", "")
        known = {column.key for column in self.columns if column.order}
        return asked if asked.removeprefix("-") in known else self._default

    @property
    def rows(self) -> Any:
        """All rows in order."""
        down, key = self.sort.startswith("-"), self.sort.removeprefix("-")
        order = next((column.order for column in self.columns if column.key == key), ())
        if isinstance(self._rows, list):
            return self._in_order(order[0] if order else "", down=down)
        return self._rows.order_by(*(_turned(name) if down else name for name in order)) if order else self._rows

    @cached_property
    def page(self) -> "Page[Any]":
        """The page asked for, the nearest there is otherwise."""
        return Paginator(self.rows, self._size).get_page(self._request.GET.get("page"))

    @property
    def heads(self) -> list[Head]:
        """The heads of the columns."""
        return [Head(column, self._sorted_by(column), self._state(column)) for column in self.columns]

    @property
    def kept(self) -> str:
        """The query without the page, for the pager and the export: ``q=ana&sort=-balance&``."""
        query = self._request.GET.copy()
        query.pop("page", None)
        return f"{query.urlencode()}&" if query else ""

    def export(self, *, name: str) -> StreamingHttpResponse:
        """All rows as a CSV file for spreadsheets; no cell of it can be a formula."""
        columns = [column for column in self.columns if column.value]
        rows = self.rows if isinstance(self._rows, list) else self.rows.iterator(chunk_size=2000)
        lines = ([column.value(row) for column in columns if column.value] for row in rows)
        return csv_response(name=name, head=[str(column.words) for column in columns], lines=lines)

    def _in_order(self, name: str, *, down: bool) -> list[Any]:
        """A list by an attribute; what has none comes last."""
        if not name:
            return list(self._rows)
        known = [row for row in self._rows if getattr(row, name) is not None]
        unknown = [row for row in self._rows if getattr(row, name) is None]
        return sorted(known, key=lambda row: getattr(row, name), reverse=down) + unknown

    def _sorted_by(self, column: Column) -> str:
        if not column.order:
            return ""
        query = self._request.GET.copy()
        query.pop("page", None)
        begin = f"-{column.key}" if column.figure else column.key
        turned = column.key if self.sort.startswith("-") else f"-{column.key}"
        query["sort"] = turned if self._state(column) else begin
        return f"?{query.urlencode()}"

    def _state(self, column: Column) -> str:
        if self.sort.removeprefix("-") != column.key:
            return ""
        return "descending" if self.sort.startswith("-") else "ascending"


def csv_response(*, name: str, head: Sequence[str], lines: Iterable[Sequence[object]]) -> StreamingHttpResponse:
    """A CSV download, streamed, in UTF-8 with a mark that spreadsheets know."""
    response = StreamingHttpResponse(_written(head, lines), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    return response


def safe_cell(value: object) -> object:
    """A cell that no spreadsheet takes for a formula; numbers stay numbers. (OWASP, CSV injection)"""
    if value is None or isinstance(value, int | float | Decimal):
        return "" if value is None else value
    text = str(value)
    if _NUMBER.fullmatch(text):
        return text
    text = _FORMULA_INSIDE.sub(r"\1'", text)
    return f"'{text}" if _FORMULA.match(text) else text


class _Line:
    """Where the csv module writes a line that is handed on at once."""

    def write(self, line: str) -> str:
        return line


def _written(head: Sequence[str], lines: Iterable[Sequence[object]]) -> Iterator[str]:
    writer = csv.writer(_Line())
    yield "\ufeff" + writer.writerow([safe_cell(cell) for cell in head])
    for line in lines:
        yield writer.writerow([safe_cell(cell) for cell in line])


def _turned(name: str) -> str:
    return name.removeprefix("-") if name.startswith("-") else f"-{name}"
