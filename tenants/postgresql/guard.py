"""What SQL of ours never contains: a second statement, or a change of role or path."""

import re
from functools import lru_cache

from django.db.utils import ProgrammingError

# As PostgreSQL reads them: every character beyond ASCII may stand in a name, and so does a dollar after the first.
_LETTER, _FOLLOWING = r"A-Za-z_\x80-\U0010ffff", r"A-Za-z0-9_\x80-\U0010ffff"
_SKIPPED = re.compile(
    rf"""(?<![{_FOLLOWING}$])[eE]'(?:[^'\\]|''|\\.)*' | '(?:[^']|'')*' | "(?:[^"]|"")*"
    | (?<![{_FOLLOWING}$])(\$(?:[{_LETTER}][{_FOLLOWING}]*)?\$).*?\1 | --[^\n\r]* | /\*.*?\*/""",
    re.VERBOSE | re.DOTALL,
)
_FORBIDDEN_START = re.compile(r"\s*(?:SET(?!\s+CONSTRAINTS\b)|RESET|DISCARD|DO)\b", re.IGNORECASE)
_FORBIDDEN_CALL = re.compile(r'\bset_config"?\s*\(|\bU&"', re.IGNORECASE)


class ForbiddenStatement(ProgrammingError):
    """The statement would leave the client's role or path, or carries a second statement."""


@lru_cache(maxsize=4096)
def check(sql: str) -> None:
    """
    Let one plain statement through.

    :raises ForbiddenStatement: for several statements, SET, RESET, DISCARD, DO, set_config(), names written in
        escapes, or comments within comments
    """
    bare = _SKIPPED.sub(_without_words, sql)
    if ";" in _SKIPPED_NAMES.sub("", bare).rstrip().rstrip(";"):
        raise ForbiddenStatement("One statement at a time: a semicolon stands outside a literal.")
    if _FORBIDDEN_START.match(bare) or _FORBIDDEN_CALL.search(bare):
        raise ForbiddenStatement("SET, RESET, DISCARD, DO and set_config() belong to the connection alone.")


_SKIPPED_NAMES = re.compile(r'"(?:[^"]|"")*"')


def _without_words(skipped: re.Match[str]) -> str:
    """A space for a comment, an empty literal for a literal; a quoted name stays, for it may be a function's."""
    text = skipped[0]
    if text.startswith("/*") and "/*" in text[2:]:
        raise ForbiddenStatement("Comments within comments are not read here.")
    if text.startswith('"'):
        return text
    return " " if text.startswith(("--", "/*")) else "''"
