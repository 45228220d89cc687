"""Lists come in pages behind a cursor, newest first."""

import base64
import binascii
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _
from rest_framework import serializers
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response

from loyalty_saas.api.fields import Input

PAGE = 50
LONGEST_PAGE = 200


class Cursor(serializers.CharField):
    """Where the next page begins, as the page before said; nothing for callers to read."""

    default_error_messages = {"cursor": _("This cursor is not one that we gave.")}

    def to_internal_value(self, data: Any) -> UUID:  # type: ignore[override]
        try:
            return UUID(bytes=base64.urlsafe_b64decode(f"{data}=="))
        except (ValueError, binascii.Error):
            self.fail("cursor")

    @staticmethod
    def written(row_id: UUID) -> str:
        """The cursor of the page that comes after a row."""
        return base64.urlsafe_b64encode(row_id.bytes).decode().rstrip("=")


class Listing(Input):
    """How every list is asked for."""

    limit = serializers.IntegerField(
        min_value=1, max_value=LONGEST_PAGE, default=PAGE, help_text="Rows on a page."
    )
    cursor = Cursor(required=False, max_length=30, help_text="`next_cursor` of the page before.")


class NewestFirst(BasePagination):
    """Up to 200 rows, 50 unless asked, by the time-ordered id: a page costs the same however far down it is."""

    def __init__(self) -> None:
        self.next_cursor: str | None = None

    def paginate_queryset(self, queryset: QuerySet[Any], request: Request, view: Any = None) -> list[Any]:
        """The rows of the page that the request asks for. :raises ValidationError: naming the parameter that is wrong"""
        form = Listing(data={k: v for k, v in request.query_params.items() if k in {"limit", "cursor"}})
        form.is_valid(raise_exception=True)
        return self.rows(queryset, **form.validated_data)

    def rows(self, queryset: QuerySet[Any], *, limit: int, cursor: UUID | None = None) -> list[Any]:
        """So many rows after a cursor; sets `next_cursor`."""
        after = queryset.filter(pk__lt=cursor) if cursor else queryset
        found = list(after.order_by("-pk")[: limit + 1])
        self.next_cursor = Cursor.written(found[limit - 1].pk) if len(found) > limit else None
        return found[:limit]

    def get_paginated_response(self, data: Any) -> Response:
        """The page with the way to the next."""
        return Response({"results": data, "next_cursor": self.next_cursor})


def page_shape(row: type[serializers.Serializer[Any]]) -> type[serializers.Serializer[Any]]:
    """The documented shape of a page of such rows."""
    fields = {
        "results": row(many=True),
        "next_cursor": serializers.CharField(
            allow_null=True, help_text="Give it as `cursor` for the next page; null on the last."
        ),
        "__doc__": f"A page of {row.__name__}, newest first.",
        "__module__": row.__module__,
    }
    return type(f"{row.__name__}Page", (serializers.Serializer,), fields)


