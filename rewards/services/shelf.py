"""The rewards and offers that a published program puts on the shelf."""

from programs.rules import Problem, ProgramError, ProgramSpec
from rewards.models import Offer, Reward


def publish_rewards(*, spec: ProgramSpec) -> None:
    """
    Bring rewards and offers to what the program says; those it names no more leave the shelf, not the books.

    :raises ProgramError: for an offer that promises points, which a rule must give so that every credit has its trace
    """
    if promised := [place for place, offer in enumerate(spec.offers) if offer.points]:
        words = "is given by a rule: write one with a condition on the segment, and say so in the text"
        raise ProgramError(tuple(Problem(f"offers[{place}].points", words) for place in promised))
    Reward.objects.exclude(code__in=[r.code for r in spec.rewards]).update(active=False)
    for reward in spec.rewards:
        Reward.objects.update_or_create(
            code=reward.code,
            defaults={
                "name": reward.name,
                "kind": reward.kind,
                "unit_code": reward.unit,
                "price": reward.price,
                "value": reward.value,
                "active": reward.active,
            },
        )
    Offer.objects.exclude(code__in=[o.code for o in spec.offers]).update(active=False)
    for place, offer in enumerate(spec.offers):
        Offer.objects.update_or_create(
            code=offer.code,
            defaults={
                "name": offer.name,
                "text": offer.text,
                "segments": list(offer.segments),
                "priority": -place,
                "active": True,
            },
        )
