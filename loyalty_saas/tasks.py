"""What workers do. Every task names its client or works for the platform; running one twice does no harm."""

import time
from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from celery import shared_task
from django.conf import settings
from django.core.management import call_command
from django.db import connections, transaction
from django.utils import timezone

from loyalty_saas import workers
from loyalty_saas.flows import figures, imports, nights, onboarding, proofs, purchases, replays
from members.services.accrual import NOTHING, Credited, is_waiting
from rewards.services import release_overdue
from tenants.context import client_connection, current_client, use_client
from tenants.models import Client, KpiDay, LedgerCheck, WaitingClient
from tenants.services import schemas
from tenants.services.onboarding import unfinished
from tenants.tasks import PlatformTask, TenantTask

# The queue of what members wait for; everything else goes to the default one, so that no night or import is in its way.
DRAINS = "drains"
# When so much of its turn is over, a drain hands its place to the next client's and comes again behind the others.
TURN_SECONDS = 0.25
# A turn begins with the purchases of few members, and has more in each further batch.
FIRST_BATCH, GROWS_BY = 50, 4
_HELD_SECONDS = 0.02
_FOLLOWS_AFTER = 30


@shared_task(base=TenantTask, queue=DRAINS)
def drain() -> int:
    """Credit what waits in a client, until nothing does or others should have their turn; how many were credited."""
    schema_name = current_client().schema_name
    workers.begun(f"drain:{schema_name}")
    done, is_over = _take_turn()
    if not is_over:
        workers.wake(schema_name)
    elif not is_waiting():
        # Only now: a worker that dies before leaves the note, and the sweep finds it.
        forget_waiting(schema_name)
    if done:
        workers.send_once(
            task=roll_up,
            name=f"kpi:{schema_name}",
            seconds=_FOLLOWS_AFTER,
            countdown=_FOLLOWS_AFTER,
            schema_name=schema_name,
        )
    return done


def _take_turn() -> tuple[int, bool]:
    """Credit batch after batch while the turn lasts; how many, and whether nothing is left that could be had."""
    began, size, done = time.monotonic(), FIRST_BATCH, 0
    until, before = began + TURN_SECONDS, began
    while (credited := _next_batch(size)) != NOTHING:
        done += credited.purchases
        now = time.monotonic()
        if now >= until:
            return done, False
        size, before = _grown(size, took=now - before), now
    return done, True


def _grown(size: int, *, took: float) -> int:
    """A larger batch, unless at this pace it would fill more than a turn by itself."""
    larger = min(size * GROWS_BY, settings.BATCH_SIZE)
    return larger if took * larger / size <= TURN_SECONDS else size


def _next_batch(size: int) -> Credited:
    """One batch; where all that waits is of members whom somebody holds, once more a moment later."""
    credited = purchases.credit_next_batch(at=timezone.now(), limit=size)
    if credited == NOTHING and is_waiting():
        time.sleep(_HELD_SECONDS)
        credited = purchases.credit_next_batch(at=timezone.now(), limit=size)
    return credited


def forget_waiting(schema_name: str) -> None:
    """Take the client off the list of those with work; what comes from now on puts it there again."""
    WaitingClient.objects.filter(pk=schema_name).delete()


@shared_task(base=PlatformTask, queue=DRAINS)
def sweep() -> int:
    """Wake the workers for clients whose hint was lost; how many have work."""
    names = list(WaitingClient.objects.order_by("since").values_list("schema_name", flat=True)[:1000])
    for schema_name in names:
        workers.wake(schema_name)
    return len(names)


@shared_task(base=PlatformTask)
def sweep_all() -> int:
    """Look into every open client for work that nobody noted, imports and replays too; how many have purchases."""
    found = 0
    for client in Client.objects.filter(status=Client.Status.ACTIVE).iterator():
        with use_client(client):
            left, jobs, tries = is_waiting(), imports.unfinished(), replays.unfinished(at=timezone.now())
        client_connection().forget_client()
        if left:
            found += 1
            workers.wake(client.schema_name)
        for job_id in jobs:
            send_import(schema_name=client.schema_name, job_id=job_id)
        for replay_id in tries:
            send_replay(schema_name=client.schema_name, replay_id=replay_id)
    return found


def send_import(*, schema_name: str, job_id: UUID) -> bool:
    """Send an import to the workers; one that is already under way is left alone there."""
    return workers.send_once(
        task=run_import, name=f"import:{job_id}", seconds=60, schema_name=schema_name, job_id=str(job_id)
    )


@shared_task(base=TenantTask)
def roll_up() -> None:
    """What follows a drain: today's public figures, and, where the shop has grown, its yardsticks and segments."""
    schema_name = current_client().schema_name
    workers.begun(f"kpi:{schema_name}")
    figures.roll_up_days(days=1, at=timezone.now())
    if not is_waiting():
        # Else a further drain follows, and this after it.
        purchases.settle_in(at=timezone.now())


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


@shared_task(base=TenantTask)
def prove() -> int:
    """Prove a client's books and tell the console; how many laws do not hold."""
    workers.begun(f"prove:{current_client().schema_name}")
    return len(proofs.prove_and_tell(at=timezone.now(), whole=False).broken)


@shared_task(base=PlatformTask)
def dispatch_proofs() -> int:
    """Send the proof of each open client whose night's work is done and whose books were not proven since; how many."""
    at = timezone.now()
    proven = dict(LedgerCheck.objects.values_list("client_id", "checked_at"))
    sent = 0
    for client in Client.objects.filter(status=Client.Status.ACTIVE):
        last = proven.get(client.pk)
        if (last is None or last < _last_midnight(client, at=at)) and not _is_due(client, at=at):
            sent += send_proof(client)
    return sent


def send_proof(client: Client) -> bool:
    """Send the proof of a client's books to the workers."""
    return workers.send_once(
        task=prove, name=f"prove:{client.schema_name}", seconds=600, schema_name=client.schema_name
    )


def _last_midnight(client: Client, *, at: datetime) -> datetime:
    zone = ZoneInfo(client.time_zone)
    return nights.closing(day=at.astimezone(zone).date() - timedelta(days=1), zone=zone)


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


# One that was ended for its length would begin anew, and end again.
@shared_task(base=TenantTask, time_limit=3600)
def run_replay(replay_id: str) -> None:
    """Try a draft on purchases that really happened; nothing but the replay's own row is written."""
    workers.begun(f"replay:{replay_id}")
    replays.run(replay_id=UUID(replay_id))


def send_replay(*, schema_name: str, replay_id: UUID) -> bool:
    """Send a replay to the workers; one that is under way is left alone there."""
    return workers.send_once(
        task=run_replay, name=f"replay:{replay_id}", seconds=60, schema_name=schema_name, replay_id=str(replay_id)
    )
