"""The points ledger: accounts, entries, lots, allocations, holds, and why."""

import pgtrigger
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from members.models.fields import BigIntegers
from members.models.happened import Activity, Purchase
from members.models.who import Member
from programs.models import EarningRule, UnitType
from tenants.models import ClientRow, Row, append_only


class PointsAccount(ClientRow, Row):
    """
    What a member has of one unit, in its smallest step.

    `balance` and `newest` follow the entries and `in_lots` the lots, all moved by triggers alone; at commit
    balance = in_lots − debt, or the transaction is refused. Each entry's id lies above the `newest` before it, however
    the clocks of those who write them differ.
    """

    member = models.ForeignKey(Member, models.PROTECT, db_index=False, related_name="accounts")
    unit = models.ForeignKey(UnitType, models.PROTECT, db_index=False, related_name="accounts")
    balance = models.BigIntegerField(default=0)
    in_lots = models.BigIntegerField(default=0)
    debt = models.BigIntegerField(default=0)
    may_owe = models.BooleanField(default=False)
    debt_limit = models.BigIntegerField(null=True)
    # Where expiry slides: the instant at which everything lapses unless the member earns or spends before.
    slides_until = models.DateTimeField(null=True)
    newest = models.UUIDField(null=True, editable=False)

    class Meta:
        indexes = [
            models.Index(
                fields=["slides_until"],
                condition=Q(slides_until__isnull=False, in_lots__gt=0),
                name="pointsaccount_sliding",
            )
        ]
        constraints = [
            models.UniqueConstraint(fields=["member", "unit"], name="pointsaccount_one_per_member_and_unit"),
            models.CheckConstraint(
                condition=Q(debt_limit=None) | Q(debt__lte=F("debt_limit")), name="pointsaccount_debt_within_its_limit"
            ),
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
                    "pg_trigger_depth() = 0 AND (OLD.balance <> NEW.balance OR OLD.in_lots <> NEW.in_lots"
                    " OR OLD.newest IS DISTINCT FROM NEW.newest)"
                ),
            ),
            pgtrigger.Protect(
                name="pointsaccount_entries_ascend",
                operation=pgtrigger.Update,
                condition=pgtrigger.Condition("NEW.newest < OLD.newest"),
            ),
            pgtrigger.Protect(
                name="pointsaccount_never_changes",
                operation=pgtrigger.Update,
                condition=pgtrigger.AnyChange(
                    exclude=["balance", "in_lots", "debt", "may_owe", "debt_limit", "slides_until", "newest"]
                ),
            ),
            pgtrigger.Protect(
                name="pointsaccount_starts_empty",
                operation=pgtrigger.Insert,
                condition=pgtrigger.Condition(
                    "NEW.balance <> 0 OR NEW.in_lots <> 0 OR NEW.debt <> 0 OR NEW.newest IS NOT NULL"
                ),
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
                    UPDATE members_pointsaccount a
                    SET balance = a.balance + n.moved,
                        newest = CASE WHEN n.ids[1] < a.newest THEN n.ids[1] ELSE n.ids[cardinality(n.ids)] END
                    FROM (SELECT account_id, sum(amount) AS moved, array_agg(id ORDER BY id) AS ids
                          FROM new_rows GROUP BY account_id) n
                    WHERE a.id = n.account_id;
                    RETURN NULL;
                """,
            ),
            # A move stands twice, so that the two sum to nothing: the second names the first.
            pgtrigger.Trigger(
                name="ledgerentry_moves_in_pairs",
                when=pgtrigger.After,
                operation=pgtrigger.Insert,
                timing=pgtrigger.Deferred,
                condition=pgtrigger.Condition("NEW.kind = 'move'"),
                func="""
                    IF NOT EXISTS (
                        SELECT 1 FROM members_ledgerentry e
                        JOIN members_pointsaccount a ON a.id = e.account_id
                        JOIN members_pointsaccount b ON b.id = NEW.account_id
                        WHERE (e.id = NEW.corrects_id OR NEW.corrects_id IS NULL AND e.corrects_id = NEW.id)
                          AND e.kind = 'move' AND e.amount = -NEW.amount AND a.id <> b.id AND a.unit_id = b.unit_id
                    ) THEN
                        RAISE EXCEPTION 'What leaves one account in a move arrives in another.'
                            USING ERRCODE = 'check_violation', CONSTRAINT = 'ledgerentry_moves_in_pairs';
                    END IF;
                    RETURN NULL;
                """,
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.amount}"


class Transfer(ClientRow, Row):
    """Points that went from one member to another, once per key; its entries name it in their keys."""

    from_member = models.ForeignKey(Member, models.PROTECT, related_name="transfers_out")
    to_member = models.ForeignKey(Member, models.PROTECT, related_name="transfers_in")
    unit = models.ForeignKey(UnitType, models.PROTECT, db_index=False, related_name="transfers")
    amount = models.BigIntegerField()
    key = models.CharField(max_length=100)
    reason = models.CharField(max_length=200, blank=True)
    made_by = models.UUIDField(null=True)
    at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["key"], name="transfer_happens_once"),
            models.CheckConstraint(condition=Q(amount__gt=0), name="transfer_moves_something"),
            models.CheckConstraint(condition=~Q(from_member=F("to_member")), name="transfer_between_two"),
        ]
        triggers = append_only("transfer")

    def __str__(self) -> str:
        return f"{self.amount}"


class AdjustmentRequest(ClientRow, Row):
    """A correction above what one person may do alone: it happens when a second one agrees, and never twice."""

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting for a second person")
        AGREED = "agreed", _("Agreed and booked")
        REFUSED = "refused", _("Refused")
        WITHDRAWN = "withdrawn", _("Withdrawn")
        LAPSED = "lapsed", _("Not decided in time")

    member = models.ForeignKey(Member, models.PROTECT, related_name="adjustment_requests")
    unit = models.ForeignKey(UnitType, models.PROTECT, db_index=False, related_name="adjustment_requests")
    amount = models.BigIntegerField()
    reason = models.CharField(max_length=200)
    key = models.CharField(max_length=100)
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    asked_by = models.UUIDField()
    asked_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    settled_by = models.UUIDField(null=True)
    settled_at = models.DateTimeField(null=True)
    entry = models.OneToOneField(LedgerEntry, models.PROTECT, null=True, related_name="adjustment_request")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["key"], name="adjustmentrequest_asked_once"),
            models.CheckConstraint(condition=~Q(amount=0), name="adjustmentrequest_moves_something"),
            models.CheckConstraint(
                condition=~Q(state__in=["agreed", "refused"])
                | Q(settled_by__isnull=False) & ~Q(settled_by=F("asked_by")),
                name="adjustmentrequest_settled_by_a_second_person",
            ),
            models.CheckConstraint(
                condition=Q(state="agreed", entry__isnull=False) | ~Q(state="agreed") & Q(entry=None),
                name="adjustmentrequest_agreed_names_its_entry",
            ),
        ]
        indexes = [models.Index(fields=["asked_at"], condition=Q(state="waiting"), name="adjustmentrequest_waiting")]
        triggers = [
            pgtrigger.Protect(
                name="adjustmentrequest_asks_one_thing",
                operation=pgtrigger.Update,
                condition=pgtrigger.AnyChange(exclude=["state", "settled_by", "settled_at", "entry"]),
            ),
            pgtrigger.Protect(
                name="adjustmentrequest_settled_once",
                operation=pgtrigger.Update,
                condition=pgtrigger.Condition("OLD.state <> 'waiting'"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.amount} ({self.state})"


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
