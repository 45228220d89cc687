"""
The catalogues of complete languages: read out of code and templates, kept beside them, compiled and held complete.

Babel does the work, so that no gettext of the system is needed.
"""

import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from babel.messages import pofile
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract
from babel.messages.mofile import write_mo
from django.conf import settings
from django.utils.translation.template import templatize

PACKAGES: Final = ("loyalty_saas", "tenants", "programs", "members", "rewards", "training")
KEYWORDS: Final[dict[str, Any]] = {
    "_": None,
    "gettext": None,
    "gettext_lazy": None,
    "gettext_noop": None,
    "ngettext": (1, 2),
    "ngettext_lazy": (1, 2),
    "pgettext": ((1, "c"), 2),
    "pgettext_lazy": ((1, "c"), 2),
    "npgettext": ((1, "c"), 2, 3),
}
_HOLES: Final = re.compile(r"%\((\w+)\)[sd]|%[sd]")
# A form for one may say the count in a word.
_COUNT: Final = frozenset({"%(n)s", "%(n)d", "%(count)s", "%(number)s", "%s", "%d"})


def complete_languages() -> list[str]:
    """The languages besides English that must miss nothing."""
    return [code for code, _name in settings.LANGUAGES if code != settings.LANGUAGE_CODE]


def po_path(language: str) -> Path:
    """Where a language's texts are kept."""
    return Path(settings.LOCALE_PATHS[0]) / language / "LC_MESSAGES" / "django.po"


def catalogue(language: str) -> Catalog:
    """What is translated so far."""
    path = po_path(language)
    if not path.exists():
        return Catalog(locale=language, fuzzy=False)
    with path.open("rb") as file:
        return pofile.read_po(file, locale=language)


def texts() -> Catalog:
    """Every text that code and templates mark, each with the files it stands in."""
    found = Catalog(fuzzy=False)
    for path in sorted(_sources(), key=str):
        for words, context, comments in _texts_of(path):
            found.add(
                words, None, [(str(path.relative_to(settings.BASE_DIR)), None)], auto_comments=comments, context=context
            )
    return found


def update(language: str) -> Catalog:
    """The language's catalogue with all texts of today; what is translated stays, what is gone goes."""
    known, wanted = catalogue(language), Catalog(locale=language, fuzzy=False, header_comment="")
    for message in texts():
        if message.id:
            old = known.get(message.id, message.context)
            if old and isinstance(old.id, tuple | list) != isinstance(message.id, tuple | list):
                old = None  # One text became one and many: its translation says only half.
            wanted.add(
                message.id,
                old.string if old else None,
                locations=message.locations,
                auto_comments=message.auto_comments,
                context=message.context,
            )
    return wanted


def write(wanted: Catalog, *, language: str) -> None:
    """Keep a catalogue, and compiled what Django reads."""
    path = po_path(language)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(as_po(wanted))
    path.with_suffix(".mo").write_bytes(as_mo(wanted))


def as_po(wanted: Catalog) -> bytes:
    """The catalogue as a file for translators, sorted, without dates or line numbers: it changes when texts do."""
    written = io.BytesIO()
    pofile.write_po(written, wanted, sort_output=True, omit_header=True, include_lineno=False, width=120)
    return _header(wanted) + written.getvalue()


def as_mo(wanted: Catalog) -> bytes:
    """The catalogue compiled."""
    written = io.BytesIO()
    kept = Catalog(locale=wanted.locale, fuzzy=False)
    for message in wanted:
        if message.id and _is_translated(message):
            kept.add(message.id, message.string, context=message.context)
    # A date of its own would make every compilation another file.
    kept.revision_date = kept.creation_date = datetime(2026, 1, 1, tzinfo=UTC)
    write_mo(written, kept)
    return written.getvalue()


def faults(language: str) -> Iterator[str]:
    """What a complete language lacks: texts, forms of plurals, the holes that values are put into, a fresh file."""
    wanted, path = update(language), po_path(language)
    for message in wanted:
        if not message.id:
            continue
        if not _is_translated(message):
            yield f"not translated: {_first(message)!r}"
        elif any(_holes(str(said)) - _all_holes(message) for said in _forms(message)):
            yield f"holes that the text does not have: {_first(message)!r}"
        elif _leaves_out(message):
            yield f"holes left out: {_first(message)!r}"
    if not path.exists() or path.read_bytes() != as_po(wanted):
        yield f"{path.name} does not have the texts of today"
    elif not path.with_suffix(".mo").exists() or path.with_suffix(".mo").read_bytes() != as_mo(wanted):
        yield f"{path.with_suffix('.mo').name} is not compiled from {path.name}"


def _sources() -> Iterator[Path]:
    for package in PACKAGES:
        yield from (p for p in (Path(settings.BASE_DIR) / package).rglob("*.py") if "migrations" not in p.parts)
    yield from (p for p in (Path(settings.BASE_DIR) / "templates").rglob("*") if p.suffix in {".html", ".txt", ".js"})


def _texts_of(path: Path) -> Iterator[tuple[Any, str | None, list[str]]]:
    source = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        # Brackets around it all: Python's tokenizer minds no indentation inside them.
        source = f"(\n{templatize(source, origin=str(path))}\n)"
    found = extract("python", io.BytesIO(source.encode()), keywords=KEYWORDS, comment_tags=["Translators:"])
    for _line, words, comments, context in found:
        yield words, context, comments


def _header(wanted: Catalog) -> bytes:
    lines = (
        f"Language: {wanted.locale}",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: 8bit",
        f"Plural-Forms: {wanted.plural_forms}",
    )
    said = "".join(f'"{line}\\n"\n' for line in lines)
    return f'msgid ""\nmsgstr ""\n{said}\n'.encode()


def _first(message: Message) -> str:
    return str(message.id[0] if isinstance(message.id, tuple | list) else message.id)


def _forms(message: Message) -> list[str]:
    return list(message.string) if isinstance(message.string, tuple | list) else [message.string]


def _is_translated(message: Message) -> bool:
    return bool(message.string) and all(_forms(message)) and not message.fuzzy


def _holes(words: str) -> set[str]:
    return {hole[0] for hole in _HOLES.finditer(words)}


def _all_holes(message: Message) -> set[str]:
    ids = message.id if isinstance(message.id, tuple | list) else [message.id]
    return set().union(*(_holes(str(one)) for one in ids))


def _leaves_out(message: Message) -> bool:
    """Whether a form lacks a hole: that for many none, others what only the one counted stands in."""
    *few, many = [_holes(str(said)) for said in _forms(message)]
    first = message.id[0] if isinstance(message.id, tuple | list) else message.id
    return not _all_holes(message) <= many or any(_holes(str(first)) - _COUNT - said for said in few)
