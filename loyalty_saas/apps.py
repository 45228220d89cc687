from django.apps import AppConfig
from django.core.management.commands import makemigrations
from django_tenants.management.commands import migrate_schemas


class LoyaltyConfig(AppConfig):
    """The roof as an app: its management commands and translations."""

    name = "loyalty_saas"

    def ready(self) -> None:
        # pgtrigger extends makemigrations' autodetector; Django's check wants migrate commands to use the same.
        migrate_schemas.MigrateSchemasCommand.autodetector = makemigrations.Command.autodetector
