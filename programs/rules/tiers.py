"""Which level a member has, and what is missing to the next. Levels are in ascending order throughout."""

from __future__ import annotations

from collections.abc import Sequence

from programs.rules.specs import TierSpec


def tier_for(levels: Sequence[TierSpec], basis: int, current: str | None) -> str | None:
    """
    Return the level that `basis` gives to a member who holds `current`, or None below the first.

    A member rises by `enter`; one who holds a level keeps it by `keep`, or falls to the highest that `keep` allows.
    """
    held = _rank(levels, current)
    kept = [rank for rank in range(held + 1) if levels[rank].keep <= basis]
    rank = max(_entered(levels, basis), *kept, -1)
    return levels[rank].code if rank >= 0 else None


def missing_to_next(levels: Sequence[TierSpec], basis: int, current: str | None) -> tuple[str, int] | None:
    """Return the level above the one held or reached, and what is missing to enter it; None at the top."""
    following = max(_rank(levels, current), _entered(levels, basis)) + 1
    if following >= len(levels):
        return None
    return levels[following].code, levels[following].enter - basis


def missing_to_keep(levels: Sequence[TierSpec], basis: int, current: str | None) -> int:
    """Return what is missing to keep the level held; 0 if it is safe or none is held."""
    held = _rank(levels, current)
    return max(0, levels[held].keep - basis) if held >= 0 else 0


def _rank(levels: Sequence[TierSpec], code: str | None) -> int:
    # A level that a later version dropped counts as none.
    return next((rank for rank, level in enumerate(levels) if level.code == code), -1)


def _entered(levels: Sequence[TierSpec], basis: int) -> int:
    return max((rank for rank, level in enumerate(levels) if level.enter <= basis), default=-1)
