"""What can be set wrongly in tenancy, found at start."""

from collections.abc import Sequence
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, register


@register()
def caches_carry_the_client(**kwargs: Any) -> Sequence[CheckMessage]:
    """Every cache alias uses the key function that names the client."""
    return [
        Error(
            f"Cache '{alias}' has no client in its keys.",
            hint="Set KEY_FUNCTION to tenants.caching.make_key.",
            id="tenants.E001",
        )
        for alias, config in settings.CACHES.items()
        if config.get("KEY_FUNCTION") != "tenants.caching.make_key"
    ]


@register()
def no_app_in_both_schemas(**kwargs: Any) -> Sequence[CheckMessage]:
    """No app, and so no table name, stands both in public and in client schemas."""
    both = set(settings.SHARED_APPS) & set(settings.TENANT_APPS)
    tables: dict[bool, set[str]] = {True: set(), False: set()}
    for config in apps.get_app_configs():
        tables[config.name in settings.TENANT_APPS] |= {m._meta.db_table for m in config.get_models(True, True)}
    return [
        Error(f"'{name}' stands in both SHARED_APPS and TENANT_APPS.", id="tenants.E002") for name in sorted(both)
    ] + [
        Error(f"Table '{name}' would stand in both schemas.", id="tenants.E003")
        for name in sorted(tables[True] & tables[False])
    ]
