"""German lacks nothing, what it would lack is found, and pages speak it."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils.translation import override

from loyalty_saas import translations
from loyalty_saas.templatetags import loyalty
from tenants.access import Actor
from tenants.models import Client, Provider, User
from tests.http import ClientBrowser
from tests.loyalty_saas.consoles import a_client, a_day, clients_without_a_schema_go, msp
from tests.loyalty_saas.portals import words
from tests.loyalty_saas.shops import credit, sale
from tests.machines import Answer, Machine
from tests.people import browser, person

__all__ = ["clients_without_a_schema_go", "msp"]


def test_german_lacks_nothing() -> None:
    assert translations.complete_languages() == ["de"]
    assert list(translations.faults("de")) == []


# ── what is missing is found ────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the catalogue, which stands where the real one did."""
    po = tmp_path / "django.po"
    for suffix in (".po", ".mo"):
        shutil.copy(translations.po_path("de").with_suffix(suffix), po.with_suffix(suffix))
    monkeypatch.setattr(translations, "po_path", lambda _language: po)
    return po


def rewritten(change: Callable[[Any], None]) -> list[str]:
    """What is found when the copy is changed, written and compiled as it should be."""
    catalogue = translations.update("de")
    change(catalogue)
    translations.write(catalogue, language="de")
    return list(translations.faults("de"))


def say(text: Any, german: Any) -> Callable[[Any], None]:
    def change(catalogue: Any) -> None:
        assert catalogue.get(text), text
        catalogue.get(text).string = german

    return change


WITH_A_HOLE = "%(amount)s %(name)s now"


def plural_text() -> tuple[str, str]:
    """A text of ours for one and for many, both with their count."""
    return next(
        tuple(one.id) for one in translations.texts() if isinstance(one.id, tuple) and all("%(n)s" in x for x in one.id)
    )


def test_control_an_untouched_copy_has_no_faults(kept: Path) -> None:
    assert list(translations.faults("de")) == []
    assert rewritten(lambda _catalogue: None) == []


@pytest.mark.parametrize(
    ("german", "found"),
    [
        ("", "not translated"),
        ("Jetzt %(amount)s", "holes left out"),
        ("Jetzt", "holes left out"),
        ("Jetzt %(amount)d %(name)s", "holes that the text does not have"),
        ("Jetzt %(amount)s %(name)s %(unit)s", "holes that the text does not have"),
        ("Jetzt %(betrag)s %(name)s", "holes that the text does not have"),
    ],
)
def test_control_a_bad_translation_is_found(kept: Path, german: str, found: str) -> None:
    assert rewritten(say(WITH_A_HOLE, german)) == [f"{found}: {WITH_A_HOLE!r}"]


@pytest.mark.parametrize(
    ("forms", "found"),
    [
        (("", "%(n)s Dinge"), "not translated"),
        (("%(n)s Ding", ""), "not translated"),
        (("%(n)s Ding", "Dinge"), "holes left out"),
        (("%(n)s Ding", "%(m)s %(n)s Dinge"), "holes that the text does not have"),
    ],
)
def test_control_a_bad_plural_is_found(kept: Path, forms: tuple[str, str], found: str) -> None:
    text = plural_text()
    others = {name: f"%({name})s" for name in set(re.findall(r"%\((\w+)\)", " ".join(text))) - {"n"}}
    german = tuple(form and " ".join([form, *others.values()]) for form in forms)
    assert rewritten(say(text[0], german)) == [f"{found}: {text[0]!r}"]


def test_a_form_for_one_may_say_its_count_in_a_word(kept: Path) -> None:
    text = plural_text()
    german = tuple(re.sub(r"%\(n\)s", "ein", one) if place == 0 else one for place, one in enumerate(text))
    assert rewritten(say(text[0], german)) == []


def test_control_a_text_that_is_new_or_gone_is_found(kept: Path) -> None:
    po = kept.read_text(encoding="utf-8")
    kept.write_text(po + '\nmsgid "Nobody says this"\nmsgstr "Niemand sagt das"\n', encoding="utf-8")
    assert list(translations.faults("de")) == ["django.po does not have the texts of today"]

    kept.write_text(re.sub(r'\n#[^\n]*\nmsgid "Members"\nmsgstr "[^"]*"\n', "\n", po, count=1), encoding="utf-8")
    assert kept.read_text(encoding="utf-8") != po
    assert list(translations.faults("de")) == [
        "not translated: 'Members'",
        "django.po does not have the texts of today",
    ]


def test_control_a_guess_of_a_tool_is_found(kept: Path) -> None:
    po = kept.read_text(encoding="utf-8")
    kept.write_text(po.replace('\nmsgid "Members"', '\n#, fuzzy\nmsgid "Members"', 1), encoding="utf-8")
    assert list(translations.faults("de")) == ["django.po does not have the texts of today"]


@pytest.mark.parametrize("old", [None, b"", b"something else"])
def test_control_a_catalogue_that_is_not_compiled_is_found(kept: Path, old: bytes | None) -> None:
    compiled = kept.with_suffix(".mo")
    compiled.unlink() if old is None else compiled.write_bytes(old)
    assert list(translations.faults("de")) == ["django.mo is not compiled from django.po"]


def test_control_a_language_without_a_file_lacks_everything_and_the_command_fails(kept: Path) -> None:
    kept.unlink()
    found = list(translations.faults("de"))
    assert len(found) > 2000
    assert found[-1] == "django.po does not have the texts of today"
    with pytest.raises(CommandError, match="de is not complete"):
        call_command("translations", "--check")
    assert not kept.exists()


def test_compiling_and_writing_give_the_same_bytes_each_time(kept: Path) -> None:
    before = (kept.read_bytes(), kept.with_suffix(".mo").read_bytes())
    for _time in range(2):
        translations.write(translations.update("de"), language="de")
        assert (kept.read_bytes(), kept.with_suffix(".mo").read_bytes()) == before


# ── what is marked is read ──────────────────────────────────────────────────────────────────────────────────────────

CODE = """
from django.utils.translation import gettext as _, gettext_lazy, ngettext, npgettext, pgettext

WORDS = gettext_lazy("From code")
_("With "
  "two parts")
pgettext("month", "May")
ngettext("%(n)s hat", "%(n)s hats", 2)
npgettext("tea", "%(n)s pot", "%(n)s pots", 2)
# Translators: as in a shop
_("Till")
print("Not marked", _)
"""
PAGE = """{% load i18n %}
{% trans "From a page" %} {% translate 'Quoted "so"' %} {% trans "Open" context "door" %}
{% blocktrans trimmed with name=member.name %}
  Dear {{ name }},
    welcome
{% endblocktrans %}
{% blocktrans trimmed count n=many %}
  {{ n }} sock
{% plural %}
  {{ n }} socks
{% endblocktrans %}
{% blocktrans context "sky" %}Star{% endblocktrans %}
{% if _("In a tag") %}{{ _("In a variable") }}{% endif %}
{# Translators: aside #}<p>Not marked</p>
"""


@pytest.fixture
def sources(tmp_path: Path, settings: Any) -> Path:
    """A project of two files."""
    for name, text in (
        ("members/hats.py", CODE),
        ("templates/a/page.html", PAGE),
        ("members/migrations/m.py", '_("Old")'),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    settings.BASE_DIR = tmp_path
    return tmp_path


def test_texts_of_code_and_templates_are_read_with_plurals_and_contexts(sources: Path) -> None:
    found = {(one.id, one.context) for one in translations.texts() if one.id}
    assert found == {
        ("From code", None),
        ("With two parts", None),
        ("May", "month"),
        (("%(n)s hat", "%(n)s hats"), None),
        (("%(n)s pot", "%(n)s pots"), "tea"),
        ("Till", None),
        ("From a page", None),
        ('Quoted "so"', None),
        ("Open", "door"),
        ("Dear %(name)s, welcome", None),
        (("%(n)s sock", "%(n)s socks"), None),
        ("Star", "sky"),
        ("In a tag", None),
        ("In a variable", None),
    }
    catalogue = translations.texts()
    assert catalogue.get("Till").auto_comments == ["Translators: as in a shop"]
    assert catalogue.get("Star", "sky").locations == [("templates/a/page.html", None)]


def test_a_catalogue_follows_its_sources(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    po = sources / "django.po"
    monkeypatch.setattr(translations, "po_path", lambda _language: po)
    german = {"May": "Mai", "Till": "Kasse"}
    wanted = translations.update("de")
    for one in wanted:
        if one.id:
            one.string = one.id if isinstance(one.id, tuple) else german.get(one.id, one.id)
    translations.write(wanted, language="de")
    assert list(translations.faults("de")) == []

    code = sources / "members" / "hats.py"
    code.write_text(
        CODE.replace('_("Till")', 'ngettext("Till", "Tills", 2)').replace('"month"', '"name"'), encoding="utf-8"
    )
    assert list(translations.faults("de")) == [
        "not translated: 'May'",
        "not translated: 'Till'",
        "django.po does not have the texts of today",
    ]
    translations.write(translations.update("de"), language="de")
    assert list(translations.faults("de")) == ["not translated: 'May'", "not translated: 'Till'"]


# ── through the door ────────────────────────────────────────────────────────────────────────────────────────────────


def german(user: User) -> User:
    User.objects.filter(pk=user.pk).update(language="de")
    return User.objects.get(pk=user.pk)


def menu(page: Any) -> set[str]:
    """The words of the main menu."""
    nav = re.search(r'<nav class="nav".*?</nav>', page.content.decode(), re.DOTALL)
    assert nav
    return {
        re.sub(r"<.*?>", "", link, flags=re.DOTALL).strip() for link in re.findall(r"<a .*?</a>", nav[0], re.DOTALL)
    }


@pytest.mark.parametrize(
    ("asks", "speaks"),
    [("de", "de"), ("de-AT,de;q=0.9", "de"), ("fr,de;q=0.5", "de"), ("en", "en"), ("fr", "en"), ("", "en")],
)
def test_the_sign_in_page_speaks_the_browsers_language(acme: Client, asks: str, speaks: str) -> None:
    for at in (acme, None):
        answer = ClientBrowser(at, HTTP_ACCEPT_LANGUAGE=asks).get("/accounts/login/")
        assert answer["Content-Language"] == speaks
        assert f'<html lang="{speaks}"' in answer.content.decode()
        said = words(answer)
        assert ("Anmelden" in said, "Sign in" in said) == (speaks == "de", speaks == "en")


PORTAL = ("/", "/members/", "/rewards/", "/program/", "/staff/", "/settings/", "/settings/products/")


@pytest.mark.parametrize("asks", ["en", "de"])
def test_the_portal_speaks_the_users_own_language(shop: Client, asks: str) -> None:
    page = browser(shop, german(person(Actor.OWNER, client=shop)), HTTP_ACCEPT_LANGUAGE=asks)
    plain = browser(shop, person(Actor.OWNER, client=shop), HTTP_ACCEPT_LANGUAGE="en")
    same = {"Import", "Team", "API"}  # Words of both languages.
    for path in PORTAL:
        answer = page.get(path)
        assert (answer.status_code, answer["Content-Language"]) == (200, "de"), path
        assert '<html lang="de"' in answer.content.decode()
        assert menu(answer) & menu(plain.get(path)) <= same, path
    assert {"Mitglieder", "Einstellungen"} <= menu(page.get("/"))


def test_the_console_speaks_the_users_own_language(msp: Provider) -> None:
    page = browser(None, german(person(Actor.PROVIDER, provider=msp)), HTTP_ACCEPT_LANGUAGE="en")
    plain = browser(None, person(Actor.PROVIDER, provider=msp), HTTP_ACCEPT_LANGUAGE="en")
    for path in ("/", "/clients/", "/team/", "/activity/", "/settings/"):
        answer = page.get(path)
        assert (answer.status_code, answer["Content-Language"]) == (200, "de"), path
        assert menu(answer) & menu(plain.get(path)) <= {"Team"}, path


def test_figures_money_and_days_are_written_in_german(shop: Client, till: Machine, ana: Answer) -> None:
    till.post("/purchases", sale("ana-1", "R-1", 123456))
    credit()
    page = browser(shop, german(person(Actor.OWNER, client=shop)))
    said = words(page.get(f"/members/{ana['id']}/"))
    assert "1.234,56 €" in said
    assert "€1,234.56" not in said
    assert "1.284" in said
    assert "1,284" not in said
    assert re.search(r"\b\d{2}\.\d{2}\.\d{4}\b", said)


def test_the_consoles_money_is_written_in_german(msp: Provider) -> None:
    a_day(a_client(msp, currency="EUR"), sales=1234, revenue=12345600)
    page = browser(None, german(person(Actor.PROVIDER, provider=msp)))
    said = words(page.get("/clients/"))
    assert re.search(r"123\.456(,00)? €", said)
    assert "1.234" in said


def test_the_filters_write_german(msp: Provider) -> None:
    with override("de"):
        written = [loyalty.number(1234567), loyalty.money(-1250, "EUR"), loyalty.percent(0.413), loyalty.signed(-40)]
    assert [one.replace("\xa0", " ") for one in written] == ["1.234.567", "-12,50 €", "41,3 %", "−40"]
