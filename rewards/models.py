"""What a member can get, and who is offered what."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from members.models import Hold, Member
from tenants.models import ClientRow, Row


class Reward(ClientRow, Row):
    """Something a member can have for points; `value` is what it costs the shop, in minor units."""

    class Kind(models.TextChoices):
        DISCOUNT = "discount", _("Discount")
        PRODUCT = "product", _("Free product")
        MONEY = "money", _("Money off")

    code = models.SlugField(max_length=50, unique=True)
    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=10, choices=Kind)
    unit_code = models.SlugField(max_length=30)
    price = models.PositiveBigIntegerField()
    value = models.PositiveBigIntegerField(default=0)
    active = models.BooleanField(default=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(price__gt=0), name="reward_has_a_price")]

    def __str__(self) -> str:
        return self.name


class RewardIssue(ClientRow, Row):
    """One reward on its way to one member: reserved, issued, used, or ended otherwise."""

    class State(models.TextChoices):
        RESERVED = "reserved", _("Reserved")
        ISSUED = "issued", _("Issued")
        USED = "used", _("Used")
        EXPIRED = "expired", _("Expired")
        CANCELLED = "cancelled", _("Cancelled")

    reward = models.ForeignKey(Reward, models.PROTECT, related_name="issues")
    member = models.ForeignKey(Member, models.PROTECT, related_name="reward_issues")
    hold = models.OneToOneField(Hold, models.PROTECT, related_name="reward_issue")
    state = models.CharField(max_length=10, choices=State, default=State.RESERVED)
    code = models.CharField(max_length=20, unique=True)
    location = models.CharField(max_length=50, blank=True)
    # The sale it was used on: what of that sale comes back gives back its share of the points.
    purchase_id = models.UUIDField(null=True)
    given_back = models.PositiveBigIntegerField(default=0, db_default=0)
    at = models.DateTimeField()
    settled_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["purchase_id"], condition=Q(purchase_id__isnull=False), name="rewardissue_of_purchase")
        ]

    def __str__(self) -> str:
        return self.code


class Offer(ClientRow, Row):
    """Something put before members of some segments; with points, a bonus on their next purchase."""

    code = models.SlugField(max_length=50, unique=True)
    name = models.CharField(max_length=100)
    text = models.CharField(max_length=200)
    segments = models.JSONField(default=list)
    priority = models.IntegerField(default=0)
    active = models.BooleanField(default=True)

    def __str__(self) -> str:
        return self.name


class OfferAssignment(ClientRow, models.Model):
    """The one offer a member has now, with the figures behind its reason."""

    member = models.OneToOneField(Member, models.CASCADE, primary_key=True, related_name="offer_assignment")
    offer = models.ForeignKey(Offer, models.CASCADE, related_name="assignments")
    reason = models.CharField(max_length=30)
    figures = models.JSONField(default=dict)
    assigned_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.offer_id}"
