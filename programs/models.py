"""What was promised: programs in versions, their units, rules and tiers; locations and catalogue."""

import pgtrigger
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from tenants.models import ClientRow, Row

_ONLY_IN_DRAFTS = """
    IF EXISTS (SELECT 1 FROM programs_program p
               WHERE p.id IN (COALESCE(NEW.program_id, OLD.program_id), COALESCE(OLD.program_id, NEW.program_id))
                 AND p.status <> 'draft') THEN
        RAISE EXCEPTION 'A published program never changes.' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN COALESCE(NEW, OLD);
"""


def frozen_with_program(name: str) -> list[pgtrigger.Trigger]:
    """A trigger that refuses any change to a part of a published program."""
    return [
        pgtrigger.Trigger(
            name=f"{name}_frozen_when_published",
            when=pgtrigger.Before,
            operation=pgtrigger.Insert | pgtrigger.Update | pgtrigger.Delete,
            func=_ONLY_IN_DRAFTS,
        )
    ]


class UnitType(ClientRow, Row):
    """What members collect: points, stamps or money, in whole smallest steps."""

    class Kind(models.TextChoices):
        POINTS = "points", _("Points")
        STAMPS = "stamps", _("Stamps")
        MONEY = "money", _("Money")

    class Expiry(models.TextChoices):
        NONE = "none", _("Never expires")
        ROLLING = "rolling", _("Some months after it was earned")
        CALENDAR = "calendar", _("At the end of a calendar year")
        SLIDING = "sliding", _("Some months after the member last earned or spent")

    code = models.SlugField(max_length=30, unique=True)
    name = models.CharField(max_length=60)
    kind = models.CharField(max_length=10, choices=Kind, default=Kind.POINTS)
    decimals = models.PositiveSmallIntegerField(default=0)
    pending_days = models.PositiveSmallIntegerField(default=0)
    expiry = models.CharField(max_length=10, choices=Expiry, default=Expiry.NONE)
    expiry_months = models.PositiveSmallIntegerField(default=0)
    may_owe = models.BooleanField(default=False)
    # The most a member may owe; without one, any amount, where owing is allowed at all.
    debt_limit = models.PositiveBigIntegerField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(expiry="none") | Q(expiry_months__gt=0), name="unittype_expiry_has_months"
            ),
            models.CheckConstraint(
                condition=Q(debt_limit=None) | Q(may_owe=True), name="unittype_limits_debt_only_where_allowed"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Program(ClientRow, Row):
    """One version of the client's program. A published version never changes; a change is a new version."""

    class Status(models.TextChoices):
        DRAFT = "draft", _("Draft")
        PUBLISHED = "published", _("Published")
        ARCHIVED = "archived", _("Archived")

    version = models.PositiveIntegerField(unique=True)
    name = models.CharField(max_length=100)
    status = models.CharField(max_length=10, choices=Status, default=Status.DRAFT)
    document = models.JSONField()
    created_at = models.DateTimeField(default=timezone.now)
    edited_at = models.DateTimeField(null=True)
    edited_by = models.UUIDField(null=True)
    published_at = models.DateTimeField(null=True)
    published_by = models.UUIDField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["status"], condition=Q(status="published"), name="program_one_published"),
            models.UniqueConstraint(fields=["status"], condition=Q(status="draft"), name="program_one_draft"),
            models.CheckConstraint(
                condition=Q(status="draft", published_at=None) | ~Q(status="draft") & Q(published_at__isnull=False),
                name="program_published_at_fits_status",
            ),
        ]
        triggers = [
            pgtrigger.Trigger(
                name="program_frozen_when_published",
                when=pgtrigger.Before,
                operation=pgtrigger.Update | pgtrigger.Delete,
                condition=pgtrigger.Condition("OLD.status <> 'draft'"),
                func="""
                    IF TG_OP = 'DELETE' OR NEW.version <> OLD.version OR NEW.name <> OLD.name
                       OR NEW.document <> OLD.document OR NEW.published_at <> OLD.published_at
                       OR NOT (NEW.status = OLD.status OR OLD.status = 'published' AND NEW.status = 'archived') THEN
                        RAISE EXCEPTION 'A published program never changes.' USING ERRCODE = 'restrict_violation';
                    END IF;
                    RETURN NEW;
                """,
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


class EarningRule(ClientRow, Row):
    """One rule of one program version, as structured data; `spec` is its part of the program document."""

    program = models.ForeignKey(Program, models.CASCADE, related_name="rules")
    code = models.CharField(max_length=50)
    name = models.CharField(max_length=100)
    unit = models.ForeignKey(UnitType, models.PROTECT, related_name="rules")
    trigger = models.CharField(max_length=10)
    priority = models.IntegerField(default=0)
    spec = models.JSONField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["program", "code"], name="earningrule_code_once_per_program")]
        triggers = frozen_with_program("earningrule")

    def __str__(self) -> str:
        return self.name


class Tier(ClientRow, Row):
    """One level of a program version's tier set, with its thresholds in the basis' smallest step."""

    program = models.ForeignKey(Program, models.CASCADE, related_name="tiers")
    rank = models.PositiveSmallIntegerField()
    code = models.SlugField(max_length=30)
    name = models.CharField(max_length=60)
    enter = models.BigIntegerField()
    keep = models.BigIntegerField()
    benefits = models.JSONField(default=list)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["program", "rank"], name="tier_rank_once_per_program"),
            models.CheckConstraint(condition=Q(keep__lte=models.F("enter")), name="tier_keep_not_above_enter"),
        ]
        triggers = frozen_with_program("tier")

    def __str__(self) -> str:
        return self.name


class Location(ClientRow, Row):
    """A shop, a web shop, a van: where purchases happen."""

    code = models.CharField(max_length=50, unique=True)
    name = models.CharField(max_length=100)
    closed_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.name


class Clerk(ClientRow, Row):
    """Somebody who works at the till; a clerk needs no e-mail, and a user may also be a clerk."""

    class Role(models.TextChoices):
        CLERK = "clerk", _("Clerk")
        MANAGER = "manager", _("Manager")

    name = models.CharField(max_length=60)
    role = models.CharField(max_length=10, choices=Role, default=Role.CLERK)
    # Without one, the clerk works at all locations.
    location = models.ForeignKey(Location, models.PROTECT, null=True, related_name="clerks")
    user_id = models.UUIDField(null=True, unique=True)
    language = models.CharField(max_length=10, blank=True)
    pin_hash = models.CharField(max_length=200, blank=True)
    pin_set_at = models.DateTimeField(null=True)
    added_at = models.DateTimeField(default=timezone.now)
    left_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.name


class Device(ClientRow, Row):
    """A tablet or computer enrolled as a till of one location, known by the hash of a 256-bit token in its cookie."""

    name = models.CharField(max_length=60)
    location = models.ForeignKey(Location, models.PROTECT, related_name="devices")
    token_hash = models.CharField(max_length=64, unique=True)
    enrolled_at = models.DateTimeField()
    enrolled_by = models.UUIDField(null=True)
    seen_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.name


class DeviceCode(ClientRow, Row):
    """A one-time code with which a device becomes a till, within a few minutes."""

    code_hash = models.CharField(max_length=64, unique=True)
    name = models.CharField(max_length=60)
    location = models.ForeignKey(Location, models.CASCADE, related_name="device_codes")
    made_by = models.UUIDField(null=True)
    made_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)
    device = models.ForeignKey(Device, models.SET_NULL, null=True, related_name="codes")

    def __str__(self) -> str:
        return self.name


class TillSession(ClientRow, Row):
    """One clerk at one device, from the PIN until the till locks or another clerk takes over."""

    device = models.ForeignKey(Device, models.CASCADE, related_name="sessions")
    clerk = models.ForeignKey(Clerk, models.CASCADE, related_name="sessions")
    began_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["device"], condition=Q(ended_at=None), name="tillsession_one_open_per_device"
            )
        ]

    def __str__(self) -> str:
        return f"{self.clerk_id} at {self.device_id}"


class Product(ClientRow, Row):
    """Something sold, with its category; gift cards and the like can be set not to earn."""

    sku = models.CharField(max_length=64, unique=True)
    name = models.CharField(max_length=200, blank=True)
    category = models.CharField(max_length=64, blank=True)
    earning = models.BooleanField(default=True)

    def __str__(self) -> str:
        return self.name or self.sku
