"""The Celery application: workers credit what the database says is waiting."""

import os

from celery import Celery
from celery.signals import worker_init

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "loyalty_saas.settings")

app = Celery("loyalty_saas")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["loyalty_saas"])


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
        "sessions": _every(6 * 3600.0, "clear_sessions"),
    }


@worker_init.connect
def begin(**kwargs: object) -> None:
    """A worker that starts leaves signs of life for /readyz."""
    from loyalty_saas.health import leave_signs_of_life

    leave_signs_of_life()
