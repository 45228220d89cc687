"""The programs to begin with speak the client's language, and promise the same in each."""

import json
import re
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.conf import settings
from django.utils.translation import override

from loyalty_saas.console.promises import all_promises, promises_of
from loyalty_saas.flows.onboarding import onboard, request_onboarding
from loyalty_saas.flows.programs import TEMPLATES, apply_template, template_document, templates
from loyalty_saas.sentences import amount_of
from programs.models import Program, UnitType
from programs.rules import parse_program
from rewards.models import Offer, Reward
from tenants.context import ClientUnavailable, use_client
from tenants.models import Client, Onboarding, Provider
from tests.conftest import NewClient
from tests.http import ClientBrowser
from tests.loyalty_saas.consoles import clients_without_a_schema_go, msp, staff
from tests.people import browser, person

__all__ = ["clients_without_a_schema_go", "msp", "staff"]

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
CODES = sorted(path.name.removesuffix(".program.json") for path in TEMPLATES.glob("*.program.json"))
OTHERS = [code for code, _name in settings.LANGUAGES if code != "en"]
GERMAN = {"cafe": "Kaffeekarte", "hiking": "Vielwanderer-Programm", "retail": "Kundenclub"}


def is_text(found: Any) -> bool:
    """Whether somebody reads it: codes, numbers, fields and hours have neither spaces nor capitals."""
    return isinstance(found, str) and not re.fullmatch(r"[a-z0-9_.:-]+", found)


def texts(found: Any) -> Iterator[str]:
    """All that is read, wherever it stands in a document."""
    if isinstance(found, dict | list):
        for value in found.values() if isinstance(found, dict) else found:
            yield from texts(value)
    elif is_text(found):
        yield found


def without_texts(found: Any) -> Any:
    """A document of which only codes, numbers and structure are left."""
    if isinstance(found, dict):
        return {key: without_texts(value) for key, value in found.items()}
    if isinstance(found, list):
        return [without_texts(value) for value in found]
    return "…" if is_text(found) else found


def written(name: str) -> Any:
    """What a file of the templates holds."""
    return json.loads((TEMPLATES / name).read_text(encoding="utf-8"))


def lacking(document: Any, words: dict[str, str]) -> set[str]:
    """Texts of a document without a translation."""
    return {text for text in texts(document) if not words.get(text, "").strip()}


# ── the files ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("language", OTHERS)
@pytest.mark.parametrize("code", CODES)
def test_every_text_of_a_template_has_a_translation_and_every_translation_a_text(code: str, language: str) -> None:
    document, words = written(f"{code}.program.json"), written(f"{code}.{language}.json")
    assert lacking(document, words) == set()
    assert set(words) == set(texts(document))
    assert len(words) > 25


@pytest.mark.parametrize("code", CODES)
def test_control_a_template_with_another_rule_is_found_lacking(code: str) -> None:
    document, words = written(f"{code}.program.json"), written(f"{code}.de.json")
    document["rules"].append({**document["rules"][0], "code": "rain", "name": "Twice as much when it rains"})
    document["tiers"]["levels"][0]["benefits"].append("An umbrella")
    assert lacking(document, words) == {"Twice as much when it rains", "An umbrella"}
    assert lacking(document, {**words, "An umbrella": " "}) == {"Twice as much when it rains", "An umbrella"}


@pytest.mark.parametrize("language", OTHERS)
@pytest.mark.parametrize("code", CODES)
def test_a_translated_template_is_a_sound_program_that_promises_the_same(code: str, language: str) -> None:
    english, other = (template_document(code, language=one) for one in ("en", language))
    words = written(f"{code}.{language}.json")
    assert english == written(f"{code}.program.json")
    assert list(texts(other)) == [words[text] for text in texts(english)]
    assert without_texts(other) == without_texts(english)
    assert [rule.code for rule in parse_program(other).rules] == [rule["code"] for rule in english["rules"]]


def test_codes_stay_even_where_they_read_like_a_text(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("templates")
    document = {"code": "Gold", "name": "Gold", "value": ["Gold"], "benefits": ["Gold", "Tea"]}
    (folder / "tea.program.json").write_text(json.dumps(document))
    (folder / "tea.de.json").write_text(json.dumps({"Gold": "Golden"}))
    monkeypatch.setattr("loyalty_saas.flows.programs.TEMPLATES", folder)
    assert template_document("tea", language="de") == {
        "code": "Gold", "name": "Golden", "value": ["Gold"], "benefits": ["Golden", "Tea"],
    }  # fmt: skip


@pytest.mark.parametrize(("language", "name"), [("de-at", "Kaffeekarte"), ("fr", "Coffee card"), ("en", "Coffee card")])
def test_a_region_reads_its_language_and_a_language_without_translation_english(language: str, name: str) -> None:
    assert template_document("cafe", language=language)["name"] == name


def test_outside_any_client_a_language_has_to_be_told() -> None:
    with pytest.raises(ClientUnavailable):
        template_document("cafe")


# ── the client's language ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("viewer", ["en", "de"])
@pytest.mark.parametrize(
    ("languages", "names"),
    [
        (["de", "en"], ("Kaffeekarte", "Stempel", "Ein Kaffee aufs Haus", "Die zweite Tasse", "Ein Platz bei")),
        (["en", "de"], ("Coffee card", "Stamps", "A coffee on the house", "The second cup", "A seat at our")),
    ],
)
def test_a_client_gets_the_program_in_its_first_language_whoever_looks_on(
    new_client: NewClient, languages: list[str], names: tuple[str, ...], viewer: str
) -> None:
    with override(viewer):
        client = new_client("Crumbs", template="cafe", languages=languages)
    with use_client(client):
        document = Program.objects.get().document
        found = (
            document["name"],
            UnitType.objects.get().name,
            Reward.objects.get(code="free-coffee").name,
            Offer.objects.get(code="second-cup").name,
            document["tiers"]["levels"][-1]["benefits"][-1][: len(names[-1])],
        )
    assert found == names


def test_another_language_may_be_asked_for(acme: Client) -> None:
    assert acme.languages == ["en"]
    apply_template(template="retail", at=NOON, language="de")
    assert UnitType.objects.get().name == "Punkte"


@pytest.mark.parametrize(("languages", "name"), [(["de", "en"], "Kundenclub"), (["en", "de"], "Shop club")])
def test_a_business_is_taken_in_with_a_program_in_its_language(
    provider: Provider, languages: list[str], name: str
) -> None:
    wanted = request_onboarding(
        provider=provider, at=NOON, wake=False, name=f"Krümel {secrets.token_hex(3)}", trade="retail",
        currency="EUR", time_zone="Europe/Berlin", template="retail", languages=languages,
    )  # fmt: skip
    made = onboard(onboarding_id=wanted.pk, at=datetime.now(UTC))
    assert made.client, made.onboarding.error
    with use_client(made.client):
        assert Program.objects.get().document["name"] == name


# ── the viewer's language ───────────────────────────────────────────────────────────────────────────────────────────


def test_templates_are_named_in_the_viewers_language() -> None:
    with override("de"):
        assert templates() == GERMAN
    with override("en"):
        assert templates() == {code: written(f"{code}.program.json")["name"] for code in CODES}
    with override(None):
        assert templates()["cafe"] == "Coffee card"


def test_what_a_template_promises_is_told_in_the_viewers_language_turn_by_turn() -> None:
    for language, sentence in [("en", "A coffee on the house"), ("de", "Ein Kaffee aufs Haus")] * 2:
        with override(language):
            (cafe,) = (one for one in all_promises(currency="EUR") if one.code == "cafe")
        assert cafe.rewards[0].startswith(sentence)


def test_the_wizard_shows_its_programs_to_a_german_viewer_in_german(msp: Provider) -> None:
    german = person("provider", provider=msp)
    german.language = "de"
    german.save(update_fields=["language"])
    page = browser(None, german)
    wizard_page = _second_step(page, msp)
    assert "Ein Stempel für jeden Kaffee" in wizard_page
    assert all(name in wizard_page for name in GERMAN.values())
    assert "Coffee card" not in wizard_page


def test_control_to_an_english_viewer_in_english(msp: Provider, staff: ClientBrowser) -> None:
    wizard_page = _second_step(staff, msp)
    assert "Coffee card" in wizard_page
    assert not any(name in wizard_page for name in GERMAN.values())


def _second_step(page: ClientBrowser, msp: Provider) -> str:
    page.post("/clients/add/", {"provider": str(msp.pk), "name": "Petal & Stem", "trade": "cafe"})
    draft = Onboarding.objects.get(provider=msp)
    return page.get(f"/clients/add/{draft.pk}/2/").content.decode()


# ── amounts ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("viewer", "unit", "one", "two"),
    [
        ("de", "Punkte", "1 Punkt", "2 Punkte"),
        ("de", "Stempel", "1 Stempel", "2 Stempel"),
        ("de", "Points", "1 Punkt", "2 Punkte"),
        ("en", "Points", "1 point", "2 points"),
        ("en", "Stamps", "1 stamp", "2 stamps"),
        ("en", "Punkte", "1 Punkte", "2 Punkte"),
        ("en", "Stempel", "1 Stempel", "2 Stempel"),
    ],
)
def test_an_amount_is_said_in_the_viewers_language_and_a_unit_it_does_not_know_keeps_its_name(
    viewer: str, unit: str, one: str, two: str
) -> None:
    with override(viewer):
        assert [amount_of(steps, decimals=0, unit=unit) for steps in (1, 2)] == [one, two]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"period_months": 12}, "Silver from €500.00 in 12 months"),
        ({"period": "rolling", "period_months": 1}, "Silver from €500.00 in 1 month"),
        ({"period": "calendar"}, "Silver from €500.00 in a calendar year"),
        ({"period": "anniversary"}, "Silver from €500.00 in a year of membership"),
        ({"period": "lifetime"}, "Silver from €500.00 in all"),
    ],
)
def test_over_which_time_a_tier_is_counted_is_promised(given: dict[str, Any], said: str) -> None:
    levels = [{"code": "silver", "name": "Silver", "enter": 50_000}]
    unit = {"code": "points", "name": "Points", "kind": "points"}
    spec = parse_program({"name": "Club", "units": [unit], "tiers": {"basis": "spend", "levels": levels, **given}})
    with override("en"):
        assert promises_of("club", spec, currency="EUR").tiers == [said]
