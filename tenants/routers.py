"""Which connection a model uses: client models the switched one, everything else the public one."""

from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import connections
from django.db.models import Model
from django_tenants.routers import TenantSyncRouter

CLIENT = "default"
PUBLIC = "public"
OWNER = "owner"


def belongs_to_client(app_label: str) -> bool:
    """Whether the app's tables live in client schemas."""
    return bool(apps.get_app_config(app_label).name in settings.TENANT_APPS)


class FloorRouter(TenantSyncRouter):
    """Client models on `default`, all others on `public`; `owner` alone makes tables, in the schema it stands in."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str:
        return CLIENT if belongs_to_client(model._meta.app_label) else PUBLIC

    db_for_write = db_for_read

    def allow_relation(self, obj1: Model, obj2: Model, **hints: Any) -> bool:
        return belongs_to_client(obj1._meta.app_label) == belongs_to_client(obj2._meta.app_label)

    def allow_migrate(self, db: str, app_label: str, model_name: str | None = None, **hints: Any) -> bool:
        if db != OWNER:
            return False
        in_public: bool = getattr(connections[db], "schema_name", None) == "public"
        return belongs_to_client(app_label) != in_public
