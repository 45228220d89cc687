"""What follows from what happened: tiers, insights, replays."""

import pgtrigger
from django.db import models
from django.db.models import F, Q, Value
from django.utils.translation import gettext_lazy as _

from members.models.who import Member
from tenants.models import ClientRow, Row, append_only


class TierStatus(ClientRow, models.Model):
    """The tier a member holds (`tier`), what they earned themselves (`earned`), and the figure it was judged by."""

    member = models.OneToOneField(Member, models.CASCADE, primary_key=True, related_name="tier_status")
    tier = models.CharField(max_length=30, blank=True)
    earned = models.CharField(max_length=30, blank=True, db_default="")
    basis = models.BigIntegerField(default=0)
    since = models.DateTimeField()
    settled_at = models.DateTimeField()
    # The end of the period under way; None where it rolls or lasts for ever.
    period_ends_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(
                fields=["period_ends_at"], condition=Q(period_ends_at__isnull=False), name="tierstatus_period_end"
            )
        ]

    def __str__(self) -> str:
        return self.tier


class TierChange(ClientRow, Row):
    """A move from one tier to another with its cause and inputs: figure, thresholds, period, program version."""

    class Cause(models.TextChoices):
        JUDGED = "judged", _("By what the member did")
        PERIOD = "period", _("At the end of the period")
        GRANTED = "granted", _("Given by hand")
        GRANT_ENDED = "grant_ended", _("The tier given by hand ended")

    member = models.ForeignKey(Member, models.CASCADE, related_name="tier_changes")
    program_id = models.UUIDField()
    before = models.CharField(max_length=30, blank=True)
    after = models.CharField(max_length=30, blank=True)
    basis = models.BigIntegerField()
    cause = models.CharField(max_length=12, choices=Cause, default=Cause.JUDGED, db_default="judged")
    inputs = models.JSONField(default=dict, db_default=Value({}, models.JSONField()))
    at = models.DateTimeField()

    class Meta:
        triggers = append_only("tierchange")

    def __str__(self) -> str:
        return f"{self.before} → {self.after}"


class TierGrant(ClientRow, Row):
    """A tier given by hand until a day; what the member earns goes on being judged beside it."""

    member = models.ForeignKey(Member, models.CASCADE, related_name="tier_grants")
    tier = models.CharField(max_length=30)
    reason = models.CharField(max_length=200)
    made_by = models.UUIDField(null=True)
    since = models.DateTimeField()
    until = models.DateTimeField()
    # Set when it was taken back early, or when its end was noticed.
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["member"], condition=Q(ended_at=None), name="tiergrant_one_at_a_time"),
            models.CheckConstraint(condition=Q(until__gt=F("since")), name="tiergrant_has_an_end"),
        ]
        indexes = [models.Index(fields=["until"], condition=Q(ended_at=None), name="tiergrant_open")]
        triggers = [
            pgtrigger.Protect(
                name="tiergrant_never_changes",
                operation=pgtrigger.Update,
                condition=pgtrigger.AnyChange(exclude=["ended_at"]),
            )
        ]

    def __str__(self) -> str:
        return self.tier


class Replay(ClientRow, Row):
    """A draft tried on purchases that really happened, beside the published program; writes nothing to the ledger."""

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        RUNNING = "running", _("Running")
        DONE = "done", _("Done")
        FAILED = "failed", _("Failed")
        STOPPED = "stopped", _("Stopped")

    document = models.JSONField()
    against = models.UUIDField(null=True)
    first_day = models.DateField()
    last_day = models.DateField()
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    purchases = models.PositiveIntegerField(default=0)
    purchases_done = models.PositiveIntegerField(default=0)
    result = models.JSONField(default=dict)
    error = models.CharField(max_length=500, blank=True)
    started_by = models.UUIDField(null=True)
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["-started_at"], name="replay_newest")]

    def __str__(self) -> str:
        return f"{self.first_day} – {self.last_day} ({self.state})"


class Insight(ClientRow, models.Model):
    """What a member's purchases tell: how recent, how often, how much, and the segment that follows."""

    class Segment(models.TextChoices):
        NEW = "new", _("New")
        REGULAR = "regular", _("Regular")
        CHAMPION = "champion", _("Champion")
        SLIPPING = "slipping", _("Slipping away")
        LAPSED = "lapsed", _("Lapsed")

    member = models.OneToOneField(Member, models.CASCADE, primary_key=True, related_name="insight")
    purchases = models.PositiveIntegerField(default=0)
    spend = models.BigIntegerField(default=0)
    first_day = models.DateField(null=True)
    last_day = models.DateField(null=True)
    last_visit = models.DateField(null=True)
    recency = models.PositiveSmallIntegerField(default=0)
    frequency = models.PositiveSmallIntegerField(default=0)
    value = models.PositiveSmallIntegerField(default=0)
    segment = models.CharField(max_length=10, choices=Segment, blank=True)
    favourite = models.CharField(max_length=64, blank=True)
    refreshed_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["segment"], name="insight_segment")]

    def __str__(self) -> str:
        return self.segment


class InsightScale(ClientRow, models.Model):
    """The client's own yardsticks for recency, frequency and value, taken over all members; one row."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    recency_days = models.JSONField(default=list)
    purchases = models.JSONField(default=list)
    spend = models.JSONField(default=list)
    usual_gap_days = models.PositiveIntegerField(default=30)
    members = models.PositiveIntegerField(default=0)
    at = models.DateTimeField()

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="insightscale_is_one_row")]

    def __str__(self) -> str:
        return f"{self.members}"
