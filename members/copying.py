"""Many rows into one table by COPY, the way that costs PostgreSQL least."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

NULL = "\\N"
_ESCAPED = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
# About as many as go over the wire in one piece.
_AT_ONCE = 100


def copy_lines(*, cursor: Any, table: str, columns: Sequence[str], lines: Iterable[str]) -> None:
    """
    Insert rows already written as lines of COPY's text format, in the order of `columns`.

    Lines may be made while they are sent: PostgreSQL inserts the first while we make the next. Whoever makes them must
    not ask the database meanwhile; an error on the way is raised as it was, and nothing is inserted.
    """
    pieces = _pieces(lines)
    if not (first := next(pieces, "")):
        return
    stream = _Stream(chain([first], pieces))
    try:
        cursor.copy_expert(f"COPY {table} ({', '.join(columns)}) FROM STDIN", stream)
    except Exception as error:
        if stream.error is not None:
            raise stream.error from error
        raise


def _pieces(lines: Iterable[str]) -> Iterator[str]:
    rest = iter(lines)
    while piece := list(islice(rest, _AT_ONCE)):
        yield "\n".join([*piece, ""])


class _Stream:
    """A file as COPY reads it, which keeps what its maker raised: psycopg2 tells of it in words alone."""

    def __init__(self, pieces: Iterator[str]) -> None:
        self._pieces = pieces
        self.error: BaseException | None = None

    def read(self, _size: int = -1) -> str:
        try:
            return next(self._pieces, "")
        except BaseException as error:
            self.error = error
            raise


def text(value: str) -> str:
    """A text as COPY reads it."""
    return value if value.isprintable() and "\\" not in value else value.translate(_ESCAPED)


def or_null(value: object | None) -> str:
    """A plain value as COPY reads it, or NULL."""
    return NULL if value is None else str(value)


def array(values: Sequence[int]) -> str:
    """Whole numbers as a PostgreSQL array."""
    return "{" + ",".join(map(str, values)) + "}"
