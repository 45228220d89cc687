"""What happened: purchases, activities, imports, and what waits to be credited."""

import pgtrigger
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from members.models.fields import quantity_field
from members.models.who import Member
from programs.models import Location
from tenants.models import ClientRow, Row, append_only, never_emptied


class Purchase(ClientRow, Row):
    """A sale, return or void as a till, web shop or import reported it; amounts in minor units, returns negative."""

    class Kind(models.TextChoices):
        SALE = "sale", _("Sale")
        RETURN = "return", _("Return")
        VOID = "void", _("Void")

    kind = models.CharField(max_length=6, choices=Kind)
    document = models.CharField(max_length=64)
    location = models.ForeignKey(Location, models.PROTECT, null=True, db_index=False, related_name="purchases")
    terminal = models.CharField(max_length=64, blank=True)
    clerk_id = models.UUIDField(null=True)
    channel = models.CharField(max_length=20, blank=True)
    source = models.CharField(max_length=20)
    member = models.ForeignKey(Member, models.PROTECT, db_index=False, related_name="purchases")
    sale = models.ForeignKey("self", models.PROTECT, null=True, db_index=False, related_name="taken_back_by")
    # The sale that a return names, by its document number; kept also while that sale has not arrived.
    sale_document = models.CharField(max_length=64, blank=True, db_default="")
    currency = models.CharField(max_length=3)
    amount = models.BigIntegerField()
    # How much of the amount was paid with points or money of the program, in minor units.
    paid_by_points = models.BigIntegerField(default=0, db_default=0)
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField()
    day = models.DateField()
    fingerprint = models.UUIDField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(paid_by_points=0) | Q(paid_by_points__gt=0, paid_by_points__lte=F("amount")),
                name="purchase_paid_by_points_within_amount",
            ),
            models.UniqueConstraint(
                fields=["document", "kind", "location"], nulls_distinct=False, name="purchase_receipt_counts_once"
            ),
            models.CheckConstraint(
                condition=Q(kind="sale", amount__gte=0, sale=None) | Q(kind__in=["return", "void"], amount__lte=0),
                name="purchase_sign_fits_kind",
            ),
            models.CheckConstraint(
                condition=~Q(kind="void") | Q(sale__isnull=False), name="purchase_void_names_its_sale"
            ),
        ]
        indexes = [
            # Serves rolling spend of a member from the index alone, and the member's history.
            models.Index(fields=["member", "occurred_at"], include=["amount", "kind"], name="purchase_member_spend"),
            models.Index(fields=["sale"], condition=Q(sale__isnull=False), name="purchase_of_sale"),
            # Serves a sale that arrives after the return that names it.
            models.Index(
                fields=["sale_document"], condition=Q(sale=None) & ~Q(sale_document=""), name="purchase_awaiting_sale"
            ),
        ]
        triggers = append_only("purchase")

    def __str__(self) -> str:
        return self.document


class PurchaseLine(ClientRow, Row):
    """One line of a purchase; of a sale's line, how much has been taken back is kept here."""

    purchase = models.ForeignKey(Purchase, models.PROTECT, db_index=False, related_name="lines")
    position = models.PositiveSmallIntegerField()
    sku = models.CharField(max_length=64, blank=True)
    category = models.CharField(max_length=64, blank=True)
    quantity = quantity_field()
    unit_price = models.DecimalField(max_digits=16, decimal_places=4, null=True)
    discount = models.BigIntegerField(default=0)
    amount = models.BigIntegerField()
    earning = models.BooleanField(default=True)
    sale_line = models.ForeignKey("self", models.PROTECT, null=True, db_index=False, related_name="return_lines")
    returned = quantity_field(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["purchase", "position"], name="purchaseline_position_once"),
            models.CheckConstraint(
                condition=Q(returned=0) | Q(returned__gt=0, returned__lte=F("quantity")),
                name="purchaseline_never_returned_twice",
            ),
        ]
        triggers = [
            pgtrigger.Protect(
                name="purchaseline_never_changes",
                operation=pgtrigger.Update,
                condition=pgtrigger.AnyChange(exclude=["returned"]),
            ),
            pgtrigger.Protect(name="purchaseline_never_deleted", operation=pgtrigger.Delete),
            never_emptied("purchaseline"),
        ]

    def __str__(self) -> str:
        return f"{self.sku} × {self.quantity}"


class ReturnMatch(ClientRow, Row):
    """How much of a sale's line a return's line took back, after `before` of it had come back already."""

    return_line = models.ForeignKey(PurchaseLine, models.PROTECT, related_name="matches")
    sale_line = models.ForeignKey(PurchaseLine, models.PROTECT, related_name="matched_by")
    before = quantity_field()
    quantity = quantity_field()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["return_line", "sale_line"], name="returnmatch_once_per_pair"),
            models.CheckConstraint(condition=Q(quantity__gt=0), name="returnmatch_takes_something"),
        ]
        triggers = append_only("returnmatch")

    def __str__(self) -> str:
        return f"{self.quantity}"


class ParkedReturn(ClientRow, models.Model):
    """What of a return's line found no sale: it waits for a manager and has no effect on points."""

    class State(models.TextChoices):
        OPEN = "open", _("Waiting for a manager")
        MATCHED = "matched", _("Matched to a sale that came later")
        DISMISSED = "dismissed", _("Dismissed")

    line = models.OneToOneField(PurchaseLine, models.PROTECT, primary_key=True, related_name="parked")
    quantity = quantity_field()
    state = models.CharField(max_length=10, choices=State, default=State.OPEN)
    reason = models.CharField(max_length=200, blank=True)
    settled_by = models.UUIDField(null=True)
    settled_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.quantity} ({self.state})"


class Activity(ClientRow, Row):
    """Anything else that earns: a trip, a visit, a review, a sign-up, a birthday; with quantities in `properties`."""

    kind = models.CharField(max_length=30)
    reference = models.CharField(max_length=64)
    member = models.ForeignKey(Member, models.PROTECT, related_name="activities")
    location = models.ForeignKey(Location, models.PROTECT, null=True, db_index=False, related_name="activities")
    channel = models.CharField(max_length=20, blank=True)
    source = models.CharField(max_length=20)
    amount = models.BigIntegerField(default=0)
    properties = models.JSONField(default=dict)
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField()
    day = models.DateField()
    fingerprint = models.UUIDField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["kind", "reference"], name="activity_counts_once")]
        triggers = append_only("activity")

    def __str__(self) -> str:
        return f"{self.kind} {self.reference}"


class WorkItem(ClientRow, models.Model):
    """A purchase or activity that waits to be credited; removed in the transaction that credits it."""

    class Kind(models.TextChoices):
        PURCHASE = "purchase", _("Purchase")
        ACTIVITY = "activity", _("Activity")

    source_id = models.UUIDField(primary_key=True)
    kind = models.CharField(max_length=8, choices=Kind)
    member = models.ForeignKey(Member, models.PROTECT, db_index=False, related_name="work_items")
    occurred_at = models.DateTimeField()
    attempts = models.PositiveSmallIntegerField(default=0)
    error = models.CharField(max_length=500, blank=True)
    quarantined_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["member", "occurred_at"], name="workitem_of_member")]

    def __str__(self) -> str:
        return f"{self.kind} {self.source_id}"


class IdempotencyRecord(ClientRow, models.Model):
    """The answer given to a caller's key, so that a repeated request gets it again and nothing happens twice."""

    key = models.UUIDField(primary_key=True)
    request_hash = models.UUIDField()
    status = models.PositiveSmallIntegerField()
    body = models.JSONField()
    at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["at"], name="idempotencyrecord_age")]

    def __str__(self) -> str:
        return str(self.key)


class ApiRequest(ClientRow, models.Model):
    """One call of a machine, as the shop's developers see it; what names a person is masked before it is kept."""

    id = models.UUIDField(primary_key=True)
    at = models.DateTimeField()
    key_prefix = models.CharField(max_length=16, blank=True)
    method = models.CharField(max_length=7)
    path = models.CharField(max_length=300)
    query = models.CharField(max_length=300, blank=True)
    status = models.PositiveSmallIntegerField()
    milliseconds = models.PositiveIntegerField()
    body = models.TextField(blank=True)
    answer = models.TextField(blank=True)
    problem = models.CharField(max_length=60, blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["-at"], name="apirequest_newest"),
            models.Index(fields=["-at"], condition=Q(status__gte=400), name="apirequest_refused"),
        ]

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.status}"


class ImportJob(ClientRow, Row):
    """One file of purchases on its way in: how far it is and what was refused."""

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        READING = "reading", _("Reading the file")
        RECORDING = "recording", _("Recording purchases")
        DONE = "done", _("Done")
        FAILED = "failed", _("Failed")

    name = models.CharField(max_length=200)
    content_hash = models.CharField(max_length=64)
    path = models.CharField(max_length=300)
    mapping = models.JSONField(default=dict)
    dry_run = models.BooleanField(default=False)
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    rows = models.PositiveIntegerField(default=0)
    rows_refused = models.PositiveIntegerField(default=0)
    documents = models.PositiveIntegerField(default=0)
    documents_done = models.PositiveIntegerField(default=0)
    documents_new = models.PositiveIntegerField(default=0)
    errors_path = models.CharField(max_length=300, blank=True)
    error = models.CharField(max_length=500, blank=True)
    started_by = models.UUIDField(null=True)
    started_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.name


class ImportRow(ClientRow, models.Model):
    """One accepted row of a file, waiting until its document is recorded."""

    pk = models.CompositePrimaryKey("job_id", "number")
    job = models.ForeignKey(ImportJob, models.CASCADE, db_index=False, related_name="staged_rows")
    number = models.PositiveIntegerField()
    batch = models.PositiveIntegerField(null=True)
    document = models.CharField(max_length=64)
    member = models.CharField(max_length=254)
    occurred_at = models.DateTimeField()
    amount = models.BigIntegerField()
    # In minor units, as the purchase's own.
    paid_by_points = models.BigIntegerField(default=0, db_default=0)
    quantity = quantity_field()
    unit_price = models.DecimalField(max_digits=16, decimal_places=4, null=True)
    sku = models.CharField(max_length=64, blank=True)
    category = models.CharField(max_length=64, blank=True)
    description = models.CharField(max_length=200, blank=True)
    location = models.CharField(max_length=50, blank=True)
    channel = models.CharField(max_length=20, blank=True)

    class Meta:
        indexes = [models.Index(fields=["job", "batch"], name="importrow_batch")]

    def __str__(self) -> str:
        return f"{self.number}"
