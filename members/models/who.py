"""Who the members are: identity, consents, households, cards."""

import pgtrigger
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from tenants.models import ClientRow, Row


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


class Household(ClientRow, Row):
    """Members who spend together: what one of them lacks comes from the others."""

    name = models.CharField(max_length=100)
    made_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.name


class HouseholdMember(ClientRow, Row):
    """A member's time in a household; one at a time."""

    household = models.ForeignKey(Household, models.CASCADE, related_name="memberships")
    member = models.ForeignKey(Member, models.CASCADE, db_index=False, related_name="households")
    joined_at = models.DateTimeField()
    left_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["member"], condition=Q(left_at=None), name="householdmember_in_one_household_at_a_time"
            )
        ]

    def __str__(self) -> str:
        return f"{self.joined_at:%Y-%m-%d}"


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
