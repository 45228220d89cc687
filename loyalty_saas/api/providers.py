"""A provider's clients, on the platform's host: taken in, looked at, suspended and resumed."""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Any, cast
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.response import Response

from loyalty_saas.api.base import (
    ApiRequest,
    ApiView,
    Body,
    an_id,
    body_of,
    id_in_path,
    nothing,
    operation,
    page,
    query_of,
)
from loyalty_saas.api.fields import OPTIONAL, Choice, Day, Input, Text
from loyalty_saas.api.pages import Listing, page_shape
from loyalty_saas.api.problems import Problem
from loyalty_saas.flows import onboarding as flow
from tenants.access import Actor, admits
from tenants.context import public_atomic
from tenants.models import Client, KpiDay, Onboarding, Provider
from tenants.queries import url_on
from tenants.services.clients import ClientClosed, resume_client, suspend_client

LONGEST_RANGE = timedelta(days=366)

# ── what comes in ───────────────────────────────────────────────────────────────────────────────────────────────────


class NewClient(Input):
    """A business that is to become a client."""

    name = Text(max_length=100)
    trade = Choice(choices=Client.Trade.values)
    currency = Text(min_length=3, max_length=3, help_text="ISO 4217, such as EUR.")
    time_zone = Text(max_length=50, help_text="IANA, such as Europe/Berlin.")
    template = Text(max_length=50, help_text="The program to start with: `retail`, `cafe`, `hiking`.")
    languages = serializers.ListField(
        child=Choice(choices=[code for code, _name in settings.LANGUAGES]), min_length=1, max_length=20, required=False
    )
    slug = Text(max_length=50, help_text="Its short name in addresses; made from the name unless given.", **OPTIONAL)
    domain = Text(max_length=253, help_text="Its own host name.", **OPTIONAL)
    owner_email = Text(max_length=254, help_text="Who is invited to look after it.", **OPTIONAL)


class Suspension(Input):
    """Why a client rests."""

    reason = Text(max_length=200, **OPTIONAL)


class DayRange(Input):
    """From which day to which, both included."""

    since = Day(required=False, help_text="30 days before `until`, unless given.")
    until = Day(required=False, help_text="Today where the client is, unless given; at most 366 days after `since`.")


# ── what goes out ───────────────────────────────────────────────────────────────────────────────────────────────────


class ClientShape(serializers.Serializer[Any]):
    """A client."""

    slug = serializers.CharField()
    name = serializers.CharField()
    trade = serializers.ChoiceField(choices=Client.Trade.values)
    currency = serializers.CharField()
    time_zone = serializers.CharField()
    languages = serializers.ListField(child=serializers.CharField())
    template = serializers.CharField()
    status = serializers.ChoiceField(choices=Client.Status.values)
    status_reason = serializers.CharField()
    host = serializers.CharField(allow_null=True)
    url = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField()

    class Meta:
        ref_name = "Client"


class OnboardingShape(serializers.Serializer[Any]):
    """A client on its way in."""

    id = serializers.UUIDField()
    state = serializers.ChoiceField(choices=Onboarding.State.values)
    step = serializers.IntegerField(help_text="How many steps are done.")
    steps = serializers.ListField(child=serializers.CharField(), help_text="All steps, in order.")
    error = serializers.CharField()
    client = serializers.CharField(allow_null=True, help_text="The client's slug, once it is there.")
    url = serializers.CharField(allow_null=True)

    class Meta:
        ref_name = "Onboarding"


class KpiDayShape(serializers.Serializer[Any]):
    """A client's figures of one local day, and what stood at its end; money in minor units."""

    day = serializers.DateField()
    members = serializers.IntegerField()
    new_members = serializers.IntegerField()
    active_members = serializers.IntegerField()
    sales = serializers.IntegerField()
    returns = serializers.IntegerField()
    revenue = serializers.IntegerField()
    repeat_revenue = serializers.IntegerField()
    earned = serializers.IntegerField()
    reversed = serializers.IntegerField()
    spent = serializers.IntegerField()
    outstanding = serializers.IntegerField()
    waiting = serializers.IntegerField()
    parked = serializers.IntegerField()
    counted_at = serializers.DateTimeField()

    class Meta:
        ref_name = "KpiDay"


class KpisShape(serializers.Serializer[Any]):
    """A client's figures day by day."""

    client = serializers.CharField()
    currency = serializers.CharField()
    results = KpiDayShape(many=True)

    class Meta:
        ref_name = "Kpis"


ClientPage = page_shape(ClientShape)
CLIENT_IN_PATH = OpenApiParameter(
    "slug", {"type": "string", "maxLength": 50}, OpenApiParameter.PATH, description="The client's slug."
)
_NEW, _LISTING, _SUSPENSION, _RANGE = NewClient(), Listing(), Suspension(), DayRange()

# ── the views ───────────────────────────────────────────────────────────────────────────────────────────────────────


def provider_id_of(request: ApiRequest) -> UUID:
    """The provider that holds the key; on the platform's host every key is a provider's."""
    return cast(UUID, request.auth.provider_id)


def clients_of(request: ApiRequest) -> QuerySet[Client]:
    """The clients of the provider that holds the key."""
    return Client.objects.filter(provider_id=provider_id_of(request)).prefetch_related("domains")


def client_named(request: ApiRequest, slug: str) -> Client:
    """One of the provider's clients. :raises NotFound: none of that name, or another provider's"""
    found = clients_of(request).filter(slug=slug).first() if slug.isprintable() else None
    if found is None:
        raise nothing()
    return found


@admits(Actor.MACHINE, GET="clients:read", POST="clients:write")
class Clients(ApiView):
    """All clients of the provider."""

    @operation("The provider's clients, newest first", name="clients_list", query=Listing, gives=ClientPage)
    def get(self, request: ApiRequest) -> Response:
        return page(request, _LISTING, lambda asked: clients_of(request), _written)

    @operation(
        "Take a business in as a client",
        name="clients_onboard",
        takes=NewClient,
        gives={202: OnboardingShape},
        refuses=("refused",),
    )
    def post(self, request: ApiRequest) -> Response:
        """Goes on in the background: look at the onboarding until its state is `done` or `failed`."""
        form = {name: value for name, value in body_of(request, _NEW).items() if value is not None}
        provider = Provider.objects.get(pk=provider_id_of(request))
        with public_atomic():
            wanted = flow.request_onboarding(provider=provider, at=timezone.now(), requested_by=request.auth.pk, **form)
        return Response(_written_onboarding(wanted), status=202)


def _written(clients: Sequence[Client]) -> list[Body]:
    return [_written_client(client) for client in clients]


def _written_client(client: Client) -> Body:
    host = next((domain.host for domain in client.domains.all() if domain.is_primary), None)
    return {
        "slug": client.slug,
        "name": client.name,
        "trade": client.trade,
        "currency": client.currency,
        "time_zone": client.time_zone,
        "languages": client.languages,
        "template": client.template,
        "status": client.status,
        "status_reason": client.closed_reason,
        "host": host,
        "url": url_on(host) if host else None,
        "created_at": client.created_at,
    }


def _written_onboarding(wanted: Onboarding) -> Body:
    client = wanted.client
    return {
        "id": wanted.pk,
        "state": wanted.state,
        "step": wanted.step,
        "steps": [str(words) for words in flow.STEPS],
        "error": wanted.error,
        "client": client.slug if client else None,
        "url": _written_client(client)["url"] if client else None,
    }


@admits(Actor.MACHINE, GET="clients:read")
class OneOnboarding(ApiView):
    """A client on its way in."""

    @operation(
        "How far an onboarding is, or what came of it",
        name="onboardings_read",
        path=[id_in_path("onboarding", "onboarding")],
        gives=OnboardingShape,
    )
    def get(self, request: ApiRequest, onboarding: str) -> Response:
        mine = Onboarding.objects.filter(provider_id=provider_id_of(request)).select_related("client")
        found = mine.filter(pk=an_id(onboarding)).first()
        if found is None:
            raise nothing()
        return Response(_written_onboarding(found))


@admits(Actor.MACHINE, GET="clients:read")
class OneClient(ApiView):
    """One client."""

    @operation("One client", name="clients_read", path=[CLIENT_IN_PATH], gives=ClientShape)
    def get(self, request: ApiRequest, slug: str) -> Response:
        return Response(_written_client(client_named(request, slug)))


@admits(Actor.MACHINE, GET="kpis:read")
class ClientKpis(ApiView):
    """A client's figures."""

    @operation(
        "A client's figures day by day",
        name="clients_kpis",
        path=[CLIENT_IN_PATH],
        query=DayRange,
        gives=KpisShape,
        refuses=("refused",),
    )
    def get(self, request: ApiRequest, slug: str) -> Response:
        client = client_named(request, slug)
        today = timezone.now().astimezone(ZoneInfo(client.time_zone)).date()
        since, until = _range(query_of(request, _RANGE), today=today)
        rows = KpiDay.objects.filter(client=client, day__gte=since, day__lte=until).order_by("day")
        results = [{name: getattr(row, name) for name in KpiDayShape._declared_fields} for row in rows]
        return Response({"client": client.slug, "currency": client.currency, "results": results})


def _range(asked: Body, *, today: date) -> tuple[date, date]:
    until: date = asked.get("until") or today
    since: date = asked.get("since") or until - timedelta(days=30)
    if not timedelta(0) <= until - since <= LONGEST_RANGE:
        raise Problem("refused", _("Ask for at most 366 days, the first before the last."), field="since")
    return since, until


@admits(Actor.MACHINE, POST="clients:write")
class SuspendClient(ApiView):
    """A client rests."""

    @operation(
        "Suspend a client: its host answers 503 until it is resumed",
        name="clients_suspend",
        path=[CLIENT_IN_PATH],
        takes=Suspension,
        gives=ClientShape,
        refuses=("client_closed",),
    )
    def post(self, request: ApiRequest, slug: str) -> Response:
        """Its data stay as they are."""
        at, reason = timezone.now(), body_of(request, _SUSPENSION).get("reason") or ""

        def suspend(client: Client, actor: str) -> Client:
            return suspend_client(client=client, actor=actor, reason=reason, at=at)

        return _change(request, slug, suspend)


@admits(Actor.MACHINE, POST="clients:write")
class ResumeClient(ApiView):
    """A client goes on."""

    @operation(
        "Resume a suspended client",
        name="clients_resume",
        path=[CLIENT_IN_PATH],
        gives=ClientShape,
        refuses=("client_closed",),
    )
    def post(self, request: ApiRequest, slug: str) -> Response:
        at = timezone.now()
        return _change(request, slug, lambda client, actor: resume_client(client=client, actor=actor, at=at))


def _change(request: ApiRequest, slug: str, change: Callable[[Client, str], Client]) -> Response:
    client = client_named(request, slug)
    try:
        with public_atomic():
            change(client, f"key:{request.auth.prefix}")
    except ClientClosed:
        raise Problem("client_closed", _("A closed client is neither suspended nor resumed.")) from None
    return Response(_written_client(client_named(request, slug)))
