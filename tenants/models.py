"""Public tables: providers, clients and their domains, users and roles, access keys, audit, daily figures."""

import hashlib
from typing import Any, ClassVar, Self, TypeVar

import pgtrigger
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower, Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from tenants.context import current_schema
from tenants.keys import uuid7

_M = TypeVar("_M", bound=models.Model, covariant=True)


class WrongClient(Exception):
    """A row or query of one client was used while standing in another."""


class Row(models.Model):
    """A row whose key is unique over all tables of all clients."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)

    class Meta:
        abstract = True


class ClientQuerySet(models.QuerySet[_M]):
    """A query that answers only from the client in which it was built."""

    _built_in: str | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._built_in = current_schema()

    def _clone(self) -> Self:
        clone = super()._clone()  # type: ignore[misc]
        clone._built_in = self._built_in
        return clone  # type: ignore[no-any-return]

    @property
    def db(self) -> str:
        if self._built_in not in {None, current_schema()}:
            raise WrongClient("The query was built in another client.")
        return super().db


class ClientRow(models.Model):
    """A row of a client's schema, which can be saved and deleted only while standing in that client."""

    objects: ClassVar[models.Manager[Self]] = models.Manager.from_queryset(ClientQuerySet)()

    _loaded_in: str | None = None

    class Meta:
        abstract = True

    @classmethod
    def from_db(cls, db: str | None, field_names: Any, values: Any, **options: Any) -> Self:
        row = super().from_db(db, field_names, values, **options)
        row._loaded_in = current_schema()
        return row

    def save(self, *args: Any, **kwargs: Any) -> None:
        self._stay()
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        self._stay()
        return super().delete(*args, **kwargs)

    def _stay(self) -> None:
        if self._loaded_in not in {None, current_schema()}:
            raise WrongClient(f"{type(self).__name__} {self.pk} belongs to another client.")
        self._loaded_in = current_schema()


def append_only(name: str) -> list[pgtrigger.Trigger]:
    """Triggers that refuse update, delete and truncate of a table's rows."""
    return [
        pgtrigger.Protect(name=f"{name}_never_changes", operation=pgtrigger.Update | pgtrigger.Delete),
        never_emptied(name),
    ]


def never_emptied(name: str) -> pgtrigger.Trigger:
    """A trigger that refuses TRUNCATE."""
    return pgtrigger.Trigger(
        name=f"{name}_never_emptied",
        when=pgtrigger.Before,
        operation=pgtrigger.Truncate,
        level=pgtrigger.Statement,
        func="RAISE EXCEPTION 'This table is never emptied.' USING ERRCODE = 'restrict_violation';",
    )


class Provider(Row):
    """A managed service provider: the house that runs programs for many clients."""

    slug = models.SlugField(max_length=50, unique=True)
    name = models.CharField(max_length=100)
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.name


class Client(Row):
    """A small business with a schema and a database role of its own; both bear the same opaque name for ever."""

    class Trade(models.TextChoices):
        RETAIL = "retail", _("Retail shop")
        CAFE = "cafe", _("Café or restaurant")
        OUTDOOR = "outdoor", _("Outdoor and trips")
        SERVICES = "services", _("Services")
        OTHER = "other", _("Other")

    class Status(models.TextChoices):
        ACTIVE = "active", _("Active")
        SUSPENDED = "suspended", _("Suspended")
        CLOSED = "closed", _("Closed")

    provider = models.ForeignKey(Provider, models.PROTECT, related_name="clients")
    slug = models.SlugField(max_length=50, unique=True)
    name = models.CharField(max_length=100)
    schema_name = models.CharField(max_length=63, unique=True, editable=False)
    trade = models.CharField(max_length=10, choices=Trade)
    currency = models.CharField(max_length=3)
    time_zone = models.CharField(max_length=50)
    languages = models.JSONField(default=list)
    template = models.CharField(max_length=50)
    status = models.CharField(max_length=10, choices=Status, default=Status.ACTIVE)
    closed_reason = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    # django-tenants asks when a client is deleted; its schema is dropped by the owner's login alone.
    auto_drop_schema = False

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(schema_name__regex=r"^c_[a-z2-7]{12}$"), name="client_schema_is_opaque"),
            models.CheckConstraint(condition=Q(currency__regex=r"^[A-Z]{3}$"), name="client_currency_is_iso"),
        ]
        triggers = [
            pgtrigger.Protect(
                name="client_schema_never_changes",
                operation=pgtrigger.Update,
                condition=pgtrigger.Condition("OLD.schema_name <> NEW.schema_name"),
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_open(self) -> bool:
        """Whether anyone may stand in this client."""
        return self.status == self.Status.ACTIVE

    @property
    def language(self) -> str:
        """The client's first language."""
        return str(self.languages[0]) if self.languages else "en"


class Domain(Row):
    """A host name that leads to one client."""

    client = models.ForeignKey(Client, models.CASCADE, related_name="domains")
    host = models.CharField(max_length=253, unique=True)
    is_primary = models.BooleanField(default=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(host__regex=r"^[a-z0-9.-]+$"), name="domain_host_is_lower_case"),
            models.UniqueConstraint(
                fields=["client"], condition=Q(is_primary=True), name="domain_one_primary_per_client"
            ),
        ]

    def __str__(self) -> str:
        return self.host


class SpareSchema(models.Model):
    """A schema with its role, made in advance. Onboarding takes one for good; its row goes when the client is there."""

    schema_name = models.CharField(max_length=63, primary_key=True)
    script_hash = models.CharField(max_length=64)
    made_at = models.DateTimeField(default=timezone.now)
    taken_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.schema_name


class Onboarding(Row):
    """One client on its way in: what was asked, how far it is, what came of it."""

    class State(models.TextChoices):
        DRAFT = "draft", _("Being filled in")
        WAITING = "waiting", _("Waiting")
        RUNNING = "running", _("Running")
        DONE = "done", _("Done")
        FAILED = "failed", _("Failed")

    provider = models.ForeignKey(Provider, models.PROTECT, related_name="onboardings")
    request = models.JSONField()
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    step = models.PositiveSmallIntegerField(default=0)
    error = models.TextField(blank=True)
    client = models.ForeignKey(Client, models.SET_NULL, null=True, related_name="onboardings")
    requested_by = models.UUIDField(null=True)
    requested_at = models.DateTimeField(default=timezone.now)
    begun_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.request.get('name')} ({self.state})"


class UserManager(BaseUserManager["User"]):
    """Users are found by e-mail, whatever its case."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """A user with a hashed password, or none that works."""
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(email=(username or "").lower())


class User(AbstractBaseUser, Row):
    """A person of the platform, a provider or a client's staff, known by e-mail."""

    email = models.EmailField(max_length=254, unique=True)
    name = models.CharField(max_length=100, blank=True)
    language = models.CharField(max_length=10, blank=True)
    is_active = models.BooleanField(default=True)
    joined_at = models.DateTimeField(default=timezone.now)

    USERNAME_FIELD = "email"
    objects = UserManager()

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(email=Lower("email")), name="user_email_is_lower_case")]

    def __str__(self) -> str:
        return self.name or self.email


class Role(models.TextChoices):
    """What a user may be, from the widest to the narrowest."""

    PLATFORM = "platform", _("Platform operator")
    PROVIDER = "provider", _("Provider staff")
    OWNER = "owner", _("Owner")
    MANAGER = "manager", _("Manager")
    CLERK = "clerk", _("Clerk")


class RoleGrant(Row):
    """A role of a user: over the platform, a provider's clients, one client, or one location."""

    user = models.ForeignKey(User, models.CASCADE, related_name="grants")
    role = models.CharField(max_length=10, choices=Role)
    provider = models.ForeignKey(Provider, models.CASCADE, null=True, blank=True, related_name="grants")
    client = models.ForeignKey(Client, models.CASCADE, null=True, blank=True, related_name="grants")
    location_id = models.UUIDField(null=True, blank=True)
    until = models.DateTimeField(null=True, blank=True)
    granted_by = models.UUIDField(null=True, blank=True)
    granted_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(role="platform", provider=None, client=None, location_id=None)
                | Q(role="provider", provider__isnull=False, client=None, location_id=None)
                | Q(role__in=["owner", "manager", "clerk"], provider=None, client__isnull=False),
                name="rolegrant_scope_fits_role",
            ),
            models.UniqueConstraint(
                fields=["user", "role", "provider", "client", "location_id"],
                nulls_distinct=False,
                name="rolegrant_given_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} {self.role}"


class Invitation(Row):
    """A one-time link that turns an e-mail address into a user with a role."""

    email = models.EmailField(max_length=254)
    role = models.CharField(max_length=10, choices=Role)
    provider = models.ForeignKey(Provider, models.CASCADE, null=True, related_name="invitations")
    client = models.ForeignKey(Client, models.CASCADE, null=True, related_name="invitations")
    token_hash = models.CharField(max_length=64, unique=True)
    invited_by = models.UUIDField(null=True)
    invited_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.email} as {self.role}"


class ApiKey(Row):
    """A machine's key to one client or one provider: a public prefix, the hash of a 256-bit secret, scopes."""

    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=16, unique=True)
    secret_hash = models.CharField(max_length=64)
    scopes = models.JSONField(default=list)
    provider = models.ForeignKey(Provider, models.CASCADE, null=True, related_name="api_keys")
    client = models.ForeignKey(Client, models.CASCADE, null=True, related_name="api_keys")
    location_id = models.UUIDField(null=True)
    created_by = models.UUIDField(null=True)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(provider=None, client__isnull=False) | Q(provider__isnull=False, client=None),
                name="apikey_for_one_client_or_one_provider",
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix})"


class AuditEvent(models.Model):
    """What someone did, chained by hash per client (or for the platform), never changed or deleted."""

    id = models.BigAutoField(primary_key=True)
    client = models.ForeignKey(Client, models.PROTECT, null=True, related_name="audit_events")
    sequence = models.PositiveBigIntegerField()
    action = models.CharField(max_length=60)
    actor = models.CharField(max_length=100)
    on_behalf_of = models.CharField(max_length=100, blank=True)
    subject = models.CharField(max_length=200, blank=True)
    detail = models.JSONField(default=dict)
    at = models.DateTimeField()
    previous_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["client", "sequence"], nulls_distinct=False, name="auditevent_sequence_has_no_fork"
            )
        ]
        triggers = append_only("auditevent")

    def __str__(self) -> str:
        return f"{self.sequence} {self.action}"

    @staticmethod
    def digest(*, previous_hash: str, content: str) -> str:
        """The chain's hash over the event before and this one's content."""
        return hashlib.sha256(f"{previous_hash}\n{content}".encode()).hexdigest()


class Brand(Row):
    """How the pages of one provider or one client look: tokens from short lists, never a style sheet of their own."""

    class Typeface(models.TextChoices):
        INTER = "inter", _("Inter")
        SYSTEM = "system", _("The device's own")
        SERIF = "serif", _("Serif")

    class Corners(models.TextChoices):
        SOFT = "soft", _("Soft")
        ROUND = "round", _("Round")
        SQUARE = "square", _("Square")

    provider = models.OneToOneField(Provider, models.CASCADE, null=True, related_name="brand")
    client = models.OneToOneField(Client, models.CASCADE, null=True, related_name="brand")
    accent = models.CharField(max_length=7, blank=True)
    typeface = models.CharField(max_length=10, choices=Typeface, default=Typeface.INTER)
    corners = models.CharField(max_length=10, choices=Corners, default=Corners.SOFT)
    # Always a PNG of our own making: uploads are decoded and drawn anew.
    logo = models.BinaryField(null=True)
    changed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(provider=None, client__isnull=False) | Q(provider__isnull=False, client=None),
                name="brand_of_one_provider_or_one_client",
            ),
            models.CheckConstraint(
                condition=Q(accent="") | Q(accent__regex=r"^#[0-9a-f]{6}$"), name="brand_accent_is_a_colour"
            ),
        ]

    def __str__(self) -> str:
        return self.accent or "default"


class Lockout(Row):
    """Tries counted against a limit: the PIN of a clerk, of a device, of a day at a shop; a code; a link by mail."""

    client = models.ForeignKey(Client, models.CASCADE, null=True, related_name="lockouts")
    subject = models.CharField(max_length=120)
    tries = models.PositiveIntegerField(default=0)
    level = models.PositiveSmallIntegerField(default=0)
    since = models.DateTimeField()
    locked_until = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["client", "subject"], nulls_distinct=False, name="lockout_counts_a_subject_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.subject}: {self.tries}"


class WaitingClient(models.Model):
    """A hint that a client has purchases to credit; written by `note_work()` under the client's own role."""

    schema_name = models.CharField(max_length=63, primary_key=True)
    since = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.schema_name


class KpiDay(Row):
    """One client's figures at the end of one local day; what the console reads instead of client schemas."""

    client = models.ForeignKey(Client, models.CASCADE, related_name="kpi_days")
    day = models.DateField()
    members = models.PositiveIntegerField(default=0)
    new_members = models.PositiveIntegerField(default=0)
    active_members = models.PositiveIntegerField(default=0)
    sales = models.PositiveIntegerField(default=0)
    # Of the sales, those to members who had bought on an earlier day.
    repeat_sales = models.PositiveIntegerField(default=0)
    returns = models.PositiveIntegerField(default=0)
    revenue = models.BigIntegerField(default=0)
    repeat_revenue = models.BigIntegerField(default=0)
    earned = models.BigIntegerField(default=0)
    reversed = models.BigIntegerField(default=0)
    spent = models.BigIntegerField(default=0)
    outstanding = models.BigIntegerField(default=0)
    # What members hold, valued as money in minor units of the client's currency.
    liability = models.BigIntegerField(default=0)
    redemptions = models.PositiveIntegerField(default=0)
    last_sale_at = models.DateTimeField(null=True)
    waiting = models.PositiveIntegerField(default=0)
    parked = models.PositiveIntegerField(default=0)
    counted_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["client", "day"], name="kpiday_once_per_client_and_day")]

    def __str__(self) -> str:
        return f"{self.client_id} {self.day}"


class LedgerCheck(models.Model):
    """What the last proof of a client's books found: how many laws were asked, and which did not hold, by name."""

    client = models.OneToOneField(Client, models.CASCADE, primary_key=True, related_name="ledger_check")
    checked_at = models.DateTimeField()
    checks = models.PositiveSmallIntegerField()
    # Name of the law to the number of rows that break it; never their content.
    broken = models.JSONField(default=dict)
    entries = models.PositiveBigIntegerField(default=0)
    milliseconds = models.PositiveIntegerField(default=0)
    # When the books last held in every respect.
    held_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.client_id} {len(self.broken)}"


class SchemaScript(models.Model):
    """What makes a client's schema in one message, by the hash of the migrations it stands for; the owner's alone."""

    hash = models.CharField(max_length=64, primary_key=True)
    script = models.TextField()
    rights = models.TextField()
    made_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.hash
