"""Purchases as they come in and go out."""

from typing import Any

from rest_framework import serializers

from loyalty_saas.api.fields import OPTIONAL, Amount, Choice, Input, Moment, Price, Quantity, Text, Truth, Whole
from loyalty_saas.api.pages import Listing, page_shape
from loyalty_saas.api.points import EntryShape, TraceShape
from members.models import Purchase

Kind = Purchase.Kind
WAITING, CREDITED, SET_ASIDE = "waiting", "credited", "set_aside"

# ── what comes in ───────────────────────────────────────────────────────────────────────────────────────────────────


class Line(Input):
    """One line. Give `amount`, or `unit_price` and it is quantity × unit price − discount, rounded half up."""

    sku = Text(max_length=64, allow_blank=True, **OPTIONAL)
    quantity = Quantity(help_text="How many or how much; positive for returns as well.")
    unit_price = Price(help_text="Minor units.", **OPTIONAL)
    discount = Amount(help_text="Minor units off the whole line.", **OPTIONAL)
    amount = Amount(signed=True, help_text="Minor units, net of the discount.", **OPTIONAL)
    category = Text(max_length=64, allow_blank=True, help_text="Unless given, that of the catalogue.", **OPTIONAL)
    earning = Truth(help_text="false for gift cards and the like: no points.", **OPTIONAL)
    position = Whole(
        min_value=1, max_value=1000, help_text="Of a return that names its sale: which line of it.", **OPTIONAL
    )


class SaleForPreview(Input):
    """A sale that has not happened yet."""

    member = Text(max_length=254, help_text="Id, number or any identifier.")
    location = Text(max_length=50, help_text="The location's code.", **OPTIONAL)
    channel = Text(max_length=20, **OPTIONAL)
    currency = Text(min_length=3, max_length=3, help_text="The client's, if given.", **OPTIONAL)
    amount = Amount(help_text="Minor units; with lines it must be their sum.", **OPTIONAL)
    paid_by_points = Amount(
        help_text="How much of a sale was paid with points or money of the program, in minor units; that part earns "
        "only if the program says so. Unless given, what the `redemptions` of money off are worth.",
        **OPTIONAL,
    )
    redemptions = serializers.ListField(
        child=serializers.UUIDField(),
        max_length=20,
        help_text="Rewards used on a sale, reserved or issued: their points go back with what comes back of it.",
        **OPTIONAL,
    )
    occurred_at = Moment(help_text="Now, unless given; at most five minutes ahead.", **OPTIONAL)
    lines = Line(many=True, max_length=500, **OPTIONAL)  # type: ignore[call-arg]


class NewPurchase(SaleForPreview):
    """
    A sale, return or void as the shop sees it, in positive figures.

    A return names its sale by document where it can, and may then leave out amounts; without lines it takes all that
    is left. One that comes before its sale waits for it, and gives its amounts: for each line, or for all of the sale.
    A void names its sale and takes all of it.
    """

    kind = Choice(choices=Kind.values)
    document = Text(max_length=64, help_text="The receipt's number: counts once per kind and location.")
    terminal = Text(max_length=64, **OPTIONAL)
    sale = Text(max_length=64, help_text="The document of the sale that comes back.", **OPTIONAL)


class PurchaseListing(Listing):
    """Which purchases."""

    member = Text(required=False, max_length=254, help_text="Of this member: id, number or any identifier.")
    document = Text(required=False, max_length=64)
    kind = Choice(required=False, choices=Kind.values)


# ── what goes out ───────────────────────────────────────────────────────────────────────────────────────────────────


class CreditShape(serializers.Serializer[Any]):
    """So much of a unit, in its smallest step."""

    unit = serializers.CharField()
    amount = serializers.IntegerField()

    class Meta:
        ref_name = "Credit"


class ReceiptShape(serializers.Serializer[Any]):
    """The answer to a purchase."""

    id = serializers.UUIDField()
    kind = serializers.ChoiceField(choices=Kind.values)
    document = serializers.CharField()
    member = serializers.UUIDField()
    occurred_at = serializers.DateTimeField()
    credits = CreditShape(many=True, help_text="What the sale will bring, as the rules stand now.")
    points_follow = serializers.BooleanField(
        help_text="Accepted, but the workers could not be told: the points follow a little later."
    )
    repeated = serializers.BooleanField(help_text="This document was recorded before and counts once.")
    waits_for_sale = serializers.BooleanField(
        help_text="The sale that this return names has not arrived: its points are taken back when it does."
    )

    class Meta:
        ref_name = "Receipt"


class PreviewShape(serializers.Serializer[Any]):
    """What a sale would bring, and why."""

    member = serializers.UUIDField()
    credits = CreditShape(many=True)
    traces = TraceShape(many=True)

    class Meta:
        ref_name = "Preview"


class LineShape(serializers.Serializer[Any]):
    """One line as recorded; what came back is negative."""

    position = serializers.IntegerField()
    sku = serializers.CharField()
    category = serializers.CharField()
    quantity = serializers.DecimalField(max_digits=14, decimal_places=3)
    unit_price = serializers.DecimalField(max_digits=16, decimal_places=4, allow_null=True)
    discount = serializers.IntegerField()
    amount = serializers.IntegerField()
    earning = serializers.BooleanField()
    returned = serializers.DecimalField(max_digits=14, decimal_places=3, help_text="How much of it has come back.")

    class Meta:
        ref_name = "PurchaseLine"


class PurchaseShape(serializers.Serializer[Any]):
    """A purchase as recorded; returns and voids are negative."""

    id = serializers.UUIDField()
    kind = serializers.ChoiceField(choices=Kind.values)
    document = serializers.CharField()
    sale = serializers.CharField(allow_null=True, help_text="The document of the sale that it takes back.")
    waits_for_sale = serializers.BooleanField(help_text="Something of this return has not found its sale yet.")
    member = serializers.UUIDField()
    location = serializers.CharField(allow_null=True)
    terminal = serializers.CharField()
    channel = serializers.CharField()
    source = serializers.CharField()  # type: ignore[assignment]
    currency = serializers.CharField()
    amount = serializers.IntegerField()
    paid_by_points = serializers.IntegerField(help_text="How much of the amount points or rewards paid.")
    occurred_at = serializers.DateTimeField()
    received_at = serializers.DateTimeField()
    credit = serializers.ChoiceField(choices=[WAITING, CREDITED, SET_ASIDE], help_text="Whether its points are there.")

    class Meta:
        ref_name = "Purchase"


class WholePurchaseShape(PurchaseShape):
    """A purchase with its lines, what it moved, and why."""

    lines = LineShape(many=True)
    entries = EntryShape(many=True)
    traces = TraceShape(many=True)

    class Meta:
        ref_name = "PurchaseWithLines"


PurchasePage = page_shape(PurchaseShape)
