"""What workers do. Every task names its client or works for the platform; running one twice does no harm."""

from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from celery import shared_task
from django.conf import settings
from django.core.management import call_command
from django.db import connections, transaction
from django.utils import timezone

from loyalty_saas import workers
from loyalty_saas.flows import figures, imports, nights, onboarding, purchases
from members.services.accrual import NOTHING, waiting
from rewards.services import release_overdue
from tenants.context import client_connection, current_client, use_client
from tenants.models import Client, KpiDay, WaitingClient
from tenants.services import schemas
from tenants.services.onboarding import unfinished
from tenants.tasks import PlatformTask, TenantTask

# After so many batches a drain hands its place to the next client's and comes again.
BATCHES_A_TURN = 20
_KPI_SECONDS = 30


@shared_task(base=TenantTask)
def drain() -> int:
    """Credit what waits in a client, batch after batch, until nothing does or others should have a turn."""
    schema_name = current_client().schema_name
    workers.begun(f"drain:{schema_name}")
    done = 0
    for _turn in range(BATCHES_A_TURN):
        credited = purchases.credit_next_batch(at=timezone.now())
        done += credited.purchases
        if credited == NOTHING:
            break
    else:
        workers.wake(schema_name)
        return done
    if not waiting():
        # Only now: a worker that dies before leaves the note, and the sweep finds it.
        forget_waiting(schema_name)
    if done:
        purchases.settle_in(at=timezone.now())
        workers.send_once(
            task=roll_up,
            name=f"kpi:{schema_name}",
            seconds=_KPI_SECONDS,
            countdown=_KPI_SECONDS,
            schema_name=schema_name,
        )
    return done


def forget_waiting(schema_name: str) -> None:
    """Take the client off the list of those with work; what comes from now on puts it there again."""
    WaitingClient.objects.filter(pk=schema_name).delete()


@shared_task(base=PlatformTask)
def sweep() -> int:
    """Wake the workers for clients whose hint was lost; how many have work."""
    names = list(WaitingClient.objects.order_by("since").values_list("schema_name", flat=True)[:1000])
    for schema_name in names:
        workers.wake(schema_name)
    return len(names)


@shared_task(base=PlatformTask)
def sweep_all() -> int:
    """Look into every open client for purchases and imports that nobody noted; how many have purchases waiting."""
    found = 0
    for client in Client.objects.filter(status=Client.Status.ACTIVE).iterator():
        with use_client(client):
            left, jobs = waiting(), imports.unfinished()
        client_connection().forget_client()
        if left:
            found += 1
            workers.wake(client.schema_name)
        for job_id in jobs:
            send_import(schema_name=client.schema_name, job_id=job_id)
    return found


def send_import(*, schema_name: str, job_id: UUID) -> bool:
    """Send an import to the workers; one that is already under way is left alone there."""
    return workers.send_once(
        task=run_import, name=f"import:{job_id}", seconds=60, schema_name=schema_name, job_id=str(job_id)
    )


@shared_task(base=TenantTask)
def roll_up() -> None:
    """Bring today's public figures of a client up to date."""
    schema_name = current_client().schema_name
    workers.begun(f"kpi:{schema_name}")
    figures.roll_up_days(days=1, at=timezone.now())


@shared_task(base=TenantTask)
def release_holds() -> int:
    """Let go of points held for rewards that nobody fetched in time."""
    with transaction.atomic():
        return release_overdue(at=timezone.now())


@shared_task(base=TenantTask)
def night() -> None:
    """A client's nightly work: expiry, birthdays, tiers, segments, offers, yesterday's figures."""
    nights.spend_night(at=timezone.now())


@shared_task(base=PlatformTask)
def dispatch_nights() -> int:
    """Send the night's work of each open client whose last local day has not been closed; how many."""
    at = timezone.now()
    sent = 0
    for client in Client.objects.filter(status=Client.Status.ACTIVE):
        if _is_due(client, at=at):
            sent += workers.send_once(
                task=night, name=f"night:{client.schema_name}", seconds=3600, schema_name=client.schema_name
            )
    return sent


def _is_due(client: Client, *, at: datetime) -> bool:
    local = at.astimezone(ZoneInfo(client.time_zone))
    closed_at = nights.closing(day=local.date() - timedelta(days=1), zone=ZoneInfo(client.time_zone))
    done = KpiDay.objects.filter(client=client, day=local.date() - timedelta(days=1), counted_at__gte=closed_at)
    return not done.exists()


@shared_task(base=PlatformTask)
def dispatch_hold_releases() -> int:
    """Send the release of overdue holds to every open client."""
    names = list(Client.objects.filter(status=Client.Status.ACTIVE).values_list("schema_name", flat=True))
    for schema_name in names:
        workers.send_once(task=release_holds, name=f"holds:{schema_name}", seconds=120, schema_name=schema_name)
    return len(names)


@shared_task(base=PlatformTask)
def refill_spares() -> int:
    """Keep the pool of spare schemas full; how many were made. Needs the owner's login."""
    if "owner" not in connections.settings:
        return 0
    return schemas.refill_spares(target=settings.SPARE_SCHEMAS, at=timezone.now())


@shared_task(base=PlatformTask)
def onboard(onboarding_id: str) -> None:
    """Carry one onboarding to its end, making a schema where no spare was left."""
    refill_spares()
    onboarding.onboard(onboarding_id=UUID(onboarding_id), at=timezone.now())


@shared_task(base=PlatformTask)
def sweep_onboardings() -> int:
    """Take up onboardings that no worker has begun, or whose worker has gone; how many."""
    left = unfinished(at=timezone.now())
    for onboarding_id in left:
        workers.send_once(task=onboard, name=f"onboard:{onboarding_id}", seconds=60, onboarding_id=str(onboarding_id))
    return len(left)


@shared_task(base=PlatformTask)
def clear_sessions() -> None:
    """Drop sessions that have run out."""
    call_command("clearsessions")


@shared_task(base=TenantTask)
def run_import(job_id: str) -> None:
    """Read and record one file of purchases, from where it was left, and count the days it brought."""
    imports.run(job_id=UUID(job_id), at=timezone.now())
    figures.roll_up_days(days=400, at=timezone.now())
