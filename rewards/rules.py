"""Which offer suits a member, from plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """An offer and the segments it is for; none means everybody."""

    id: str
    segments: frozenset[str]
    priority: int


def best_offer(*, segment: str, offers: Sequence[Candidate]) -> Candidate | None:
    """The offer for a segment: one made for it before one for everybody, then by priority, then by id."""
    fitting = [offer for offer in offers if not offer.segments or segment in offer.segments]
    return min(fitting, key=lambda offer: (not offer.segments, -offer.priority, offer.id), default=None)


def reason_for(*, segment: str, figures: Mapping[str, int | str | None]) -> str:
    """The code of the sentence that explains an offer to a clerk."""
    if figures.get("favourite") and segment in {"regular", "champion"}:
        return "favourite"
    return segment or "welcome"
