"""Identifiers that never collide between clients, and codes nobody can guess."""

import secrets
import time
import uuid

_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"


_last_tick = 0


def uuid7() -> uuid.UUID:
    """
    A time-ordered random UUID (RFC 9562, section 6.2, method 3): milliseconds, then 12 bits of finer time.

    Ids made one after the other by a process sort in that order.
    """
    global _last_tick
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    _last_tick = tick = max(milliseconds << 12 | rest * 4096 // 1_000_000, _last_tick + 1)
    value = tick >> 12 << 80 | 0x7 << 76 | (tick & 0xFFF) << 64 | 0b10 << 62 | secrets.randbits(62)
    return uuid.UUID(int=value)


def random_code(length: int) -> str:
    """`length` characters of lower-case base 32, five unguessable bits each."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def new_schema_name() -> str:
    """An opaque name for a client's schema and role, never changed and never used again."""
    return f"c_{random_code(12)}"
