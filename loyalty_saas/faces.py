"""What every page knows of the request: whose host it is, who asks, and what they may be there."""

from django.http import HttpRequest
from django_htmx.middleware import HtmxDetails

from loyalty_saas.bearers import CardStanding, TillStanding
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


class TillRequest(FaceRequest):
    """A request by an enrolled till; `till.session` is None while it is locked."""

    client: Client
    till: TillStanding


class CardRequest(FaceRequest):
    """A request from a phone on which a member's card is open."""

    client: Client
    card: CardStanding


class PlatformRequest(FaceRequest):
    """A request on the platform host by somebody who is signed in."""

    user: User
