"""The portal's pages about people, clerks and tills."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from django.core import mail
from django.db import connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from programs.models import Clerk, Device, DeviceCode, Location, TillSession
from programs.services import tills
from tenants.access import Actor
from tenants.context import public_atomic
from tenants.models import AuditEvent, Client, Invitation, Role, RoleGrant
from tenants.services import lockouts
from tenants.services.staffing import LastOwner, remove_role
from tests.http import ClientBrowser
from tests.people import browser, person

PIN = "493021"


@pytest.fixture
def owner(acme: Client) -> ClientBrowser:
    return browser(acme, person(Actor.OWNER, client=acme))


@pytest.fixture
def manager(acme: Client) -> ClientBrowser:
    return browser(acme, person(Actor.MANAGER, client=acme))


@pytest.fixture
def shop(acme: Client) -> Location:
    return Location.objects.create(code="pier", name="Pier 4")


@pytest.fixture
def mia(shop: Location) -> Clerk:
    return tills.add_clerk(name="Mia Klein", role="clerk", location=shop, pin=PIN, at=timezone.now())


@pytest.fixture
def device(shop: Location) -> Device:
    at = timezone.now()
    return tills.enrol_device(code=tills.make_device_code(name="Counter", location=shop, by=None, at=at)[1], at=at)[0]


def words(answer: Any) -> str:
    """What a page says, on one line."""
    return re.sub(r"\s+", " ", answer.content.decode())


def after(visitor: ClientBrowser, address: str, **given: Any) -> str:
    """What the page says to which a deed leads."""
    answer = visitor.post(address, given, follow=True)
    assert answer.status_code == 200
    return words(answer)


def audited(client: Client) -> list[str]:
    return list(AuditEvent.objects.filter(client=client).order_by("sequence").values_list("action", flat=True))


def grant_of(client: Client, role: str) -> RoleGrant:
    return RoleGrant.objects.get(user=person(role, client=client), client=client)


# ── people ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_people_of_the_shop_with_role_second_factor_and_last_sign_in(acme: Client, owner: ClientBrowser) -> None:
    person(Actor.CLERK, client=acme, factor=False)
    page = words(owner.get("/staff/"))
    for said in ("Owner", "Clerk", "On", "Off", "Never", "you"):
        assert f">{said}<" in page or f"· {said}<" in page, said


def test_an_owner_alone_is_asked_to_invite(owner: ClientBrowser) -> None:
    assert "You are alone here" in words(owner.get("/staff/"))


def test_somebody_is_invited_by_mail_and_signs_in_with_the_role(acme: Client, owner: ClientBrowser) -> None:
    email = f"pat-{acme.slug}@example.com"
    mail.outbox.clear()
    assert f"on its way to {email}" in after(owner, "/staff/invite/", email=email.title(), role="manager")
    link = re.search(r"https?://\S+(/invitation/\S+)", mail.outbox[0].body)
    assert link
    answer = ClientBrowser(acme).post(link[1], {"name": "Pat", "password": "correct horse battery staple"})
    assert answer.status_code == 302
    assert RoleGrant.objects.get(client=acme, user__email=email).role == Role.MANAGER
    assert audited(acme)[:2] == ["invitation.sent", "invitation.accepted"]


@pytest.mark.parametrize("email", ["", "nope", f"{'a' * 250}@example.com"])
def test_what_is_no_address_is_refused_at_the_field_and_kept(owner: ClientBrowser, email: str) -> None:
    answer = owner.post("/staff/invite/", {"email": email, "role": "clerk"})
    assert answer.status_code == 422
    assert 'aria-invalid="true"' in answer.content.decode()
    assert f'value="{email}"' in answer.content.decode() or not email


def test_nobody_is_invited_twice_to_the_same_role(acme: Client, owner: ClientBrowser) -> None:
    known = person(Actor.CLERK, client=acme)
    again = owner.post("/staff/invite/", {"email": known.email, "role": "clerk"})
    assert "has that role already" in words(again)
    owner.post("/staff/invite/", {"email": "new@example.com", "role": "clerk"})
    again = owner.post("/staff/invite/", {"email": "NEW@example.com", "role": "clerk"})
    assert (again.status_code, "has been invited already" in words(again)) == (422, True)


def test_an_invitation_is_sent_again_with_a_new_link_and_withdrawn(acme: Client, owner: ClientBrowser) -> None:
    mail.outbox.clear()
    owner.post("/staff/invite/", {"email": "new@example.com", "role": "clerk"})
    kept = Invitation.objects.get(client=acme)
    after(owner, f"/staff/invitations/{kept.pk}/again/")
    first, second = (re.search(r"/invitation/\S+", sent.body)[0] for sent in mail.outbox)  # type: ignore[index]
    visitor = ClientBrowser(acme)
    assert (visitor.get(first).status_code, visitor.get(second).status_code) == (404, 200)
    assert "worth nothing now" in after(owner, f"/staff/invitations/{kept.pk}/withdraw/")
    assert visitor.get(second).status_code == 404


def test_a_mail_that_cannot_be_sent_is_said_and_the_invitation_kept(
    acme: Client, owner: ClientBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*args: Any, **given: Any) -> None:
        raise OSError("no mail server")

    monkeypatch.setattr("loyalty_saas.flows.staffing.send_mail", down)
    assert "The mail could not be sent" in after(owner, "/staff/invite/", email="new@example.com", role="clerk")
    assert Invitation.objects.filter(client=acme).exists()


def test_r25_a_role_that_was_removed_counts_from_the_next_request_on(acme: Client, owner: ClientBrowser) -> None:
    user = person(Actor.MANAGER, client=acme)
    page = browser(acme, user)
    assert page.get("/staff/").status_code == 200
    assert "has this role no longer" in after(owner, f"/staff/people/{RoleGrant.objects.get(user=user).pk}/remove/")
    assert page.get("/staff/").status_code == 403
    assert audited(acme) == ["role.removed"]


def test_nobody_removes_himself(acme: Client) -> None:
    user = person(Actor.OWNER, client=acme)
    person(Actor.OWNER, client=acme)
    own = RoleGrant.objects.get(user=user)
    assert "You cannot remove yourself" in after(browser(acme, user), f"/staff/people/{own.pk}/remove/")
    assert RoleGrant.objects.filter(pk=own.pk).exists()


def test_two_owners_who_remove_each_other_at_once_leave_one(acme: Client) -> None:
    grants = [grant_of(acme, Actor.OWNER) for _ in range(2)]
    together = Barrier(2)

    def remove(turn: int) -> bool:
        try:
            together.wait()
            with public_atomic():
                remove_role(grant=grants[turn], by=grants[1 - turn].user, at=timezone.now())
        except LastOwner:
            return False
        finally:
            connections["public"].close()
        return True

    with ThreadPoolExecutor(2) as threads:
        assert sorted(threads.map(remove, range(2))) == [False, True]
    assert RoleGrant.objects.filter(client=acme, role=Role.OWNER).count() == 1


def test_an_owner_whose_time_is_over_does_not_count_as_the_last(acme: Client) -> None:
    over, left, by = (grant_of(acme, Actor.OWNER) for _ in range(3))
    RoleGrant.objects.filter(pk__in=[over.pk, by.pk]).update(until=timezone.now())
    with pytest.raises(LastOwner), public_atomic():
        remove_role(grant=left, by=by.user, at=timezone.now())


def test_a_manager_does_not_touch_owners(acme: Client, owner: ClientBrowser, manager: ClientBrowser) -> None:
    grant = grant_of(acme, Actor.OWNER)
    assert manager.post(f"/staff/people/{grant.pk}/remove/").status_code == 404
    assert manager.post("/staff/invite/", {"email": "boss@example.com", "role": "owner"}).status_code == 422
    owner.post("/staff/invite/", {"email": "boss@example.com", "role": "owner"})
    invited = Invitation.objects.get(client=acme)
    for deed in ("again", "withdraw"):
        assert manager.post(f"/staff/invitations/{invited.pk}/{deed}/").status_code == 404
    page = words(manager.get("/staff/"))
    assert "boss@example.com" in page
    assert "Withdraw" not in page
    assert f"remove-{grant.pk}" not in page
    assert f"remove-{grant.pk}" in words(owner.get("/staff/"))


def test_a_manager_invites_and_removes_managers_and_clerks(acme: Client, manager: ClientBrowser) -> None:
    for role in (Actor.MANAGER, Actor.CLERK):
        assert "has this role no longer" in after(manager, f"/staff/people/{grant_of(acme, role).pk}/remove/")
        assert "on its way" in after(manager, "/staff/invite/", email=f"{role}@example.com", role=role)


@pytest.mark.parametrize("kind", ["people", "invitations"])
def test_r17_people_of_another_client_are_not_there(owner: ClientBrowser, bravo: Client, kind: str) -> None:
    theirs = grant_of(bravo, Actor.CLERK)
    invited = Invitation.objects.create(
        client=bravo, email="x@example.com", role="clerk", token_hash=f"x{bravo.pk}", expires_at=timezone.now()
    )
    addresses = {
        "people": [f"/staff/people/{theirs.pk}/remove/"],
        "invitations": [f"/staff/invitations/{invited.pk}/{deed}/" for deed in ("again", "withdraw")],
    }
    assert {owner.post(address).status_code for address in addresses[kind]} == {404}
    assert theirs.user.email not in words(owner.get("/staff/"))


# ── clerks ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_clerk_is_added_with_the_pin_given(
    acme: Client, owner: ClientBrowser, shop: Location, device: Device
) -> None:
    page = after(owner, "/staff/clerks/add/", name="  Noor   Haddad ", role="clerk", location=shop.pk, pin=PIN)
    assert "Noor Haddad can unlock the till now." in page
    noor = Clerk.objects.get(name="Noor Haddad")
    assert tills.begin_session(device=device, clerk_id=noor.pk, pin=PIN, at=timezone.now())
    assert audited(acme) == ["clerk.added"]


def test_a_pin_made_for_a_clerk_is_shown_once_and_works(owner: ClientBrowser, device: Device) -> None:
    answer = owner.post("/staff/clerks/add/", {"name": "Noor", "role": "clerk", "location": "", "pin": ""})
    made = re.search(r'id="pin">(\d{6})<', answer.content.decode())
    assert made
    assert "no-store" in answer["Cache-Control"]
    noor = Clerk.objects.get(name="Noor")
    assert tills.begin_session(device=device, clerk_id=noor.pk, pin=made[1], at=timezone.now())
    assert made[1] not in words(owner.get(f"/staff/clerks/{noor.pk}/"))


@pytest.mark.parametrize(
    ("given", "said"),
    [({"name": ""}, "This field is required."), ({"name": "x" * 61}, "at most 60 characters"),
     ({"name": "a\u202eb"}, "A name is one line of letters."), ({"pin": "123456"}, "would be guessed first"),
     ({"pin": "12"}, "A PIN has 4 to 8 digits"), ({"pin": "12a456"}, "A PIN has 4 to 8 digits"),
     ({"role": "owner"}, "Select a valid choice."), ({"location": "019391ab-0000-7000-8000-000000000000"}, "Select a valid choice.")],
)  # fmt: skip
def test_what_is_wrong_with_a_new_clerk_is_said_at_the_field(
    owner: ClientBrowser, given: dict[str, str], said: str
) -> None:
    answer = owner.post("/staff/clerks/add/", {"name": "Noor", "role": "clerk", "location": "", "pin": PIN, **given})
    assert (answer.status_code, said in words(answer)) == (422, True)
    assert not Clerk.objects.exists()


def test_a_clerk_is_renamed_and_moved(acme: Client, owner: ClientBrowser, mia: Clerk) -> None:
    harbour = Location.objects.create(code="harbour", name="Harbour")
    page = after(owner, f"/staff/clerks/{mia.pk}/", name="Mia Kurz", role="manager", location=harbour.pk)
    assert "Saved." in page
    mia.refresh_from_db()
    assert (mia.name, mia.role, mia.location) == ("Mia Kurz", "manager", harbour)
    assert owner.post(f"/staff/clerks/{mia.pk}/", {"name": "", "role": "clerk"}).status_code == 422
    assert audited(acme) == ["clerk.changed"]


def test_a_new_pin_is_given_by_hand_or_made(acme: Client, owner: ClientBrowser, mia: Clerk, device: Device) -> None:
    assert "has a new PIN" in after(owner, f"/staff/clerks/{mia.pk}/pin/", pin="810463")
    assert tills.begin_session(device=device, clerk_id=mia.pk, pin="810463", at=timezone.now())
    assert "PIN for Mia Klein" in words(owner.post(f"/staff/clerks/{mia.pk}/pin/", {"pin": ""}))
    assert not TillSession.objects.filter(ended_at=None).exists()
    refused = owner.post(f"/staff/clerks/{mia.pk}/pin/", {"pin": "000000"})
    assert (refused.status_code, "would be guessed first" in words(refused)) == (422, True)
    assert audited(acme) == ["clerk.pin_set"] * 2


def test_a_clerk_leaves_and_comes_back(acme: Client, owner: ClientBrowser, mia: Clerk) -> None:
    assert "can unlock no till any more" in after(owner, f"/staff/clerks/{mia.pk}/retire/")
    assert "Mia Klein" not in words(owner.get("/staff/clerks/")).replace("Mia Klein can", "")
    assert "Mia Klein" in words(owner.get("/staff/clerks/?show=left"))
    assert owner.post(f"/staff/clerks/{mia.pk}/retire/").status_code == 404
    assert owner.post(f"/staff/clerks/{mia.pk}/pin/", {"pin": PIN}).status_code == 404
    assert "Set a new PIN." in after(owner, f"/staff/clerks/{mia.pk}/return/")
    assert "Missing" in words(owner.get("/staff/clerks/"))
    assert audited(acme) == ["clerk.retired", "clerk.returned"]


def test_a_locked_clerk_is_shown_and_unlocked(acme: Client, manager: ClientBrowser, mia: Clerk, device: Device) -> None:
    for _ in range(5):
        with pytest.raises(tills.WrongPin):
            tills.begin_session(device=device, clerk_id=mia.pk, pin="777771", at=timezone.now())
    assert "Locked until" in words(manager.get("/staff/clerks/"))
    assert "Locked until" in words(manager.get(f"/staff/clerks/{mia.pk}/"))
    assert "Mia Klein can try again now." in after(manager, f"/staff/clerks/{mia.pk}/unlock/")
    assert tills.begin_session(device=device, clerk_id=mia.pk, pin=PIN, at=timezone.now())
    assert audited(acme) == ["clerk.unlocked"]


def test_without_clerks_the_page_says_what_to_do(owner: ClientBrowser) -> None:
    assert "No clerks yet" in words(owner.get("/staff/clerks/"))


# ── tills ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_code_is_shown_once_with_its_qr_and_makes_a_till(acme: Client, owner: ClientBrowser, shop: Location) -> None:
    answer = owner.post("/staff/tills/code/", {"name": "Counter", "location": shop.pk})
    page = words(answer)
    code = re.search(r'id="code">([A-Z0-9]{4}-[A-Z0-9]{4})<', page)
    assert code
    assert "<svg" in page
    assert "style=" not in page
    assert "15 minutes" in page
    state = f"/staff/tills/codes/{DeviceCode.objects.get().pk}/"
    assert "Waiting for the device" in words(owner.get(state, headers={"HX-Request": "true"}))
    assert "Waiting for their device" in words(owner.get("/staff/tills/"))
    assert code[1] not in words(owner.get("/staff/tills/"))
    ClientBrowser(acme).post("/till/enrol/", {"code": code[1]})
    done = owner.get(state, headers={"HX-Request": "true"})
    assert "Counter is ready" in words(done)
    assert (done["HX-Retarget"], done["HX-Reswap"]) == ("#enrolling", "outerHTML")
    assert "Counter" in words(owner.get("/staff/tills/"))
    assert audited(acme) == ["till.code_made", "till.enrolled"]


def test_a_code_that_ended_says_so_to_whoever_waits(owner: ClientBrowser, shop: Location) -> None:
    at = timezone.now() - timedelta(minutes=16)
    row, _code = tills.make_device_code(name="Counter", location=shop, by=None, at=at)
    page = words(owner.get(f"/staff/tills/codes/{row.pk}/", headers={"HX-Request": "true"}))
    assert "The code has ended" in page
    assert owner.get(f"/staff/tills/codes/{row.pk}/")["Location"] == "/staff/tills/"


def test_a_code_is_withdrawn(acme: Client, owner: ClientBrowser, shop: Location) -> None:
    row, code = tills.make_device_code(name="Counter", location=shop, by=None, at=timezone.now())
    assert "worth nothing now" in after(owner, f"/staff/tills/codes/{row.pk}/withdraw/")
    assert ClientBrowser(acme).post("/till/enrol/", {"code": code}).status_code == 422


@pytest.mark.parametrize("given", [{"name": ""}, {"location": ""}, {"name": "x" * 61}])
def test_a_till_needs_a_name_and_a_location(owner: ClientBrowser, shop: Location, given: dict[str, str]) -> None:
    answer = owner.post("/staff/tills/code/", {"name": "Counter", "location": shop.pk, **given})
    assert answer.status_code == 422
    assert "data-open" in answer.content.decode()
    assert not DeviceCode.objects.exists()


def test_a_closed_location_gets_no_till(owner: ClientBrowser, shop: Location) -> None:
    Location.objects.filter(pk=shop.pk).update(closed_at=timezone.now())
    assert owner.post("/staff/tills/code/", {"name": "Counter", "location": shop.pk}).status_code == 422
    assert "First, a location" in words(owner.get("/staff/tills/"))


def test_a_till_shows_who_is_on_it_until_it_is_left_alone(owner: ClientBrowser, mia: Clerk, device: Device) -> None:
    tills.begin_session(device=device, clerk_id=mia.pk, pin=PIN, at=timezone.now())
    assert "Mia Klein" in words(owner.get("/staff/tills/"))
    assert ">Now<" in words(owner.get("/staff/tills/"))
    TillSession.objects.update(seen_at=timezone.now() - timedelta(minutes=3))
    Device.objects.update(seen_at=timezone.now() - timedelta(minutes=3))
    page = words(owner.get("/staff/tills/"))
    assert "Mia Klein" not in page
    assert "3 minutes ago" in page


def test_a_till_is_renamed_and_put_out_of_use(acme: Client, owner: ClientBrowser, device: Device) -> None:
    assert "Saved." in after(owner, f"/staff/tills/{device.pk}/", name="Window")
    assert owner.post(f"/staff/tills/{device.pk}/", {"name": " "}).status_code == 422
    assert "Window is out of use." in after(owner, f"/staff/tills/{device.pk}/revoke/")
    assert "Window" in words(owner.get("/staff/tills/?show=revoked"))
    assert "Out of use since" in words(owner.get(f"/staff/tills/{device.pk}/"))
    assert audited(acme) == ["till.renamed", "till.revoked"]


def test_a_till_locked_by_wrong_pins_is_shown_and_opened(acme: Client, owner: ClientBrowser, device: Device) -> None:
    subject = tills.location_subject(device.location_id)
    lockouts.take_try(client=acme, subject=subject, limit=1, at=timezone.now())
    assert "No PINs until" in words(owner.get("/staff/tills/"))
    assert "takes PINs again" in after(owner, f"/staff/tills/{device.pk}/unlock/")
    assert tills.till_locks([device], at=timezone.now()) == {}
    assert audited(acme) == ["till.reopened"]


def test_without_a_location_the_page_sends_to_the_settings(owner: ClientBrowser) -> None:
    assert "First, a location" in words(owner.get("/staff/tills/"))


# ── all of them ─────────────────────────────────────────────────────────────────────────────────────────────────────

DEEDS = ("clerks/{clerk}/", "clerks/{clerk}/pin/", "clerks/{clerk}/unlock/", "clerks/{clerk}/retire/",
         "clerks/{clerk}/return/", "tills/{till}/", "tills/{till}/unlock/", "tills/{till}/revoke/",
         "tills/codes/{code}/withdraw/")  # fmt: skip


@pytest.mark.parametrize("deed", DEEDS)
def test_r17_nothing_of_another_client_can_be_changed(
    acme: Client, mia: Clerk, device: Device, bravo: Client, deed: str
) -> None:
    row, _code = tills.make_device_code(name="X", location=device.location, by=None, at=timezone.now())
    address = "/staff/" + deed.format(clerk=mia.pk, till=device.pk, code=row.pk)
    stranger = browser(bravo, person(Actor.OWNER, client=bravo))
    assert stranger.post(address, {"name": "Mine", "role": "clerk", "pin": "810463"}).status_code == 404


@pytest.mark.parametrize("role", [Actor.CLERK, None])
@pytest.mark.parametrize("page", ["", "clerks/", "tills/"])
def test_clerks_and_strangers_do_not_see_the_staff(acme: Client, role: Actor | None, page: str) -> None:
    assert browser(acme, person(role, client=acme)).get(f"/staff/{page}").status_code == 403


@pytest.mark.parametrize("page", ["", "clerks/", "tills/"])
def test_a_longer_list_costs_no_more_questions(acme: Client, shop: Location, page: str) -> None:
    user = person(Actor.OWNER, client=acme)
    one = browser(acme, user)
    grow(acme, shop, by=2)
    few = asked(lambda: one.get(f"/staff/{page}"))
    grow(acme, shop, by=20)
    assert asked(lambda: one.get(f"/staff/{page}")) == few


def grow(client: Client, shop: Location, *, by: int) -> None:
    at = timezone.now()
    for number in range(by):
        person(Actor.CLERK, client=client, factor=bool(number % 2))
        clerk = Clerk.objects.create(name=f"Clerk {number}", location=shop, pin_hash="6:x")
        device = Device.objects.create(
            name=f"Till {number}", location=shop, token_hash=str(clerk.pk), enrolled_at=at, seen_at=at
        )
        TillSession.objects.create(device=device, clerk=clerk, began_at=at, seen_at=at)


def asked(do: Callable[[], Any]) -> int:
    """How many questions the database was asked."""
    with CaptureQueriesContext(connections["default"]) as ours, CaptureQueriesContext(connections["public"]) as public:
        assert do().status_code == 200
    return len(ours) + len(public)


def test_lists_sort_and_page_and_do_not_trust_the_address(acme: Client, owner: ClientBrowser, shop: Location) -> None:
    grow(acme, shop, by=30)
    first = words(owner.get("/staff/clerks/?sort=-name"))
    assert first.index("Clerk 9") < first.index("Clerk 8")
    assert "Page 2 of 2" in words(owner.get("/staff/clerks/?page=2"))
    assert owner.get("/staff/clerks/?sort=pin_hash&page=zz").status_code == 200


def test_names_are_text_on_every_page(acme: Client, owner: ClientBrowser, shop: Location) -> None:
    at, nasty = timezone.now(), "<script>alert(1)</script>"
    clerk = tills.add_clerk(name=nasty, role="clerk", location=shop, pin=PIN, at=at)
    _row, code = tills.make_device_code(name=nasty, location=shop, by=None, at=at)
    device, _token = tills.enrol_device(code=code, at=at)
    for address in ("clerks/", f"clerks/{clerk.pk}/", "tills/", f"tills/{device.pk}/"):
        assert nasty not in owner.get(f"/staff/{address}").content.decode()
