"""What stands beside the nouns: the description of the API, and the answer to addresses that are none."""

from functools import lru_cache
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import Resolver404, resolve
from django.utils.translation import gettext as _
from drf_spectacular.renderers import OpenApiJsonRenderer, OpenApiYamlRenderer
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from loyalty_saas.api.base import ApiView
from loyalty_saas.api.problems import PROBLEMS
from loyalty_saas.api.schema import described
from tenants.access import Actor, admits

JSON, YAML = "application/vnd.oai.openapi+json", "application/vnd.oai.openapi"


@lru_cache(maxsize=4)
def description(face: str, media_type: str) -> bytes:
    """The description of an API as JSON or YAML."""
    renderer: Any = OpenApiYamlRenderer() if media_type == YAML else OpenApiJsonRenderer()
    written: bytes = renderer.render(described(face), renderer_context={})
    return written


@admits(Actor.ANYONE)
class Description(ApiView):
    """The OpenAPI description of the API on this host, as JSON or, with ``?format=yaml``, as YAML."""

    schema = None
    authentication_classes = ()
    is_logged = False
    face = "client"

    def get(self, request: Request) -> HttpResponse:
        wanted = request.query_params.get("format") or request.META.get("HTTP_ACCEPT", "")
        media_type = YAML if "yaml" in wanted else JSON
        return HttpResponse(description(self.face, media_type), content_type=f"{media_type}; charset=utf-8")


@admits(Actor.ANYONE)
class ProblemMeaning(ApiView):
    """What the `type` of a problem leads to: its code, its status and what it is called."""

    schema = None
    authentication_classes = ()
    is_logged = False

    def get(self, request: Request, code: str) -> Response:
        """:raises NotFound: for a code that no problem has"""
        kind = PROBLEMS.get(code)
        if kind is None:
            raise NotFound(_("There is nothing at this address."))
        return Response({"code": code, "status": kind.status, "title": str(kind.title)})


@admits(Actor.ANYONE)
class Elsewhere(ApiView):
    """Any other address under /api/: the one without its last slash, if that is one, or a problem."""

    schema = None
    authentication_classes = ()

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Answer as the address without the slash would."""
        try:
            match = resolve(request.path_info.removesuffix("/"), getattr(request, "urlconf", None))
        except Resolver404:
            return super().dispatch(request, *args, **kwargs)
        view = getattr(match.func, "cls", None)
        if not (isinstance(view, type) and issubclass(view, ApiView)) or view is Elsewhere:
            return super().dispatch(request, *args, **kwargs)
        answer: HttpResponseBase = match.func(request, *match.args, **match.kwargs)
        return answer

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """:raises NotFound: always"""
        raise NotFound(_("There is nothing at this address."))
