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

    code = models.SlugField(max_length=30, unique=True)
    name = models.CharField(max_length=60)
    kind = models.CharField(max_length=10, choices=Kind, default=Kind.POINTS)
    decimals = models.PositiveSmallIntegerField(default=0)
    pending_days = models.PositiveSmallIntegerField(default=0)
    expiry = models.CharField(max_length=10, choices=Expiry, default=Expiry.NONE)
    expiry_months = models.PositiveSmallIntegerField(default=0)
    may_owe = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(expiry="none") | Q(expiry_months__gt=0), name="unittype_expiry_has_months"
            )
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
    published_at = models.DateTimeField(null=True)
    published_by = models.UUIDField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["status"], condition=Q(status="published"), name="program_one_published"),
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

    def __str__(self) -> str:
        return self.name


class Product(ClientRow, Row):
    """Something sold, with its category; gift cards and the like can be set not to earn."""

    sku = models.CharField(max_length=64, unique=True)
    name = models.CharField(max_length=200, blank=True)
    category = models.CharField(max_length=64, blank=True)
    earning = models.BooleanField(default=True)

    def __str__(self) -> str:
        return self.name or self.sku
