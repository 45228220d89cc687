"""Errors as problem+json (RFC 9457): one table says what can go wrong, and nothing of the inside shows."""

from dataclasses import dataclass
from typing import Any

import structlog
from django.core.exceptions import PermissionDenied
from django.db.utils import IntegrityError, InterfaceError, OperationalError
from django.http import Http404
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from drf_standardized_errors.formatter import ExceptionFormatter, flatten_errors
from drf_standardized_errors.handler import exception_handler
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.response import Response

from members.services.points import NotEnoughPoints
from members.services.refusals import Refused
from programs.queries import NoProgram
from programs.services.publishing import ProgramError
from tenants.services.onboarding import OnboardingRefused

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
TYPE_BASE = "/api/v1/problems/"
REFUSED = 422


@dataclass(frozen=True)
class Kind:
    """One kind of problem: its status and what it is called."""

    status: int
    title: str | Promise


PROBLEMS: dict[str, Kind] = {
    "invalid": Kind(400, gettext_lazy("The request has wrong fields")),
    "parse_error": Kind(400, gettext_lazy("The body cannot be read")),
    "key_missing": Kind(400, gettext_lazy("An Idempotency-Key is needed")),
    "not_authenticated": Kind(401, gettext_lazy("An API key is needed")),
    "authentication_failed": Kind(401, gettext_lazy("The API key is not accepted")),
    "permission_denied": Kind(403, gettext_lazy("The API key lacks the scope")),
    "other_location": Kind(403, gettext_lazy("The API key is for another location")),
    "not_found": Kind(404, gettext_lazy("There is no such thing here")),
    "unknown_member": Kind(404, gettext_lazy("There is no such member")),
    "unknown_purchase": Kind(404, gettext_lazy("There is no such sale")),
    "unknown_reward": Kind(404, gettext_lazy("There is no such reward")),
    "unknown_redemption": Kind(404, gettext_lazy("There is no such redemption")),
    "unknown_household": Kind(404, gettext_lazy("There is no such household")),
    "method_not_allowed": Kind(405, gettext_lazy("This cannot be done here")),
    "receipt_conflict": Kind(409, gettext_lazy("Recorded already with other content")),
    "over_return": Kind(409, gettext_lazy("More would come back than was sold")),
    "identifier_taken": Kind(409, gettext_lazy("Another member has the identifier")),
    "hold_settled": Kind(409, gettext_lazy("The hold is not open any more")),
    "not_enough_points": Kind(409, gettext_lazy("Not enough points")),
    "no_program": Kind(409, gettext_lazy("No program is published")),
    "in_flight": Kind(409, gettext_lazy("The same request is being worked on")),
    "conflict": Kind(409, gettext_lazy("Somebody changed this at the same moment")),
    "client_closed": Kind(409, gettext_lazy("The client is closed")),
    "too_large": Kind(413, gettext_lazy("The body is too large")),
    "unsupported_media_type": Kind(415, gettext_lazy("The body is not JSON")),
    "refused": Kind(422, gettext_lazy("The request is refused")),
    "key_reused": Kind(422, gettext_lazy("The Idempotency-Key came with another request")),
    "unknown_location": Kind(422, gettext_lazy("There is no such location")),
    "unknown_unit": Kind(422, gettext_lazy("There is no such unit")),
    "wrong_currency": Kind(422, gettext_lazy("Not the client's currency")),
    "amount_mismatch": Kind(422, gettext_lazy("The amount is not the sum of the lines")),
    "amount_missing": Kind(422, gettext_lazy("An amount is missing")),
    "too_much": Kind(422, gettext_lazy("The amount is too large")),
    "in_the_future": Kind(422, gettext_lazy("This has not happened yet")),
    "program_invalid": Kind(422, gettext_lazy("The program is not sound")),
    "error": Kind(500, gettext_lazy("Something went wrong on our side")),
    "unavailable": Kind(503, gettext_lazy("Not available at the moment")),
}


def status_of(code: str) -> int:
    """The HTTP status of a problem; a refusal without a line in the table is the caller's mistake in a field."""
    kind = PROBLEMS.get(code)
    return kind.status if kind else REFUSED


class Problem(APIException):
    """A refusal on its way out; `fields` names each wrong field with its code and words."""

    def __init__(
        self, code: str, detail: str, *, field: str = "", fields: list[dict[str, str]] | None = None, wait: int = 0
    ) -> None:
        self.status_code = status_of(code)
        self.code = code
        self.fields = fields or ([{"field": field, "code": code, "detail": detail}] if field else [])
        self.wait = wait
        super().__init__(detail=detail, code=code)


def handle(error: Exception, context: dict[str, Any]) -> Response | None:
    """The answer to any exception of a view, as ``application/problem+json``."""
    response: Response | None = exception_handler(_translated(error), context)
    if response is not None:
        response.content_type = MEDIA_TYPE
    return response


def _translated(error: Exception) -> Exception:
    if isinstance(error, Refused):
        return Problem(error.code, error.words, field=error.field, wait=int(error.code == "in_flight"))
    if isinstance(error, NotEnoughPoints):
        return Problem("not_enough_points", _("Only %(available)s are available.") % {"available": error.available})
    if isinstance(error, NoProgram):
        return Problem("no_program", _("This client has not published a program yet."))
    if isinstance(error, ProgramError):
        fields = [{"field": p.path, "code": "invalid", "detail": str(p)} for p in error.problems]
        return Problem("program_invalid", fields[0]["detail"], fields=fields)
    if isinstance(error, OnboardingRefused):
        fields = [{"field": name, "code": "refused", "detail": words} for name, words in error.problems.items()]
        return Problem("refused", fields[0]["detail"], fields=fields)
    if isinstance(error, APIException | Http404 | PermissionDenied):
        return error
    return _from_below(error)


def _from_below(error: Exception) -> Problem:
    """What no service foresaw; only the log says what it was."""
    if isinstance(error, OperationalError | InterfaceError):
        log.warning("api.unavailable", reason=type(error).__name__)
        return Problem("unavailable", _("The database cannot be reached; try again in a moment."), wait=1)
    log.error("api.failed", exc_info=error)
    if isinstance(error, IntegrityError):
        return Problem("conflict", _("Somebody changed the same thing at the same moment; look at it and try again."))
    return Problem("error", _("It has been written down."))


class ProblemFormatter(ExceptionFormatter):
    """RFC 9457 with a stable type URI and, for each wrong field, its name and the rule it broke."""

    def run(self) -> dict[str, Any]:
        """The body of the answer."""
        code, fields = self._what()
        kind = PROBLEMS.get(code) or Kind(self.exc.status_code, code.replace("_", " ").capitalize())
        body: dict[str, Any] = {
            "type": f"{TYPE_BASE}{code}",
            "title": str(kind.title),
            "status": self.exc.status_code,
            "code": code,
            "detail": _in_a_sentence(fields) if isinstance(self.exc, ValidationError) else str(self.exc.detail),
        }
        if fields:
            body["errors"] = fields
        if self.exc.status_code >= 500 and (request_id := structlog.contextvars.get_contextvars().get("request_id")):
            body["request_id"] = str(request_id)
        return body

    def _what(self) -> tuple[str, list[dict[str, str]]]:
        if isinstance(self.exc, Problem):
            return self.exc.code, self.exc.fields
        if isinstance(self.exc, ValidationError):
            found = flatten_errors(self.exc.detail)
            return "invalid", [{"field": e.attr or "", "code": e.code, "detail": e.detail} for e in found]
        return str(getattr(self.exc.detail, "code", "error")), []


def _in_a_sentence(fields: list[dict[str, str]]) -> str:
    first = fields[0]
    return f"{first['field']}: {first['detail']}" if first["field"] else first["detail"]
