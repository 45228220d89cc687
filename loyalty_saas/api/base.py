"""What all views of the API share: reading, writing, who asks, and how an operation describes itself."""

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast
from uuid import UUID

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import MethodNotAllowed, NotFound
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.encoders import JSONEncoder
from rest_framework.views import APIView

from loyalty_saas.api import journal
from loyalty_saas.api.pages import Listing, NewestFirst
from tenants.context import public_atomic
from tenants.models import ApiKey, Client
from tenants.services import audit

Body = dict[str, Any]
Shape = type[serializers.Serializer[Any]]
Form = serializers.Serializer[Any]
M = TypeVar("M", bound=Callable[..., Response])


class ApiRequest(Request):
    """A request that has passed the door: by a key, on a client's host or (client None) on the platform's."""

    client: Client
    auth: ApiKey


class JsonAlone(BaseContentNegotiation):
    """The answer is JSON, whatever the caller would rather have."""

    def select_parser(self, request: Request, parsers: Sequence[BaseParser]) -> BaseParser | None:  # type: ignore[override]
        media_type = (request.content_type or "").partition(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == media_type), None)

    def select_renderer(  # type: ignore[override]
        self, request: Request, renderers: Sequence[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        return renderers[0], str(renderers[0].media_type)


class ApiView(APIView):
    """A view that says no to a method before it asks for a key, and reads and writes JSON."""

    http_method_names = ["get", "head", "post", "put", "patch", "delete"]
    content_negotiation_class = JsonAlone
    is_logged = True

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Answer, and have a line written of it afterwards."""
        at, began = journal.now()
        response: HttpResponseBase = super().dispatch(request, *args, **kwargs)
        if self.is_logged:
            journal.attend(request, response, view=self, began=began, at=at)
        return response

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """:raises MethodNotAllowed: before anything else"""
        method = (request.method or "").lower()
        if method not in self.http_method_names or not hasattr(self, method):
            raise MethodNotAllowed(str(request.method))
        super().initial(request, *args, **kwargs)


def body_of(request: Request, form: Form) -> Body:
    """The body as `form` reads it; `form` is shared, since making one costs more than using it."""
    return cast(Body, form.run_validation(request.data))


def query_of(request: Request, form: Form) -> Body:
    """The query as `form` reads it; a parameter it does not know is refused."""
    return cast(Body, form.run_validation(request.query_params.dict()))


def page(
    request: Request, form: Form, rows: Callable[[Body], Any], row: Callable[[Sequence[Any]], list[Body]]
) -> Response:
    """A page of the query set that `rows` makes of the query, each page written by `row`."""
    asked = query_of(request, form)
    paginator, limit, cursor = NewestFirst(), asked.pop("limit"), asked.pop("cursor", None)
    found = paginator.rows(rows(asked), limit=limit, cursor=cursor)
    return paginator.get_paginated_response(row(found))


def in_order(value: Any) -> Any:
    """The value with the keys of every object in order, as it will be read back from where it is kept."""
    if isinstance(value, dict):
        return {key: in_order(value[key]) for key in sorted(value)}
    return [in_order(one) for one in value] if isinstance(value, list) else value


def plain(body: Body) -> Body:
    """The body in JSON's own types, in order."""
    made: Body = json.loads(json.dumps(body, cls=JSONEncoder, sort_keys=True))
    return made


def an_id(text: str) -> UUID:
    """An id from a path. :raises NotFound: if it is none"""
    try:
        return UUID(text)
    except ValueError:
        raise NotFound(_("There is nothing with this id.")) from None


def nothing() -> NotFound:
    """That there is no such thing, whether it is another client's or nobody's."""
    return NotFound(_("There is nothing with this id."))


def note(request: ApiRequest, *, action: str, at: Any, subject: str = "", detail: Body | None = None) -> None:
    """Write down what a key has done."""
    with public_atomic():
        audit.record(
            action=action,
            actor=f"key:{request.auth.prefix}",
            client=request.client,
            subject=subject,
            detail=detail,
            at=at,
        )


KEY_HEADER = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"},
    OpenApiParameter.HEADER,
    required=True,
    description="Your own name for this request: sent again with the same body, it has no second effect and gets the"
    " same answer.",
)
REPLAYED_HEADER = OpenApiParameter(
    "Idempotency-Replayed",
    {"type": "string", "enum": ["true"]},
    OpenApiParameter.HEADER,
    response=True,
    description="Present when this answer was given before under the same Idempotency-Key.",
)
MEMBER_IN_PATH = OpenApiParameter(
    "member",
    {"type": "string", "minLength": 1, "maxLength": 254},
    OpenApiParameter.PATH,
    description="The member's id, number, or any identifier (phone, e-mail, card, POS id), URL-encoded.",
)


def id_in_path(name: str, of: str) -> OpenApiParameter:
    """The id of something in a path."""
    return OpenApiParameter(
        name, {"type": "string", "format": "uuid"}, OpenApiParameter.PATH, description=f"The id of the {of}."
    )


def operation(
    summary: str,
    *,
    name: str,
    gives: Shape | dict[int, Shape],
    takes: Shape | None = None,
    query: type[Listing] | Shape | None = None,
    path: Sequence[OpenApiParameter] = (),
    keyed: bool = False,
    refuses: Sequence[str] = (),
) -> Callable[[M], M]:
    """
    Describe an operation: what it takes and gives, and the codes of its own refusals.

    `keyed` operations ask for an Idempotency-Key. The problems that every operation can have are added to these.
    """
    own = ("key_missing", "key_reused", "in_flight", *refuses) if keyed else tuple(refuses)
    shapes = gives if isinstance(gives, dict) else {200: gives}
    parameters: list[Any] = [*path, *([query] if query else []), *([KEY_HEADER, REPLAYED_HEADER] if keyed else [])]
    return extend_schema(
        operation_id=name,
        summary=summary,
        request=takes,
        parameters=parameters,
        responses={status: OpenApiResponse(shape, description=_SAYS[status]) for status, shape in shapes.items()},
        extensions={"x-refuses": list(own)},
    )


_SAYS = {200: "Done.", 201: "Made.", 202: "Begun; it goes on in the background."}
