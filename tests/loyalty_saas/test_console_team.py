"""Who works for a provider: people come by invitation and go for good; the provider's name and look; the search."""

import io
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.conf import settings
from django.core import mail
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connections
from django.utils import timezone
from PIL import Image

from loyalty_saas.brand_form import BrandForm, preview_of
from loyalty_saas.branding import colour_of, contrast
from tenants.access import Actor
from tenants.context import public_atomic
from tenants.keys import uuid7
from tenants.models import AuditEvent, Brand, Client, Invitation, Provider, Role, RoleGrant, User
from tenants.services.people import LastOfTheTeam, remove_from_team
from tests.http import ClientBrowser
from tests.loyalty_saas.consoles import a_client, clients_without_a_schema_go, msp, staff
from tests.loyalty_saas.shops import counted_queries
from tests.people import PASSWORD, browser, person

__all__ = ["clients_without_a_schema_go", "msp", "staff"]


def grant_of(user: User) -> RoleGrant:
    """The user's work for a provider."""
    return RoleGrant.objects.get(user=user, role=Role.PROVIDER)


def link_in(text: str) -> str:
    """The path of the link in a mail."""
    found = re.search(rf"http://{settings.PLATFORM_HOST}(?::\d+)?(/invitation/\S+)", text)
    assert found, text
    return found[1]


# ── invitations ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_colleague_is_invited_comes_and_sees_the_clients(msp: Provider, staff: ClientBrowser) -> None:
    a_client(msp, "Petal")
    email = f"new-{uuid7().hex}@example.com"
    assert staff.post("/team/", {"email": email.upper()}).status_code == 302
    assert email in staff.get("/team/").content.decode()
    link = link_in(str(mail.outbox[-1].body))
    ClientBrowser().post(link, {"name": "Nora New", "password": PASSWORD})
    assert RoleGrant.objects.get(user__email=email).provider == msp
    body = staff.get("/team/").content.decode()
    assert "Nora New" in body
    assert "Send again" not in body, "the invitation was used"
    event = AuditEvent.objects.filter(action="invitation.accepted").latest("id")
    assert event.detail["provider"] == str(msp.pk)


def test_nobody_is_invited_twice(msp: Provider, staff: ClientBrowser) -> None:
    member = person(Actor.PROVIDER, provider=msp)
    assert "in the team already" in staff.post("/team/", {"email": member.email}).content.decode()
    staff.post("/team/", {"email": "twice@example.com"})
    again = staff.post("/team/", {"email": "Twice@example.com"})
    assert (again.status_code, Invitation.objects.filter(provider=msp).count()) == (422, 1)
    assert "invited already" in again.content.decode()
    assert 'value="Twice@example.com"' in again.content.decode()


def test_an_invitation_sent_again_has_a_new_link_and_the_old_one_is_worth_nothing(
    msp: Provider, staff: ClientBrowser
) -> None:
    staff.post("/team/", {"email": "again@example.com"})
    old = link_in(str(mail.outbox[-1].body))
    invitation = Invitation.objects.get(provider=msp)
    staff.post(f"/team/invitations/{invitation.pk}/resend/")
    new = link_in(str(mail.outbox[-1].body))
    assert [ClientBrowser().get(link).status_code for link in (old, new)] == [404, 200]


def test_a_withdrawn_invitation_is_worth_nothing(msp: Provider, staff: ClientBrowser) -> None:
    staff.post("/team/", {"email": "never@example.com"})
    link, invitation = link_in(str(mail.outbox[-1].body)), Invitation.objects.get(provider=msp)
    staff.post(f"/team/invitations/{invitation.pk}/withdraw/")
    assert ClientBrowser().get(link).status_code == 404
    assert AuditEvent.objects.filter(action="invitation.withdrawn", subject=str(invitation.pk)).exists()


@pytest.mark.parametrize("deed", ["resend", "withdraw"])
def test_invitations_of_other_houses_are_not_there(staff: ClientBrowser, provider: Provider, deed: str) -> None:
    at = timezone.now()
    foreign = Invitation.objects.create(
        email="x@example.com", role="provider", provider=provider, token_hash=uuid7().hex, expires_at=at
    )
    assert staff.post(f"/team/invitations/{foreign.pk}/{deed}/").status_code == 404
    foreign.delete()


# ── the end of somebody's work ──────────────────────────────────────────────────────────────────────────────────────


def test_who_is_removed_is_out_at_the_next_request(msp: Provider, staff: ClientBrowser) -> None:
    leaver = person(Actor.PROVIDER, provider=msp)
    open_page = browser(None, leaver)
    assert open_page.get("/").status_code == 200
    staff.post(f"/team/{grant_of(leaver).pk}/remove/")
    assert open_page.get("/").status_code == 403
    assert AuditEvent.objects.get(action="team.removed", subject=str(leaver.pk)).detail == {"provider": str(msp.pk)}


def test_nobody_removes_himself(msp: Provider) -> None:
    me = person(Actor.PROVIDER, provider=msp)
    person(Actor.PROVIDER, provider=msp)
    answer = browser(None, me).post(f"/team/{grant_of(me).pk}/remove/", follow=True)
    assert "You cannot remove yourself" in answer.content.decode()
    assert grant_of(me)


def test_the_last_one_stays(msp: Provider) -> None:
    only = person(Actor.PROVIDER, provider=msp)
    answer = browser(None, person(Actor.PLATFORM)).post(f"/team/{grant_of(only).pk}/remove/", follow=True)
    assert "is the only one left" in answer.content.decode()
    assert grant_of(only)


def test_two_who_remove_each_other_leave_one(msp: Provider) -> None:
    one, other = (person(Actor.PROVIDER, provider=msp) for _n in range(2))
    pairs = [(grant_of(one), other), (grant_of(other), one)]

    def remove(pair: tuple[RoleGrant, User]) -> str:
        try:
            with public_atomic():
                remove_from_team(grant=pair[0], by=pair[1], at=timezone.now())
        except LastOfTheTeam:
            return "stays"
        finally:
            connections.close_all()
        return "gone"

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(remove, pairs)) == ["gone", "stays"]
    assert RoleGrant.objects.filter(provider=msp).count() == 1


def test_people_of_another_house_cannot_be_removed(staff: ClientBrowser, provider: Provider, bravo: Client) -> None:
    foreign, owner = person(Actor.PROVIDER, provider=provider), person(Role.OWNER, client=bravo)
    grants = [grant_of(foreign), RoleGrant.objects.get(user=owner)]
    assert [staff.post(f"/team/{grant.pk}/remove/").status_code for grant in grants] == [404, 404]
    assert staff.get(f"/team/?provider={provider.slug}").status_code == 404


def test_second_factors_are_shown(msp: Provider, staff: ClientBrowser) -> None:
    person(Actor.PROVIDER, provider=msp, factor=False)
    body = staff.get("/team/").content.decode()
    assert len(re.findall(r"</svg>On</span>", body)) == 1
    assert len(re.findall(r">Off</span>", body)) == 1


def test_the_operator_looks_at_any_team(msp: Provider, staff: ClientBrowser) -> None:
    member = RoleGrant.objects.get(provider=msp).user
    operator = browser(None, person(Actor.PLATFORM))
    assert member.email in operator.get(f"/team/?provider={msp.slug}").content.decode()


# ── the name and the look ───────────────────────────────────────────────────────────────────────────────────────────


def picture() -> SimpleUploadedFile:
    """A small PNG."""
    drawn = io.BytesIO()
    Image.new("RGB", (40, 40), "red").save(drawn, "PNG")
    return SimpleUploadedFile("logo.png", drawn.getvalue(), "image/png")


LOOK = {"name": "Beacon IT", "own_colour": "on", "accent": "#ffd400", "typeface": "serif", "corners": "round"}


def test_a_house_gets_its_name_colour_and_logo(msp: Provider, staff: ClientBrowser) -> None:
    answer = staff.post("/settings/", {**LOOK, "name": "Lighthouse", "logo": picture()})
    assert answer.status_code == 302
    brand = Brand.objects.get(provider=msp)
    assert (brand.accent, brand.typeface, brand.corners, bool(brand.logo)) == ("#ffd400", "serif", "round", True)
    page = staff.get("/settings/").content.decode()
    assert "Lighthouse" in page
    assert "tokens.css" in page
    assert f"/brand/{brand.pk}/" in page
    assert AuditEvent.objects.filter(action="provider.changed").latest("id").detail["accent"] == "#ffd400"
    staff.post("/settings/", {**LOOK, "own_colour": "", "drop_logo": "on"})
    brand.refresh_from_db()
    assert (brand.accent, brand.logo) == ("", None)


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", ""), ("accent", "red"), ("typeface", "Comic Sans"), ("corners", "odd"), ("logo", "no picture")],
)
def test_a_look_that_cannot_be_is_refused_at_its_field(
    msp: Provider, staff: ClientBrowser, field: str, value: str
) -> None:
    given = SimpleUploadedFile("logo.svg", b"<svg onload=alert(1)>") if field == "logo" else value
    answer = staff.post("/settings/", {**LOOK, "name": "Kept name", field: given})
    assert answer.status_code == 422
    assert f'id="id_{field}_errors"' in answer.content.decode()
    assert not Brand.objects.filter(provider=msp).exists()


def test_the_preview_says_in_words_how_a_colour_was_made_readable(staff: ClientBrowser) -> None:
    address = "/settings/?own_colour=on&accent=%23ffd400&typeface=inter&corners=soft"
    body = staff.get(address, headers={"HX-Request": "true"}).content.decode()
    assert "would be hard to read" in body
    assert "<html" not in body
    plain = staff.get(address.replace("ffd400", "1d4ed8"), headers={"HX-Request": "true"}).content.decode()
    assert "would be hard to read" not in plain


@pytest.mark.parametrize("accent", ["#ffd400", "#000000", "#ffffff", "#1d4ed8", "#7f7f7f", ""])
def test_what_the_preview_shows_can_be_read(accent: str) -> None:
    for sample in preview_of(Brand(accent=accent)).samples:
        assert contrast(colour_of(sample.accent), colour_of(sample.on_accent)) >= 4.5
        assert contrast(colour_of(sample.accent), colour_of(sample.wash)) >= 4.5


def test_the_standard_colours_of_the_preview_are_those_of_the_style_sheet() -> None:
    css = (Path(settings.BASE_DIR) / "loyalty_saas" / "styles" / "app.css").read_text(encoding="utf-8")
    for sample in preview_of(Brand()).samples:
        for colour in (sample.accent, sample.on_accent, sample.wash, sample.card, sample.line, sample.ink, sample.soft):
            assert colour in css


def test_the_own_colour_is_kept_in_the_form_when_something_else_is_wrong(msp: Provider) -> None:
    form = BrandForm({"own_colour": "on", "accent": "#ABCDEF", "typeface": "x", "corners": "soft"})
    assert not form.is_valid()
    assert form["accent"].value() == "#ABCDEF"


def test_another_houses_settings_are_not_there(staff: ClientBrowser, provider: Provider) -> None:
    assert staff.post(f"/settings/?provider={provider.slug}", LOOK).status_code == 404
    assert Provider.objects.get(pk=provider.pk).name == provider.name


# ── the search ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_clients_people_and_pages_are_found(msp: Provider, staff: ClientBrowser) -> None:
    client = a_client(msp, "Zauberladen")
    owner = person(Role.OWNER, client=client)
    assert f"/clients/{client.pk}/" in staff.get("/search/?q=zauber").content.decode()
    assert client.name in staff.get(f"/search/?q={client.domains.get().host}").content.decode()
    assert owner.email in staff.get(f"/search/?q={owner.email[:14]}").content.decode()
    assert 'href="/team/"' in staff.get("/search/?q=colleague", headers={"HX-Request": "true"}).content.decode()


def test_what_others_have_is_not_found(staff: ClientBrowser, provider: Provider, bravo: Client) -> None:
    owner, colleague = person(Role.OWNER, client=bravo), person(Actor.PROVIDER, provider=provider)
    for text in (bravo.slug, owner.email, colleague.email):
        body = staff.get(f"/search/?q={text}", headers={"HX-Request": "true"}).content.decode()
        assert "Nothing found" in body


def test_a_search_costs_the_same_for_any_find(msp: Provider, staff: ClientBrowser) -> None:
    counts = []
    for number in (1, 9):
        for _n in range(number):
            person(Role.OWNER, client=a_client(msp, "Findme"))
        with counted_queries(cold=True) as so_far:
            staff.get("/search/?q=e", headers={"HX-Request": "true"})
        counts.append(so_far())
    assert counts[1] <= counts[0] <= 10


def test_what_is_searched_for_brings_no_script(staff: ClientBrowser) -> None:
    assert b"<script>alert" not in staff.get("/search/?q=<script>alert(1)</script>").content
