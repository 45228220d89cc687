"""The Celery application: workers credit what the database says is waiting."""

import os
from functools import partial
from typing import Any, Final

from celery import Celery
from celery.app.amqp import AMQP
from celery.signals import worker_init
from kombu import Connection, Queue
from kombu.transport import redis
from redis import RedisError, ResponseError

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "loyalty_saas.settings")
LONGEST_WAIT: Final = 2.0
"""Seconds after which a worker without Redis looks for it again, at the latest."""


class OutlivingChannel(redis.Channel):
    """
    A channel that outlives Redis.

    A worker of Celery 5.7 that holds a task when Redis goes away uses the channel after it was closed, and dies of an
    AttributeError; of a lost connection it knows how to recover. What it held comes again after the visibility
    timeout, and the sweeps find the work before that. It also hangs, where redis-py 8 has found Redis again by itself
    and there is no news to wait for, and where an acknowledgement is the first to fail, which Celery only logs unless
    a pipe broke.
    """

    do_restore = False

    def _connparams(self, *args: Any, **kwargs: Any) -> Any:
        if self.connection is None or self.connection.client is None:
            raise ConnectionError("The connection to Redis is closed.")
        return super()._connparams(*args, **kwargs)

    def _receive_one(self, c: Any) -> Any:
        c.parse_response = partial(type(c).parse_response, c, block=False)
        return super()._receive_one(c)

    def basic_ack(self, *args: Any, **kwargs: Any) -> None:
        try:
            super().basic_ack(*args, **kwargs)
        except (RedisError, OSError) as error:
            raise BrokenPipeError(str(error)) from error


redis.Transport.Channel = OutlivingChannel
# A Redis that is full, or a replica for a while, says no; a worker that took that for the end would end itself.
redis.Transport.connection_errors += (ResponseError,)


class EagerConnection(Connection):
    """
    A connection that is tried again soon.

    Celery waits 2 s, 4 s, 6 s … up to 30 s between its tries, whatever Redis does meanwhile: if it is down at each of
    the first few tries, the worker is back only after 12 s or 20 s, though Redis has been there for long.
    """

    def _ensure_connection(
        self,
        errback: Any = None,
        max_retries: int | None = None,
        interval_start: float = 0.2,
        interval_step: float = 0.3,
        interval_max: float = LONGEST_WAIT,
        **more: Any,
    ) -> Any:
        return super()._ensure_connection(errback, max_retries, interval_start, interval_step, interval_max, **more)


class EagerAMQP(AMQP):
    """How workers and the scheduler reach Redis."""

    Connection = EagerConnection


app = Celery("loyalty_saas", amqp=EagerAMQP)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["loyalty_saas"])
# A worker that is told nothing else serves both in turn.
app.conf.task_queues = (Queue("drains"), Queue("celery"))


def _every(seconds: float, task: str) -> dict[str, object]:
    """A task by the clock; one that was not begun before the next is due is dropped."""
    return {"task": f"loyalty_saas.tasks.{task}", "schedule": seconds, "options": {"expires": max(seconds, 10.0)}}


@app.on_after_configure.connect
def schedule(sender: Celery, **kwargs: object) -> None:
    """What the scheduler sends; all of it only finds work that the database holds."""
    from django.conf import settings

    sender.conf.beat_schedule = {
        "sweep": _every(settings.SWEEP_SECONDS, "sweep"),
        "sweep-all": _every(300.0, "sweep_all"),
        "onboardings": _every(15.0, "sweep_onboardings"),
        "spares": _every(60.0, "refill_spares"),
        "holds": _every(60.0, "dispatch_hold_releases"),
        "nights": _every(600.0, "dispatch_nights"),
        "proofs": _every(600.0, "dispatch_proofs"),
        "sessions": _every(6 * 3600.0, "clear_sessions"),
    }


@worker_init.connect
def begin(**kwargs: object) -> None:
    """A worker that starts leaves signs of life for /readyz."""
    from loyalty_saas.health import leave_signs_of_life

    leave_signs_of_life()
