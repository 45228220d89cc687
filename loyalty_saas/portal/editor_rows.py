"""Rows of small forms within a form: added, removed and moved by buttons that work without script."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from django import forms
from django.forms.utils import ErrorDict
from django.http import QueryDict
from django.utils.datastructures import MultiValueDict

F = TypeVar("F", bound="Row")
Data = MultiValueDict[str, Any]
_MOST = 600


class Row(forms.Form):
    """One row; an empty one is as if it were not there."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("auto_id", "id_%s")
        super().__init__(*args, **kwargs)

    def is_empty(self) -> bool:
        """Whether nothing was typed in it."""
        return not any(str(value).strip() for name in self.fields for value in self._typed(name))

    def _typed(self, name: str) -> list[str]:
        return list(self.data.getlist(self.add_prefix(name))) if isinstance(self.data, MultiValueDict) else []


class Rows(Generic[F]):
    """The rows under one prefix: those posted, or those of the document."""

    def __init__(
        self, make: Callable[..., F], prefix: str, *, data: Data | None, initial: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        self.prefix, self.forms = prefix, list[F]()
        count = row_count(data, prefix) if data is not None else len(initial)
        for place in range(count):
            given: dict[str, Any] = {"data": data} if data is not None else {"initial": initial[place]}
            self.forms.append(make(prefix=f"{prefix}-{place}", **given))

    @property
    def count_name(self) -> str:
        """The hidden field that tells how many rows follow."""
        return f"{self.prefix}-n"

    @property
    def filled(self) -> list[F]:
        """The rows in which something was typed."""
        return [form for form in self.forms if not form.is_empty()]

    def is_valid(self) -> bool:
        """Whether all that was typed is sound."""
        return all([form.is_valid() for form in self.filled])  # noqa: C419 (each is to say what is wrong)

    def hush(self) -> None:
        """Say nothing of errors: the form only grows or shrinks."""
        for form in self.forms:
            hush(form)


def hush(form: forms.BaseForm) -> None:
    """Show what was typed without judging it."""
    form._errors = ErrorDict()  # type: ignore[attr-defined]


def row_count(data: Data, prefix: str) -> int:
    """How many rows were posted."""
    written = str(data.get(f"{prefix}-n", "0"))
    return min(int(written), _MOST) if written.isascii() and written.isdecimal() and len(written) < 6 else 0


def rearranged(data: QueryDict, *, prefixes: Iterable[str]) -> Data | None:
    """
    What was posted after the button of a row has done its work, or None if none was pressed.

    Buttons are called `do` and say `add:c`, `remove:c:2`, `up:l:1`, `down:l:1` or `refresh`.
    """
    do = str(data.get("do", ""))
    verb, _colon, rest = do.partition(":")
    prefix, _colon, place = rest.partition(":")
    if verb == "refresh":
        return data.copy()
    if verb not in {"add", "remove", "up", "down"} or prefix not in set(prefixes):
        return None
    rows = _rows(data, prefix)
    _arrange(rows, verb, int(place) if place.isdecimal() and len(place) < 6 else -1)
    return _with_rows(data, prefix, rows)


def _rows(data: Data, prefix: str) -> list[dict[str, list[Any]]]:
    rows: list[dict[str, list[Any]]] = [{} for _row in range(row_count(data, prefix))]
    for name, values in data.lists():
        head, _dash, rest = name.partition("-")
        place, _dash, field = rest.partition("-")
        if head == prefix and field and place.isdecimal() and len(place) < 6 and int(place) < len(rows):
            rows[int(place)][field] = values
    return rows


def _arrange(rows: list[dict[str, list[Any]]], verb: str, place: int) -> None:
    if verb == "add":
        rows.append({})
    elif verb == "remove" and 0 <= place < len(rows):
        del rows[place]
    elif verb == "up" and 0 < place < len(rows):
        rows.insert(place - 1, rows.pop(place))
    elif verb == "down" and 0 <= place < len(rows) - 1:
        rows.insert(place + 1, rows.pop(place))


def _with_rows(data: Data, prefix: str, rows: list[dict[str, list[Any]]]) -> Data:
    kept: Data = MultiValueDict({name: values for name, values in data.lists() if not name.startswith(f"{prefix}-")})
    kept[f"{prefix}-n"] = str(len(rows))
    for place, row in enumerate(rows):
        for field, values in row.items():
            kept.setlist(f"{prefix}-{place}-{field}", values)
    return kept
