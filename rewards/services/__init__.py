"""Changes to rewards and offers."""

from rewards.services.leaving import cancel_rewards
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
from rewards.services.used import give_back, paid_with, use_on_sale

__all__ = [
    "UnknownRedemption",
    "UnknownReward",
    "cancel_rewards",
    "capture_redemption",
    "give_back",
    "paid_with",
    "publish_rewards",
    "redeem",
    "refresh_offers",
    "release_overdue",
    "take_back_redemption",
    "use_on_sale",
    "void_redemption",
]
