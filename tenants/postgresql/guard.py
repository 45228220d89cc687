"""What SQL of ours never contains: a second statement, or a change of role or path."""

import re
from functools import lru_cache

from django.db.utils import ProgrammingError

_SKIPPED = re.compile(
    r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | \$([A-Za-z_]\w*)?\$.*?\$\1\$ | --[^\n]* | /\*.*?\*/""",
    re.VERBOSE | re.DOTALL,
)
_FORBIDDEN_START = re.compile(r"\s*(?:SET(?!\s+CONSTRAINTS\b)|RESET|DISCARD|DO)\b", re.IGNORECASE)
_FORBIDDEN_CALL = re.compile(r"\bset_config\s*\(", re.IGNORECASE)


class ForbiddenStatement(ProgrammingError):
    """The statement would leave the client's role or path, or carries a second statement."""


@lru_cache(maxsize=4096)
def check(sql: str) -> None:
    """
    Let one plain statement through.

    :raises ForbiddenStatement: for several statements, SET, RESET, DISCARD, DO or set_config()
    """
    bare = _SKIPPED.sub("''", sql)
    if ";" in bare.rstrip().rstrip(";"):
        raise ForbiddenStatement("One statement at a time: a semicolon stands outside a literal.")
    if _FORBIDDEN_START.match(bare) or _FORBIDDEN_CALL.search(bare):
        raise ForbiddenStatement("SET, RESET, DISCARD, DO and set_config() belong to the connection alone.")
