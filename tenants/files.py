"""Files of a client lie under its own opaque folder and are reached only while standing in it."""

from pathlib import Path

from django.conf import settings
from django.core.files.storage import FileSystemStorage

from tenants.context import current_client


class ClientStorage(FileSystemStorage):
    """A file store whose root is the current client's folder. :raises ClientUnavailable: outside any client"""

    @property
    def base_location(self) -> str:
        return str(Path(settings.MEDIA_ROOT) / current_client().schema_name)

    @property
    def location(self) -> str:
        return str(Path(self.base_location).absolute())
