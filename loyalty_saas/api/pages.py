"""Lists come in pages behind a cursor, newest first."""

import base64
import binascii
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.utils.translation import gettext as _
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response

from loyalty_saas.api.fields import Input, Text

PAGE = 50
LONGEST_PAGE = 200


def cursor_after(row_id: UUID) -> str:
    """The cursor of the page that comes after a row; nothing for callers to read."""
    return base64.urlsafe_b64encode(row_id.bytes).decode().rstrip("=")


def row_before(cursor: str) -> UUID:
    """The row after which a page begins. :raises ValidationError: for a cursor that we did not give"""
    try:
        return UUID(bytes=base64.urlsafe_b64decode(f"{cursor}=="))
    except (ValueError, binascii.Error):
        raise ValidationError({"cursor": [_("This cursor is not one that we gave.")]}) from None


class Listing(Input):
    """How every list is asked for."""

    limit = serializers.IntegerField(min_value=1, max_value=LONGEST_PAGE, default=PAGE, help_text="Rows on a page.")
    cursor = Text(required=False, max_length=30, help_text="`next_cursor` of the page before.")


class NewestFirst(BasePagination):
    """Up to 200 rows, 50 unless asked, by the time-ordered id: a page costs the same however far down it is."""

    def __init__(self) -> None:
        self.next_cursor: str | None = None

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        """The rows of the page that the request asks for. :raises ValidationError: naming the wrong parameter"""
        form = Listing(data={k: v for k, v in request.query_params.items() if k in {"limit", "cursor"}})
        form.is_valid(raise_exception=True)
        return self.rows(queryset, **form.validated_data)

    def rows(self, queryset: QuerySet[Any], *, limit: int, cursor: str | None = None) -> list[Any]:
        """So many rows after a cursor; sets `next_cursor`."""
        after = queryset.filter(pk__lt=row_before(cursor)) if cursor else queryset
        found = list(after.order_by("-pk")[: limit + 1])
        self.next_cursor = cursor_after(found[limit - 1].pk) if len(found) > limit else None
        return found[:limit]

    def get_paginated_response(self, data: Any) -> Response:
        """The page with the way to the next."""
        return Response({"results": data, "next_cursor": self.next_cursor})


def page_shape(row: type[serializers.Serializer[Any]]) -> type[serializers.Serializer[Any]]:
    """The documented shape of a page of such rows."""
    name = f"{row.Meta.ref_name}Page"  # type: ignore[attr-defined]
    fields = {
        "results": row(many=True),
        "next_cursor": serializers.CharField(
            allow_null=True, help_text="Give it as `cursor` for the next page; null on the last."
        ),
        "__doc__": "A page, newest first.",
        "__module__": row.__module__,
    }
    return type(name, (serializers.Serializer,), fields)
