"""Identifiers that never collide between clients, and codes nobody can guess."""

import os
import secrets
import time
import uuid

_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"


_last_tick = 0
_blank, _set, _UNKNOWN = object.__new__, object.__setattr__, uuid.SafeUUID.unknown


def uuid7() -> uuid.UUID:
    """
    A time-ordered random UUID (RFC 9562, section 6.2, method 3): milliseconds, then 12 bits of finer time.

    Ids made one after the other by a process sort in that order.
    """
    global _last_tick
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    _last_tick = tick = max(milliseconds << 12 | rest * 4096 // 1_000_000, _last_tick + 1)
    chance = int.from_bytes(os.urandom(8), "big") >> 2
    return as_uuid(tick >> 12 << 80 | 0x7 << 76 | (tick & 0xFFF) << 64 | 0b10 << 62 | chance)


def uuid7_above(floor: int) -> uuid.UUID:
    """A time-ordered UUID like `uuid7`; where this clock is behind the one that made `floor`, a tick above that."""
    made = uuid7()
    if made.int > floor:
        return made
    tick = ((floor >> 80) << 12 | floor >> 64 & 0xFFF) + 1
    return as_uuid(tick >> 12 << 80 | 0x7 << 76 | (tick & 0xFFF) << 64 | made.int & (1 << 64) - 1)


def as_uuid(value: int) -> uuid.UUID:
    """The UUID of that number, which must be one: made without the checks of its class, in a third of the time."""
    made = _blank(uuid.UUID)
    _set(made, "int", value)
    _set(made, "is_safe", _UNKNOWN)
    return made


def random_code(length: int) -> str:
    """`length` characters of lower-case base 32, five unguessable bits each."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def new_schema_name() -> str:
    """An opaque name for a client's schema and role, never changed and never used again."""
    return f"c_{random_code(12)}"
