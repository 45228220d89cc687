"""Every log line names the client it is about, or `public`."""

import re
from typing import Any
from uuid import UUID

import structlog
from celery.signals import task_postrun, task_prerun

_PLAIN = re.compile(r"[a-z][a-z0-9_-]{0,30}\Z")


def name_client(logger: Any, method: str, event: dict[str, Any]) -> dict[str, Any]:
    """A structlog processor: the client named by the task, else the one the connection stands in."""
    if "client" not in event:
        # Settings name this processor before there are connections.
        from tenants.context import current_schema

        event["client"] = current_schema() or "public"
    return event


def bare_path(path: str) -> str:
    """A path without what may be personal: a segment that is neither a plain word nor an id of ours becomes `…`."""
    return "/".join(part if not part or _PLAIN.match(part) or _is_id(part) else "…" for part in path.split("/"))


def _is_id(part: str) -> bool:
    try:
        return str(UUID(part)) == part
    except ValueError:
        return False


@task_prerun.connect(dispatch_uid="loyalty-log-client")
def begin_task(kwargs: dict[str, Any], **signal: Any) -> None:
    """From here on the lines of a task bear its client, also those that Celery writes after it."""
    structlog.contextvars.bind_contextvars(client=kwargs.get("schema_name", "public"))


@task_postrun.connect(dispatch_uid="loyalty-log-client-end")
def end_task(**signal: Any) -> None:
    """The next task starts with a clean slate."""
    structlog.contextvars.clear_contextvars()
