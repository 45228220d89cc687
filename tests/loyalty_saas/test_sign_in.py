"""Signing in: passwords, second factors, limits, invitations, and what a session is good for."""

import hashlib
import re
import secrets
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from allauth.mfa.models import Authenticator
from django.conf import settings
from django.core import mail
from django.db import connections
from django.test import RequestFactory, override_settings
from django.utils import timezone

from loyalty_saas import forms, sessions
from loyalty_saas.adapters import AccountAdapter
from tenants.access import Actor
from tenants.models import AuditEvent, Client, Domain, Invitation, Provider, Role, RoleGrant, User
from tenants.queries import client_of_host
from tests.conftest import NewClient
from tests.http import ClientBrowser
from tests.people import PASSWORD, authenticator_of, browser, code_of, give_second_factor, person

LOGIN, SECOND = "/accounts/login/", "/accounts/2fa/authenticate/"


def fresh_address() -> str:
    """An address nobody has come from: limits by address outlive a test."""
    return f"10.{secrets.randbelow(256)}.{secrets.randbelow(256)}.{secrets.randbelow(256)}"


def visitor(client: Client | None, **given: Any) -> ClientBrowser:
    """A browser of nobody yet, at an address of its own."""
    return browser(client, **{"REMOTE_ADDR": fresh_address(), **given})


def enter(page: ClientBrowser, user: User | str, password: str = PASSWORD, **given: Any) -> Any:
    """Send the sign-in form."""
    return page.post(LOGIN, {"login": user if isinstance(user, str) else user.email, "password": password}, **given)


def signed_in(page: ClientBrowser) -> bool:
    return not page.get("/accounts/password/change/").get("Location", "").startswith(LOGIN)


# ── passwords ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_clerk_signs_in_with_address_and_password(acme: Client) -> None:
    page, clerk = visitor(acme), person(Actor.CLERK, client=acme, factor=False)
    assert enter(page, clerk)["Location"] == "/"
    assert page.get("/members/").status_code == 200


def test_the_case_of_the_address_does_not_matter(acme: Client) -> None:
    page, clerk = visitor(acme), person(Actor.CLERK, client=acme, factor=False)
    assert enter(page, clerk.email.upper()).status_code == 302


def test_r28_passwords_are_kept_as_argon2id() -> None:
    assert person(factor=False).password.startswith("argon2$argon2id$")


def test_a_wrong_password_and_an_unknown_address_are_answered_alike(acme: Client) -> None:
    clerk = person(Actor.CLERK, client=acme, factor=False)
    said = [
        re.findall(
            r'class="notice notice-bad".*?</div></div>', enter(visitor(acme), who, "wrong").content.decode(), re.DOTALL
        )
        for who in (clerk, f"{secrets.token_hex(4)}@example.com")
    ]
    assert said[0] == said[1] != []


def test_after_signing_in_one_comes_back_only_to_addresses_of_this_host(acme: Client) -> None:
    clerk = person(Actor.CLERK, client=acme, factor=False)
    away = ["//evil.example/", "https://evil.example/", "javascript:alert(1)", "/\\evil.example", "\\\\evil.example"]
    for wanted, given in {"/program/": "/program/", **dict.fromkeys(away, "/")}.items():
        answer = visitor(acme).post(LOGIN, {"login": clerk.email, "password": PASSWORD, "next": wanted})
        assert answer["Location"] == given, wanted


def test_nobody_signs_up(acme: Client) -> None:
    address = f"{secrets.token_hex(4)}@example.com"
    visitor(acme).post("/accounts/signup/", {"email": address, "password1": PASSWORD, "password2": PASSWORD})
    assert not User.objects.filter(email=address).exists()


def test_a_closed_account_does_not_sign_in(acme: Client) -> None:
    clerk = person(Actor.CLERK, client=acme, factor=False)
    User.objects.filter(pk=clerk.pk).update(is_active=False)
    page = visitor(acme)
    enter(page, clerk)
    assert not signed_in(page)


@pytest.mark.parametrize(
    ("role", "password", "passes"),
    [
        (Actor.CLERK, "short-but-1234", False),
        (Actor.CLERK, "fifteen letters", True),
        (Actor.OWNER, "seven77", False),
        (Actor.OWNER, "tr0ub4do", True),
        (Actor.OWNER, "password", False),
        (Actor.OWNER, "acme-rules-9", False),
        (Actor.OWNER, "пароль из слов", True),
        (Actor.OWNER, "x" * 64, True),
    ],
)
def test_r28_a_password_is_long_where_it_stands_alone(acme: Client, role: Actor, password: str, passes: bool) -> None:
    user = person(role, client=acme)
    page = browser(acme, user)
    page.post("/accounts/password/change/", {"oldpassword": PASSWORD, "password1": password, "password2": password})
    user.refresh_from_db()
    assert user.check_password(password) is passes


# ── second factor ───────────────────────────────────────────────────────────────────────────────────────────────────


def owner_with_app(client: Client) -> tuple[User, str]:
    user = person(Actor.OWNER, client=client, factor=False)
    return user, give_second_factor(user)


def test_with_an_authenticator_app_its_code_is_asked_for(acme: Client) -> None:
    owner, secret = owner_with_app(acme)
    page = visitor(acme)
    assert enter(page, owner)["Location"] == SECOND
    assert not signed_in(page)
    assert page.post(SECOND, {"code": code_of(secret)})["Location"] == "/"
    assert page.get("/program/").status_code == 200


def test_r28_a_code_opens_once_wherever_it_is_shown_again(acme: Client, bravo: Client) -> None:
    owner, secret = owner_with_app(acme)
    code = code_of(secret)
    first, second, elsewhere = visitor(acme), visitor(acme), visitor(bravo)
    for page in (first, second, elsewhere):
        enter(page, owner)
    assert first.post(SECOND, {"code": code}).status_code == 302
    assert second.post(SECOND, {"code": code}).status_code == 200
    assert elsewhere.post(SECOND, {"code": code}).status_code == 200


def test_r28_a_used_code_is_remembered_without_redis_and_for_its_whole_life(acme: Client) -> None:
    owner, secret = owner_with_app(acme)
    app = authenticator_of(owner)
    with time_machine.travel("2026-11-22T12:00:00Z", tick=False) as clock:
        code = code_of(secret)
        assert forms.use_up(app, code)
        clock.shift(timedelta(seconds=forms.CODE_SECONDS - 1))
        assert not forms.use_up(app, code)


def test_r28_of_many_at_once_one_uses_a_code(acme: Client) -> None:
    owner, secret = owner_with_app(acme)
    app, code = authenticator_of(owner), code_of(secret)

    def use(_: int) -> bool:
        try:
            return forms.use_up(app, code)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(use, range(8))) == 1


def test_a_recovery_code_opens_once(acme: Client) -> None:
    owner, _secret = owner_with_app(acme)
    codes = Authenticator.objects.get(user=owner, type=Authenticator.Type.RECOVERY_CODES).wrap().get_unused_codes()
    for status in (302, 200):
        page = visitor(acme)
        enter(page, owner)
        assert page.post(SECOND, {"code": codes[0]}).status_code == status


def test_new_recovery_codes_take_the_place_of_the_old(acme: Client) -> None:
    owner, secret = owner_with_app(acme)
    page = visitor(acme)
    enter(page, owner)
    page.post(SECOND, {"code": code_of(secret)})
    shown = [page.get("/accounts/2fa/recovery-codes/").content]
    assert page.post("/accounts/2fa/recovery-codes/generate/")["Location"] == "/accounts/2fa/recovery-codes/"
    shown.append(page.get("/accounts/2fa/recovery-codes/").content)
    before, after = (set(re.findall(rb'class="code text-center">(\w+)<', one)) for one in shown)
    assert (len(before), len(after), before & after) == (10, 10, set())


def test_the_secret_of_an_app_is_sealed_in_the_database(acme: Client) -> None:
    owner, secret = owner_with_app(acme)
    assert secret not in str(authenticator_of(owner).data)


def test_setting_up_the_second_factor_leads_from_password_to_the_pages(acme: Client) -> None:
    owner = person(Actor.OWNER, client=acme, factor=False)
    page = visitor(acme)
    enter(page, owner)
    assert page.get("/")["Location"] == "/accounts/2fa/totp/activate/"
    shown = page.get("/accounts/2fa/totp/activate/").content.decode()
    secret = re.search(r'id="authenticator_secret">(\w+)<', shown)
    assert secret
    assert (
        page.post("/accounts/2fa/totp/activate/", {"code": code_of(secret[1])})["Location"]
        == "/accounts/2fa/recovery-codes/"
    )
    assert page.get("/accounts/2fa/recovery-codes/").status_code == 200
    assert page.get("/program/").status_code == 200


def test_who_must_have_a_second_factor_cannot_turn_it_off(acme: Client) -> None:
    owner, _secret = owner_with_app(acme)
    page = visitor(acme)
    page.force_login(owner)
    session = page.session
    session[sessions.HOST] = str(acme.pk)
    session.save()
    page.post("/accounts/reauthenticate/", {"password": PASSWORD})
    page.post("/accounts/2fa/totp/deactivate/")
    assert authenticator_of(owner)


# ── forgotten passwords ─────────────────────────────────────────────────────────────────────────────────────────────


def reset_link(page: ClientBrowser, user: User, **given: Any) -> str:
    """The link in the mail that follows."""
    page.post("/accounts/password/reset/", {"email": user.email}, **given)
    found = re.search(r"https?://\S+", str(mail.outbox[-1].body))
    assert found
    assert mail.outbox[-1].to == [user.email]
    return found[0]


def test_a_new_password_is_set_by_the_link_and_the_link_works_once(acme: Client) -> None:
    clerk = person(Actor.CLERK, client=acme, factor=False)
    page = visitor(acme)
    path = re.sub(r"https?://[^/]+", "", reset_link(page, clerk))
    form = page.get(path)["Location"]
    new = "another long password"
    assert page.post(form, {"password1": new, "password2": new})["Location"] == "/accounts/password/reset/key/done/"
    assert "no longer works" in visitor(acme).get(path).content.decode()
    assert enter(visitor(acme), clerk, new).status_code == 302


def test_r28_a_new_password_does_not_get_past_the_second_factor(acme: Client) -> None:
    owner, _secret = owner_with_app(acme)
    page = visitor(acme)
    path = re.sub(r"https?://[^/]+", "", reset_link(page, owner))
    form = page.get(path)["Location"]
    page.post(form, {"password1": PASSWORD + " 2", "password2": PASSWORD + " 2"})
    assert not signed_in(page)
    assert enter(page, owner, PASSWORD + " 2")["Location"] == SECOND


@pytest.mark.parametrize(
    "forged", [{"HTTP_X_FORWARDED_HOST": "evil.example"}, {"HTTP_X_FORWARDED_PROTO": "ftp"}, {"port": ":8099"}]
)
def test_r46_the_link_names_the_clients_own_host_whatever_the_request_says(
    acme: Client, forged: dict[str, str]
) -> None:
    host = acme.domains.get().host
    given = {"HTTP_HOST": host + forged["port"]} if "port" in forged else forged
    link = reset_link(visitor(acme), person(Actor.CLERK, client=acme, factor=False), **given)
    assert link.startswith(f"http://{host}/accounts/password/reset/key/")


def test_r46_a_second_domain_leads_to_a_link_on_the_primary_one(acme: Client) -> None:
    host, second = acme.domains.get().host, f"{secrets.token_hex(5)}.example.com"
    Domain.objects.create(client=acme, host=second, is_primary=False)
    client_of_host.forget()
    link = reset_link(visitor(acme), person(Actor.CLERK, client=acme, factor=False), HTTP_HOST=second)
    assert link.startswith(f"http://{host}/")


def test_an_unknown_address_gets_no_mail_and_the_same_page(acme: Client) -> None:
    before = len(mail.outbox)
    answer = visitor(acme).post("/accounts/password/reset/", {"email": f"{secrets.token_hex(4)}@example.com"})
    assert (answer["Location"], len(mail.outbox)) == ("/accounts/password/reset/done/", before)


def test_a_mail_server_that_is_away_does_not_tell_who_has_an_account(acme: Client) -> None:
    clerk = person(Actor.CLERK, client=acme, factor=False)
    away = {"EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend", "EMAIL_HOST": "127.0.0.1", "EMAIL_PORT": 1}
    with override_settings(**away):
        answer = visitor(acme).post("/accounts/password/reset/", {"email": clerk.email})
    assert answer["Location"] == "/accounts/password/reset/done/"


# ── sessions ────────────────────────────────────────────────────────────────────────────────────────────────────────


def carry(page: ClientBrowser, client: Client | None) -> ClientBrowser:
    """The same cookies at another host."""
    other = browser(client)
    other.cookies.update(page.cookies)
    return other


def test_r21_a_session_carried_to_another_client_ends(new_client: NewClient) -> None:
    acme, bravo = new_client("Acme"), new_client("Bravo")
    user = person(Actor.OWNER, client=acme)
    RoleGrant.objects.create(user=user, role=Role.OWNER, client=bravo)
    page = browser(acme, user)
    assert page.get("/program/").status_code == 200
    assert carry(page, bravo).get("/program/")["Location"].startswith(LOGIN)
    assert page.get("/program/")["Location"].startswith(LOGIN), "the carried session must be gone at home as well"


@pytest.mark.parametrize("back", [False, True])
def test_r21_a_session_does_not_pass_between_platform_and_client(acme: Client, provider: Provider, back: bool) -> None:
    staff = person(Actor.PROVIDER, provider=provider)
    home, away = (acme, None) if back else (None, acme)
    assert carry(browser(home, staff), away).get("/")["Location"].startswith(LOGIN)


def test_r21_cookies_are_for_one_host_and_out_of_scripts_reach(acme: Client) -> None:
    page = visitor(acme)
    enter(page, person(Actor.CLERK, client=acme, factor=False))
    cookie = page.cookies[settings.SESSION_COOKIE_NAME]
    assert (cookie["domain"], cookie["httponly"], cookie["samesite"]) == ("", True, "Lax")


@pytest.mark.parametrize(("idle", "status"), [(29, 200), (31, 302)])
def test_r67_a_session_left_alone_for_half_an_hour_ends(acme: Client, idle: int, status: int) -> None:
    with time_machine.travel("2026-11-22T09:00:00Z", tick=False) as clock:
        page = browser(acme, person(Actor.OWNER, client=acme))
        clock.shift(timedelta(minutes=idle))
        assert page.get("/program/").status_code == status


def test_r67_no_session_outlives_twelve_hours(acme: Client) -> None:
    with time_machine.travel("2026-11-22T07:00:00Z", tick=False) as clock:
        page = browser(acme, person(Actor.OWNER, client=acme))
        for _quarter in range(48):
            assert page.get("/program/").status_code == 200
            clock.shift(timedelta(minutes=15))
        clock.shift(timedelta(seconds=1))
        assert page.get("/program/").status_code == 302


def test_r67_signing_in_begins_a_new_session(acme: Client) -> None:
    page, clerk = visitor(acme), person(Actor.CLERK, client=acme, factor=False)
    session = page.session
    session["planted"] = True
    session.save()
    before = session.session_key
    enter(page, clerk)
    assert page.session.session_key != before


def test_r67_a_changed_password_ends_the_sessions_elsewhere_and_keeps_this_one(acme: Client) -> None:
    user = person(Actor.OWNER, client=acme)
    here, elsewhere = browser(acme, user), browser(acme, user)
    new = "an other long password"
    here.post("/accounts/password/change/", {"oldpassword": PASSWORD, "password1": new, "password2": new})
    assert (here.get("/program/").status_code, elsewhere.get("/program/").status_code) == (200, 302)


def test_r67_a_changed_second_factor_ends_sessions_made_without_it(acme: Client) -> None:
    user = person(Actor.CLERK, client=acme, factor=False)
    page = browser(acme, user)
    give_second_factor(user)
    assert page.get("/members/").status_code == 302


def test_signing_out_ends_the_session(acme: Client) -> None:
    page = browser(acme, person(Actor.CLERK, client=acme, factor=False))
    page.post("/accounts/logout/")
    assert page.get("/members/").status_code == 302


# ── limits ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def tries_until_closed(client: Client, user: User, *, most: int = 9, **given: Any) -> int:
    """How many wrong passwords are looked at before even the right one is refused."""
    for tried in range(most):
        if "Too many" in enter(visitor(client, **given), user, "wrong").content.decode():
            return tried
    return most


def test_r32_after_five_wrong_passwords_the_account_is_closed_for_a_while(acme: Client) -> None:
    clerk = person(Actor.CLERK, client=acme, factor=False)
    assert tries_until_closed(acme, clerk) == 5
    page = visitor(acme)
    enter(page, clerk)
    assert not signed_in(page)


def test_r32_guessing_at_another_clients_host_gives_no_more_tries(acme: Client, bravo: Client) -> None:
    clerk = person(Actor.CLERK, client=acme, factor=False)
    tries_until_closed(acme, clerk)
    assert tries_until_closed(bravo, clerk) == 0


@pytest.mark.parametrize("header", ["HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP"])
def test_r32_a_forged_address_gives_no_more_tries(acme: Client, header: str) -> None:
    same = fresh_address()
    refused = 0
    for _try in range(14):
        unknown = f"{secrets.token_hex(5)}@example.com"
        answer = enter(browser(acme, REMOTE_ADDR=same, **{header: fresh_address()}), unknown, "wrong")
        refused += "Too many" in answer.content.decode()
    assert refused == 4, "ten a minute from one address"


@pytest.mark.parametrize(
    ("proxies", "counted"), [(0, "10.0.0.9"), (1, "203.0.113.7"), (2, "198.51.100.1"), (3, "10.0.0.9")]
)
def test_r32_only_what_our_own_proxies_wrote_counts_as_the_address(proxies: int, counted: str) -> None:
    request = RequestFactory().get(
        "/", REMOTE_ADDR="10.0.0.9", headers={"X-Forwarded-For": "198.51.100.1, 203.0.113.7"}
    )
    with override_settings(TRUSTED_PROXIES=proxies):
        assert AccountAdapter().get_client_ip(request) == counted


def test_r32_of_twenty_at_once_no_more_than_five_are_looked_at(acme: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    clerk = person(Actor.CLERK, client=acme, factor=False)
    looked_at: list[str] = []
    monkeypatch.setattr(User, "check_password", lambda self, raw: looked_at.append(raw) or False)

    def guess(n: int) -> None:
        try:
            enter(visitor(acme), clerk, f"guess {n}")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(guess, range(20)))
    assert 1 <= len(looked_at) <= 5


@pytest.fixture
def redis_is_away() -> Any:
    away = {"default": {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"}}
    with override_settings(CACHES=away):
        yield


def test_r32_without_redis_one_signs_in_and_is_limited_all_the_same(acme: Client, redis_is_away: None) -> None:
    clerk, other = (person(Actor.CLERK, client=acme, factor=False) for _ in range(2))
    assert enter(visitor(acme), clerk).status_code == 302
    assert tries_until_closed(acme, other) == 5


def test_without_redis_the_second_factor_works_and_counts_once(acme: Client, redis_is_away: None) -> None:
    owner, secret = owner_with_app(acme)
    for status in (302, 200):
        page = visitor(acme)
        enter(page, owner)
        assert page.post(SECOND, {"code": code_of(secret)}).status_code == status


# ── invitations ─────────────────────────────────────────────────────────────────────────────────────────────────────


def invite(
    email: str, *, client: Client | None = None, provider: Provider | None = None, role: str = Role.OWNER, days: int = 7
) -> str:
    """An open invitation; the path of its link."""
    token = secrets.token_urlsafe(32)
    Invitation.objects.create(
        email=email,
        role=role,
        client=client,
        provider=provider,
        token_hash=hashlib.sha256(token.encode()).hexdigest(),
        expires_at=timezone.now() + timedelta(days=days),
    )
    return f"/invitation/{token}/"


def newcomer() -> str:
    return f"new-{secrets.token_hex(5)}@example.com"


def test_an_invitation_makes_an_account_with_its_role_and_signs_in(acme: Client) -> None:
    email, page = newcomer(), visitor(acme)
    link = invite(email, client=acme)
    assert "Welcome to Acme" in page.get(link).content.decode()
    answer = page.post(link, {"name": "Nora New", "password": "nine lives"})
    assert answer["Location"] == "/"
    user = User.objects.get(email=email)
    assert [(g.role, g.client_id) for g in user.grants.all()] == [("owner", acme.pk)]
    assert page.get("/")["Location"] == "/accounts/2fa/totp/activate/", "signed in, and on the way to the second factor"
    assert page.get("/accounts/2fa/totp/activate/").status_code == 200


def test_r29_accepting_is_noted_in_the_clients_chain(acme: Client) -> None:
    visitor(acme).post(invite(newcomer(), client=acme), {"name": "N", "password": "nine lives"})
    assert AuditEvent.objects.filter(client=acme, action="invitation.accepted").count() == 1


def test_a_used_invitation_says_so(acme: Client) -> None:
    link = invite(newcomer(), client=acme)
    visitor(acme).post(link, {"name": "Nora", "password": "nine lives"})
    answer = visitor(acme).get(link)
    assert (answer.status_code, "has been used" in answer.content.decode()) == (410, True)


def test_an_old_invitation_says_so(acme: Client) -> None:
    answer = visitor(acme).get(invite(newcomer(), client=acme, days=-1))
    assert (answer.status_code, "too old" in answer.content.decode()) == (410, True)


def test_r21_an_invitation_is_not_known_on_another_host(acme: Client, bravo: Client) -> None:
    link = invite(newcomer(), client=acme)
    assert [visitor(host).get(link).status_code for host in (bravo, None, acme)] == [404, 404, 200]


def test_provider_staff_are_invited_on_the_platforms_host(acme: Client, provider: Provider) -> None:
    email = newcomer()
    link = invite(email, provider=provider, role=Role.PROVIDER)
    assert visitor(acme).get(link).status_code == 404
    visitor(None).post(link, {"name": "Pat", "password": "nine lives"})
    assert User.objects.get(email=email).grants.get().provider == provider


def test_a_password_too_weak_is_refused_at_its_field_and_the_name_is_kept(acme: Client) -> None:
    email = newcomer()
    answer = visitor(acme).post(invite(email, client=acme), {"name": "Nora New", "password": "1234567"})
    said = answer.content.decode()
    assert (answer.status_code, 'value="Nora New"' in said, "at least 8" in said) == (422, True, True)
    assert not User.objects.filter(email=email).exists()


def test_an_invited_clerk_needs_a_longer_password(acme: Client) -> None:
    answer = visitor(acme).post(
        invite(newcomer(), client=acme, role=Role.CLERK), {"name": "C", "password": "nine lives"}
    )
    assert "at least 15" in answer.content.decode()


def test_somebody_known_gets_the_role_with_the_own_password_alone(acme: Client, bravo: Client) -> None:
    user = person(Actor.CLERK, client=bravo, factor=False)
    link = invite(user.email, client=acme, role=Role.CLERK)
    assert visitor(acme).post(link, {"password": "not the own password"}).status_code == 422
    assert visitor(acme).post(link, {"password": PASSWORD}).status_code == 302
    assert {g.client_id for g in user.grants.all()} == {acme.pk, bravo.pk}


def test_r28_an_invitation_does_not_get_past_a_known_users_second_factor(acme: Client, bravo: Client) -> None:
    user, _secret = owner_with_app(bravo)
    answer = visitor(acme).post(invite(user.email, client=acme), {"password": PASSWORD})
    assert answer["Location"] == SECOND


def test_of_two_who_use_a_link_at_once_one_gets_in(acme: Client) -> None:
    link = invite(newcomer(), client=acme)

    def use(_: int) -> int:
        try:
            return int(visitor(acme).post(link, {"name": "N", "password": "nine lives"}).status_code)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(use, range(4))) == [302, 410, 410, 410]
