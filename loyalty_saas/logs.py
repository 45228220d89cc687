"""Every log line names the client it is about, or `public`."""

from typing import Any

import structlog
from celery.signals import task_postrun, task_prerun


def name_client(logger: Any, method: str, event: dict[str, Any]) -> dict[str, Any]:
    """A structlog processor: the client named by the task, else the one the connection stands in."""
    if "client" not in event:
        # Settings name this processor before there are connections.
        from tenants.context import current_schema

        event["client"] = current_schema() or "public"
    return event


@task_prerun.connect(dispatch_uid="loyalty-log-client")
def begin_task(kwargs: dict[str, Any], **signal: Any) -> None:
    """From here on the lines of a task bear its client, also those that Celery writes after it."""
    structlog.contextvars.bind_contextvars(client=kwargs.get("schema_name", "public"))


@task_postrun.connect(dispatch_uid="loyalty-log-client-end")
def end_task(**signal: Any) -> None:
    """The next task starts with a clean slate."""
    structlog.contextvars.clear_contextvars()
