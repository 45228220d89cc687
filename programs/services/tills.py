"""Tills and who works at them: devices enrolled by a one-time code, clerks with PINs, one session per device."""

import hashlib
import re
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import pairwise
from threading import BoundedSemaphore
from typing import Final
from uuid import UUID

from django.conf import settings
from django.contrib.auth.hashers import check_password, make_password
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils.crypto import salted_hmac

from programs.models import Clerk, Device, DeviceCode, Location, TillSession
from tenants.context import current_client
from tenants.services import lockouts
from tenants.services.lockouts import Try

CODE_LASTS: Final = timedelta(minutes=15)
# Without 0 and O, 1, I and L: eight of them are some 39 bits, for a quarter of an hour and ten tries.
CODE_ALPHABET: Final = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
CODE_LENGTH: Final = 8
CLERK_TRIES: Final = 5
DEVICE_TRIES: Final = 10
LOCATION_TRIES: Final = 100
DAY: Final = timedelta(days=1)
# What a wrong PIN counts of the location's hundred a day, by its length: no day gives a chance of one in a thousand.
COSTS: Final = {4: 11, 5: 2}
PIN_LENGTH: Final = 6
_SHAPE: Final = re.compile(r"[0-9]{4,8}")
_COMMON: Final = {"2580", "0852", "1357", "2468", "5683", "147258", "147852", "159753", "258000", "159357", "112358"}
# A hash takes a hundred megabytes for a moment.
_HASHING: Final = BoundedSemaphore(2)


class CodeGone(Exception):
    """The code is unknown, was used, or is too old: which of these is not said."""


class DeviceGone(Exception):
    """The device is not enrolled, or no longer."""


class WrongPin(Exception):
    """Clerk and PIN do not fit together at this location; `left` says how many tries remain."""

    def __init__(self, left: int) -> None:
        super().__init__(f"{left} left")
        self.left = left


class WeakPin(Exception):
    """The PIN has not 4 to 8 digits, or would be guessed first; `why` is "shape" or "weak"."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


# ── devices ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def make_device_code(*, name: str, location: Location, by: UUID | None, at: datetime) -> tuple[DeviceCode, str]:
    """A code that makes one device a till of the location, within fifteen minutes; kept nowhere but as a hash."""
    code = "".join(secrets.choice(CODE_ALPHABET) for _ in range(CODE_LENGTH))
    row = DeviceCode.objects.create(
        code_hash=_hash_of_code(code), name=name, location=location, made_by=by, made_at=at, expires_at=at + CODE_LASTS
    )
    return row, code


def enrol_device(*, code: str, at: datetime) -> tuple[Device, str]:
    """
    Use a code up: the device it makes, and the token for its cookie, which is kept nowhere.

    :raises CodeGone: for any code that is not good now
    """
    token = secrets.token_urlsafe(32)
    with transaction.atomic():
        good = DeviceCode.objects.select_for_update(of=("self",)).select_related("location")
        row = good.filter(code_hash=_hash_of_code(code), used_at=None, expires_at__gt=at).first()
        if row is None or row.location.closed_at:
            raise CodeGone
        row.device = Device.objects.create(
            name=row.name,
            location=row.location,
            token_hash=hashlib.sha256(token.encode()).hexdigest(),
            enrolled_at=at,
            enrolled_by=row.made_by,
            seen_at=at,
        )
        row.used_at = at
        row.save(update_fields=["device", "used_at"])
    return row.device, token


def withdraw_code(code: DeviceCode) -> bool:
    """Take back a code that no device has used; whether there was one."""
    gone, _kinds = DeviceCode.objects.filter(pk=code.pk, used_at=None).delete()
    return bool(gone)


def open_codes(*, at: datetime) -> QuerySet[DeviceCode]:
    """Codes that wait for their device."""
    waiting = DeviceCode.objects.filter(used_at=None, expires_at__gt=at)
    return waiting.select_related("location").order_by("expires_at")


def rename_device(*, device: Device, name: str) -> None:
    """Call a till something else."""
    device.name = name
    device.save(update_fields=["name"])


def revoke_device(*, device: Device, at: datetime) -> None:
    """Put a device out of use for good, at once."""
    with transaction.atomic():
        Device.objects.filter(pk=device.pk, revoked_at=None).update(revoked_at=at)
        _end(TillSession.objects.filter(device=device), at=at)


def spoken(code: str) -> str:
    """A code as it is read out: ABCD-EFGH."""
    return f"{code[:4]}-{code[4:]}"


def plain(code: str) -> str:
    """A code as it was typed, without what was only put between: capitals and digits."""
    return re.sub(r"[^0-9A-Z]", "", code.upper())


def _hash_of_code(code: str) -> str:
    """With the installation's key: so few bits could be guessed from a plain hash."""
    return salted_hmac("device-code", plain(code), secret=settings.SECRET_KEY, algorithm="sha256").hexdigest()


# ── clerks ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def add_clerk(*, name: str, role: str, location: Location | None, at: datetime, pin: str = "") -> Clerk:
    """Somebody new at the till. :raises WeakPin: for a PIN that will not do"""
    hashed = _hash_of_pin(pin) if pin else ""
    return Clerk.objects.create(
        name=name, role=role, location=location, added_at=at, pin_hash=hashed, pin_set_at=at if pin else None
    )


def change_clerk(*, clerk: Clerk, name: str, role: str, location: Location | None, at: datetime) -> None:
    """Rename a clerk, give another role, or move to another location; sessions elsewhere end."""
    clerk.name, clerk.role, clerk.location = name, role, location
    with transaction.atomic():
        clerk.save(update_fields=["name", "role", "location"])
        if location:
            _end(TillSession.objects.filter(clerk=clerk).exclude(device__location=location), at=at)


def retire_clerk(*, clerk: Clerk, at: datetime) -> None:
    """The clerk works here no longer: signed out everywhere, the PIN is gone, what was done stays theirs."""
    clerk.left_at, clerk.pin_hash, clerk.pin_set_at = at, "", None
    with transaction.atomic():
        clerk.save(update_fields=["left_at", "pin_hash", "pin_set_at"])
        _end(TillSession.objects.filter(clerk=clerk), at=at)


def bring_back_clerk(*, clerk: Clerk) -> None:
    """The clerk works here again, and needs a new PIN."""
    clerk.left_at = None
    clerk.save(update_fields=["left_at"])


def set_pin(*, clerk: Clerk, pin: str, at: datetime) -> None:
    """
    Give a clerk a PIN; the one before and its sessions end, and so does a lock.

    :raises WeakPin: for a PIN that will not do
    """
    clerk.pin_hash, clerk.pin_set_at = _hash_of_pin(pin), at
    with transaction.atomic():
        clerk.save(update_fields=["pin_hash", "pin_set_at"])
        _end(TillSession.objects.filter(clerk=clerk), at=at)
    unlock_clerk(clerk.pk)


def new_pin() -> str:
    """Six digits nobody would guess first."""
    while is_weak(pin := "".join(secrets.choice("0123456789") for _ in range(PIN_LENGTH))):
        pass
    return pin


def pin_problem(pin: str) -> str:
    """Why a PIN will not do: "shape", "weak", or nothing."""
    if not _SHAPE.fullmatch(pin):
        return "shape"
    return "weak" if is_weak(pin) else ""


def is_weak(pin: str) -> bool:
    """Whether a guesser would begin with it: one digit, a run, something said twice, a figure on the keypad."""
    steps = {(int(after) - int(before)) % 10 for before, after in pairwise(pin)}
    half, third = len(pin) // 2, len(pin) // 3
    said_again = pin in {pin[:half] * 2, pin[:2] * half, pin[:third] * 3}
    doubled = pin[::2] == pin[1::2]
    return steps in ({0}, {1}, {9}) or said_again or doubled or pin in _COMMON


def _hash_of_pin(pin: str) -> str:
    """The length before the hash: wrong PINs count by it."""
    if why := pin_problem(pin):
        raise WeakPin(why)
    with _HASHING:
        return f"{len(pin)}:{make_password(pin)}"


# ── sessions ────────────────────────────────────────────────────────────────────────────────────────────────────────


def begin_session(*, device: Device, clerk_id: UUID, pin: str, at: datetime) -> TillSession:
    """
    Unlock a till with a clerk's PIN; whoever was on it goes.

    The tries are taken before the PIN is looked at. A clerk who is unknown, has left, has no PIN or works elsewhere is
    answered like a wrong PIN, and after the same time.

    :raises WrongPin: saying how many tries are left
    :raises tenants.services.lockouts.Locked: nothing was looked at
    :raises DeviceGone: the device was put out of use meanwhile
    """
    length, hashed = _pin_of(clerk_id, device=device)
    client, tries = current_client(), _tries(device=device, clerk_id=clerk_id, cost=COSTS.get(length, 1))
    left = lockouts.take_tries(client=client, tries=tries, at=at)
    with _HASHING:
        # Django takes as long over nothing as over a hash.
        good = check_password(pin, hashed)
    if not good:
        raise WrongPin(min(left))
    lockouts.give_back(client=client, subject=tries[0].subject, cost=tries[0].cost)
    for one in tries[1:]:
        lockouts.clear(client=client, subject=one.subject)
    return _open(device=device, clerk_id=clerk_id, at=at)


def end_session(*, device: Device, at: datetime) -> None:
    """Lock the till; one that is locked stays so."""
    _end(TillSession.objects.filter(device=device), at=at)


def clerks_at(location: Location) -> QuerySet[Clerk]:
    """Who may unlock the tills of a location."""
    here = Q(location=None) | Q(location=location)
    return Clerk.objects.filter(here, left_at=None).exclude(pin_hash="").order_by("name", "pk")


def clerk_locks(clerk_ids: Iterable[UUID], *, at: datetime) -> dict[UUID, datetime]:
    """Those of the clerks who are locked after wrong PINs, and until when."""
    subjects = {clerk_subject(clerk_id): clerk_id for clerk_id in clerk_ids}
    found = lockouts.locks(client=current_client(), subjects=subjects, at=at)
    return {subjects[subject]: until for subject, until in found.items()}


def till_locks(devices: Iterable[Device], *, at: datetime) -> dict[UUID, datetime]:
    """Those of the devices that take no PIN, for their own sake or their location's, and until when."""
    rows = list(devices)
    named = {device.pk: {device_subject(device.pk), location_subject(device.location_id)} for device in rows}
    found = lockouts.locks(client=current_client(), subjects=set().union(*named.values()), at=at)
    until = {pk: max((found[one] for one in subjects & found.keys()), default=None) for pk, subjects in named.items()}
    return {pk: moment for pk, moment in until.items() if moment}


def unlock_clerk(clerk_id: UUID) -> None:
    """Let a clerk try again."""
    lockouts.clear(client=current_client(), subject=clerk_subject(clerk_id))


def unlock_till(device: Device) -> None:
    """Let a device and its location try again."""
    for subject in (device_subject(device.pk), location_subject(device.location_id)):
        lockouts.clear(client=current_client(), subject=subject)


def clerk_subject(clerk_id: UUID) -> str:
    """Under what a clerk's wrong PINs are counted."""
    return f"pin:clerk:{clerk_id}"


def device_subject(device_id: UUID) -> str:
    """Under what a device's wrong PINs are counted."""
    return f"pin:device:{device_id}"


def location_subject(location_id: UUID) -> str:
    """Under what a location's wrong PINs of a day are counted."""
    return f"pin:location:{location_id}"


def _tries(*, device: Device, clerk_id: UUID, cost: int) -> list[Try]:
    """Always in this order, or two tills could wait for each other."""
    return [
        Try(location_subject(device.location_id), LOCATION_TRIES, window=DAY, lock=DAY, cost=cost),
        Try(device_subject(device.pk), DEVICE_TRIES),
        Try(clerk_subject(clerk_id), CLERK_TRIES),
    ]


def _pin_of(clerk_id: UUID, *, device: Device) -> tuple[int, str]:
    """The length and the hash of the PIN of a clerk who may work at this device; nothing of one who may not."""
    kept = clerks_at(device.location).filter(pk=clerk_id).values_list("pin_hash", flat=True).first()
    length, _colon, hashed = (kept or f"{PIN_LENGTH}:").partition(":")
    return int(length), hashed


def _open(*, device: Device, clerk_id: UUID, at: datetime) -> TillSession:
    with transaction.atomic():
        kept = Device.objects.select_for_update(of=("self",)).filter(pk=device.pk, revoked_at=None).first()
        clerk = Clerk.objects.select_for_update(of=("self",)).filter(pk=clerk_id, left_at=None).first()
        if kept is None or clerk is None:
            raise DeviceGone
        _end(TillSession.objects.filter(device=kept), at=at)
        return TillSession.objects.create(device=kept, clerk=clerk, began_at=at, seen_at=at)


def _end(sessions: QuerySet[TillSession], *, at: datetime) -> None:
    sessions.filter(ended_at=None).update(ended_at=at)
