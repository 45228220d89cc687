"""Many rows into one table by COPY, the way that costs PostgreSQL least."""

import io
from collections.abc import Sequence
from typing import Any

NULL = "\\N"
_ESCAPED = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def copy_lines(*, cursor: Any, table: str, columns: Sequence[str], lines: Sequence[str]) -> None:
    """Insert rows already written as lines of COPY's text format, in the order of `columns`."""
    if lines:
        cursor.copy_expert(f"COPY {table} ({', '.join(columns)}) FROM STDIN", io.StringIO("\n".join(lines)))


def text(value: str) -> str:
    """A text as COPY reads it."""
    return value if value.isprintable() and "\\" not in value else value.translate(_ESCAPED)


def or_null(value: object | None) -> str:
    """A plain value as COPY reads it, or NULL."""
    return NULL if value is None else str(value)


def array(values: Sequence[int]) -> str:
    """Whole numbers as a PostgreSQL array."""
    return "{" + ",".join(map(str, values)) + "}"
