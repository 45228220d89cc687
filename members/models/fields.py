"""Columns that several tables share."""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.db import models


def quantity_field(**options: Any) -> "models.DecimalField[Decimal | int, Decimal]":
    """A quantity of pieces, kilograms or days, in thousandths at most."""
    return models.DecimalField(max_digits=14, decimal_places=3, **options)


if TYPE_CHECKING:
    ListField = models.Field[list[int], list[int]]
else:
    ListField = models.Field


class BigIntegers(ListField):
    """A PostgreSQL bigint[]; django.contrib.postgres would query the database whenever a connection opens."""

    # As the migrations name it.
    __module__ = "members.models"

    def db_type(self, connection: Any) -> str:
        return "bigint[]"
