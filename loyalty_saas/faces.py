"""What every page knows of the request: whose host it is, who asks, and what they may be there."""

from django.http import HttpRequest
from django_htmx.middleware import HtmxDetails

from tenants.models import Client, User
from tenants.queries import Standing


class FaceRequest(HttpRequest):
    """A request that has passed the middleware."""

    client: Client | None
    standing: Standing
    second_factor: str
    htmx: HtmxDetails


class ClientRequest(FaceRequest):
    """A request on a client's host by somebody who is signed in."""

    client: Client
    user: User


class PlatformRequest(FaceRequest):
    """A request on the platform host by somebody who is signed in."""

    user: User
