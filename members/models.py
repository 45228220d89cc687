"""Who, and what happened: members, purchases and activities, the points ledger, tier status, insights."""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pgtrigger
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from programs.models import EarningRule, Location, UnitType
from tenants.models import ClientRow, Row, append_only, never_emptied


def quantity_field(**options: Any) -> "models.DecimalField[Decimal | int, Decimal]":
    """A quantity of pieces, kilograms or days, in thousandths at most."""
    return models.DecimalField(max_digits=14, decimal_places=3, **options)


if TYPE_CHECKING:
    ListField = models.Field[list[int], list[int]]
else:
    ListField = models.Field


class BigIntegers(ListField):
    """A PostgreSQL bigint[]; django.contrib.postgres would query the database whenever a connection opens."""

    def db_type(self, connection: Any) -> str:
        return "bigint[]"


# ── who ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Member(ClientRow, Row):
    """A member of the program, known by a pseudonymous id; name and addresses stand apart and can be erased."""

    class Status(models.TextChoices):
        ACTIVE = "active", _("Active")
        MERGED = "merged", _("Merged into another")
        CLOSED = "closed", _("Closed")

    number = models.CharField(max_length=16, unique=True)
    status = models.CharField(max_length=10, choices=Status, default=Status.ACTIVE)
    merged_into = models.ForeignKey("self", models.PROTECT, null=True, related_name="merged_members")
    joined_at = models.DateTimeField(default=timezone.now)
    # What the card's QR shows: 80 random bits, made when the card is first opened.
    card_code = models.CharField(max_length=16, null=True, unique=True)  # noqa: DJ001 (many members have none)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(status="merged", merged_into__isnull=False) | ~Q(status="merged") & Q(merged_into=None),
                name="member_merged_names_the_other",
            )
        ]

    def __str__(self) -> str:
        return self.number


class Identity(ClientRow, models.Model):
    """The person behind a member."""

    member = models.OneToOneField(Member, models.CASCADE, primary_key=True, related_name="identity")
    name = models.CharField(max_length=100, blank=True)
    birthday = models.DateField(null=True)
    language = models.CharField(max_length=10, blank=True)

    def __str__(self) -> str:
        return self.name


class Identifier(ClientRow, Row):
    """One way to find a member, normalised: phone in E.164, e-mail in lower case, card number, POS id."""

    class Kind(models.TextChoices):
        PHONE = "phone", _("Phone")
        EMAIL = "email", _("E-mail")
        CARD = "card", _("Card number")
        POS = "pos", _("POS id")

    member = models.ForeignKey(Member, models.CASCADE, related_name="identifiers")
    kind = models.CharField(max_length=5, choices=Kind)
    value = models.CharField(max_length=254)

    class Meta:
        # The value comes first: one field finds a member by any kind.
        constraints = [models.UniqueConstraint(fields=["value", "kind"], name="identifier_leads_to_one_member")]

    def __str__(self) -> str:
        return f"{self.kind} {self.value}"


class Consent(ClientRow, Row):
    """What a member allowed or withdrew, to which words, when and where."""

    member = models.ForeignKey(Member, models.CASCADE, related_name="consents")
    purpose = models.CharField(max_length=30)
    granted = models.BooleanField()
    text_version = models.CharField(max_length=30)
    source = models.CharField(max_length=30)
    at = models.DateTimeField()

    class Meta:
        triggers = [pgtrigger.Protect(name="consent_never_changes", operation=pgtrigger.Update)]

    def __str__(self) -> str:
        return f"{self.purpose}: {self.granted}"


class CardLink(ClientRow, Row):
    """A one-time link that opens a member's card on a phone, kept as a hash."""

    class Way(models.TextChoices):
        MAIL = "mail", _("By e-mail")
        TILL = "till", _("QR at the till")
        STAFF = "staff", _("Given by staff")

    member = models.ForeignKey(Member, models.CASCADE, related_name="card_links")
    token_hash = models.CharField(max_length=64, unique=True)
    way = models.CharField(max_length=5, choices=Way)
    made_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["expires_at"], name="cardlink_age")]

    def __str__(self) -> str:
        return f"{self.way} {self.made_at:%Y-%m-%d}"


class CardSession(ClientRow, Row):
    """A phone on which a member's card is open, known by the hash of a 256-bit token in its cookie."""

    member = models.ForeignKey(Member, models.CASCADE, related_name="card_sessions")
    token_hash = models.CharField(max_length=64, unique=True)
    label = models.CharField(max_length=100, blank=True)
    began_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.label or str(self.pk)


# ── what happened ───────────────────────────────────────────────────────────────────────────────────────────────────


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
    currency = models.CharField(max_length=3)
    amount = models.BigIntegerField()
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField()
    day = models.DateField()
    fingerprint = models.UUIDField()

    class Meta:
        constraints = [
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


# ── the ledger ──────────────────────────────────────────────────────────────────────────────────────────────────────


class PointsAccount(ClientRow, Row):
    """
    What a member has of one unit, in its smallest step.

    `balance` follows the entries and `in_lots` the lots, both moved by triggers alone; at commit
    balance = in_lots − debt, or the transaction is refused.
    """

    member = models.ForeignKey(Member, models.PROTECT, db_index=False, related_name="accounts")
    unit = models.ForeignKey(UnitType, models.PROTECT, db_index=False, related_name="accounts")
    balance = models.BigIntegerField(default=0)
    in_lots = models.BigIntegerField(default=0)
    debt = models.BigIntegerField(default=0)
    may_owe = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["member", "unit"], name="pointsaccount_one_per_member_and_unit"),
            models.CheckConstraint(condition=Q(in_lots__gte=0), name="pointsaccount_lots_not_below_zero"),
            models.CheckConstraint(
                condition=Q(debt=0) | Q(debt__gt=0, may_owe=True), name="pointsaccount_debt_only_where_allowed"
            ),
        ]
        triggers = [
            pgtrigger.Protect(
                name="pointsaccount_moved_by_entries_and_lots_alone",
                operation=pgtrigger.Update,
                condition=pgtrigger.Condition(
                    "pg_trigger_depth() = 0 AND (OLD.balance <> NEW.balance OR OLD.in_lots <> NEW.in_lots)"
                ),
            ),
            pgtrigger.Protect(
                name="pointsaccount_never_changes",
                operation=pgtrigger.Update,
                condition=pgtrigger.AnyChange(exclude=["balance", "in_lots", "debt", "may_owe"]),
            ),
            pgtrigger.Protect(
                name="pointsaccount_starts_empty",
                operation=pgtrigger.Insert,
                condition=pgtrigger.Condition("NEW.balance <> 0 OR NEW.in_lots <> 0 OR NEW.debt <> 0"),
            ),
            pgtrigger.Trigger(
                name="pointsaccount_balance_is_lots_less_debt",
                when=pgtrigger.After,
                operation=pgtrigger.Update,
                timing=pgtrigger.Deferred,
                condition=pgtrigger.Condition("NEW.balance <> NEW.in_lots - NEW.debt"),
                func="""
                    PERFORM 1 FROM members_pointsaccount a WHERE a.id = NEW.id AND a.balance <> a.in_lots - a.debt;
                    IF FOUND THEN
                        RAISE EXCEPTION 'Balance is not what the lots hold less the debt.'
                            USING ERRCODE = 'check_violation', CONSTRAINT = 'pointsaccount_balance_is_lots_less_debt';
                    END IF;
                    RETURN NULL;
                """,
            ),
        ]

    def __str__(self) -> str:
        return f"{self.balance}"


class LedgerEntry(ClientRow, Row):
    """One movement of points. Never changed or deleted: a mistake is put right by a further entry that names it."""

    class Kind(models.TextChoices):
        EARN = "earn", _("Earned")
        REVERSE = "reverse", _("Taken back with a return")
        SPEND = "spend", _("Spent")
        RESTORE = "restore", _("Given back")
        EXPIRE = "expire", _("Expired")
        ADJUST = "adjust", _("Adjusted")
        MOVE = "move", _("Moved")

    account = models.ForeignKey(PointsAccount, models.PROTECT, db_index=False, related_name="entries")
    kind = models.CharField(max_length=8, choices=Kind)
    amount = models.BigIntegerField()
    balance_after = models.BigIntegerField()
    key = models.CharField(max_length=100)
    purchase = models.ForeignKey(Purchase, models.PROTECT, null=True, db_index=False, related_name="entries")
    activity = models.ForeignKey(Activity, models.PROTECT, null=True, db_index=False, related_name="entries")
    corrects = models.ForeignKey("self", models.PROTECT, null=True, db_index=False, related_name="corrected_by")
    reason = models.CharField(max_length=200, blank=True)
    made_by = models.UUIDField(null=True)
    occurred_at = models.DateTimeField()
    at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["key"], name="ledgerentry_effect_happens_once"),
            models.CheckConstraint(
                condition=Q(kind__in=["earn", "restore"], amount__gt=0)
                | Q(kind__in=["reverse", "spend", "expire"], amount__lt=0)
                | Q(kind__in=["adjust", "move"]) & ~Q(amount=0),
                name="ledgerentry_sign_fits_kind",
            ),
            models.CheckConstraint(
                condition=~Q(kind="restore") | Q(corrects__isnull=False),
                name="ledgerentry_correction_names_the_corrected",
            ),
        ]
        indexes = [
            # Serves the statement page.
            models.Index(fields=["account", "-id"], name="ledgerentry_statement"),
            models.Index(fields=["purchase"], condition=Q(purchase__isnull=False), name="ledgerentry_of_purchase"),
            models.Index(fields=["corrects"], condition=Q(corrects__isnull=False), name="ledgerentry_corrections"),
        ]
        triggers = [
            *append_only("ledgerentry"),
            pgtrigger.Trigger(
                name="ledgerentry_moves_balance",
                when=pgtrigger.After,
                operation=pgtrigger.Insert,
                level=pgtrigger.Statement,
                referencing=pgtrigger.Referencing(new="new_rows"),
                func="""
                    UPDATE members_pointsaccount a SET balance = a.balance + n.moved
                    FROM (SELECT account_id, sum(amount) AS moved FROM new_rows GROUP BY account_id) n
                    WHERE a.id = n.account_id;
                    RETURN NULL;
                """,
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.amount}"


class Lot(ClientRow, models.Model):
    """Points of one credit that are still there, spendable from `available_at`, alive until before `expires_at`."""

    entry = models.OneToOneField(LedgerEntry, models.PROTECT, primary_key=True, related_name="lot")
    account = models.ForeignKey(PointsAccount, models.PROTECT, db_index=False, related_name="lots")
    remaining = models.BigIntegerField()
    held = models.BigIntegerField(default=0)
    available_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(held__gte=0, remaining__gte=F("held")), name="lot_never_below_what_is_held"
            )
        ]
        indexes = [
            models.Index(fields=["account", "expires_at"], condition=Q(remaining__gt=0), name="lot_open_of_account"),
            models.Index(
                fields=["expires_at"], condition=Q(remaining__gt=0, expires_at__isnull=False), name="lot_expiring"
            ),
        ]
        triggers = [
            pgtrigger.Protect(
                name="lot_moved_by_allocations_alone",
                operation=pgtrigger.Update,
                condition=pgtrigger.Condition("pg_trigger_depth() = 0 AND OLD.remaining <> NEW.remaining"),
            ),
            pgtrigger.Protect(
                name="lot_never_changes",
                operation=pgtrigger.Update,
                condition=pgtrigger.AnyChange(exclude=["remaining", "held"]),
            ),
            pgtrigger.Protect(name="lot_never_deleted", operation=pgtrigger.Delete),
            pgtrigger.Trigger(
                name="lot_opens_with_its_entry",
                when=pgtrigger.After,
                operation=pgtrigger.Insert,
                level=pgtrigger.Statement,
                referencing=pgtrigger.Referencing(new="new_rows"),
                func="""
                    IF EXISTS (SELECT 1 FROM new_rows n JOIN members_ledgerentry e ON e.id = n.entry_id
                               WHERE n.account_id <> e.account_id OR n.held <> 0 OR n.remaining <> e.amount) THEN
                        RAISE EXCEPTION 'A lot opens with the points of its entry.' USING ERRCODE = 'check_violation';
                    END IF;
                    UPDATE members_pointsaccount a SET in_lots = a.in_lots + n.moved
                    FROM (SELECT account_id, sum(remaining) AS moved FROM new_rows GROUP BY account_id) n
                    WHERE a.id = n.account_id;
                    RETURN NULL;
                """,
            ),
        ]

    def __str__(self) -> str:
        return f"{self.remaining}"


class Allocation(ClientRow, Row):
    """Points an entry took from a lot (positive) or gave back to it (negative)."""

    entry = models.ForeignKey(LedgerEntry, models.PROTECT, db_index=False, related_name="allocations")
    lot = models.ForeignKey(Lot, models.PROTECT, related_name="allocations")
    amount = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["entry", "lot"], name="allocation_once_per_entry_and_lot"),
            models.CheckConstraint(condition=~Q(amount=0), name="allocation_moves_something"),
        ]
        triggers = [
            *append_only("allocation"),
            pgtrigger.Trigger(
                name="allocation_moves_lot",
                when=pgtrigger.After,
                operation=pgtrigger.Insert,
                level=pgtrigger.Statement,
                referencing=pgtrigger.Referencing(new="new_rows"),
                func="""
                    IF EXISTS (SELECT 1 FROM new_rows n JOIN members_ledgerentry e ON e.id = n.entry_id
                               JOIN members_lot l ON l.entry_id = n.lot_id WHERE l.account_id <> e.account_id) THEN
                        RAISE EXCEPTION 'An allocation stays within one account.' USING ERRCODE = 'check_violation';
                    END IF;
                    IF EXISTS (SELECT 1 FROM new_rows n JOIN members_lot l ON l.entry_id = n.lot_id
                               JOIN members_ledgerentry e ON e.id = l.entry_id
                               GROUP BY l.entry_id, l.remaining, e.amount
                               HAVING l.remaining - sum(n.amount) > e.amount) THEN
                        RAISE EXCEPTION 'A lot never holds more than its entry gave.' USING ERRCODE = 'check_violation';
                    END IF;
                    UPDATE members_lot l SET remaining = l.remaining - n.moved
                    FROM (SELECT lot_id, sum(amount) AS moved FROM new_rows GROUP BY lot_id) n
                    WHERE l.entry_id = n.lot_id;
                    UPDATE members_pointsaccount a SET in_lots = a.in_lots - n.moved
                    FROM (SELECT l.account_id, sum(r.amount) AS moved FROM new_rows r
                          JOIN members_lot l ON l.entry_id = r.lot_id GROUP BY l.account_id) n
                    WHERE a.id = n.account_id;
                    RETURN NULL;
                """,
            ),
        ]

    def __str__(self) -> str:
        return f"{self.amount}"


class Hold(ClientRow, Row):
    """Points set aside for a reward: captured into a spend, voided, or expired."""

    class State(models.TextChoices):
        HELD = "held", _("Held")
        CAPTURED = "captured", _("Captured")
        VOIDED = "voided", _("Voided")

    account = models.ForeignKey(PointsAccount, models.PROTECT, related_name="holds")
    amount = models.BigIntegerField()
    state = models.CharField(max_length=10, choices=State, default=State.HELD)
    key = models.CharField(max_length=100)
    entry = models.OneToOneField(LedgerEntry, models.PROTECT, null=True, related_name="hold")
    at = models.DateTimeField()
    expires_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["key"], name="hold_happens_once"),
            models.CheckConstraint(condition=Q(amount__gt=0), name="hold_sets_something_aside"),
            models.CheckConstraint(
                condition=Q(state="captured", entry__isnull=False) | ~Q(state="captured") & Q(entry=None),
                name="hold_captured_names_its_entry",
            ),
        ]
        indexes = [models.Index(fields=["expires_at"], condition=Q(state="held"), name="hold_open")]

    def __str__(self) -> str:
        return f"{self.amount} ({self.state})"


class HoldLot(ClientRow, models.Model):
    """How much of a lot a hold pins."""

    pk = models.CompositePrimaryKey("hold_id", "lot_id")
    hold = models.ForeignKey(Hold, models.CASCADE, db_index=False, related_name="lots")
    lot = models.ForeignKey(Lot, models.PROTECT, db_index=False, related_name="holds")
    amount = models.BigIntegerField()

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(amount__gt=0), name="holdlot_pins_something")]

    def __str__(self) -> str:
        return f"{self.amount}"


class RuleTrace(ClientRow, models.Model):
    """Why a purchase or activity earned what it did under one rule, or did not; `line_amounts` by line position."""

    class Result(models.TextChoices):
        FIRED = "fired", _("Fired")
        LOST = "lost_to", _("Lost to another rule")
        CAPPED = "capped", _("Capped")
        NOT_ELIGIBLE = "not_eligible", _("Did not apply")

    pk = models.CompositePrimaryKey("source_id", "rule_id")
    source_id = models.UUIDField()
    rule = models.ForeignKey(EarningRule, models.PROTECT, db_index=False, related_name="traces")
    result = models.CharField(max_length=12, choices=Result)
    amount = models.BigIntegerField()
    line_amounts = BigIntegers(default=list)
    reason = models.CharField(max_length=100, blank=True)
    detail = models.JSONField(default=dict)

    class Meta:
        triggers = append_only("ruletrace")

    def __str__(self) -> str:
        return f"{self.result} {self.amount}"


class RuleState(ClientRow, models.Model):
    """What a rule remembers of a member across versions: the remainder carried over, and its use by period."""

    pk = models.CompositePrimaryKey("member_id", "rule_code")
    member = models.ForeignKey(Member, models.CASCADE, db_index=False, related_name="rule_states")
    rule_code = models.CharField(max_length=50)
    remainder = models.BigIntegerField(default=0)
    used = models.JSONField(default=dict)

    def __str__(self) -> str:
        return self.rule_code


class RuleBudget(ClientRow, models.Model):
    """How much of a rule's budget has been given out, over all members."""

    rule_code = models.CharField(max_length=50, primary_key=True)
    used = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return self.rule_code


# ── what follows from it ────────────────────────────────────────────────────────────────────────────────────────────


class TierStatus(ClientRow, models.Model):
    """The tier a member holds, and the figure it was judged by."""

    member = models.OneToOneField(Member, models.CASCADE, primary_key=True, related_name="tier_status")
    tier = models.CharField(max_length=30, blank=True)
    basis = models.BigIntegerField(default=0)
    since = models.DateTimeField()
    settled_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.tier


class TierChange(ClientRow, Row):
    """A move from one tier to another with the figure and the program version that caused it."""

    member = models.ForeignKey(Member, models.CASCADE, related_name="tier_changes")
    program_id = models.UUIDField()
    before = models.CharField(max_length=30, blank=True)
    after = models.CharField(max_length=30, blank=True)
    basis = models.BigIntegerField()
    at = models.DateTimeField()

    class Meta:
        triggers = append_only("tierchange")

    def __str__(self) -> str:
        return f"{self.before} → {self.after}"


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
