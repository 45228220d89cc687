"""Changes to rewards and offers."""

from rewards.services.offers import refresh_offers
from rewards.services.redemptions import (
    UnknownRedemption,
    UnknownReward,
    capture_redemption,
    redeem,
    release_overdue,
    take_back_redemption,
    void_redemption,
)
from rewards.services.shelf import publish_rewards

__all__ = [
    "UnknownRedemption",
    "UnknownReward",
    "capture_redemption",
    "publish_rewards",
    "redeem",
    "refresh_offers",
    "release_overdue",
    "take_back_redemption",
    "void_redemption",
]
