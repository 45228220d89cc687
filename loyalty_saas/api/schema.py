"""The OpenAPI description: every operation names its scope and the problems it can answer with."""

from functools import lru_cache
from typing import Any

from django.urls import include, path
from django.utils import translation
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.settings import patched_settings
from rest_framework import serializers

from loyalty_saas.api.fields import Input
from loyalty_saas.api.problems import MEDIA_TYPE, PROBLEMS
from tenants.access import Actor, access_of

CLIENT, PLATFORM = "client", "platform"
# Each field says itself which words it knows.
_WITHOUT_ENUM_COMPONENTS: dict[str, Any] = {"POSTPROCESSING_HOOKS": [], "ENUM_GENERATE_CHOICE_DESCRIPTION": False}
_ABOUT: dict[str, dict[str, str]] = {
    CLIENT: {
        "TITLE": "Loyalty API",
        "DESCRIPTION": "Members, purchases, points and rewards of one client, on the client's own host."
        " Amounts are whole minor units of the client's currency; points are whole smallest steps of their unit.",
    },
    PLATFORM: {
        "TITLE": "Loyalty provider API",
        "DESCRIPTION": "A provider's clients and their daily figures, on the platform's host.",
    },
}


class FieldProblem(serializers.Serializer[Any]):
    """One wrong field of a request."""

    field = serializers.CharField(help_text="Where it stands: `lines.0.quantity`, `rules[2].effect.per`.")
    code = serializers.CharField(help_text="What rule it broke; does not change.")
    detail = serializers.CharField(help_text="The rule in a sentence, in the caller's language.")


class ProblemDetails(serializers.Serializer[Any]):
    """What went wrong, as RFC 9457 describes it."""

    type = serializers.CharField(help_text="A stable URI of the kind of problem, ending in its code.")
    title = serializers.CharField(help_text="The kind of problem in a few words.")
    status = serializers.IntegerField(help_text="The HTTP status.")
    code = serializers.CharField(help_text="The kind of problem; does not change.")
    detail = serializers.CharField(help_text="What went wrong this time, in the caller's language.")
    errors = FieldProblem(many=True, required=False, help_text="Each wrong field.")  # type: ignore[assignment]
    request_id = serializers.CharField(required=False, help_text="To quote when asking us about a 5xx.")

    class Meta:
        ref_name = "Problem"


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How a key is sent, and the scope that an operation asks of it."""

    target_class = "tenants.authentication.ApiKeyAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        """A bearer token."""
        words = "An API key, `lk_<prefix>_<secret>`, of this client (or provider); each operation names its scope."
        return {"type": "http", "scheme": "bearer", "description": words}

    def get_security_requirement(self, auto_schema: AutoSchema) -> dict[str, list[str]]:
        """The scope by the method."""
        return {self.name: [access_of(auto_schema.view).scopes[auto_schema.method]]}


class ProblemSchema(AutoSchema):
    """drf-spectacular's view of an operation, with our problems added."""

    def get_operation(self, *args: Any, **kwargs: Any) -> Any:
        """The operation with its documented errors."""
        operation = super().get_operation(*args, **kwargs)
        if operation is not None:
            own = operation.pop("x-refuses", [])
            for status, codes in _by_status([*_general(operation, self.view), *own]).items():
                operation["responses"][str(status)] = self._problem(codes)
            operation["responses"] = dict(sorted(operation["responses"].items()))
        return operation

    def get_auth(self) -> list[dict[str, Any]]:
        """The key with its scope, unless anyone may call."""
        return [] if Actor.ANYONE in access_of(self.view).actors else super().get_auth()

    def get_tags(self) -> list[str]:
        """The noun in the path."""
        return [self._tokenize_path()[0]]

    def _map_basic_serializer(self, serializer: Any, direction: Any) -> Any:
        schema = super()._map_basic_serializer(serializer, direction)  # type: ignore[no-untyped-call]
        if isinstance(serializer, Input):
            schema["additionalProperties"] = False
        return schema

    def _problem(self, codes: list[str]) -> dict[str, Any]:
        shape = self.resolve_serializer(ProblemDetails(), "response").ref
        words = "\n".join(f"- `{code}`: {PROBLEMS[code].title}." for code in codes)
        return {"description": words, "content": {MEDIA_TYPE: {"schema": shape}}}

    def _get_serializer_name(self, serializer: Any, direction: Any, bypass_extensions: bool = False) -> str:
        meta = getattr(serializer, "Meta", None)
        return getattr(meta, "ref_name", None) or super()._get_serializer_name(serializer, direction, bypass_extensions)


def _general(operation: dict[str, Any], view: Any) -> list[str]:
    """What can go wrong with any operation that looks like this one."""
    asks = {parameter["in"] for parameter in operation.get("parameters", [])}
    codes = ["method_not_allowed", "unavailable"]
    if operation.get("security"):
        codes += ["not_authenticated", "authentication_failed", "permission_denied"]
    if "path" in asks:
        codes.append("not_found")
    if "query" in asks or "requestBody" in operation:
        codes.append("invalid")
    if "requestBody" in operation:
        codes += ["parse_error", "too_large", "unsupported_media_type"]
    return codes


def _by_status(codes: list[str]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for code in dict.fromkeys(codes):
        found.setdefault(PROBLEMS[code].status, []).append(code)
    return dict(sorted(found.items()))


@lru_cache(maxsize=2)
def described(face: str) -> dict[str, Any]:
    """The description of the client's or the platform's API, in English."""
    patterns = [path("api/", include(f"loyalty_saas.api.urls.{face}"))]
    with patched_settings({**_ABOUT[face], **_WITHOUT_ENUM_COMPONENTS}), translation.override("en"):
        generator: Any = SchemaGenerator
        schema: dict[str, Any] = generator(patterns=patterns).get_schema(public=True)
    return schema
